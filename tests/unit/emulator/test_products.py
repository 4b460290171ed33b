"""Products by NumPy's loop, of operands where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.hlo.options import SimulationOptions
from nkipy.testing import run_python
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.preparation import with_store
from tests.support.engine import make_module
from tests.support.memory import at_the_end_of_memory, shifted

TARGET = "nkipy_products"
#: m, n and k: of one block, a row, a column, and both; one block more than a whole one
#: in each direction, and several pieces.
SIZES = [
    *((2, 2, 2), (1, 3, 5), (4, 1, 3), (1, 1, 7), (65, 63, 64)),
    *((1, 1, 20_001), (3, 1, 9_000), (1, 3, 9_001), (1030, 1, 19), (1, 2100, 33)),
    *((66, 1, 8193), (33, 31, 513), (67, 140, 257), (129, 130, 300)),
    *((4, 300, 301), (300, 10, 301), (2, 1100, 300)),  # narrow ones
    *((32, 2060, 16), (33, 2049, 17), (100, 40, 530)),  # of several packed parts
]


def dot(b, x, y, contracting=((1,), (0,)), batch=((), ())):
    return b.dot(x, y, contracting, batch, x.dtype)


def run(module, arguments, mode="always"):
    return XlaCpuEngine(fast_calls=mode).compile(module).run_new(arguments)


def calls(module, mode="always"):
    made, _ = with_store(module, None, CustomCalls(), fast_calls=mode)
    found = [i.attributes.get("custom_call_target") for i in made.instructions()]
    return found.count(TARGET)


def check(got, exact, limit):
    """That errors are those of sums of products, of this sum of amounts."""
    eps = np.finfo(got.dtype).eps
    assert got.shape == exact.shape
    assert (abs(got - exact) <= 16 * eps * limit).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layout(dtype, rng):
    def body(b, *given):
        results = []
        for x, xt, y, yt in zip(*[iter(given)] * 4, strict=True):
            turned, yturned = b.transpose(xt, (1, 0)), b.transpose(yt, (1, 0))
            results += [dot(b, x, y), dot(b, turned, y), dot(b, x, yturned)]
            results += [dot(b, turned, yturned)]
            results += [dot(b, xt, yt, ((0,), (1,)))]
        return results

    arguments = []
    for m, n, k in SIZES:
        x = rng.standard_normal((m, k)).astype(dtype)
        y = rng.standard_normal((k, n)).astype(dtype)
        arguments += [x, x.T.copy(), y, y.T.copy()]
    module = make_module(body, *arguments)
    assert calls(module) == 5 * len(SIZES)
    results = iter(run(module, arguments))
    for x, _, y, _ in zip(*[iter(arguments)] * 4, strict=True):
        exact = x.astype(np.longdouble) @ y.astype(np.longdouble)
        limit = abs(x).astype(np.longdouble) @ abs(y)
        for _ in range(5):
            check(next(results), exact, limit)


def test_views_of_arguments_of_every_offset(rng):
    x, y = (rng.standard_normal(s, np.float32) for s in ((300, 260), (260, 300)))

    def body(b, x, y):
        part = b.slice(x, (1, 3), (300, 260))
        other = b.slice(b.transpose(y, (1, 0)), (0, 3), (300, 260))
        odd = b.slice(x, (0, 1), (300, 260), (3, 2))
        return [
            dot(b, part, b.slice(y, (3, 0), (260, 299))),
            dot(b, part, other, ((1,), (1,))),
            dot(b, odd, odd, ((0,), (0,))),
            dot(b, part, part, ((0,), (0,))),
        ]

    module = make_module(body, x, y)
    assert calls(module) == 4
    executable = XlaCpuEngine(fast_calls="always").compile(module)
    p, q, o = x[1:, 3:], y.T[:, 3:], x[::3, 1::2]
    pairs = [(p, y[3:, :-1]), (p, q.T), (o.T, o), (p.T, p)]
    first = None
    for given in (*((shifted(x, n), shifted(y, 60 - n)) for n in (0, 4, 16)),):
        results = executable.run_new(given)
        for got, (a, c) in zip(results, pairs, strict=True):
            wide = a.astype(np.float64), c.astype(np.float64)
            check(got, wide[0] @ wide[1], abs(wide[0]) @ abs(wide[1]))
        for got, wanted in zip(results, first or results, strict=True):
            np.testing.assert_array_equal(got, wanted)  # the same each time
        first = results
    results = executable.run_new([*map(at_the_end_of_memory, (x, y))])
    np.testing.assert_array_equal(results[0], first[0])
    np.testing.assert_array_equal(results[3], results[3].T)


@pytest.mark.parametrize("batch", [2, 9])
def test_batches_and_several_dimensions(batch, rng):
    x = rng.standard_normal((batch, 3, 20, 30), np.float32)
    y = rng.standard_normal((30, batch, 50), np.float32)

    def body(b, x, y):
        by_batch = dot(b, x, y, ((3,), (0,)), ((0,), (1,)))
        several = dot(b, x, x, ((0, 3), (0, 3)))
        return [by_batch, several]

    module = make_module(body, x, y)
    assert calls(module) == 2
    got = run(module, [x, y])
    exact = x.astype(float), y.astype(float)
    np.testing.assert_allclose(got[0], np.einsum("bijk,kbn->bijn", *exact), 1e-4, 1e-4)
    wanted = np.einsum("bijk,blmk->ijlm", exact[0], exact[0])
    np.testing.assert_allclose(got[1], wanted, 1e-4, 1e-4)


def test_more_terms_and_results_than_one_block_has(rng):
    shapes = (3, 70_000), (70_000, 4), (9, 5), (5, 70_000)
    arguments = [rng.integers(-3, 4, s).astype(np.float32) for s in shapes]

    def body(b, w, x, y, z):
        return [dot(b, w, x), dot(b, y, z)]

    module = make_module(body, *arguments)
    assert calls(module) == 2
    w, x, y, z = arguments
    for got, wanted in zip(run(module, arguments), (w @ x, y @ z), strict=True):
        np.testing.assert_array_equal(got, wanted)  # sums are exact


def test_square_of_one_of_several_packed_parts(rng):
    x = rng.integers(-3, 4, (2070, 300)).astype(np.float32)
    y = x[:, :90].astype(np.float64)

    def body(b, x, y):
        return [dot(b, x, x, ((1,), (1,))), dot(b, y, y, ((0,), (0,)))]

    module = make_module(body, x, y)
    assert calls(module) == 2
    for got, wanted in zip(run(module, [x, y]), (x @ x.T, y.T @ y), strict=True):
        np.testing.assert_array_equal(got, wanted)  # sums are exact


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [2, 3, 4, 7, 129])
@pytest.mark.parametrize("terms", [9216, 9223, 9231])
def test_rows_by_vector_of_every_length(rows, terms, dtype, rng):
    x = rng.standard_normal((2, rows, terms)).astype(dtype)
    y = rng.standard_normal((2, terms)).astype(dtype)
    x[0, rows // 2, -1], x[1, 0, 0], y[1, 1] = np.inf, np.nan, 0

    def body(b, x, y):
        part = b.slice(x, (1, 0, 1), (2, rows, terms))
        other = b.slice(y, (1, 1), (2, terms))
        by_batch = dot(b, x, y, ((2,), (1,)), ((0,), (0,)))
        return [by_batch, dot(b, part, other, ((2,), (1,)))]

    module = make_module(body, x, y)
    assert calls(module) == 2
    results = run(module, [*map(at_the_end_of_memory, (x, y))])
    wide, vector = x.astype(np.longdouble), y.astype(np.longdouble)
    pairs = [(wide, vector), (wide[1:, :, 1:], vector[1:, 1:])]
    for got, (a, v) in zip(results, pairs, strict=True):
        exact = np.einsum("bik,bk->bi", a, v).reshape(got.shape)
        limit = np.einsum("bik,bk->bi", abs(a), abs(v)).reshape(got.shape)
        finite = np.isfinite(exact)
        check(got[finite], exact[finite], limit[finite])
        np.testing.assert_array_equal(got[~finite], exact[~finite].astype(dtype))


def test_large_products_of_what_is_no_number_and_of_what_is_small(rng):
    x = rng.standard_normal((90, 600), np.float32)
    y = rng.standard_normal((600, 70), np.float32)
    x[0, 0], x[1, 1], x[2, 599], x[89, 5] = np.inf, -np.inf, np.nan, np.inf
    y[5] = 0  # by which infinity is no number
    x[4], y[:, 3] = np.float32(1e-40), 1
    module = make_module(dot, x, y)
    assert calls(module) == 1
    (got,) = run(module, [x, y])
    with np.errstate(invalid="ignore"):
        exact = x.astype(np.float64) @ y.astype(np.float64)
        limit = abs(x).astype(np.float64) @ abs(y).astype(np.float64)
    finite = np.isfinite(exact)
    assert 0 < (~finite).sum() < 300
    check(got[finite], exact[finite], limit[finite])
    np.testing.assert_array_equal(got[~finite], exact[~finite])
    np.testing.assert_allclose(got[4, 3], 600 * 1e-40, 1e-3)


def test_what_is_no_number_and_what_is_small(rng):
    x = rng.standard_normal((40, 50), np.float32)
    x[0, 0], x[1, 1], x[2, 2], x[3] = np.inf, -np.inf, np.nan, 0
    x[4] = np.float32(1e-40)
    y = np.ones((50, 33), np.float32)
    (got,) = run(make_module(dot, x, y), [x, y])
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(got, x @ y, 1e-4, 1e-4)
    np.testing.assert_allclose(got[4], np.full(33, 50 * 1e-40), 1e-3)


@pytest.mark.parametrize("is_sum", [False, True])
def test_parts_of_sums_that_are_subnormal_count_in_programs_of_xla(is_sum):
    x, y = np.full((1, 100_000), 1e-42, np.float32), np.ones((100_000, 1), np.float32)

    def body(b, x, y):
        total = b.reduce(x, "add", 0, (0, 1))
        found = b.reshape(total, (1, 1)) if is_sum else dot(b, x, y)
        return [found, b.binary("subtract", y, y)]

    got, _ = run(make_module(body, x, y), [x, y])
    np.testing.assert_allclose(got, [[x.sum(dtype=np.float64)]], 1e-5)


def test_result_that_overwrites_an_operand(rng):
    x = shifted(rng.integers(-9, 9, (300, 300)).astype(np.float32), 16)
    wanted = x @ x
    XlaCpuEngine(fast_calls="always").compile(
        make_module(lambda b, x: dot(b, x, x), x)
    ).run([x], [x])
    np.testing.assert_array_equal(x, wanted)


def test_replicas_and_loops(rng):
    x = rng.integers(-9, 9, (2, 70, 70)).astype(np.float32)
    module = make_module(lambda b, x: dot(b, x, x), x[0])
    executable = XlaCpuEngine(fast_calls="always").compile(module, num_replicas=2)
    outputs = [[np.empty_like(x[0])] for _ in x]
    executable.run_replicas([[x[0]], [x[1]]], outputs)
    for given, (got,) in zip(x, outputs, strict=True):
        np.testing.assert_array_equal(got, given @ given)


def test_operands_are_rounded_as_options_say(rng):
    x = rng.standard_normal((60, 60), np.float32)
    module = make_module(dot, x, x)
    options = SimulationOptions(auto_cast="matmult")
    engine = XlaCpuEngine(fast_calls="always")
    (got,) = engine.compile(module, options=options).run_new([x, x])
    rounded = x.astype(dt.bfloat16).astype(np.float64)
    check(got, rounded @ rounded, abs(rounded) @ abs(rounded))


@pytest.mark.parametrize("offset", [0, 1, 4, 16])
def test_vectors_alone_without_xla(offset, rng):
    a = rng.integers(-9, 9, (90, 2050)).astype(np.float32)
    x = rng.integers(-9, 9, 2050).astype(np.float32)
    formulas = (
        (lambda b, a, x: dot(b, a, x, ((1,), (0,)))),
        (lambda b, a, x: dot(b, x, a, ((0,), (1,)))),
        (lambda b, a, x: dot(b, x, x, ((0,), (0,)))),
        (lambda b, a, x: dot(b, a, b.slice(a, (3, 0), (4, 2050)), ((1,), (1,)))),
        (lambda b, a, x: dot(b, b.slice_dim(x, 0, 1960, 2050), a, ((0,), (0,)))),
    )
    wanted = (a @ x, a @ x, x @ x, a @ a[3:4].T, x[1960:] @ a)  # sums are exact
    given = shifted(a, offset), shifted(x, offset)
    for formula, expected in zip(formulas, wanted, strict=True):
        module = make_module(formula, a, x)
        assert calls(module) == 1
        (got,) = run(module, given, "auto")
        np.testing.assert_array_equal(got, expected)


def test_what_is_small_is_numpys_own(rng):
    x, y = (rng.standard_normal((60, 60), np.float32) for _ in range(2))

    def body(b, x, y):
        own = dot(b, x, x, ((1,), (1,)))
        return [dot(b, x, y), dot(b, x, y, ((0,), (1,))), own]

    got = run(make_module(body, x, y), [x, y])
    for found, wanted in zip(got, (x @ y, x.T @ y.T, x @ x.T), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
def test_threads_change_no_bit():
    """Other processes have other numbers of them."""
    code = """if True:
        import numpy as np
        from nkipy.runtime import simulate_jit
        rng = np.random.default_rng(0)
        x, y = (rng.standard_normal((300, 301), np.float32) for _ in range(2))
        v = rng.standard_normal(100_001, np.float32)
        kernel = lambda x, y, v: (
            x @ y.T, x.T @ x, x @ y[0], x[:, 0] @ y, np.dot(v, v)
        )
        for result in simulate_jit(kernel)(x, y, v):
            print(result.tobytes().hex())
    """
    printed = set()
    for threads in ("1", "2", "3"):
        variables = {"NKIPY_EMULATOR_FAST_CALLS": "always", "NPROC": threads}
        done = run_python("-c", code, env=variables)
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1 and "" not in printed


def test_code_that_is_kept_finds_the_loop(tmp_path):
    code = f"""if True:
        import numpy as np
        from pathlib import Path
        from nkipy.core.trace import NKIPyKernel
        from nkipy_emulator.code_cache import CodeCache
        from nkipy_emulator.engine import XlaCpuEngine
        x = np.arange(90 * 90, dtype=np.float32).reshape(90, 90) % 7
        module = NKIPyKernel.trace(lambda x: x @ x).specialize(x)
        engine = XlaCpuEngine(CodeCache(Path({str(tmp_path)!r}) / "c"), "always")
        (got,) = engine.compile(module).run_new([x])
        np.testing.assert_array_equal(got, x @ x)
    """
    for _ in range(2):
        done = run_python("-c", code)
        assert done.returncode == 0, done.stderr
    assert any((tmp_path / "c").rglob("*"))


def test_what_is_left_to_xla():
    def count(body, *arguments, mode="always"):
        return calls(make_module(body, *arguments), mode)

    x = np.ones((600, 600), np.float32)
    assert count(lambda b, x: dot(b, x, x), x) == 1
    own = count(lambda b, x: dot(b, x, b.transpose(x, (1, 0))), x, mode="auto")
    assert own == 1
    by_row = count(lambda b, x: dot(b, x, b.slice_dim(x, 1, 0, 1)), x, mode="auto")
    assert by_row == 1
    assert count(lambda b, x: dot(b, x, x), x, mode="auto") == 0
    assert count(lambda b, x: dot(b, x, x), x, mode="never") == 0
    assert count(lambda b, x: dot(b, x, x), x[:20, :20], mode="auto") == 1
    assert count(lambda b, x: dot(b, x, x), x[:7, :7], mode="auto") == 0
    part = count(lambda b, x: dot(b, x, b.slice_dim(x, 1, 9, 100)), x, mode="auto")
    assert part == 1
    thin = count(lambda b, x: dot(b, x, b.slice_dim(x, 1, 9, 12)), x, mode="auto")
    assert thin == 0
    assert count(lambda b, x: dot(b, x, x), x[:0, :0]) == 0
    assert count(lambda b, x, y: dot(b, x, y), x[:, :0], x[:0]) == 0
    assert count(lambda b, x, y: dot(b, x, y), x[:, :1], x[:1]) == 0
    for dtype in (np.int32, np.float16, dt.bfloat16):
        assert count(lambda b, x: dot(b, x, x), x.astype(dtype)) == 0


@pytest.mark.parametrize("n, sent", [(320, 3), (400, 1)])
def test_large_ones_are_xlas_but_for_a_matrix_by_its_own_transpose(n, sent):
    def body(b, x, y, large):
        part = b.slice(large, (8, 8), (n + 8, n + 8))
        products = [dot(b, x, y), dot(b, part, y), dot(b, x, x, ((1,), (1,)))]
        return products

    sizes = [n, n, n + 16]
    module = make_module(body, *[np.zeros((s, s), np.float32) for s in sizes])
    assert calls(module, "alone") == sent
    assert calls(module, "always") == 3


@pytest.mark.parametrize(
    ("shapes", "contracting", "batch", "sent"),
    [
        (((256, 64), (64, 192)), ((1,), (0,)), ((), ()), 1),
        (((256, 64), (192, 64)), ((1,), (1,)), ((), ()), 1),
        (((256, 64), (64, 191)), ((1,), (0,)), ((), ()), 0),
        (((64, 256), (64, 192)), ((0,), (0,)), ((), ()), 0),
        (((128, 64), (64, 192)), ((1,), (0,)), ((), ()), 0),
        (((2, 256, 64), (2, 64, 192)), ((2,), (1,)), ((0,), (0,)), 0),
        (((2048, 128), (128, 384)), ((1,), (0,)), ((), ()), 0),
        (((256, 129), (129, 400)), ((1,), (0,)), ((), ()), 0),
    ],
)
def test_products_of_few_terms_and_many_columns(shapes, contracting, batch, sent):
    x, y = (np.zeros(shape, np.float32) for shape in shapes)
    module = make_module(lambda b, x, y: dot(b, x, y, contracting, batch), x, y)
    assert calls(module, "auto") == sent
