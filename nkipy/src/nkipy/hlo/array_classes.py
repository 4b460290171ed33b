"""Subclasses of ndarray: which of them mean what an ndarray of their memory does.

A program has memory, shapes and dtypes alone. What a subclass computes otherwise, a
program that takes its arrays as ndarrays cannot know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

#: Members that decide how an array is made, shown, pickled and told from others, and
#: not what it computes.
_NO_MEANING = frozenset(
    ("__new__", "__init__", "__del__", "__init_subclass__", "__subclasshook__")
    + ("__class_getitem__", "__array_finalize__", "__array_priority__")
    + ("__repr__", "__str__", "__format__", "__dir__", "__sizeof__", "__hash__")
    + ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
    + ("__doc__", "__module__", "__class__", "__dict__", "__weakref__", "__slots__")
)
#: Members that change what an ndarray's do.
_MEANING = frozenset(dir(np.ndarray)) - _NO_MEANING
#: Subclasses of NumPy's that override some, and compute as an ndarray.
_AS_NDARRAYS = frozenset((np.memmap, np.recarray))


def other_meaning(array: Any) -> str | None:
    """Why `array` is not to be taken for an ndarray, in words; None if it may be.

    "is ...; pass ...", to follow the name of the array in a message. What is no ndarray
    has no other meaning.
    """
    kind = type(array)
    if kind is np.ndarray or not isinstance(array, np.ndarray):
        return None
    own = sorted(set(_overridden(kind)))
    if not own:
        return None
    if isinstance(array, np.ma.MaskedArray):
        return (
            "is a masked array, whose mask would be lost; pass data and mask as two "
            "arrays"
        )
    if isinstance(array, np.matrix):
        return (
            "is an np.matrix, whose * and ** are matrix products, unlike an array's; "
            "pass np.asarray of it, and write @"
        )
    names = ", ".join(own[:3]) + (", ..." if len(own) > 3 else "")
    return (
        f"is of class {kind.__qualname__}, whose own {names} would be lost; pass "
        "np.asarray of it"
    )


def _overridden(kind: type) -> Iterator[str]:
    """The members of ndarray that `kind`, or a class between, has its own of."""
    for each in kind.__mro__:
        if each is np.ndarray:
            return
        if each not in _AS_NDARRAYS:
            yield from _MEANING.intersection(vars(each))
