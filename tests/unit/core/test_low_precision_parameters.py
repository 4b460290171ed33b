"""bfloat16 and fp8 beside parameters of other dtypes: which of them count.

Those that count are NumPy's, where float16 is in the place of bfloat16.
"""

from __future__ import annotations

import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest

from nkipy.core import promotion
from nkipy.core.dtypes import SUPPORTED
from nkipy.core.trace import trace_function
from nkipy.testing import check_kernel, following_table
from nkipy.testing.low_precision import table_dtype

BF16, E4M3, E4M3FN, E5M2 = OURS = tuple(
    np.dtype(d)
    for d in (
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e5m2,
    )
)


def filled(p, *shape):
    return np.asarray(p) + np.zeros(shape, np.asarray(p).dtype)


def stored(function):
    """What an array holds after `function` wrote to it."""

    def kernel(a, p):
        a = a.copy()
        function(a, p)
        return a

    return kernel


#: Calls of an array and a parameter that does not count.
APART = {
    "sum": lambda a, p: np.sum(a, initial=p),
    "sum along": lambda a, p: np.sum(a, axis=0, initial=p),
    "prod": lambda a, p: np.prod(a, initial=p),
    "max": lambda a, p: np.max(a, initial=p),
    "min": lambda a, p: np.min(a, axis=1, initial=p),
    "nansum": lambda a, p: np.nansum(a, initial=p),
    "nanprod": lambda a, p: np.nanprod(a, initial=p),
    "nanmax": lambda a, p: np.nanmax(a, initial=p),
    "nanmin": lambda a, p: np.nanmin(a, initial=p),
    "a.sum": lambda a, p: a.sum(initial=p),
    "a.prod": lambda a, p: a.prod(initial=p),
    "a.max": lambda a, p: a.max(initial=p),
    "a.min": lambda a, p: a.min(initial=p),
    "add.reduce": lambda a, p: np.add.reduce(a, initial=p),
    "multiply.reduce": lambda a, p: np.multiply.reduce(a, 0, None, None, False, p),
    "maximum.reduce": lambda a, p: np.maximum.reduce(a, initial=p),
    "minimum.reduce": lambda a, p: np.minimum.reduce(a, initial=p),
    "gradient": lambda a, p: np.gradient(a, p)[0],
    "gradient along": lambda a, p: np.gradient(a, p, axis=1),
    "piecewise": lambda a, p: np.piecewise(a, [a > 0], [p, 1]),
    "piecewise default": lambda a, p: np.piecewise(a, [a > 0], [lambda x: x * x, p]),
    "piecewise argument": lambda a, p: np.piecewise(
        a, [a > 0], [lambda x, q: x * q, 0], p
    ),
    "ediff1d end": lambda a, p: np.ediff1d(a, to_end=p),
    "ediff1d begin": lambda a, p: np.ediff1d(a, to_begin=filled(p, 2)),
    "std ddof": lambda a, p: np.std(a, ddof=p),
    "var ddof": lambda a, p: np.var(a, axis=0, ddof=p),
    "nanstd ddof": lambda a, p: np.nanstd(a, ddof=p),
    "nanvar ddof": lambda a, p: np.nanvar(a, axis=0, ddof=p),
    "std correction": lambda a, p: np.std(a, correction=p),
    "var correction": lambda a, p: np.var(a, correction=p),
    "nanvar mean": lambda a, p: np.nanvar(a, mean=filled(p, 1, 1)),
    "nanstd mean": lambda a, p: np.nanstd(a, mean=filled(p, 1, 1)),
    "norm": lambda a, p: np.linalg.norm(a, p, axis=0),
    "norm of a vector": lambda a, p: np.linalg.norm(a[0], p),
    "vector_norm": lambda a, p: np.linalg.vector_norm(a, axis=1, ord=p),
    "pad": lambda a, p: np.pad(a, 1, constant_values=p),
    "pad ramp": lambda a, p: np.pad(a, 2, mode="linear_ramp", end_values=p),
    "full_like": lambda a, p: np.full_like(a, p),
    "insert": lambda a, p: np.insert(a, 1, p),
    "nan_to_num": lambda a, p: np.nan_to_num(a, nan=p, posinf=p, neginf=p),
    "put": stored(lambda a, p: np.put(a, [0, 4], p)),
    "copyto": stored(lambda a, p: np.copyto(a, p, casting="unsafe")),
    "fill_diagonal": stored(lambda a, p: np.fill_diagonal(a, p)),
    "put_along_axis": stored(
        lambda a, p: np.put_along_axis(a, np.zeros((1, 3), np.int64), p, 0)
    ),
    "a[0] =": stored(lambda a, p: a.__setitem__(0, p)),
    "fill": stored(lambda a, p: a.fill(p)),
}
#: The same, of functions that NumPy computes in float64 whatever they are given.
APART_IN_FLOAT64 = {
    "cov aweights": lambda a, p: np.cov(a, aweights=filled(p, 3)),
    "interp left": lambda a, p: np.interp(a[0], np.sort(a[1]), a[2], left=p),
    "interp right": lambda a, p: np.interp(a[0], np.sort(a[1]), a[2], right=p),
    "interp period": lambda a, p: np.interp(a[0], np.sort(a[1]), a[2], period=p),
}
#: Calls of an array and an operand.
COUNTING = {
    "std mean": lambda a, p: np.std(a, mean=filled(p, 1, 1)),
    "var mean": lambda a, p: np.var(a, axis=0, mean=filled(p, 1, 3)),
    "select default": lambda a, p: np.select([a > 0], [a], p),
    "select": lambda a, p: np.select([a > 0], [p], a),
    "select all": lambda a, p: np.select([a > 0, a < -1], [p, p], a),
    "choose": lambda a, p: np.choose((a > 0).astype(np.int32), [a, p]),
    "where": lambda a, p: np.where(a > 0, p, a),
    "clip": lambda a, p: np.clip(a, p, None),
    "clip from above": lambda a, p: np.clip(a, None, p),
    "diff prepend": lambda a, p: np.diff(a, prepend=p),
    "diff append": lambda a, p: np.diff(a, append=p),
    "trapezoid dx": lambda a, p: np.trapezoid(a, dx=p),
    "trapezoid x": lambda a, p: np.trapezoid(a, x=filled(p, 3)),
    "average": lambda a, p: np.average(a, weights=filled(p, 3, 3)),
    "quantile": lambda a, p: np.quantile(a, p),
    "percentile": lambda a, p: np.percentile(a, p),
    "append": lambda a, p: np.append(a, p),
    "linspace": lambda a, p: np.linspace(a, p, 3),
    "array": lambda a, p: np.array([a[0, 0], p]),
    "asarray": lambda a, p: np.asarray([[a[0, 0], p], [p, p]]),
    "concatenate": lambda a, p: np.concatenate([a[0], filled(p, 1)]),
}
MADE_ARRAYS = ("std mean", "var mean", "trapezoid x", "average", "concatenate")
#: Of no dtype's values but 0.3, which float8_e5m2 rounds to 0.3125.
KINDS = {
    "float": 0.3,
    "float64": np.float64(0.3),
    "float32": np.float32(0.3),
    "float16": np.float16(0.3),
    "bfloat16": BF16.type(0.3),
    "0-d float32": np.array(0.3, np.float32),
    "0-d float64": np.array(0.3),
    "int": 1,
    "int32": np.int32(1),
    "int64": np.int64(1),
    "0-d int32": np.array(1, np.int32),
}
FLOATS = ("float32", "0-d float32", "float16")


def matrix(dtype):
    return np.array([[1.5, -0.75, 3], [2, 0.5, -1.25], [-3, 1, 0.25]]).astype(dtype)


def traced_dtype(function, *arrays):
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace_function(lambda *a: found.append(function(*a)) or a[0], arrays, {})
    return found[0].dtype


def of(function, parameter):
    return lambda a: function(a, parameter)


@pytest.mark.parametrize("name", [*APART, *APART_IN_FLOAT64])
def test_what_is_no_operand_leaves_the_dtype(name):
    function = {**APART, **APART_IN_FLOAT64}[name]
    for own, (kind, parameter) in itertools.product(OURS, KINDS.items()):
        call = of(function, parameter)
        assert traced_dtype(call, matrix(own)) == own, (own, kind)
        with np.errstate(all="ignore"):
            assert following_table(call)(matrix(own)).dtype == own, (own, kind)


@pytest.mark.parametrize("name", COUNTING)
def test_operands_count_by_the_table(name):
    for own, (kind, parameter) in itertools.product(OURS, KINDS.items()):
        call = of(COUNTING[name], parameter)
        operand = np.asarray(parameter) if name in MADE_ARRAYS else parameter
        wanted = promotion.result_type(own, operand)
        assert wanted == table_dtype(own, operand)
        assert traced_dtype(call, matrix(own)) == wanted, (own, kind)
        with np.errstate(all="ignore"):
            assert following_table(call)(matrix(own)).dtype == wanted, (own, kind)


@pytest.mark.parametrize("name", [*APART, *COUNTING])
def test_numpy_counts_the_same_beside_float16(name):
    function = {**APART, **COUNTING}[name]
    for kind in FLOATS:
        with np.errstate(all="ignore"):
            dtype = function(matrix(np.float16), KINDS[kind]).dtype
        is_wider = name in COUNTING and kind != "float16"
        assert dtype == (np.float32 if is_wider else np.float16), kind


@pytest.mark.parametrize(
    "name", sorted({*APART, *APART_IN_FLOAT64, *COUNTING} - {"interp period"})
)
@pytest.mark.parametrize(
    "own", [BF16, pytest.param(E4M3FN, marks=pytest.mark.slow)], ids=str
)
def test_values_beside_parameters(name, own):
    """Of all but a period: what is beside a multiple of it has another remainder."""
    function = {**APART, **APART_IN_FLOAT64, **COUNTING}[name]

    def kernel(a):
        return [function(a, p) for p in KINDS.values()]

    def quiet(a):
        with np.errstate(all="ignore"):
            return following_table(kernel)(a)

    check_kernel(kernel, matrix(own), reference=quiet, modes="simulate")


@pytest.mark.parametrize("function", [np.putmask, np.place])
@pytest.mark.parametrize("own", [*OURS, np.dtype(np.float16)], ids=str)
def test_masks_store_arrays_that_can_be_cast_safely_and_any_scalar(function, own):
    store = stored(lambda a, values: function(a, np.ones((3, 3), bool), values))
    for dtype in SUPPORTED:
        values = np.ones(3, dtype)
        for given in (values, values[0]):
            if given is values and not promotion.can_cast(dtype, own, "safe"):
                for call in (of(store, given), following_table(of(store, given))):
                    with pytest.raises(TypeError, match="according to the rule 'safe'"):
                        traced_or_called(call, matrix(own))
            else:
                assert traced_dtype(of(store, given), matrix(own)) == own
                following_table(of(store, given))(matrix(own))


def traced_or_called(call, array):
    if hasattr(call, "__wrapped__"):  # the reference
        return call(array)
    return traced_dtype(call, array)


@pytest.mark.parametrize("own", [*OURS, np.dtype(np.float16)], ids=str)
def test_masks_store_scalars_of_arrays(own):
    def kernel(a, values):
        np.putmask(a, a > 0, values[0])
        np.place(a, a < -1, np.sum(values))
        return a

    check_kernel(kernel, matrix(own), np.ones(2, np.float32), modes="simulate")


@pytest.mark.parametrize("function", [np.put, np.fill_diagonal])
@pytest.mark.parametrize("dtype", SUPPORTED, ids=str)
def test_other_stores_take_what_numpy_casts(function, dtype):
    args = ([0, 4, 8],) if function is np.put else ()
    for own in (np.dtype(np.float16), np.dtype(np.int32), BF16):
        kernel = stored(lambda a, values: function(a, *args, values))
        check_kernel(kernel, matrix(own), np.ones(3, dtype), modes="simulate")


def test_arrays_made_of_elements_follow_the_table():
    def kernel(a):
        filled = np.full((2, 3), a[0, 0]) * np.arange(3)
        made = np.array([[a[0, 0], 1], [0.5, np.float64(2)]])
        return filled, made * 0.5, np.asarray(a) * 0.3, np.array([a[0], a[1]]) + 1

    for own in OURS:
        check_kernel(kernel, matrix(own), modes="simulate")
    with pytest.raises(OverflowError, match="448"):
        traced_dtype(lambda a: np.array([[a[0, 0], 1], [1e9, 1]]), matrix(E4M3FN))


def test_functions_of_numpy_are_its_own_after_the_reference():
    before = {name: getattr(np, name) for name in ("array", "asarray", "full")}
    following_table(lambda a: np.array([a[0, 0], 1]))(matrix(BF16))
    with pytest.raises(ZeroDivisionError):
        following_table(lambda a: 1 // 0)(matrix(BF16))
    assert before == {name: getattr(np, name) for name in before}
