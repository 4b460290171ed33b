"""What an NKI instruction must give, written apart from its record.

Chapters of instructions have a module here, of loops over elements or of documented
vectors. It shares nothing with the simulator but the samples.
"""

from __future__ import annotations

import importlib
import pkgutil

from tests.support.nki.samples import EXPECTED

__all__ = ["EXPECTED"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
