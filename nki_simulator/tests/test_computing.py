"""How engines compute: where operands lie does not matter, nor that they are shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from nkipy.chips import find_chip
from nkipy_nki import isa as nisa
from nkipy_nki import language as nl
from nkipy_nki import simulate
from nkipy_nki.findings import NkiWarning
from nkipy_nki.isa import engine
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode

RNG = np.random.default_rng(7)
A = RNG.standard_normal((8, 24)).astype(np.float32)
B = RNG.standard_normal((8, 24)).astype(np.float32)


def _run(
    body: Callable[..., Any], *arrays: np.ndarray, simulator: Any = None
) -> np.ndarray:
    """The tile that `body` gives of tiles of the arrays."""

    def kernel(*given: Any) -> Any:
        tiles = []
        for array in given:
            tile = nl.ndarray(array.shape, array.dtype)
            nisa.dma_copy(tile, array)
            tiles.append(tile)
        result = body(*tiles)
        out = nl.ndarray(result.shape, result.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, result)
        return out

    return (simulator or simulate)(kernel, target="trn3")(*arrays)


def _tile(shape: Any, dtype: Any = nl.float32) -> Any:
    return nl.ndarray(tuple(shape), dtype)


# -- shared tiles ----------------------------------------------------------------------
def test_a_destination_may_be_an_operand() -> None:
    def body(a: Any, b: Any) -> Any:
        nisa.tensor_tensor(a, a, b, "multiply")
        nisa.tensor_scalar(a, a, "add", 1.0, op1="multiply", operand1=a[:, 3:4])
        nisa.scalar_tensor_tensor(b, a, "subtract", b[:, 0:1], "multiply", b)
        nisa.activation(b, "square", b, scale=b[:, 2:3], bias=b[:, 1:2])
        return b

    a = A * B
    a = (a + np.float32(1)) * a[:, 3:4]
    b = (a - B[:, :1]) * B
    b = np.square(b * b[:, 2:3] + b[:, 1:2])
    np.testing.assert_array_equal(_run(body, A, B), b)


def test_a_destination_may_overlap_with_an_operand() -> None:
    def body(a: Any, b: Any) -> Any:
        nisa.tensor_tensor(a[:, 1:24], a[:, 0:23], b[:, 0:23], "add")
        nisa.tensor_scalar(a[:, 0:23], a[:, 1:24], "multiply", 2.0, op1="abs")
        nisa.tensor_tensor_scan(a[:, 1:24], a[:, 0:23], a[:, 1:24], 0.5, "add", "add")
        nisa.activation(a[:, 2:24], "copy", a[:, 0:22])
        return a

    expected = A.copy()
    expected[:, 1:] = A[:, :-1] + B[:, :-1]
    expected[:, :-1] = np.abs(expected[:, 1:] * np.float32(2))
    before, state = expected.copy(), np.full(8, 0.5, np.float32)
    for i in range(23):
        state = (before[:, i] + state) + before[:, i + 1]
        expected[:, i + 1] = state
    expected[:, 2:] = expected[:, :-2].copy()
    np.testing.assert_array_equal(_run(body, A, B), expected)


def test_sums_of_what_is_overwritten_are_of_what_was_there() -> None:
    def body(a: Any) -> Any:
        total = _tile((8, 1))
        nisa.activation_reduce(a[:, 2:24], "copy", a[:, 0:22], "add", total)
        nisa.tensor_reduce(a[:, 0:1], "add", a, axis=1)
        nisa.tensor_tensor(total, total, a[:, 0:1], "add")
        return total

    shifted = A.copy()
    shifted[:, 2:] = A[:, :22]
    expected = A[:, :22].sum(1) + shifted.sum(1)
    np.testing.assert_allclose(_run(body, A)[:, 0], expected, rtol=1e-5, atol=1e-5)


# -- where tiles lie -------------------------------------------------------------------
def _functions(a: Any, b: Any, out: Any) -> None:
    """Functions that NumPy computes in other ways where elements are apart."""
    nisa.activation(out[:, 0], "exp", a)
    nisa.activation(out[:, 1], "tanh", a, scale=0.7, bias=0.1)
    nisa.tensor_scalar(out[:, 2], b, "abs", None, op1="power", operand1=0.3)
    nisa.tensor_tensor(out[:, 3], out[:, 0], b, "power")
    nisa.exponential(out[:, 4], a, max_value=0.3)
    for i, op in enumerate(("gelu", "sigmoid", "log"), 5):
        nisa.activation(out[:, i], op, out[:, 0])
    sums = out[:, 8]
    for i, op in enumerate(("add", "multiply")):
        nisa.tensor_reduce(sums[:, i : i + 1], op, a, axis=1)
    for i in (0, 3):
        nisa.tensor_scalar_reduce(
            out[:, 9], a, "add", 0.1, "add", sums[:, 2 + i : 3 + i]
        )
    nisa.bn_stats(sums[:, 6:12], a)
    nisa.bn_aggr(sums[:, 12:14], sums[:, 6:12])


def test_bits_do_not_depend_on_where_elements_lie() -> None:
    side_by_side = np.zeros((8, 10, 24), np.float32)

    def plain(a: Any, b: Any, out: Any) -> Any:
        _functions(a, b, out)
        return out

    def apart(a: Any, b: Any, out: Any) -> Any:
        spread = [_tile((8, 48)) for _ in range(2)]
        for tile, values in zip(spread, (a, b)):
            nisa.memset(tile, 0.0)
            nisa.tensor_copy(tile[:, 0:48:2], values)
        wide = _tile((8, 10, 72))
        nisa.memset(wide, 0.0)
        _functions(*(tile[:, 0:48:2] for tile in spread), wide[:, :, 1:72:3])
        nisa.tensor_copy(out, wide[:, :, 1:72:3])
        return out

    first = _run(plain, A, B, side_by_side)
    np.testing.assert_array_equal(first, _run(apart, A, B, side_by_side))


def test_a_program_gives_the_same_bits_from_its_bytes() -> None:
    def kernel(a: Any, b: Any) -> Any:
        tiles = [_tile(A.shape), _tile(B.shape)]
        for tile, array in zip(tiles, (a, b)):
            nisa.dma_copy(tile, array)
        result = _tile((8, 10, 24))
        nisa.memset(result, 0.0)
        _functions(*tiles, result)
        nisa.tensor_scalar_cumulative(tiles[0], tiles[1], "add", "maximum", 0.5)
        nisa.activate2(
            tiles[1], "prelu", tiles[0], 2.0, 0.5, "multiply", "subtract", 0.1
        )
        nisa.tensor_copy(result[:, 9], tiles[1])
        out = nl.ndarray(result.shape, nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(out, result)
        return out

    run = simulate(kernel, target="trn3").run(A, B)
    (again,) = replay(decode(encode(run.programs)), [A, B])
    np.testing.assert_array_equal(run.values, again)


# -- engines ---------------------------------------------------------------------------
def _engine_of(body: Callable[..., Any], target: str = "trn2") -> engine:
    def kernel() -> Any:
        body()
        out = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
        tile = _tile((1, 1))
        nisa.memset(tile, 0.0)
        nisa.dma_copy(out, tile)
        return out

    program = simulate(kernel, target=target).run().programs[0]
    names = ("tensor_tensor", "tensor_scalar", "activation")
    (found,) = (i for i in program.instructions() if i.record.name in names)
    return found.engine


def _ones(dtype: Any = nl.float32, buffer: Any = nl.sbuf) -> Any:
    tile = nl.ndarray((4, 4), dtype, buffer=buffer)
    nisa.memset(tile, 1 if dtype in ("int32", "uint32") else 1.0)
    return tile


@pytest.mark.parametrize(
    "dtype, op, psum, chosen",
    [
        (nl.float32, "add", False, engine.vector),
        (nl.float32, "power", False, engine.gpsimd),
        (nl.int32, "add", False, engine.gpsimd),
        (nl.uint32, "multiply", False, engine.gpsimd),
        (nl.int32, "add", True, engine.vector),
        (nl.int32, "bitwise_and", False, engine.vector),
    ],
)
def test_which_engine_computes_with_two_tiles(
    dtype: Any, op: str, psum: bool, chosen: engine
) -> None:
    def body() -> None:
        a = _ones(dtype, nl.psum if psum else nl.sbuf)
        nisa.tensor_tensor(_tile((4, 4), dtype), a, _ones(dtype), op)

    assert _engine_of(body) is chosen


def test_which_engine_computes_with_numbers() -> None:
    def body(op: str, **others: Any) -> Callable[[], None]:
        def made() -> None:
            nisa.tensor_scalar(_tile((4, 4)), _ones(), op, None, **others)

        return made

    assert _engine_of(body("abs")) is engine.vector
    assert _engine_of(body("rsqrt")) is engine.gpsimd
    assert _engine_of(body("rsqrt", engine=engine.vector)) is engine.vector


# -- cycles ----------------------------------------------------------------------------
HALF, PSUM = nl.bfloat16, nl.psum
COSTS: list[tuple[str, str, Callable[[], Any], float]] = [
    ("trn1", "two tiles", lambda: _two("add"), 1024),
    ("trn1", "one in the PSUM", lambda: _two("add", buffer=PSUM), 512),
    ("trn1", "sums of bfloat16", lambda: _two("add", HALF), 512),
    ("trn1", "maxima of bfloat16", lambda: _two("maximum", HALF), 1024),
    ("trn2", "maxima of bfloat16", lambda: _two("maximum", HALF), 512),
    ("trn2", "a number", lambda: _one(nl.float32), 512),
    ("trn1", "a number, bfloat16", lambda: _one(HALF), 512),
    ("trn2", "a number, bfloat16", lambda: _one(HALF), 128),
    ("trn2", "a number, bfloat16 of the PSUM", lambda: _one(HALF, PSUM), 256),
    ("trn2", "a number, bfloat16 with gaps", lambda: _one(HALF, step=2), 128),
    ("trn2", "little", lambda: _two("add", count=4), 64),
    ("trn2", "1 / x", lambda: nisa.reciprocal(_row(), _row()), 4096),
    ("trn2", "a function", lambda: nisa.activation(_row(), "exp", _row()), 512),
    ("trn2", "and sums", lambda: _function_and_sums(), 576),
    ("trn2", "a sum", lambda: nisa.tensor_reduce(_row(count=1), "add", _row(), 1), 512),
    ("trn2", "a sum of bfloat16", lambda: _sum_of_halves(), 256),
    ("trn2", "statistics", lambda: nisa.bn_stats(_row(count=6), _row()), 512),
    ("trn2", "mean", lambda: nisa.bn_aggr(_row(count=2), _row(count=48)), 208),
]


def _row(dtype: Any = nl.float32, buffer: Any = nl.sbuf, count: int = 512) -> Any:
    tile = nl.ndarray((4, count), dtype, buffer=buffer)
    nisa.memset(tile, 1.0)
    return tile


def _two(
    op: str, dtype: Any = nl.float32, buffer: Any = nl.sbuf, count: int = 512
) -> Any:
    data = _row(dtype, buffer, count), _row(dtype, count=count)
    return nisa.tensor_tensor(_row(dtype, count=count), *data, op)


def _one(dtype: Any, buffer: Any = nl.sbuf, step: int = 1) -> Any:
    data = _row(dtype, buffer)[:, 0:512:step]
    dst = _row(dtype, count=512 // step)
    return nisa.tensor_scalar(dst, data, "multiply", 2.0)


def _function_and_sums() -> Any:
    return nisa.activation_reduce(_row(), "exp", _row(), "add", _row(count=1))


def _sum_of_halves() -> Any:
    return nisa.tensor_reduce(_row(HALF, count=1), "add", _row(HALF), axis=1)


@pytest.mark.parametrize(
    "target, body, cycles",
    [(target, body, cycles) for target, _, body, cycles in COSTS],
    ids=[f"{target}-{about}" for target, about, _, _ in COSTS],
)
def test_cycles(target: str, body: Callable[[], Any], cycles: float) -> None:
    made: list[Any] = []

    def kernel(a: Any) -> Any:
        made.append(body())
        return a

    simulate(kernel, target=target)(np.zeros((1, 1), np.float32))
    chip = find_chip(target)
    assert made[0].record.cost(made[0], chip) == cycles


# -- tokens ----------------------------------------------------------------------------
@pytest.mark.parametrize("token", [np.add, "add"])
def test_a_program_has_the_names_of_operations(token: Any) -> None:
    def kernel(a: Any) -> Any:
        tile = _tile((8, 24))
        nisa.dma_copy(tile, a)
        nisa.tensor_tensor(tile, tile, tile, token)
        out = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, tile)
        return out

    run = simulate(kernel).run(A)
    (made,) = (i for i in run.programs[0].instructions() if "op" in i.attributes)
    assert made.attributes["op"] == "add"
    np.testing.assert_array_equal(run.values, A + A)


def test_what_no_chip_has_is_warned_of_once_a_line() -> None:
    def body(a: Any, b: Any) -> Any:
        for _ in range(3):
            nisa.tensor_tensor(a, a, b, "divide")
        return a

    with pytest.warns(NkiWarning, match="divide") as caught:
        _run(body, A, B)
    assert len(caught) == 1


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_low_precision_is_rounded_once(dtype: Any) -> None:
    def body(a: Any, b: Any) -> Any:
        result = _tile((8, 24), dtype)
        nisa.scalar_tensor_tensor(result, a, "multiply", 3.0, "add", b)
        return result

    a, b = A.astype(dtype), B.astype(dtype)
    exact = a.astype(np.float32) * np.float32(3) + b.astype(np.float32)
    np.testing.assert_array_equal(_run(body, a, b), exact.astype(dtype))
