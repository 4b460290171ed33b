"""What the samples of shape ops cannot express: programs, alternatives, economy."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops import transform
from nkipy.core.trace import trace_function
from nkipy.testing import run_simulated
from tests.support.kernels import check_kernel

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def opcodes(func, *args):
    module = trace_function(func, args, {}).module
    return [op.opcode for op in module.operations if not op.is_parameter]


def trace_one(func, *args):
    """The tensor that `func` returns while it is traced."""
    made = []

    def kernel(*tensors):
        made.append(func(*tensors))

    trace_function(kernel, args, {})
    return made[0]


def test_concatenate_and_astype_are_found_in_transform():
    assert transform.concatenate is OPS["concatenate"]
    assert transform.astype is OPS["astype"]


@pytest.mark.parametrize(
    ("shift", "axis", "dimensions"),
    [(1, 0, [0]), ((1, 2), (0, 1), [0, 1]), (3, 1, []), ((1, 1), 1, [1])],
)
def test_roll_is_one_concatenate_per_rolled_axis(shift, axis, dimensions):
    module = trace_function(lambda a: np.roll(a, shift, axis), (X,), {}).module
    joins = [op for op in module.operations if op.op_name == "concatenate"]
    assert [op.attributes["dimension"] for op in joins] == dimensions


@pytest.mark.parametrize("shift", [0, 1, -1, 3, -7, 100])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_roll_by_a_traced_shift(shift, axis):
    def kernel(a, by):
        return np.roll(a, by, axis)

    got = run_simulated(kernel, X, np.array(shift, np.int32))
    np.testing.assert_array_equal(got, np.roll(X, shift, axis))


def test_roll_refuses_traced_shifts_per_axis():
    with pytest.raises(NotImplementedError, match="roll per axis"):
        trace_function(lambda a, s: np.roll(a, s, (0, 1)), (X, np.array([1, 2])), {})


def test_reshape_error_shows_both_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\), into shape \(4, 2\)"):
        trace_function(lambda a: a.reshape(4, 2), (X,), {})


def test_reshape_takes_numpy_integers_and_lists():
    shape = (np.int64(3), np.int32(2))
    check_kernel(lambda a: (a.reshape(shape), a.reshape([3, 2]), a.reshape(6)), X)


def test_a_traced_value_is_no_dimension():
    with pytest.raises(TypeError, match="not known while the kernel is traced"):
        trace_function(lambda a, n: a.reshape(n, 2), (X, np.array(3)), {})


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (bool, dt.bool_),
        (int, dt.int32),
        (float, dt.float32),
        ("int64", dt.int32),
        (np.float64, dt.float32),
        (">f4", dt.float32),
        (dt.float8_e5m2, dt.float8_e5m2),
    ],
)
def test_astype_takes_all_that_names_a_dtype(dtype, expected):
    assert trace_one(lambda a: a.astype(dtype), X).dtype == expected


def test_astype_without_copy_is_the_array_itself():
    assert trace_one(lambda a: a.astype("f4", copy=False) is a, X) is True
    assert trace_one(lambda a: a.astype("f4") is a, X) is False


def test_astype_checks_the_casting_rule():
    with pytest.raises(
        TypeError, match="float32 to int32 according to the rule 'safe'"
    ):
        trace_function(lambda a: a.astype(np.int32, casting="safe"), (X,), {})
    safe = trace_one(lambda a: a.astype(np.int64, casting="safe"), X.astype(np.uint32))
    assert (
        safe.dtype == dt.int32
    )  # NumPy allows uint32 to int64, which is then narrowed


def test_astype_rounds_and_truncates_as_numpy():
    halves = np.array([-2.5, -0.5, 0.5, 1.5, 2.5, 3.9], np.float32)
    check_kernel(lambda a: (a.astype(int), a.astype(bool), a.astype(np.int8)), halves)
    big = np.array([2**24 + 1, 2**31 - 1, -(2**24) - 3, 65520, 65519], np.int32)
    check_kernel(lambda a: (a.astype("f4"), a.astype("f2"), a.astype(dt.bfloat16)), big)


def test_conversions_to_8_bits_follow_ml_dtypes_at_the_edges():
    edges = np.array([447, 448, 464, 465, 480, 240, 248, 57344, 61440, 61441, np.inf])
    edges = np.concatenate([edges, -edges, [np.nan, 2**-10, 1.5 * 2**-10, 2**-17]])

    def kernel(a):
        return [a.astype(d) for d in dt.FP8]

    check_kernel(kernel, edges.astype(np.float32))
    check_kernel(kernel, edges.astype(np.float16))
    check_kernel(kernel, edges.astype(dt.bfloat16))


def same_bits(got, want):
    assert got.dtype == want.dtype
    bits = np.dtype(f"u{want.itemsize}")
    equal = got.view(bits) == want.view(bits)
    if dt.is_float(want.dtype):
        equal |= np.isnan(got.astype("f4")) & np.isnan(want.astype("f4"))
    assert equal.all(), np.flatnonzero(~equal)[:5]


@pytest.mark.parametrize("source", [dt.float16, dt.bfloat16], ids=str)
def test_every_16_bit_value_converts_as_ml_dtypes_does(source):
    values = np.arange(2**16, dtype=np.uint16).view(source)
    targets = [d for d in (*dt.FLOATS, *dt.FP8) if d != source]
    got = run_simulated(lambda a: [a.astype(d) for d in targets], values)
    with np.errstate(all="ignore"):
        for converted, target in zip(got, targets):
            same_bits(converted, values.astype(target))


def test_float32_and_int32_are_rounded_once():
    """At, just below and just above each tie of the narrower formats."""
    ties = []
    for target in (dt.float16, dt.bfloat16, *dt.FP8):
        unsigned = np.dtype(f"u{target.itemsize}")
        every = np.arange(256**target.itemsize, dtype=unsigned).view(target)
        exact = np.sort(every.astype(np.float32)[np.isfinite(every.astype(np.float32))])
        middle = ((exact[1:].astype(float) + exact[:-1]) / 2).astype(np.float32)
        ties += [middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf)]
    floats = np.concatenate(ties)
    floats = floats[np.abs(floats) >= np.finfo(np.float32).smallest_normal]
    near = np.concatenate([floats[np.abs(floats) < 2**30].astype(np.int32)] * 3)
    near += np.repeat(np.array([-1, 0, 1], np.int32), len(near) // 3)
    targets = (dt.float16, dt.bfloat16, *dt.FP8)
    for values in (floats, near):
        got = run_simulated(lambda a: [a.astype(d) for d in targets], values)
        with np.errstate(all="ignore"):
            for converted, target in zip(got, targets):
                same_bits(converted, values.astype(target))


def test_a_conversion_there_and_back_is_not_optimised_away():
    x = np.linspace(0, 1, 33, dtype=np.float32)
    check_kernel(lambda a: a.astype(dt.bfloat16).astype(np.float32), x)


def test_pad_takes_a_traced_constant():
    def kernel(a, value):
        return np.pad(a, ((1, 0), (2, 1)), constant_values=value)

    got = run_simulated(kernel, X, np.array(2.5, np.float32))
    np.testing.assert_array_equal(got, np.pad(X, ((1, 0), (2, 1)), constant_values=2.5))


def test_uniform_padding_is_one_instruction():
    assert opcodes(lambda a: np.pad(a, 2), X) == ["constant", "pad"]


def test_moves_of_static_elements_are_few_slices_or_one_gather():
    assert opcodes(lambda a: np.delete(a, 1, axis=1), X) == [
        "slice",
        "slice",
        "concatenate",
    ]
    many = list(np.random.default_rng(0).integers(0, 3, 30))
    row = np.arange(30, dtype=np.float32)
    assert opcodes(lambda a: np.repeat(a, many), row) == ["constant", "gather"]
    assert opcodes(lambda a: np.tile(a, (2, 1)), X) == ["broadcast", "reshape"]
    assert (
        opcodes(lambda a: np.diagonal(a), X[:, :2]) == ["reshape", "slice", "copy"][:2]
    )


def test_join_promotes_as_numpy_and_narrows_once():
    ints = np.arange(6, dtype=np.int32).reshape(2, 3)
    joined = trace_one(lambda a, b: np.concatenate([a, b]), X, ints)
    assert joined.dtype == dt.float32  # float64 in NumPy
    half = X.astype(np.float16)
    assert trace_one(lambda a: np.stack([a[0, 0], 2.0]), half).dtype == dt.float32
    flat = trace_one(lambda a: np.concatenate([a, 2.0], axis=None), half)
    assert flat.dtype == dt.float16  # where NumPy keeps a Python scalar weak
    check_kernel(lambda a: np.hstack([a[0], [1, 2]]), X)


def test_join_of_arrays_and_traced_ones():
    check_kernel(lambda a: np.concatenate([np.zeros((1, 3), np.float32), a, a]), X)
    check_kernel(lambda a: np.block([[a, np.ones((2, 1), np.float32)]]), X)


def test_concatenate_checks_out():
    def kernel(a, out):
        return np.concatenate([a, a], out=out)

    check_kernel(kernel, X, np.zeros((4, 3), np.float16))
    with pytest.raises(TypeError, match="Cannot cast"):
        trace_function(kernel, (X, np.zeros((4, 3), np.int32)), {})


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: np.ascontiguousarray(a),
        lambda a: np.asfortranarray(a),
        lambda a: np.asarray(a, order="F"),
        lambda a: np.asarray(a, order="C"),
        lambda a: np.array(a, order="F", copy=None),
        lambda a: a.astype(a.dtype, order="C", copy=False),
        lambda a: a.astype(a.dtype, order="F", copy=False),
        lambda a: a.astype(a.dtype, order="F"),
        lambda a: a.astype(a.dtype, order="K", copy=False),
        lambda a: np.require(a),
        lambda a: np.require(a, np.float16),
        lambda a: np.require(a, requirements="C"),
        lambda a: np.require(a, None, ["FORTRAN", "WRITEABLE", "ALIGNED"]),
        lambda a: np.require(a[:], requirements=["C", "O"]),
        lambda a: np.require(a[:, ::-1], requirements=["owndata", "E"]),
        lambda a: np.require(a + 1, None, "FOW"),
        lambda a: np.require([a, a], like=a)[1],
    ],
)
def test_an_order_decides_whether_there_is_a_copy(convert):
    def kernel(a, b):
        made, turned = convert(a), convert(b.T)
        made[0], turned[1] = 7, 8  # reach the arguments, or do not
        np.reshape(made, -1)[1], np.reshape(turned, -1)[2] = 9, 10  # or the results
        return made, turned, a, b

    check_kernel(kernel, X, X + 1)


def test_requirements_that_cannot_be_met():
    with pytest.raises(KeyError, match="Q"):
        trace_function(lambda a: np.require(a, None, "Q"), (X,), {})
    with pytest.raises(ValueError, match='both "C" and "F"'):
        trace_function(lambda a: np.require(a, None, ["C", "F"]), (X,), {})
    # X[:] of the caller's does not own its memory, X.copy() does: the program is one.
    with pytest.raises(NotImplementedError, match="owns its memory.*copy"):
        trace_function(lambda a: np.require(a, None, ["C", "O"]), (X,), {})


def test_as_many_parts_as_nobody_can_list_are_refused_at_once():
    def kernel(x, parts):
        return np.array_split(x, parts)[1:4]

    check_kernel(kernel, X, 70)
    for parts in (2**31, 2**70):
        with pytest.raises(NotImplementedError, match="would be empty.*at most 2"):
            trace_function(kernel, (X, parts), {})


def test_an_order_that_there_is_not():
    with pytest.raises(ValueError, match="order must be one of"):
        trace_function(lambda a: a.astype(np.float32, order="X"), (X,), {})


@pytest.mark.parametrize(
    ("captured", "match"),
    [
        (X.view(np.matrix), "np.matrix"),
        (np.ma.masked_array(X, mask=X > 1), "masked array"),
    ],
)
@pytest.mark.parametrize("use", [np.add, np.matmul, lambda a, b: np.stack([a, b])])
def test_captured_arrays_that_compute_otherwise_are_refused(captured, match, use):
    with pytest.raises(TypeError, match=match):
        trace_function(lambda a: use(a, captured), (X,), {})
