"""torch's operators: what is known of them beside their schemas, one record for each.

Of an operator that has no record holds what its schema says: all its tensors are on one
core, but for those without dimensions, which may be the CPU's as Python's numbers are;
what it returns and what it writes to is on that core; autocast has it compute in
float32, if it casts it at all; and there is no HLO for it.

Each file has a family of operators, with their lowerings. Two clients read the records:
the device, one operation at a time, and torch.compile's backend. Families are imported
when ``OPERATORS`` is first looked at: registering the device, which ``import torch``
waits for, needs :mod:`spike_torch.aten.kept` alone.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from spike_torch.aten.record import Operator

if TYPE_CHECKING:
    from spike_torch.aten.record import OPERATORS

__all__ = ["OPERATORS", "Operator"]


def __getattr__(name: str) -> Any:
    if name != "OPERATORS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for family in iter_modules(__path__):
        import_module(f"{__name__}.{family.name}")
    from spike_torch.aten.record import OPERATORS

    return globals().setdefault(name, OPERATORS)
