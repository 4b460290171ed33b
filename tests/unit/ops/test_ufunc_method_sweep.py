"""Every method of every binary ufunc, over few elements of each dtype, as NumPy's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from nkipy import testing
from nkipy.core import ops  # noqa: F401  # fills the table
from nkipy.core.op_table import NUMPY_TABLE
from nkipy.core.trace import trace_function
from nkipy.runtime import simulate_jit
from tests.support.kernels import check_kernel

Call = Callable[[Any], Any]

#: Of one result; a ufunc of matrices has no methods.
UFUNCS = sorted(
    (
        f
        for f in NUMPY_TABLE
        if isinstance(f, np.ufunc) and (f.nin, f.nout, f.signature) == (2, 1, None)
    ),
    key=lambda ufunc: ufunc.__name__,
)
DTYPES = ["int32", "float32", "int8", "uint16", "bool", "float16"]
#: Zero, one and two elements along the axis, and an axis beside it.
SHAPES = [(0,), (1,), (2,), (3, 2), (1, 2), (0, 2), (2, 0), ()]
#: What is not defined for negative integers to the right.
UNSIGNED = {np.power, np.left_shift, np.right_shift}
#: Of several steps along a vector, NumPy 2's loops of these forget all but the last:
#: np.power.reduce([2.0, 3.0, 2.0]) is 2.0 ** 2.0 there.
FORGETFUL = {np.power, np.arctan2, np.ldexp}
#: What the quick tests look at: an opcode, an identity, neither; no such loop.
QUICK = [
    (np.logical_xor, "float32"),
    (np.divide, "int32"),
    (np.less, "bool"),
]


def values(shape: tuple[int, ...], dtype: str, signed: bool) -> np.ndarray:
    """Small numbers, none of them zero, which not all ufuncs divide by."""
    flat = np.resize([-3, 2, 5, -1, 4, 1], int(np.prod(shape)))
    flat = flat if signed else abs(flat)
    return flat.reshape(shape).astype(dtype)


def calls(ufunc: np.ufunc, shape: tuple[int, ...], dtype: str) -> Iterator[Call]:
    """Calls of the methods for an array of this shape."""
    yield lambda x: ufunc.reduce(x)
    yield lambda x: ufunc.reduce(x, axis=-1, keepdims=True)
    yield lambda x: ufunc.reduce(x, initial=2)
    yield lambda x: ufunc.reduce(x, initial=None)
    yield lambda x: ufunc.reduce(x, dtype=np.float32)
    yield lambda x: ufunc.reduce(x, dtype=np.int32)
    yield lambda x: ufunc.reduce(x, where=np.zeros(shape, bool), initial=1)
    yield lambda x: ufunc.reduce(x, where=np.arange(2)[: shape[-1]] > 0)
    yield lambda x: ufunc.accumulate(x)
    yield lambda x: ufunc.accumulate(x, dtype=np.float32)
    yield lambda x: ufunc.accumulate(x, axis=-1)
    yield lambda x: ufunc.outer(x, x)
    if len(shape) > 1:
        yield lambda x: ufunc.reduce(x, axis=None)
        yield lambda x: ufunc.reduce(x, axis=())
    yield lambda x: ufunc.reduceat(x, [0])
    yield lambda x: ufunc.reduceat(x, [1, 0, 0])
    yield lambda x: ufunc.reduceat(x, [])
    if shape and _stores(ufunc, np.dtype(dtype)):  # a scalar has no elements
        yield lambda x: _at(ufunc, x)


def _stores(ufunc: np.ufunc, dtype: np.dtype) -> bool:
    """Whether the result has a dtype that can be stored in place of the operand."""
    try:
        result = ufunc.resolve_dtypes((dtype, dtype, None))[2]
    except TypeError:
        return True  # to be refused
    return np.can_cast(result, dtype, "same_kind")


def _at(ufunc: np.ufunc, x: Any) -> Any:
    changed = x + x if x.dtype.kind != "b" else x & x
    ufunc.at(changed, slice(0, 1), changed.dtype.type(1))
    return changed


def outcome(call: Call, x: np.ndarray) -> Any:
    """What NumPy gives, or the error that it raises."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call(x)
        except Exception as error:
            return error


def check_methods(
    ufunc: np.ufunc, dtype: str, check: Any, shapes: Sequence[tuple[int, ...]] = SHAPES
) -> None:
    """One program of all that NumPy computes; what NumPy refuses is refused."""
    signed = not dtype.startswith("uint") and ufunc not in UNSIGNED
    arrays = [values(shape, dtype, signed) for shape in shapes]
    fine: list[tuple[int, Call]] = []
    for i, x in enumerate(arrays):
        for call in calls(ufunc, x.shape, dtype):
            expected = outcome(call, x)
            if not isinstance(expected, Exception):
                fine.append((i, call))
                continue
            # NumPy's classes for loops that are missing are private.
            kind = TypeError if isinstance(expected, TypeError) else type(expected)
            with pytest.raises(kind):
                trace_function(call, (x,), {})

    def kernel(*given: Any) -> list[Any]:
        return [call(given[i]) for i, call in fine]

    with np.errstate(all="ignore"):
        check(kernel, *arrays, rtol=1e-5 if dtype.endswith("32") else 2e-3, atol=1e-6)


@pytest.mark.parametrize(("ufunc", "dtype"), QUICK)
def test_methods_of_some_ufuncs(ufunc, dtype):
    check_methods(ufunc, dtype, check_kernel)


def test_methods_on_the_device():
    check_methods(np.logical_xor, "int32", testing.check_kernel, [(1,), (0, 2)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype",
    [
        *DTYPES[:2],
        *(pytest.param(each, marks=pytest.mark.exhaustive) for each in DTYPES[2:]),
    ],
)
@pytest.mark.parametrize("ufunc", UFUNCS)
def test_methods_of_every_ufunc(ufunc, dtype):
    few = [shape for shape in SHAPES if np.prod(shape) < 2]
    shapes = few if ufunc in FORGETFUL else SHAPES
    check_methods(ufunc, dtype, check_kernel, shapes)


@pytest.mark.parametrize("ufunc", [np.power, np.arctan2, np.ldexp])
def test_steps_that_numpy_forgets(ufunc):
    x = np.array([2, 3, 2], np.int32 if ufunc is np.ldexp else np.float32)
    expected = ufunc(ufunc(x[0], x[1]), x[2])
    got = simulate_jit(lambda x: ufunc.reduce(x, dtype=np.float32))(x)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
