"""bfloat16 and fp8: dtypes of every family of ops, values of each, by the guide."""

from __future__ import annotations

import functools
import itertools
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from nkipy.core import promotion
from nkipy.core.backend.hlo import find_common_type_hlo
from nkipy.core.dtypes import SUPPORTED, narrow
from nkipy.core.trace import trace_function
from nkipy.testing import check_kernel, following_table
from nkipy.testing.low_precision import table_dtype

BF16, E4M3, E4M3FN, E5M2 = (
    np.dtype(d)
    for d in (
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e5m2,
    )
)
OURS = (BF16, E4M3, E4M3FN, E5M2)
#: The rule: what each of ours gives with each float, in this order.
FLOATS = (BF16, E4M3, E4M3FN, E5M2, np.dtype("f2"), np.dtype("f4"))
RULE = """
bfloat16      bfloat16 bfloat16    bfloat16      bfloat16    float32 float32
float8_e4m3   bfloat16 float8_e4m3 bfloat16      bfloat16    float16 float32
float8_e4m3fn bfloat16 bfloat16    float8_e4m3fn bfloat16    float16 float32
float8_e5m2   bfloat16 bfloat16    bfloat16      float8_e5m2 float16 float32
"""
#: What counts for nothing beside ours.
WEAK = (True, 3, 0.5, np.float64(0.5), np.int64(3), np.uint64(3), np.sqrt(64))
WITHOUT_FLOATS = [d for d in SUPPORTED if d.kind in "iub"]

GUIDE = Path(__file__).parents[3] / "docs/user_guide/low_precision.md"


def rule():
    for row in RULE.split("\n")[1:-1]:
        name, *results = row.split()
        for other, result in zip(FLOATS, results):
            yield np.dtype(getattr(ml_dtypes, name)), other, as_dtype(result)


def as_dtype(name):
    return np.dtype(getattr(ml_dtypes, name, name))


TABLE = {frozenset((a, b)): result for a, b, result in rule()}


def expected(*dtypes):
    """The dtype of two operands, of which one is ours at least."""
    floats = [d for d in dtypes if d not in WITHOUT_FLOATS]
    return TABLE[frozenset(floats)]


def traced(kernel, *arrays):
    """What a kernel returns while it is traced."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace_function(lambda *a: found.append(kernel(*a)) or a[0], arrays, {})
    return found[0]


# -- the rule itself -------------------------------------------------------------------
@pytest.mark.parametrize("first", SUPPORTED, ids=str)
def test_rule_is_that_of_the_table_and_of_the_reference(first):
    for second in SUPPORTED:
        if not {first, second} & set(OURS):
            assert promotion.result_type(first, second) == narrow(
                np.result_type(first, second)
            )
            continue
        assert promotion.result_type(first, second) == expected(first, second)
        assert table_dtype(first, second) == expected(first, second)


@pytest.mark.parametrize(
    ("dtypes", "result"),
    [
        ((E4M3, E5M2, np.float16), np.float16),
        ((E4M3, E5M2, E4M3FN), BF16),
        ((BF16, E5M2, np.float16), np.float32),
        ((E4M3, BF16, np.int32), BF16),
        ((E4M3, np.int32, np.float16), np.float16),
        ((E4M3, E5M2, np.float32), np.float32),
    ],
)
def test_order_of_many_does_not_matter(dtypes, result):
    for permuted in itertools.permutations(map(np.dtype, dtypes)):
        assert promotion.result_type(*permuted) == result
        assert table_dtype(*permuted) == result


def test_guide_shows_the_rule():
    rows = [
        [cell.strip(" *") for cell in line.strip("|").split("|")]
        for line in GUIDE.read_text().splitlines()
        if line.startswith(("| |", "| **"))
    ]
    (_, *columns), *rows = rows
    assert [as_dtype(name) for name in columns[:6]] == list(FLOATS)
    assert [as_dtype(name) for name, *_ in rows] == list(OURS)
    others = [[d] for d in FLOATS] + [WITHOUT_FLOATS, WEAK]
    for name, *results in rows:
        own = as_dtype(name)
        for column, kinds, result in zip(columns, others, results, strict=True):
            found = {promotion.result_type(own, kind) for kind in kinds}
            assert found == {as_dtype(result)}, (name, column)


def test_complex_numbers_are_refused():
    for value in (1j, np.complex128(1), np.zeros(2, "c8")):
        with pytest.raises(TypeError):
            trace_function(lambda x, value=value: x * value, (np.ones(2, BF16),), {})


def test_casts_are_those_among_floats():
    can_cast = promotion.can_cast
    f2, f4, i1, i4 = map(np.dtype, ("f2", "f4", "i1", "i4"))
    for ours in OURS:
        assert can_cast(ours, f4, "safe") and can_cast(ours, np.dtype("f8"), "safe")
        assert can_cast(np.dtype(bool), ours, "safe")
        for other in FLOATS:
            assert can_cast(ours, other, "same_kind")
            assert can_cast(other, ours, "same_kind")
        assert can_cast(i4, ours, "same_kind") and not can_cast(i4, ours, "safe")
        assert not can_cast(ours, i4, "same_kind") and can_cast(ours, i4, "unsafe")
        assert not can_cast(ours, f4, "equiv") and can_cast(ours, ours, "no")
    assert can_cast(E4M3, BF16, "safe") and can_cast(E5M2, f2, "safe")
    assert can_cast(i1, BF16, "safe") and not can_cast(i1, E4M3, "safe")
    assert not can_cast(BF16, f2, "safe") and not can_cast(f2, BF16, "safe")
    assert not can_cast(E4M3, E5M2, "safe") and not can_cast(BF16, E4M3, "safe")


# -- every family of ops ---------------------------------------------------------------
V, M = (3,), (3, 3)
#: Functions of two arrays of a shape, whose floats have the common dtype.
PAIRS = {
    **{
        name: (M, getattr(np, name))
        for name in (
            "add subtract multiply divide floor_divide remainder fmod power maximum "
            "minimum fmax fmin hypot arctan2 copysign logaddexp logaddexp2 nextafter "
            "heaviside matmul dot vdot inner outer kron cross tensordot"
        ).split()
    },
    "float_power": (M, np.float_power),
    "divmod": (M, lambda a, b: np.divmod(a, b)[1]),
    "vecdot": (M, np.vecdot),
    "einsum": (M, lambda a, b: np.einsum("ij,jk->ik", a, b)),
    "convolve": (V, np.convolve),
    "correlate": (V, np.correlate),
    "concatenate": (M, lambda a, b: np.concatenate([a, b])),
    "stack": (M, lambda a, b: np.stack([a, b])),
    "hstack": (M, lambda a, b: np.hstack([a, b])),
    "block": (M, lambda a, b: np.block([a, b])),
    "append": (M, np.append),
    "where": (M, lambda a, b: np.where(a > 0, a, b)),
    "select": (M, lambda a, b: np.select([a > 0], [a], b)),
    "choose": (M, lambda a, b: np.choose((a > 0).astype(np.int32), [a, b])),
    "clip": (M, lambda a, b: np.clip(a, b, b)),
    "interp": (V, lambda a, b: np.interp(a, b, b)),
    "linspace": (M, lambda a, b: np.linspace(a, b, 3)),
    "average": (M, lambda a, b: np.average(a, weights=b)),
    "trapezoid": (V, lambda a, b: np.trapezoid(a, b)),
    "cov": (V, np.cov),
    "solve": ((1, 1), lambda a, b: np.linalg.solve(a, b)),
    "add.outer": (V, np.add.outer),
    "result_type": (M, lambda a, b: np.zeros(1, np.result_type(a, b))),
    "find_common_type": (M, lambda a, b: np.zeros(1, find_common_type_hlo(a, b))),
}
PREDICATES = {
    "equal": np.equal,
    "less": np.less,
    "logical_and": np.logical_and,
    "isclose": np.isclose,
    "array_equal": np.array_equal,
}


def every_pair(function, shape, others):
    """The dtypes of `function` of arrays of ours and of others, in both orders."""
    arrays = {d: np.ones(shape, d) for d in (*OURS, *others)}

    def kernel(*tensors):
        made = dict(zip(arrays, tensors))
        found = {}
        for a in OURS:
            for b in made:
                for pair in ((a, b), (b, a)):
                    found[pair] = function(*(made[d] for d in pair)).dtype
        return found

    return traced(kernel, *arrays.values())


@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_has_the_common_dtype(name):
    shape, function = PAIRS[name]
    others = [d for d in SUPPORTED if d != np.float16 or name != "solve"]
    for pair, dtype in every_pair(function, shape, others).items():
        assert dtype == expected(*pair), (name, pair)


@pytest.mark.parametrize("name", PREDICATES)
def test_every_pair_can_be_compared(name):
    for pair, dtype in every_pair(PREDICATES[name], M, SUPPORTED).items():
        assert dtype == np.dtype(bool), (name, pair)


#: Functions of an array and a scalar that keep the array's dtype, in both orders.
WITH_SCALAR = {
    **{
        name: function
        for name, (_, function) in PAIRS.items()
        if name
        not in (
            "matmul vdot cross tensordot vecdot einsum convolve correlate interp "
            "average trapezoid cov solve concatenate stack hstack block"
        ).split()
    },
    "clip": lambda a, b: np.clip(a, b, b) if np.ndim(a) else np.clip(b, a, a),
    "clip from below": lambda a, b: np.clip(a, b, None),
    "clip from above": lambda a, b: np.clip(a, None, b),
    "convolve": lambda a, b: np.convolve(*vectors(a, b)),
    "block": lambda a, b: np.block([*vectors(a, b)]),
    "where": lambda a, b: np.where(True if np.isscalar(a) else a > 0, a, b),
    "select": lambda a, b: np.select([np.array([[True]])], [a], b),
    "choose": lambda a, b: np.choose(np.zeros(M, np.int32), [a, b]),
    "maximum=": lambda a, b: np.maximum(a, b),
    "stack": lambda a, b: np.stack([a[0, 0], b] if np.ndim(a) else [a, b[0, 0]]),
    "hstack": lambda a, b: np.hstack([a[0], b] if np.ndim(a) else [a, b[0]]),
}


def vectors(*operands):
    """The operands, of matrices their first row."""
    return [x[0] if np.ndim(x) else x for x in operands]


@pytest.mark.parametrize("name", WITH_SCALAR)
@pytest.mark.parametrize("scalar", WEAK, ids=lambda s: type(s).__name__)
def test_scalars_are_weak(name, scalar):
    function = WITH_SCALAR[name]

    def kernel(*arrays):
        return [
            (a.dtype, function(*pair).dtype)
            for a in arrays
            for pair in ((a, scalar), (scalar, a))
        ]

    for own, dtype in traced(kernel, *(np.ones(M, d) for d in OURS)):
        assert dtype == own, (name, scalar)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, BF16], ids=str)
def test_scalars_of_other_dtypes_and_0d_arrays_are_strong(dtype):
    for own in OURS:
        scalar = np.ones((), dtype)[()]
        for other in (scalar, np.asarray(scalar)):
            made = traced(lambda a, other=other: a * other, np.ones(2, own))
            assert made.dtype == expected(own, np.dtype(dtype))
        assert traced(lambda a: a * np.array(0.5), np.ones(2, own)).dtype == np.float32


#: Functions of one array whose floats keep its dtype.
SINGLES = {
    **{
        name: getattr(np, name)
        for name in (
            "negative positive absolute fabs sign square sqrt cbrt reciprocal exp exp2 "
            "expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh "
            "tanh arcsinh arccosh arctanh degrees radians floor ceil trunc rint "
            "spacing "
            "sum prod mean var std cumsum cumprod max min median ptp nansum nanprod "
            "nanmean nanvar nanstd nanmax nanmin nanmedian nancumsum nancumprod sort "
            "diff ediff1d gradient trapezoid cov corrcoef average round fix nan_to_num "
            "trace tril triu diag flip ravel copy zeros_like ones_like "
            "sinc"
        ).split()
        if hasattr(np, name)
    },
    "partition": lambda a: np.partition(a, 1),
    "vander": lambda a: np.vander(a[0]),
    "cumulative_sum": lambda a: np.cumulative_sum(a, axis=0),
    "quantile": lambda a: np.quantile(a, 0.25),
    "percentile": lambda a: np.percentile(a, 25),
    "round 2": lambda a: np.round(a, 2),
    "norm": np.linalg.norm,
    "norm 3": lambda a: np.linalg.norm(a, 3, axis=0),
    "vector_norm": np.linalg.vector_norm,
    "matrix_power": lambda a: np.linalg.matrix_power(a, 3),
    "multi_dot": lambda a: np.linalg.multi_dot([a, a, a]),
    "inv": np.linalg.inv,
    "det": np.linalg.det,
    "cholesky": np.linalg.cholesky,
    "slogdet": lambda a: np.linalg.slogdet(a)[1],
    "modf": lambda a: np.modf(a)[1],
    "frexp": lambda a: np.frexp(a)[0],
    "ldexp": lambda a: np.ldexp(a, np.ones(M, np.int32)),
    "ldexp 1": lambda a: np.ldexp(a, 1),
    "add.reduce": np.add.reduce,
    "add.reduceat": lambda a: np.add.reduceat(a, [0, 1]),
    "add.accumulate": np.add.accumulate,
    "maximum.reduce": np.maximum.reduce,
    "divide.accumulate": np.divide.accumulate,
    "hypot.reduce": np.hypot.reduce,
    "full_like": lambda a: np.full_like(a, 0.5),
    "pad": lambda a: np.pad(a, 1, constant_values=0.5),
    "insert": lambda a: np.insert(a, 1, 0.5),
    "prepended": lambda a: np.diff(a, prepend=0.0, append=np.float64(1)),
    "gradient 0.5": lambda a: np.gradient(a, 0.5)[0],
    "sum with initial": lambda a: np.sum(a, initial=0.5),
    "max with initial": lambda a: np.max(a, initial=np.float64(0.5)),
    "isclose where": lambda a: np.where(np.isnan(a), 0.0, a),
    "a ** 2": lambda a: a**2,
    "-a // 2": lambda a: -a // 2,
    "divmod": lambda a: divmod(a, 2)[0],
    "1 / a": lambda a: 1 / a,
    "nn": lambda a: np.exp(a - np.max(a, -1, keepdims=True)) / np.sqrt(64),
    "mean of integers apart": lambda a: a * np.mean([1, 2, 3]),
}


@pytest.mark.parametrize("name", SINGLES)
def test_functions_of_one_array_keep_its_dtype(name):
    function = SINGLES[name]
    for dtype in OURS:
        made = traced(function, np.eye(3, dtype=dtype))
        made = made[0] if isinstance(made, (list, tuple)) else made
        assert made.dtype == dtype, name


@pytest.mark.parametrize("method", ["linear", "hazen", "lower", "inverted_cdf"])
@pytest.mark.parametrize("function", [np.quantile, np.percentile])
def test_quantiles_have_the_common_dtype_of_data_and_fractions(function, method):
    for q in (0.5, np.float64(0.5), 1, [0, 1], np.float32(0.5), [0.5], np.float16([1])):
        ask = functools.partial(function, q=q, method=method)
        q = q if np.isscalar(q) else np.asarray(q)
        assert traced(ask, np.ones(3, BF16)).dtype == promotion.result_type(BF16, q)


# -- values ----------------------------------------------------------------------------
#: What is not compared: inverses of what nearly is singular, and neighbours of numbers.
APART = {"solve", "inv", "det", "slogdet", "cholesky", "cov", "corrcoef", "spacing"}
APART |= {"nextafter", "result_type", "find_common_type", "interp"}


def random(shape, dtype, seed):
    """Values of either sign, none near zero; of integers, small ones."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 3, shape) * rng.choice([-1, 1], shape)
    return (np.abs(values) if dtype.kind in "ub" else values).astype(dtype)


def pair_kernel(a, b):
    """All functions of two arrays, in both orders, and of one with a scalar."""
    rows = a[0], b[0]
    made = {}
    for name, (shape, function) in PAIRS.items():
        x, y = rows if shape == V else (a, b)
        wraps = name == "trapezoid" and "u" in (a.dtype.kind, b.dtype.kind)
        if name not in APART and not wraps:  # where unsigned steps are negative
            made[name] = function(x, y), function(y, x)
    for name, function in PREDICATES.items():
        made[name] = function(a, b), function(b, a)
    for name in ("add", "multiply", "power", "remainder", "less", "maximum"):
        function = getattr(np, name)
        made[f"{name} weak"] = [function(a, s) for s in (0.3, 3, np.float64(0.3))]
    return made


def single_kernel(a):
    return {name: f(a) for name, f in SINGLES.items() if name not in APART}


def in_place_kernel(a, b, c):
    """Stores, out=, at: `a` and `b` are ours, `c` is float32."""
    a += b
    a *= 0.3
    a[0] = c[0]
    a[1, 1] = np.float64(0.7)
    np.add(a, c, out=b)
    np.matmul(a, a, out=c)
    np.add.at(b, ([0, 0, 2], [1, 1, 2]), 0.3)
    np.copyto(a[2], c[2])
    return np.sum(b, axis=0, dtype=np.float32), np.multiply(a, b, dtype=np.float32)


def compared(kernel, *arrays, modes):
    def quiet(*args):
        with np.errstate(all="ignore"):
            return following_table(kernel)(*args)

    check_kernel(kernel, *arrays, reference=quiet, modes=modes)


def few_kernel(a):
    """A representative of each family: of which not even the dtype is NumPy's."""
    weak = a * 0.3, a / np.sqrt(64), np.maximum(a, 0.0), a + np.ones(M, np.int32)
    sums = np.mean(a, axis=0), np.std(a), np.cumsum(a, axis=1), np.linalg.norm(a)
    products = a @ a, np.einsum("ij,kj->ik", a, a), np.dot(a, a[0]), np.add.outer(a, a)
    chosen = (
        np.where(a > 0, a, 0.0),
        np.clip(a, -1.0, 1.0),
        np.interp(0.3, np.sort(a[0]), a[1]),
    )
    return weak, sums, products, chosen, np.hypot.reduce(a), np.round(a, 1), a < 0.3


def all_pairs():
    """Each of ours with each dtype. The three of float8 are treated alike: CI has one
    of them with each other dtype, each with itself, and none with bfloat16 twice."""
    for a, (number, b) in itertools.product(OURS, enumerate(SUPPORTED)):
        is_turn = a == b or a == OURS[1 + number % 3] and b != BF16
        marks = [] if a == BF16 or is_turn else [pytest.mark.exhaustive]
        yield pytest.param((a, b), marks=marks, id=f"{a}-{b}")


@pytest.mark.slow
@pytest.mark.parametrize("pair", list(all_pairs()))
def test_values_of_pairs(pair):
    a, b = (random(M, dtype, seed) for seed, dtype in enumerate(pair))
    compared(pair_kernel, a, b, modes="simulate")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", OURS, ids=str)
def test_values_of_functions_of_one_array(dtype):
    compared(single_kernel, random(M, dtype, 0), modes="simulate")


@pytest.mark.parametrize("dtype", [BF16, E4M3FN], ids=str)
def test_values_of_each_family(dtype):
    compared(few_kernel, random(M, dtype, 0), modes="simulate")


@pytest.mark.device
@pytest.mark.parametrize("dtype", [BF16, E5M2], ids=str)
def test_values_on_the_device(dtype):
    compared(few_kernel, random(M, dtype, 0), modes="baremetal")


@pytest.mark.parametrize("dtype", [BF16, E4M3], ids=str)
def test_values_of_stores(dtype):
    arrays = [random(M, d, i) for i, d in enumerate((dtype, dtype, np.dtype("f4")))]
    compared(in_place_kernel, *arrays, modes="simulate")


def test_number_that_would_be_nan_is_refused():
    for function in (np.multiply, np.append, np.maximum, np.outer):
        with pytest.raises(OverflowError, match="448"):
            traced(lambda a, f=function: f(a, 1e9), np.ones(2, E4M3FN))
        assert traced(lambda a, f=function: f(a, 448), np.ones(2, E4M3FN)).size


def test_functions_of_dtypes_answer_by_the_rule():
    def kernel(a, b):
        assert np.result_type(a, np.int32) == np.result_type(a, 0.5) == BF16
        assert np.result_type(a, b) == np.float32
        assert np.can_cast(a, np.float32) and not np.can_cast(a, b.dtype)
        assert np.can_cast(a, b.dtype, "same_kind")
        assert np.common_type(a, a) == BF16.type
        return a

    trace_function(kernel, (np.ones(2, BF16), np.ones(2, np.float16)), {})


@pytest.mark.parametrize(
    "kernel",
    [
        lambda a, i: np.add(i, a, out=i),
        lambda a, i: np.multiply(a, 0.5, out=i),
    ],
)
def test_the_reference_refuses_what_out_cannot_take(kernel):
    a, i = np.ones(3, ml_dtypes.bfloat16), np.ones(3, np.int32)
    with pytest.raises(TypeError, match="[Cc]ast"):
        following_table(kernel)(a, i)
    with pytest.raises(TypeError, match="[Cc]ast"):
        check_kernel(kernel, a, i)


def test_scalars_select_views_and_arrays_of_no_dimension_copies():
    def kernel(a, i):
        view, copy = a[i % 2], a[i]
        view[0] = 50
        copy[1] = 70
        a[i % 2, 2] = 9
        return view, copy

    for dtype in (np.float32, ml_dtypes.bfloat16):
        a = np.arange(6).reshape(2, 3).astype(dtype)
        check_kernel(kernel, a, np.array(1, np.int32), modes="simulate")


def test_einsum_of_one_array_that_sums_nothing_is_a_view():
    def kernel(x):
        turned = np.einsum("ij->ji", x)
        summed = np.einsum("ij->i", x)
        converted = np.einsum("ij->ji", x, dtype=np.float32, casting="unsafe")
        x[0] = x[1]
        return x, turned, summed, converted

    check_kernel(kernel, np.arange(6).reshape(2, 3).astype(E5M2))
