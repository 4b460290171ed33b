"""Keeps torch.compile out of kernels: it calls them, and captures nothing of them.

Of Python that it captures, torch makes operations of its own; of a kernel that would be
the simulator's. So its calls end a graph, and run as they do elsewhere.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, TypeVar

__all__ = ["REASON", "keep_out_of_graphs", "kept_out_of_graphs"]

#: What torch says where a graph may not end, and explain where it does.
REASON = (
    "an NKI kernel is called, not captured. In a graph it is the lowering of an "
    "operator of torch.library, for which spiky.NKIOpRegistry.register registers it"
)
_Class = TypeVar("_Class", bound=type)

_classes: list[Any] = []


def kept_out_of_graphs(made: _Class) -> _Class:
    """A decorator of classes whose objects are kernels that are called."""
    _classes.append(made)
    if "torch._dynamo" in sys.modules:
        keep_out_of_graphs()
    return made


def keep_out_of_graphs() -> None:
    """Have torch, which is loaded, call kernels: of a class to come, when it is."""
    torch = sys.modules["torch"]
    for made in _classes:
        if not inspect.getattr_static(made.__call__, "_torchdynamo_disable", False):
            made.__call__ = torch.compiler.disable(made.__call__, reason=REASON)
