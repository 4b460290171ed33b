"""Nothing is folded to what it is not, wherever its constants come from."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation
from nkipy.hlo.opcodes import WindowDim
from nkipy.hlo.rewrites.folding import leaves_to_hide
from tests.unit.hlo.rewrites.test_exact import branches, callee, element, pack, thrice

INTEGERS = [d for d in dt.INTEGERS if d.itemsize < 8]


def call(b, value, body):
    called = callee("called", value, body)
    root = called.root
    attributes = {"to_apply": called}
    return b.emit(
        *("call", (value,), root.shape, root.dtype, attributes),
        tuple_shapes=root.tuple_shapes,
    )


def hidden(module_of, body, *like):
    """The values of the constants that are hidden."""
    found = leaves_to_hide(module_of(body, *like))
    return sorted(float(leaf.attributes["literal"].flat[0]) for leaf in found)


def log(b, x):
    return b.unary("log", x)


# ------------------------------------------------------------ what folds differently
@pytest.mark.parametrize("inside", [False, True], ids=["entry", "call"])
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_a_convolution_of_constants_wraps_around(execute, dtype, inside):
    high = np.iinfo(dtype).max
    x = np.full((1, 1, 4), high, dtype)
    w = np.array([high, 3, 5], dtype).reshape(1, 1, 3)
    shape = (1, 1, 2)
    attributes = {"window": (WindowDim(3),), "dim_labels": "bf0_oi0->bf0"}

    def convolved(b, x, w):
        return b.emit("convolution", (x, w), shape, dtype, attributes)

    def body(b, *parameters):
        results = [convolved(b, *parameters)]
        constants = b.constant(x), b.constant(w)
        if not inside:
            return [*results, convolved(b, *constants)]
        called = HLOComputation("convolved")
        given = [called.add_parameter(c.shape, dtype) for c in constants]
        called.root = convolved(HLOBuilder(called), *given)
        to_apply = {"to_apply": called}
        return [*results, b.emit("call", constants, shape, dtype, to_apply)]

    total = int(high) * (int(high) + 8) % 2 ** (8 * dtype.itemsize)
    expected = np.array(total, np.uint64).astype(f"u{dtype.itemsize}").view(dtype)
    for result in execute(body, x, w):
        assert (result == expected).all()


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("opcode", ["maximum", "minimum"])
def test_zeros_that_a_call_gets_are_compared_as_others(execute, opcode, dtype):
    zeros = np.array([0.0, -0.0, 0.0, -0.0], dtype)
    others = np.array([0.0, 0.0, -0.0, -0.0], dtype)

    def inner(b, both):
        return b.binary(opcode, element(b, both, 0), element(b, both, 1))

    def body(b, x, y):
        constants = b.constant(zeros), b.constant(others)
        return [call(b, pack(b, *pair), inner) for pair in ((x, y), constants)]

    computed, folded = execute(body, zeros, others)
    assert np.signbit(computed).tolist() == np.signbit(folded).tolist()


# ------------------------------------------------------------ what is hidden
def test_what_leaves_a_call_is_known(module_of):
    def body(b, x):
        moved = call(b, b.constant(np.float32([2, 3])), lambda b, p: b.negate(p))
        made = call(b, x, lambda b, p: b.constant(np.float32([5, 7])))
        return log(b, moved), log(b, made)

    assert hidden(module_of, body, np.zeros(2, np.float32)) == [2, 5]


def test_calls_in_calls_are_gone_through(module_of):
    def outer(b, p):
        return log(b, call(b, p, lambda b, p: call(b, p, lambda b, p: b.negate(p))))

    def body(b, x):
        return call(b, x, outer), call(b, b.scalar(2, x.dtype), outer)

    assert hidden(module_of, body, np.zeros((), np.float32)) == [2]


def test_a_loop_may_run_once_or_twice(module_of):
    def body(b, x):
        two, three = (b.scalar(v, x.dtype) for v in (2, 3))
        return thrice(b, x, two, three, step=lambda b, x, y, z: [x, z, log(b, y)])

    assert hidden(module_of, body, np.zeros((), np.float32)) == [2, 3]


def test_any_branch_may_be_the_one(module_of):
    def body(b, x, index):
        two = b.scalar(2, x.dtype)
        kept = branches(b, index, two, lambda b, p: b.negate(p), lambda b, p: p)
        return log(b, kept), branches(b, index, x, log, lambda b, p: p)

    index = np.zeros((), np.int32)
    assert hidden(module_of, body, np.zeros((), np.float32), index) == [2]


def test_what_depends_on_parameters_too_is_left(module_of):
    def product(b, both):
        return b.multiply(element(b, both, 0), element(b, both, 1))

    def body(b, x):
        both = pack(b, x, b.scalar(2, x.dtype))
        return call(b, both, product), thrice(b, x, both.operands[1], step=swapped)[0]

    def swapped(b, x, y):
        return [b.multiply(x, y), y]

    assert hidden(module_of, body, np.zeros((), np.float32)) == []


def test_chains_of_calls_take_no_longer_for_being_doubled(module_of):
    """Of 40 computations each calls the one before twice: 2**40 ways in all."""

    def body(b, x):
        last = callee("log", x, log)
        for _ in range(40):
            last = callee("twice", x, lambda b, p, last=last: twice(b, p, last))
        return twice(b, b.scalar(2, x.dtype), last)

    def twice(b, value, called):
        for _ in range(2):
            attributes = {"to_apply": called}
            value = b.emit("call", (value,), (), value.dtype, attributes)
        return value

    assert hidden(module_of, body, np.zeros((), np.float32)) == [2]


# ------------------------------------------------------------ subnormal numbers
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float64])
def test_a_subnormal_constant_is_not_taken_for_zero(execute, dtype):
    tiny = float(ml_dtypes.finfo(dtype).tiny)
    values = [0, tiny / 2, tiny / 4, -tiny / 2, -0.0]
    arrays = [np.full((2, 3), v).astype(dtype) for v in values]
    bits = np.dtype(f"u{arrays[0].itemsize}")

    def body(b):
        return [b.bitcast_convert(b.constant(array), bits) for array in arrays]

    for result, array in zip(execute(body), arrays):
        np.testing.assert_array_equal(result, array.view(bits))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float64])
def test_subnormal_constants_like_no_other_are_left(module_of, dtype):
    tiny = float(ml_dtypes.finfo(dtype).tiny)
    rows = [[x, tiny / 2, np.inf, -np.inf, np.nan] for x in (1, 2, 2, 3)]

    def body(b):
        return [b.constant(np.array(row).astype(dtype)) for row in rows]

    assert hidden(module_of, body) == []
