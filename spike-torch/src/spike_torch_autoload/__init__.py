"""What ``import torch`` calls: it never raises, and opens nothing.

It is a package of its own, as importing a module of ``spike_torch`` would import that
first, with nobody there to catch what it raises.
"""

from __future__ import annotations

import logging
import threading
import warnings

__version__ = "0.1.0"

#: torch's variable that switches such entry points off.
VARIABLE = "TORCH_DEVICE_BACKEND_AUTOLOAD"

_here = threading.local()


def is_autoloading() -> bool:
    """Whether torch is importing this package, and not a user."""
    return getattr(_here, "is_autoloading", False)


def autoload() -> None:
    """Register the device "nkipy", or warn why it cannot be."""
    _here.is_autoloading = True
    try:
        import spike_torch  # noqa: F401
    except Exception as error:  # whatever it is, torch itself must go on
        _warn(
            f'the torch device "nkipy" is left out: {error} ({VARIABLE}=0 keeps torch '
            "from looking for it)"
        )
    finally:
        _here.is_autoloading = False


def _warn(text: str) -> None:
    """Warn, also where warnings are errors: torch itself must go on."""
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    except RuntimeWarning:
        logging.getLogger(__name__).warning(text)
