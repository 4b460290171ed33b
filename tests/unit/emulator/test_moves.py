"""Pads, tiles, joins and the like as boxes of elements that a handler copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOModule
from nkipy.testing import check_kernel
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import DirectExecutable
from nkipy_emulator.handler_programs import handler_program
from tests.support.fast_calls import by_handlers, traced

DTYPES = (dt.bool_, dt.int8, dt.float16, dt.bfloat16, dt.float32, dt.int32)


def numbers(rng, dtype, *shape):
    high = 2 if dtype == dt.bool_ else 100
    return rng.integers(0, high, shape).astype(dtype)


MOVES: dict[str, Any] = {
    "pad": lambda x: np.pad(x, 1),
    "pad on some sides": lambda x: np.pad(x, ((0, 2), (3, 0)), constant_values=1),
    "pad with four numbers": lambda x: np.pad(
        x, ((1, 2), (2, 1)), constant_values=((1, 0), (1, 1))
    ),
    "pad with the edges": lambda x: np.pad(x, ((2, 1), (0, 3)), "edge"),
    "pad with a reflection": lambda x: np.pad(x, 2, "reflect"),
    "pad around": lambda x: np.pad(x, ((0, 3), (2, 0)), "wrap"),
    "tile": lambda x: np.tile(x, (2, 3)),
    "tile in a new dimension": lambda x: np.tile(x, (2, 1, 1)),
    "repeat": lambda x: np.repeat(x, 3, axis=1),
    "repeat rows": lambda x: np.repeat(x, 2, axis=0),
    "flip": lambda x: x[::-1, ::-1],
    "steps": lambda x: x[1::2, ::-3],
    "roll": lambda x: np.roll(x, (2, -3), axis=(0, 1)),
    "join": lambda x: np.concatenate([x[:3], x, x[-1:], x[::-1]]),
    "join columns": lambda x: np.concatenate([x[:, 2:], x, x[:, :1]], axis=1),
    "stack": lambda x: np.stack([x, x[::-1]], axis=-1),
    "stack three": lambda x: np.stack([x, x, x], axis=1),
    "turn": lambda x: np.rot90(x, 2),
    "full": lambda x: np.full_like(x, 1),
    "broadcast": lambda x: np.broadcast_to(x[:, None, :], (x.shape[0], 4, x.shape[1])),
    "pad what is padded": lambda x: np.pad(np.pad(x, 1)[2:, ::-1], 2, "edge"),
    "tile what is tiled": lambda x: np.tile(np.tile(x, 2)[:, 1:], (2, 2)),
    "flat": lambda x: np.repeat(x, 2),
    "swapped blocks": lambda x: np.transpose(x.reshape(2, 3, -1), (1, 0, 2)),
    "turned": lambda x: x.T.reshape(-1),
    "turned and flipped": lambda x: np.pad(x.T[::-1], 1).reshape(-1),
    "turned in three dimensions": lambda x: x.reshape(2, 3, -1).flatten("F"),
    "copied": lambda x: x.copy(),
    "copied in another shape": lambda x: x.reshape(-1, x.shape[0]),
    "copied as a vector": lambda x: x.flatten(),
    "resized": lambda x: np.resize(x, (7, 11)),
}


def check_by_handlers(kernel, rng):
    """Results are NumPy's in all dtypes, and in the last one XLA's too."""
    for dtype in DTYPES:
        x = numbers(rng, dtype, 6, 10)
        module = traced(kernel, x)
        expected = kernel(x)
        (result,) = by_handlers(module).run_new([x])
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(result, expected)
    (other,) = XlaCpuEngine(fast_calls="never").compile(module).run_new([x])
    np.testing.assert_array_equal(result, other)


@pytest.mark.parametrize("name", MOVES)
def test_moves_are_those_of_numpy_and_of_xlas_way(name, rng):
    check_by_handlers(MOVES[name], rng)


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("shape", [(6, 1), (6, 70_000)])
def test_long_rows_and_short_ones(name, shape, rng):
    kernel = MOVES[name]
    for x in (numbers(rng, np.int32, *shape), numbers(rng, np.int8, *shape[::-1])):
        if name in ("swapped blocks", "steps") and 70_000 not in x.shape[1:]:
            continue  # nothing is left, or no row
        if name.startswith("turned") and 70_000 in x.shape:
            continue  # too many
        (result,) = by_handlers(traced(kernel, x)).run_new([x])
        np.testing.assert_array_equal(result, kernel(x))


def stored(index, value=None):
    """A kernel that stores zero, or an array with `value(x)` in it, at places."""

    def kernel(x):
        made = x.copy()
        made[index] = 0 if value is None else value(x)
        return made

    return kernel


STORES: dict[str, Any] = {
    "zero at places": stored(np.s_[1::2, ::3]),
    "zero in some rows": stored(np.s_[::-3]),
    "zero in some columns": stored(np.s_[:, 1::7]),
    "others at places": stored(np.s_[1::3, ::5], lambda x: x[:2, 1:3]),
    "reversed columns": stored(np.s_[:, 1::5], lambda x: x[::-1, :2]),
    "over what is moved": lambda x: stored(np.s_[::4])(np.tile(x, (2, 2))),
    "over what is stored": lambda x: stored(np.s_[:, ::4])(stored(np.s_[::4])(x)),
    "moved when stored": lambda x: np.pad(stored(np.s_[::2, 1::3])(x), 1)[::-1],
    "diagonal": lambda x: np.diagflat(x),
    "diagonal above": lambda x: np.diagflat(x, 3),
    "diagonal below": lambda x: np.diagflat(x[1:3], -2),
    "diagonal of an edge": lambda x: np.diag(x[0], 1),
}


@pytest.mark.parametrize("name", STORES)
def test_stores_at_places_with_equal_distances(name, rng):
    check_by_handlers(STORES[name], rng)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_stores_in_more_than_one_piece_of_work(dtype, rng):
    """What is stored comes after all that it is stored over."""
    x = numbers(rng, dtype, 700_001)
    for index in (np.s_[9::3], np.s_[::100_000], np.s_[300_000::3]):
        kernel = stored(index)
        for _ in range(5):
            (result,) = by_handlers(traced(kernel, x)).run_new([x])
            np.testing.assert_array_equal(result, kernel(x))
    for k in (-1, 0, 2):
        (result,) = by_handlers(
            traced(lambda x, k=k: np.diagflat(x[:900], k), x)
        ).run_new([x])
        np.testing.assert_array_equal(result, np.diagflat(x[:900], k))


def test_stores_simulated_and_on_the_device(rng):
    x = numbers(rng, np.float32, 30, 40)
    for name in ("zero at places", "over what is stored", "diagonal above"):
        check_kernel(STORES[name], x)


def test_random_chains_of_moves(rng):
    """Each of what the last one has made."""
    names = [n for n in MOVES if n not in ("swapped blocks", "flat", "resized")]
    names.remove("copied as a vector")
    names = [n for n in names if not n.startswith("turned")]
    names = [n for n in names if "new dim" not in n and "stack" not in n]
    names = [n for n in names if n not in ("broadcast", "pad with a reflection")]
    for _ in range(40):
        chain = rng.choice(names, 3)

        def kernel(x, chain=tuple(chain)):
            for name in chain:
                x = MOVES[name](x)
            return x

        x = numbers(rng, np.int16, 4, 5)
        module = traced(kernel, x)
        np.testing.assert_array_equal(by_handlers(module).run_new([x])[0], kernel(x))


def test_bits_are_kept(rng):
    """Of NaN with a payload, and of subnormal numbers."""
    x = rng.integers(0, 2**32, (30, 40), dtype=np.uint32).view(np.float32)
    for name in ("pad", "flip", "stack", "tile", "repeat"):
        (got,) = by_handlers(traced(MOVES[name], x)).run_new([x])
        expected = MOVES[name](x.view(np.uint32))
        np.testing.assert_array_equal(got.view(np.uint32), expected)


@pytest.mark.parametrize("offset", [0, 1, 2, 4, 20])
def test_arrays_may_lie_anywhere(offset, rng):
    raw, out = (np.empty(40_000 * 4 + 64, np.uint8) for _ in range(2))
    x = raw[offset : offset + 40_000].view(np.float32).reshape(100, 100)
    x[:] = numbers(rng, np.float32, 100, 100)
    made = out[offset : offset + 80_000].view(np.float32).reshape(200, 100)
    by_handlers(traced(lambda x: np.tile(x, (2, 1)), x)).run([x], [made])
    np.testing.assert_array_equal(made, np.tile(x, (2, 1)))


@pytest.mark.parametrize("shift", [0, 1, 50])
def test_results_may_overlap_arguments(shift, rng):
    memory = numbers(rng, np.int32, 2000)
    x, made = memory[:1000], memory[shift : 1000 + shift]
    expected = x[::-1].copy()
    by_handlers(traced(lambda x: x[::-1], x)).run([x], [made])
    np.testing.assert_array_equal(made, expected)


def test_what_is_large_and_computed_with_is_left_to_xla(rng):
    x = numbers(rng, np.float32, 500, 1000)
    for kernel in (lambda x: np.pad(x, 1) + 1, lambda x: np.tile(x, 2).sum(), np.sign):
        executable = XlaCpuEngine(fast_calls="auto").compile(traced(kernel, x))
        assert not isinstance(executable, DirectExecutable)
    executable = XlaCpuEngine(fast_calls="auto").compile(traced(MOVES["pad"], x))
    assert isinstance(executable, DirectExecutable)


def test_a_large_transpose_is_left_to_xla(rng):
    x = numbers(rng, np.float32, 500, 1000)
    assert handler_program(traced(np.transpose, x), mode="always") is None


def test_copies_beside_each_other(rng):
    """Two of one argument, and one of what another result is made of."""
    x, y = numbers(rng, np.float32, 6, 10), numbers(rng, np.int8, 3)
    module = traced(lambda x, y: (x.copy(), x.reshape(-1), y.copy(), x + 1), x, y)
    results = by_handlers(module).run_new([x, y])
    for result, expected in zip(results, (x, x.reshape(-1), y, x + 1), strict=True):
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(result, expected)
        assert not np.shares_memory(result, x) and not np.shares_memory(result, y)


def test_without_elements_it_is_no_program(rng):
    x = numbers(rng, np.float32, 0, 3)
    for kernel in (lambda x: np.pad(x, 1), lambda x: np.tile(x, 2)):
        module = traced(kernel, x)
        made = XlaCpuEngine(fast_calls="auto").compile(module).run_new([x])[0]
        np.testing.assert_array_equal(made, kernel(x))


@pytest.mark.parametrize(
    "attribute",
    [
        ("shape", (5, 3)),
        ("shape", (0, 4)),
        ("shape", ()),
        ("boxes", ()),
        ("boxes", (1, 0, 0, 3, 4, 1, 0, 4, 1, 1)),
        ("boxes", (0, 0, 0, 2, 4, 1, 0, 4, 1, 1)),
        ("boxes", (0, 1, 0, 3, 4, 1, 0, 4, 1, 1)),
        ("boxes", (0, -1, 0, 3, 4, 1, 0, 4, 1, 1)),
        ("boxes", (0, 0, 0, 3, 4, 1, 0, 4, -1, 1)),
        ("boxes", (0, 0, 1, 3, 4, 1, 0, 4, 1, 1)),
        ("boxes", (0, 0, 0, 3, 2**62, 1, 0, 4, 1, 1)),
        ("boxes", (0, 0, 0, 3, 4, 2, 0, 4, 1, 1)),
        ("boxes", (0, 0, 0, 3, 4, 2**62, 0, 4, 1, 1)),
        ("boxes", (0, 0, 0, 3, 4, 0, 0, 4, 1, 1)),
        ("boxes", (0, 0, 0, 3, 4, -1, 0, 4, 1, 1)),
        ("boxes", (0, 0, 0, 3, 4, 1, 0, 4, 1)),
        ("stored", 1),
        ("stored", 2),
        ("stored", -1),
    ],
)
def test_what_does_not_fit_is_refused(attribute, rng):
    x = numbers(rng, np.float32, 3, 4)
    module: HLOModule = traced(lambda x: x[::-1], x)
    program = handler_program(module, mode="always")
    assert program is not None
    ((target, attributes, operands, results),) = program.steps
    changed = tuple(sorted({**dict(attributes), attribute[0]: attribute[1]}.items()))
    step = (target, changed, operands, results)
    executable = DirectExecutable(module, "handlers", program._replace(steps=(step,)))
    with pytest.raises(Exception, match="shape|box") as raised:
        executable.run_new([x])
    assert type(raised.value).__name__ == "SimulationError"
