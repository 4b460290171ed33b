"""Arguments, constants and results that are not copied."""

from __future__ import annotations

import gc
import os
import threading

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.core.trace import trace_function
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy.runtime import simulate_jit
from nkipy.testing import run_python
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.errors import SimulationError
from nkipy_emulator.memory import ZERO_COPY_BYTES, empty
from nkipy_emulator.operands import lift_constants, read_through_slices
from nkipy_emulator.preparation import with_store
from tests.support.engine import make_module
from tests.support.memory import at_the_end_of_memory, numbers, shifted

LARGE = ZERO_COPY_BYTES


# ------------------------------------------------------------------------- arguments


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, dt.bfloat16])
def test_every_offset(engine, dtype, rng):
    x = numbers(rng, LARGE + 3, dtype)
    y = numbers(rng, LARGE + 3, dtype)
    module = make_module(lambda b, x, y: b.add(x, y), x, y)
    executable = engine.compile(module)
    expected = x + y
    itemsize = np.dtype(dtype).itemsize
    for offset in range(0, 64, 1 if itemsize < 4 else itemsize // 2 + 1):
        # Elements that straddle a multiple of their size can be added, too.
        inputs = [shifted(x, offset), shifted(y, (offset * 7) % 64)]
        before = [a.tobytes() for a in inputs]
        (out,) = executable.run_new(inputs)
        np.testing.assert_array_equal(out, expected)
        assert [a.tobytes() for a in inputs] == before


@pytest.mark.parametrize("offset", [0, 16, 60])
def test_nothing_behind_an_argument_is_read(engine, offset, rng):
    x = numbers(rng, LARGE + offset // 4)
    module = make_module(lambda b, x: b.negate(x), x)
    given = at_the_end_of_memory(x)
    (out,) = engine.compile(module).run_new([given])
    np.testing.assert_array_equal(out, -x)


@pytest.mark.parametrize("offset", [0, 16, 17])
def test_argument_that_is_written_while_it_is_read(engine, offset, rng):
    x = numbers(rng, (700, 300))

    def body(b, x):
        return b.add(b.negate(x), b.full(x.shape, 1, x.dtype))

    module = make_module(body, x)
    given = shifted(x, offset)
    engine.compile(module).run([given], [given])
    np.testing.assert_array_equal(given, 1 - x)


def test_swapped_arguments(engine, rng):
    x, y = (shifted(numbers(rng, LARGE), 16) for _ in range(2))
    module = make_module(lambda b, x, y: [y, x], x, y)
    expected = [y.copy(), x.copy()]
    engine.compile(module).run([x, y], [x, y])
    np.testing.assert_array_equal([x, y], expected)


def test_read_only_and_strided_arguments(rng):
    x = shifted(numbers(rng, (600, 600)), 16)
    x.flags.writeable = False
    kernel = simulate_jit(lambda a: a * 2 + 1)
    for given in (x, x.T, x[::2, ::-1], np.asfortranarray(x), x[:0], x[0, 0]):
        got = kernel(given)
        np.testing.assert_array_equal(got, given * 2 + 1)
        assert got.shape == given.shape and got.dtype == np.float32


def test_replicas_read_each_its_own(engine, rng):
    inputs = [[shifted(numbers(rng, LARGE), 16 * (r + 1))] for r in range(2)]
    module = make_module(lambda b, x: b.negate(x), inputs[0][0])
    outputs = [[empty((LARGE,), np.float32)] for _ in inputs]
    engine.compile(module, num_replicas=2).run_replicas(inputs, outputs)
    for (x,), (out,) in zip(inputs, outputs):
        np.testing.assert_array_equal(out, -x)


def test_only_what_loops_read_is_sliced(rng):
    x = numbers(rng, LARGE)
    vector = np.zeros(8, np.uint64)

    def sliced(body):
        module = make_module(body, x, vector)
        _, found = read_through_slices(module, module.parameters[1], 1)
        return found

    assert sliced(lambda b, x, v: b.negate(x)) == {0}
    assert sliced(lambda b, x, v: b.negate(b.reshape(x, (512, LARGE // 512)))) == {0}
    assert sliced(lambda b, x, v: x) == frozenset()
    assert sliced(lambda b, x, v: [b.negate(x), x]) == frozenset()
    assert sliced(lambda b, x, v: b.reduce(x, "maximum", 0.0, (0,))) == frozenset()
    assert sliced(lambda b, x, v: b.reduce(x, "add", 0.0, (0,))) == {0}
    assert sliced(lambda b, x, v: b.reduce(x, "add", 1.0, (0,))) == frozenset()


# ------------------------------------------------------------------------- constants


def test_large_constants_are_no_part_of_the_code(engine, rng):
    literals = [numbers(rng, (LARGE // 8, 4)), numbers(rng, LARGE)]
    x = numbers(rng, (4, 3))

    def body(b, x):
        first, second = map(b.constant, literals)
        product = b.dot(first, x, ((1,), (0,)), ((), ()), first.dtype)
        return [product, b.negate(second), second]

    module = make_module(body, x)
    lifted, arrays = lift_constants(module)
    assert len(lifted.serialize()) < 4096
    assert [a.shape for a in arrays] == [a.shape for a in literals]
    executable = engine.compile(module)
    expected = [literals[0] @ x, -literals[1], literals[1]]
    del module, lifted, arrays
    gc.collect()
    for _ in range(2):
        for got, wanted in zip(executable.run_new([x]), expected):
            np.testing.assert_array_equal(got, wanted)


def test_result_that_is_a_constant_is_the_callers(engine, rng):
    literal = numbers(rng, LARGE)
    executable = engine.compile(make_module(lambda b: [b.constant(literal)]))
    (first,) = executable.run_new([])
    first += 1
    (second,) = executable.run_new([])
    np.testing.assert_array_equal(second, literal)


def test_constants_of_replicas(engine, rng):
    literal, x = numbers(rng, LARGE), numbers(rng, LARGE)
    module = make_module(lambda b, x: b.add(x, b.constant(literal)), x)
    outputs = [[np.empty_like(x)] for _ in range(2)]
    engine.compile(module, num_replicas=2).run_replicas([[x], [-x]], outputs)
    np.testing.assert_array_equal(outputs[0][0], literal + x)
    np.testing.assert_array_equal(outputs[1][0], literal - x)


def test_captured_array_that_changes():
    held = np.ones(LARGE, np.float32)
    kernel = simulate_jit(lambda x: x + held)
    held[::2] = 5
    x = np.zeros_like(held)
    np.testing.assert_array_equal(kernel(x), held)
    held[1] = 9
    np.testing.assert_array_equal(kernel(x), held)


# ------------------------------------------------------------------------- products


def products_close(got, wanted, limit):
    """Whether errors are those of sums in their dtype, of this sum of amounts."""
    eps = np.finfo(got.dtype).eps
    return got.shape == wanted.shape and bool(
        (abs(got - wanted) <= 9 * eps * limit).all()
    )


def test_products_of_float64(engine, rng):
    a, x = rng.standard_normal((300, 700)), rng.standard_normal((300, 1))
    module = make_module(
        lambda b, a, x: b.dot(
            b.transpose(a, (1, 0)), x, ((1,), (0,)), ((), ()), a.dtype
        ),
        a,
        x,
    )
    (got,) = engine.compile(module).run_new([shifted(a, 8), x])
    assert got.dtype == np.float64
    assert products_close(got, a.T @ x, abs(a).T @ abs(x))


@pytest.mark.parametrize(
    "offset", [16, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 4))]
)
def test_products_of_views(offset, rng):
    dtype = np.float32
    a = shifted(rng.standard_normal((700, 520)).astype(dtype), offset)
    x, y = (rng.standard_normal(n).astype(dtype) for n in (700, 520))
    wide = rng.standard_normal(1040).astype(dtype)
    cases = {
        "matrix by vector": (lambda a, x, y, w: a @ y),
        "vector by matrix": (lambda a, x, y, w: x @ a),
        "transposed": (lambda a, x, y, w: a.T @ x),
        "by transposed": (lambda a, x, y, w: y @ a.T),
        "rows": (lambda a, x, y, w: a[100:600] @ y),
        "every other row": (lambda a, x, y, w: a[1::2] @ y),
        "columns": (lambda a, x, y, w: x @ a[:, 20:500]),
        "columns transposed": (lambda a, x, y, w: a[:, 20:500].T @ x),
        "strided vector": (lambda a, x, y, w: a @ w[::2]),
        "column": (lambda a, x, y, w: a @ y[:, None]),
        "row": (lambda a, x, y, w: x[None] @ a),
        "reshaped": (lambda a, x, y, w: a.reshape(-1) @ a.reshape(-1)),
        "with itself": (lambda a, x, y, w: a @ a[3]),
        "column of itself": (lambda a, x, y, w: a.T @ a[:, 5]),
        "sum": (lambda a, x, y, w: a.sum()),
        "sums of rows": (lambda a, x, y, w: a.sum(axis=1)),
        "sums of columns": (lambda a, x, y, w: a.sum(axis=0, keepdims=True)),
        "sums of a slice": (lambda a, x, y, w: a[3:, 10:500].sum(axis=1)),
        "sum of a slice": (lambda a, x, y, w: a[:, 10:500].sum()),
        "sums of a transpose": (lambda a, x, y, w: a.T.sum(axis=1)),
        "sums of blocks": (lambda a, x, y, w: a.reshape(7, 100, 520).sum(axis=(1, 2))),
        "sums of the middle": (lambda a, x, y, w: a.reshape(7, 100, 520).sum(axis=1)),
        "sums of what is computed": (lambda a, x, y, w: (a * a).sum(axis=0)),
        "not a product": (lambda a, x, y, w: a + 1),
        "computed": (lambda a, x, y, w: (a * 2) @ y),
        "computed, transposed": (lambda a, x, y, w: (a * 2).T @ x),
        "every other column": (lambda a, x, y, w: a[:, ::2] @ y[::2]),
    }
    exact = [v.astype(np.float64) for v in (a, x, y, wide)]
    bounds = [abs(v) for v in exact]

    def all_of(a, x, y, w):
        return [kernel(a, x, y, w) for kernel in cases.values()]

    found = simulate_jit(all_of)(a, x, y, wide)
    for name, *triple in zip(cases, found, all_of(*exact), all_of(*bounds)):
        assert triple[0].dtype == dtype and products_close(*triple), name
    for name in (
        "transposed",
        "column of itself",
        "sums of rows",
        "sum",
    ):  # by itself, the matrix is sliced
        kernel = cases[name]
        got = simulate_jit(kernel)(a, x, y, wide)
        assert products_close(got, kernel(*exact), kernel(*bounds)), name


def test_products_are_the_same_each_time(rng):
    a = rng.standard_normal((900, 800), dtype=np.float32)
    x = rng.standard_normal(800, dtype=np.float32)
    kernel = simulate_jit(lambda a, x: (a @ x, x @ a[:800], a.T @ a[:, 0]))
    first = kernel(a, x)
    for offset in (0, 4, 16, 60):
        for got, wanted in zip(kernel(shifted(a, offset), x), first):
            np.testing.assert_array_equal(got, wanted)


def test_long_sums_are_as_accurate_as_numpys(rng):
    x = rng.random(
        3_000_001, np.float32
    )  # an error in order would be 10 times as large

    def kernel(x):
        return np.sum(x), np.sum(x.reshape(1, -1), axis=1), np.dot(x, x)

    total, row, squares = simulate_jit(kernel)(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(total, exact.sum(), rtol=1.2e-7)
    np.testing.assert_allclose(row, [exact.sum()], rtol=1.2e-7)
    np.testing.assert_allclose(squares, exact @ exact, rtol=1.2e-7)


def test_sums_of_what_is_no_number(rng):
    a = np.ones((300, 300), np.float32)
    a[0, 0], a[1, 1], a[2, 2], a[3] = np.inf, -np.inf, np.nan, -0.0
    a[4, 3:5] = np.inf, -np.inf
    got = simulate_jit(lambda a: (a.sum(axis=1), a.sum(axis=0)))(a)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(got[0], a.sum(axis=1))
        np.testing.assert_array_equal(got[1], a.sum(axis=0))


def test_products_of_what_is_no_number(rng):
    a = np.ones((300, 300), np.float32)
    a[0, 0], a[1, 1], a[2, 2], a[3] = np.inf, -np.inf, np.nan, -0.0
    x = np.ones(300, np.float32)
    got = simulate_jit(lambda a, x: a @ x)(a, x)
    np.testing.assert_array_equal(got, a @ x)


# ------------------------------------------------------------------------- results


@pytest.fixture(scope="session")
def engine():
    """One by which all programs have XLA in them."""
    return XlaCpuEngine(fast_calls="never")


@pytest.fixture
def doubling(engine):
    def made(size, dtype=np.float32):
        like = np.empty(size, dtype)
        module = make_module(lambda b, x: b.add(x, x), like)
        return engine.compile(module)

    return made


@pytest.mark.parametrize("size", [0, 1, LARGE // 4 - 1, LARGE // 4, 1 << 20])
def test_results_are_the_callers(doubling, size):
    executable = doubling(size)
    x = np.arange(size, dtype=np.float32)
    kept = [executable.run_new([x + n])[0] for n in range(3)]
    assert all(out.flags.writeable and out.flags.c_contiguous for out in kept)
    part = kept[0][size // 2 :]
    kept[1][...] = 7
    del executable
    for n in (0, 2):
        np.testing.assert_array_equal(kept[n], 2 * (x + n))
    del kept
    gc.collect()
    again = doubling(size).run_new([x * 0])[0]  # may take the memory of others
    np.testing.assert_array_equal(part, 2 * x[size // 2 :])
    np.testing.assert_array_equal(again, 0 * x)


def test_result_as_argument_of_the_next_call(doubling):
    executable = doubling(1 << 20)
    x = np.ones(1 << 20, np.float32)
    for _ in range(5):
        (x,) = executable.run_new([x])
    assert (x == 32).all()


def test_the_same_result_twice_and_an_argument(engine, rng):
    x = numbers(rng, LARGE)

    def body(b, x):
        made = b.negate(x)
        return [made, made, x]

    outputs = engine.compile(make_module(body, x)).run_new([x])
    for out, wanted in zip(outputs, [-x, -x, x]):
        np.testing.assert_array_equal(out, wanted)
        out += 1  # into memory of its own
    np.testing.assert_array_equal(outputs[0], 1 - x)
    np.testing.assert_array_equal(outputs[1], 1 - x)


def test_results_that_are_transposes(engine, rng):
    x = shifted(numbers(rng, (600, 500)), 16)

    def transposed(a):
        twice = a * 2
        return [twice.T, twice, a.T, np.sort(a, axis=0), np.sort(a, axis=0).T, twice.T]

    module = trace_function(transposed, (x,), {}).module
    made = engine.compile(module).run_new([x])
    for got, plain, wanted in zip(simulate_jit(transposed)(x), made, transposed(x)):
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(plain, wanted)
        assert got.strides == wanted.strides
        assert plain.flags.c_contiguous


def test_a_transpose_is_made_once(rng):
    x = numbers(rng, (600, 500))
    module = make_module(lambda b, x: b.transpose(b.negate(x), (1, 0)), x)
    made, _ = with_store(module, None, CustomCalls(), own=(0,))
    store, result = made.results
    assert result.opcode == "opt-barrier" and result in store.operands


def test_results_in_the_callers_memory(engine, rng):
    x = numbers(rng, 1 << 20)
    executable = engine.compile(make_module(lambda b, x: [b.negate(x)], x))
    out = np.empty_like(x)
    executable.run([x], [out])
    np.testing.assert_array_equal(out, -x)


def test_results_of_several_threads(doubling):
    executable = doubling(1 << 20)
    failures = []

    def work(n):
        x = np.full(1 << 20, n, np.float32)
        kept = [executable.run_new([x])[0] for _ in range(6)]
        failures.extend(n for out in kept if not (out == 2 * n).all())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_results_that_a_forked_child_drops(doubling):
    executable, x = doubling(1 << 20), np.ones(1 << 20, np.float32)
    (out,) = executable.run_new([x])
    child = os.fork()
    if child == 0:
        ok = bool((out == 2).all())
        try:
            executable.run_new([x])
            ok = False
        except SimulationError as error:  # there is no XLA in here
            ok = ok and "forked" in str(error)
        del out, executable
        gc.collect()
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (out == 2).all()


@pytest.mark.slow  # in a process of its own, which may crash
def test_threads_with_arguments_at_more_addresses_than_are_kept():
    script = """
import sys, threading
import numpy as np
from nkipy.core.trace import NKIPyKernel
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.memory import ZERO_COPY_BYTES
sys.setswitchinterval(1e-6)
size, addresses, results = ZERO_COPY_BYTES // 4, 4096 + 400, []
x = np.repeat(np.arange(addresses + size // 16, dtype=np.float32), 16)
kernel = NKIPyKernel.trace(lambda x: x[:4] + 1)
executable = XlaCpuEngine(fast_calls="never").compile(kernel.specialize(x[:size]))
def run():
    result = np.empty(4, np.float32)
    for i in range(addresses):
        executable.run([x[16 * i : 16 * i + size]], [result])
        assert (result == i + 1).all(), i
    results.append(result)
threads = [threading.Thread(target=run) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
assert len(results) == 4
"""
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr


def test_arguments_in_a_module_without_a_result_of_its_own(engine):
    module = HLOModule("empty")
    builder = HLOBuilder(module.entry)
    x = module.add_parameter((0, 5), np.float32, "x")
    module.set_results(builder.negate(x))
    (out,) = engine.compile(module).run_new([np.empty((0, 5), np.float32)])
    assert out.shape == (0, 5)
