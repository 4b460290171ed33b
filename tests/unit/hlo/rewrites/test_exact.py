"""XLA computes what the module says, bit for bit."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, Shape
from nkipy.hlo.rewrites.exact import keep_exact

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
N = 1001
FLOATS = [np.float32, np.float16, ml_dtypes.bfloat16, np.float64]


@pytest.fixture
def operands(rng):
    x, y, z = rng.standard_normal((3, N)).astype(np.float32) * 30
    x[:4] = [1000, -1000, 3e38, 0]
    return x, y, z


def same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal bits; any NaN is like any other."""
    assert actual.dtype == expected.dtype
    bits = f"u{actual.dtype.itemsize}"
    nan = np.isnan(actual.astype(np.float32)) & np.isnan(expected.astype(np.float32))
    different = (actual.view(bits) != expected.view(bits)) & ~nan
    assert not different.any(), (actual[different][:5], expected[different][:5])


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_products_are_rounded_before_they_are_added(execute, operands, dtype):
    x, y, z = (v.astype(dtype) for v in operands)

    def body(b, x, y, z):
        product = b.multiply(x, y)
        swapped = b.multiply(y, x)
        return (
            b.add(product, z),
            b.subtract(b.multiply(x, z), product),
            b.add(b.negate(b.reshape(product, (7, 143))), b.reshape(z, (7, 143))),
            b.subtract(product, swapped),
        )

    results = execute(body, x, y, z)
    same(results[0], x * y + z)
    same(results[1], x * z - x * y)
    same(results[2], (-(x * y) + z).reshape(7, 143))
    same(results[3], x * y - y * x)


def test_products_are_rounded_where_a_sum_has_other_elements_too(execute, rng):
    w, x, y, z = rng.standard_normal((4, 64)).astype(np.float32)

    def body(b, w, x, y, z):
        product = b.multiply(x, y)
        half = b.slice(product, (0,), (32,))
        begins = b.compare(b.iota((64,), 0), b.full((64,), 9, dt.int32), "LT")
        start = b.constant(np.int32(3))
        return (
            b.add(b.concatenate([half, b.slice(w, (0,), (32,))], 0), z),
            b.add(z, b.pad(half, b.scalar(1.5, dt.float32), [(3, 29, 0)])),
            b.subtract(b.select(begins, w, product), z),
            b.add(b.dynamic_update_slice(w, half, [start]), z),
        )

    joined, padded, chosen, stored = execute(body, w, x, y, z)
    product = x * y
    same(joined, np.concatenate([product[:32], w[:32]]) + z)
    same(padded, np.pad(product[:32], (3, 29), constant_values=np.float32(1.5)) + z)
    same(chosen, np.where(np.arange(64) < 9, w, product) - z)
    same(stored, np.concatenate([w[:3], product[:32], w[35:]]) + z)


def test_products_are_rounded_behind_what_turns_out_to_change_nothing(execute, rng):
    x, y, z = rng.standard_normal((3, 64)).astype(np.float32)

    def body(b, x, y, z):
        product = b.multiply(x, y)
        low, high, one = (b.full((64,), v, dt.float32) for v in (-np.inf, np.inf, 1))
        bits = b.bitcast_convert(product, dt.int32)
        passed = (
            b.maximum(product, low),
            b.clamp(low, product, high),
            b.minimum(product, product),
            b.divide(product, one),
            b.convert(b.convert(product, dt.float64), dt.float32),
            b.bitcast_convert(b.or_(bits, b.full((64,), 0, dt.int32)), dt.float32),
        )
        square = b.emit("power", (x, b.full((64,), 2, dt.float32)), (64,), dt.float32)
        return (*(b.add(p, z) for p in passed), b.add(square, z))

    *sums, square = execute(body, x, y, z)
    for found in sums:
        same(found, x * y + z)
    same(square, x * x + z)


def origins(value: HLOInstruction) -> set[str]:
    """The opcodes that a sum of `value` could be contracted with, through moves."""
    if value.opcode in ("negate", "reshape", "broadcast", "transpose", "slice"):
        return origins(value.operands[0])
    return {value.opcode}


@pytest.mark.parametrize("zero_shape", [(), (1,), (5,)], ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_no_product_reaches_a_sum_without_a_fence(module_of, dtype, zero_shape):
    """Whether this CPU multiplies and adds at once in that dtype or not."""

    def body(b, x, zero):
        product = b.multiply(x, x)
        rows = b.reshape(b.negate(product), (2, 3))
        return (
            b.add(product, x),
            b.subtract(b.reshape(x, (2, 3)), rows),
            b.reduce(b.transpose(rows, (1, 0)), "add", 0, (0,)),
        )

    module = module_of(body, np.zeros(6, dtype), np.zeros(zero_shape, np.uint64))
    copy = keep_exact(module, module.parameters[1])
    copy.verify()
    fenced = copy.entry.instructions
    sums = [i for i in fenced if i.opcode in ("add", "subtract", "reduce")]
    assert len(sums) == 3
    summed = set().union(*(origins(o) for i in sums for o in i.operands))
    assert summed == {"bitcast-convert", "parameter", "constant"}


_numbers = itertools.count()


def element(b, value, index):
    shape = value.tuple_shapes[index]
    return b.emit(
        "get-tuple-element", (value,), shape.dims, shape.dtype, {"index": index}
    )


def pack(b, *values):
    shapes = tuple(Shape(v.dtype, v.shape) for v in values)
    return b.emit("tuple", values, (), None, tuple_shapes=shapes)


def callee(name, like, body):
    """A computation of one parameter, and what ``body(builder, parameter)`` gives."""
    made = HLOComputation(f"{name}{next(_numbers)}")
    shapes = like.tuple_shapes
    p = made.add_parameter(like.shape, like.dtype, "p", shapes)
    made.root = body(HLOBuilder(made), p)
    return made


def branches(b, index, value, *bodies):
    made = tuple(callee("branch", value, body) for body in bodies)
    root = made[0].root
    return b.emit(
        *("conditional", (index, *[value] * len(made)), root.shape, root.dtype),
        attributes={"branches": made},
        tuple_shapes=root.tuple_shapes,
    )


def thrice(b, *values, step):
    """``values = step(builder, *values)`` three times, in a loop."""
    state = pack(b, b.scalar(0, np.dtype(np.int32)), *values)

    def body(b, p):
        i, *old = (element(b, p, k) for k in range(len(p.tuple_shapes)))
        return pack(b, b.add(i, b.scalar(1, i.dtype)), *step(b, *old))

    def condition(b, p):
        return b.compare(element(b, p, 0), b.scalar(3, np.dtype(np.int32)), "LT")

    loop = {
        "body": callee("body", state, body),
        "condition": callee("condition", state, condition),
    }
    made = b.emit("while", (state,), (), None, loop, state.tuple_shapes)
    return [element(b, made, k + 1) for k in range(len(values))]


def controlled(b, index, x, y, z):
    """Sums of products in branches and loops, of parts that come from without."""
    xyz = pack(b, x, y, z)

    def apart(b, p):
        return [element(b, p, k) for k in range(3)]

    def first(b, p):
        x, y, z = apart(b, p)
        return b.add(b.multiply(x, y), z)

    def second(b, p):  # a loop in a branch
        x, y, z = apart(b, p)
        return thrice(b, z, step=lambda b, z: [b.add(b.multiply(z, z), z)])[0]

    def third(b, p):  # a branch in a branch, which gets the tuple as it is
        flag = b.scalar(0, np.dtype(np.int32))
        return b.negate(branches(b, flag, p, first, first))

    (looped,) = thrice(b, z, step=lambda b, z: [branch_of_one(b, z)])
    product = b.multiply(x, y)  # goes into the branch
    inside = branches(b, index, product, *[lambda b, p: b.add(p, p)] * 3)
    outside = branches(b, index, x, *[lambda b, p: b.multiply(p, p)] * 3)
    return (
        branches(b, index, xyz, first, second, third),
        looped,
        b.subtract(b.add(inside, outside), z),
    )


def branch_of_one(b, z):
    flag = b.scalar(1, np.dtype(np.int32))
    return branches(b, flag, z, lambda b, z: z, lambda b, z: b.add(b.multiply(z, z), z))


def controlled_by_numpy(index, x, y, z):
    def loop(z):
        for _ in range(3):
            z = z * z + z
        return z

    chosen = (x * y + z, loop(z), -(x * y + z))[int(index)]
    return chosen, loop(z), x * y + x * y + x * x - z


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_products_are_rounded_inside_branches_and_loops(
    engine, module_of, results_of, operands, dtype
):
    arrays = [(v / 64).astype(dtype) for v in operands]
    index = np.array(0, np.int32)
    module = module_of(controlled, index, *arrays)
    executable, results = engine.compile(module), results_of(module)
    for i in range(3):
        index[...] = i
        executable.run([index, *arrays], results)
        for actual, expected in zip(results, controlled_by_numpy(index, *arrays)):
            same(actual, expected)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_no_product_reaches_a_sum_inside_branches_and_loops(module_of, dtype):
    """Nor the end of a computation, or another one."""
    x = np.zeros(6, dtype)
    like = np.array(0, np.int32), x, x, x, np.zeros(3, np.uint64)
    module = module_of(lambda b, *values: controlled(b, *values[:4]), *like)
    copy = keep_exact(module, module.parameters[4])
    copy.verify()
    module.verify()  # as it was
    ends = ("add", "subtract", "tuple", "while", "conditional")
    count = 0
    for computation in copy.computations():
        last = [i for i in computation.instructions if i.opcode in ends]
        reached = [o for i in last for o in i.operands if o.dtype == x.dtype]
        if computation is not copy.entry:
            reached.append(computation.root)
        count += len(reached)
        assert "multiply" not in set().union(*map(origins, reached))
    assert count > 20


def test_a_zero_that_is_added_inside_a_call_drops_the_sign_of_zero(execute):
    x = np.array([-0.0, 0.0, 1.0], np.float32)

    def body(b, x):
        zero = b.full(x.shape, 0, x.dtype)
        called = HLOComputation("called")
        p = called.add_parameter(x.shape, x.dtype)
        q = called.add_parameter(x.shape, x.dtype)
        inner = HLOBuilder(called)
        total = inner.add(p, inner.full(x.shape, 0, x.dtype))
        called.root = inner.add(total, q)
        attributes = {"to_apply": called}
        return b.emit("call", (x, zero), x.shape, x.dtype, attributes)

    (out,) = execute(body, x)
    same(out, x + np.float32(0))


def test_products_are_rounded_in_what_is_called_and_applied_to_elements(execute, rng):
    x, y, z = map(np.array, rng.standard_normal(3).astype(np.float32))
    made = HLOComputation("both")
    p, q = (made.add_parameter((), dt.float32) for _ in range(2))
    b = HLOBuilder(made)
    made.root = b.add(p, b.multiply(q, b.scalar(3.7, dt.float32)))

    def body(b, x, y, z):
        attributes = {"to_apply": made}
        called = b.emit("call", (x, y), (), dt.float32, attributes)
        row = b.reshape(z, (1,))
        attributes = {"to_apply": made, "dimensions": (0,)}
        return called, b.emit("reduce", (row, x), (), dt.float32, attributes)

    called, reduced = execute(body, x, y, z)
    same(called, x + y * np.float32(3.7))
    np.testing.assert_allclose(reduced, x + z * np.float32(3.7), rtol=1e-6)


def test_products_are_rounded_before_they_are_summed(execute):
    # 1 + 2**-23 squared is not a float32; only an unrounded product leaves a rest.
    x = np.array([1 + 2**-12, -1 - 2**-12], np.float32)
    y = np.array([1 + 2**-12, 1 + 2**-12], np.float32)

    def body(b, x, y):
        return b.reduce(b.multiply(x, y), "add", 0, (0,))

    (out,) = execute(body, x, y)
    assert out == 0


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_every_operation_rounds(execute, operands, dtype):
    x, y, z = (v.astype(dtype) for v in operands)
    total, quotient, root = execute(
        lambda b, x, y, z: (
            b.add(b.add(x, y), z),
            b.divide(b.divide(x, y), z),
            b.divide(x, b.unary("sqrt", b.unary("abs", y))),
        ),
        x,
        y,
        z,
    )
    same(total, (x + y) + z)
    same(quotient, (x / y) / z)
    same(root, x / np.sqrt(np.abs(y)))


def test_nothing_is_simplified_away(execute, operands):
    x, y, _ = operands

    def body(b, x, y):
        exp = b.unary("exponential", x)
        third = b.full(x.shape, np.float32(3), x.dtype)
        return (
            b.unary("log", exp),
            b.divide(y, exp),
            b.divide(x, third),
            b.subtract(b.add(x, y), y),
            b.multiply(exp, b.full(x.shape, 0, x.dtype)),
        )

    log, quotient, third, rest, zero = execute(body, x, y)
    assert log[0] == np.inf and log[1] == -np.inf
    assert quotient[0] == 0 and np.isinf(quotient[1])
    same(third, x / np.float32(3))
    same(rest, (x + y) - y)
    assert np.isnan(zero[0]) and zero[1] == 0


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_adding_zero_drops_the_sign_of_zero(execute, dtype, shape):
    x = np.array([-0.0, 0.0, 1.0, -1.0], dtype).reshape(shape)

    def body(b, x):
        zero = b.full(x.shape, 0, x.dtype)
        return b.add(x, zero), b.add(zero, x), b.subtract(x, zero)

    left, right, difference = execute(body, x)
    same(left, x + dtype(0))
    same(right, x + dtype(0))
    same(difference, x)


def test_adding_what_is_known_to_be_zero_drops_the_sign_of_zero(execute):
    x = np.array([-0.0, 0.0, 1.0, -0.0], np.float32)
    numbers = np.array([0, 0, 0, 0, 7], np.float32)

    def body(b, x):
        several = b.constant(numbers)
        part = b.slice(several, (0,), (4,))
        integers = b.broadcast_to(b.scalar(0, dt.int32), (4,))
        index = b.iota((1,), 0, dt.float32)
        minus = b.full((4,), -0.0, dt.float32)
        return (
            b.add(x, part),
            b.add(x, b.reverse(part, (0,))),
            b.add(b.concatenate([index, b.slice(part, (1,), (4,))], 0), x),
            b.add(x, b.convert(integers, dt.float32)),
            b.add(b.slice(x, (0,), (1,)), index),
            b.subtract(x, minus),
            b.subtract(x, b.negate(part)),
        )

    for result in execute(body, x):
        same(result, (x + np.float32(0))[: len(result)])


def test_nan_is_kept_by_minimum_and_maximum(execute):
    x = np.array([np.nan, 1, 2], np.float32)
    y = np.array([1, np.nan, 3], np.float32)
    low, high = execute(lambda b, x, y: (b.minimum(x, y), b.maximum(x, y)), x, y)
    np.testing.assert_array_equal(low, [np.nan, np.nan, 2])
    np.testing.assert_array_equal(high, [np.nan, np.nan, 3])


def test_a_matrix_that_is_only_moved_is_not_fenced(module_of):
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = np.ones((4, 2), np.float32)

    def body(b, p):
        moved = b.transpose(b.constant(weights.T.copy()), (1, 0))
        return b.dot(p, moved, ((1,), (0,)), ((), ()))

    module = module_of(body, x)
    zero = module.add_parameter((), np.uint64, "zero")
    assert keep_exact(module, zero) is module


def test_what_depends_on_constants_alone_is_not_folded(execute):
    def body(b):
        zero = b.full((3,), 0.0, np.dtype(np.float32))
        steps = b.convert(b.iota((3,), 0), np.dtype(np.float32))
        return b.binary("atan2", zero, zero), b.unary("exponential", steps)

    angle, powers = execute(body)
    np.testing.assert_array_equal(angle, np.zeros(3, np.float32))
    np.testing.assert_allclose(powers, np.exp(np.arange(3.0)), rtol=1e-6)


def test_an_angle_of_zeros_that_only_generated_code_knows(execute):
    """A multiple of an integer by 0 is no constant of the module."""

    def body(b, x):
        twice = b.broadcast_to(b.multiply(x, x), (2,))
        zeros = b.multiply(twice, b.full((2,), 0, np.dtype(np.int32)))
        y = b.convert(zeros, np.dtype(np.float32))
        return b.binary("atan2", y, y), b.binary("atan2", y, b.negate(y))

    results = execute(body, np.array([5], np.int32))
    same(results[0], np.zeros(2, np.float32))
    same(results[1], np.full(2, np.pi, np.float32))


def test_a_constant_that_a_call_gets_is_not_folded_wrongly(execute):
    called = HLOComputation("called")
    parameter = called.add_parameter((3,), dt.int32, "x")
    called.root = HLOBuilder(called).unary("count-leading-zeros", parameter)
    x = np.array([-1, -(2**31), 5], np.int32)

    def body(b, p):
        attributes = {"to_apply": called}
        given = (b.constant(x), p)
        return [b.emit("call", (v,), (3,), dt.int32, attributes) for v in given]

    for result in execute(body, x):
        assert result.tolist() == [0, 0, 29]
