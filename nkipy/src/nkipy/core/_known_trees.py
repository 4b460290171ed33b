"""What in the arguments of a call is known, and what is traced.

Arguments are trees of lists, tuples, dicts and slices. Known arrays stand for arrays of
NumPy's in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from nkipy.core.tensor import NKIPyTensorRef

__all__ = [
    "PLAIN",
    "SCALARS",
    "arrays_in",
    "give",
    "holds_known",
    "holds_traced",
    "is_plain_index",
    "operands",
]

#: What was handed to NumPy in the place of known arrays, by the id of the array.
Given = dict[int, tuple[np.ndarray, NKIPyTensorRef]]

SCALARS = frozenset(
    (bool, int, float, complex, str, bytes, type(None), type(...), np.bool_)
    + tuple(np.sctypeDict.values())
)
PLAIN = SCALARS | {np.ndarray}
_UNKNOWN = PLAIN | {NKIPyTensorRef, type}


def is_plain_index(index: Any) -> bool:
    """Whether an index, of one of the usual kinds, holds no tensor."""
    kind = type(index)
    if kind is tuple:
        return PLAIN.issuperset(map(type, index))
    if kind is slice:
        return PLAIN.issuperset(map(type, (index.start, index.stop, index.step)))
    return kind in PLAIN


def holds_traced(value: Any) -> bool:
    """Whether `value`, or something in its lists, dicts or slices, is traced."""
    kind = type(value)
    if kind in PLAIN:
        return False
    if isinstance(value, NKIPyTensorRef):
        return not value._is_known
    return any(map(holds_traced, _parts(value)))


def holds_known(values: Iterable[Any]) -> bool:
    """Whether one of `values`, or something in lists and so on among them, is known."""
    # Each op asks for its arguments: hence one loop and few calls.
    for value in values:
        kind = type(value)
        if kind in _UNKNOWN:
            continue
        if isinstance(value, NKIPyTensorRef):
            if value._is_known:
                return True
        elif kind is slice:
            if holds_known((value.start, value.stop, value.step)):
                return True
        elif isinstance(value, (list, tuple)):
            if holds_known(value):
                return True
        elif isinstance(value, dict) and holds_known(value.values()):
            return True
    return False


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    return ()


def operands(value: Any) -> Any:
    """`value` with its known arrays, nested ones too, as plain ones.

    They must not be kept: a traced value may be stored into the array later.
    """
    return _with_arrays(value, lambda tensor: tensor._array)


def give(value: Any, given: Given) -> Any:
    """As `operands`, for functions that may return one, or a view of it."""

    def view(tensor: NKIPyTensorRef) -> np.ndarray:
        array = tensor._array.view()
        given[id(array)] = array, tensor
        return array

    return _with_arrays(value, view)


def _with_arrays(value: Any, array_of: Callable[[NKIPyTensorRef], np.ndarray]) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, NKIPyTensorRef):
        return array_of(value) if value._is_known else value
    if kind is tuple or kind is list:
        return kind([_with_arrays(part, array_of) for part in value])
    if kind is dict:
        return {key: _with_arrays(part, array_of) for key, part in value.items()}
    if kind is slice:
        return slice(*(_with_arrays(part, array_of) for part in _parts(value)))
    return value


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """NumPy's arrays in a tree."""
    if isinstance(value, np.ndarray):
        yield value
    else:
        for part in _parts(value):
            yield from arrays_in(part)
