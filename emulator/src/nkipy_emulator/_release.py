"""Which release this is; it works with the same release of nkipy alone.

``nkipy`` is another project's name on the public index, so that what is found under it
may not be ours.
"""

from __future__ import annotations

import sys

__version__ = "0.1.0"

try:
    from nkipy._release import __version__ as _of_nkipy
except ModuleNotFoundError:
    _of_nkipy = "another package of that name"

if _of_nkipy != __version__ and (found := sys.modules.get("nkipy")):
    raise ImportError(
        f"nkipy-emulator {__version__} needs nkipy {__version__} of the same project, "
        f"and found {_of_nkipy} in {found.__file__}: uninstall that, and install the "
        "wheel that came with nkipy-emulator's",
        name="nkipy",
    )
