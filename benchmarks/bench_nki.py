"""NKI kernels in the simulator, all checks on, beside the same in NumPy."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from benchmarks.timing import Row, interleaved, micros, print_table
from nki_simulator.src.reference.attention import flash_fwd

_P, _N, _COUNT = 128, 512, 200
_RNG = np.random.default_rng(0)


def _floats(*shape: int) -> np.ndarray:
    return _RNG.standard_normal(shape).astype(np.float32)


# -- a tiled product -------------------------------------------------------------------
@nki.jit
def _product(lhs_t: Any, rhs: Any) -> Any:
    (k, m), n = lhs_t.shape, rhs.shape[1]
    result = nl.ndarray((m, n), nl.float32, buffer=nl.shared_hbm)
    left = nl.ndarray((_P, k // _P, m), nl.float32)
    right = nl.ndarray((_P, k // _P, n), nl.float32)
    for i in range(k // _P):
        nisa.dma_copy(left[:, i, :], lhs_t[i * _P : (i + 1) * _P, :])
        nisa.dma_copy(right[:, i, :], rhs[i * _P : (i + 1) * _P, :])
    for row in range(0, m, _P):
        for column in range(0, n, _N):
            total = nl.ndarray((_P, _N), nl.float32, buffer=nl.psum)
            for i in range(k // _P):
                nisa.nc_matmul(
                    total,
                    left[:, i, row : row + _P],
                    right[:, i, column : column + _N],
                )
            tile = nl.ndarray((_P, _N), nl.float32)
            nisa.tensor_copy(tile, total)
            nisa.dma_copy(result[row : row + _P, column : column + _N], tile)
    return result


def _products() -> list[Row]:
    a, b = _floats(1024, 1024), _floats(1024, 1024)
    lhs_t = np.ascontiguousarray(a.T)
    run = nki.simulate(_product)
    np.testing.assert_allclose(run(lhs_t, b), a @ b, atol=1e-3)
    rows = []
    for threads, aim in ((1, "> 0.5"), (None, "> 0.25")):
        with threadpool_limits(threads):
            took = interleaved(
                {"ours": lambda: run(lhs_t, b), "numpy": lambda: a @ b}, 4.0
            )
        ours, numpy = took.least("ours"), took.least("numpy")
        name = f"1024^3 product, {threads or 'default'} BLAS threads (speed)"
        rows.append(Row(name, micros(ours), micros(numpy), f"{numpy / ours:.2f}", aim))
    return rows


# -- flash attention -------------------------------------------------------------------
def _attention() -> list[Row]:
    tokens, d = 4096, 128
    q, k, v = _floats(1, 1, d, tokens), _floats(1, 1, d, tokens), _floats(tokens, d)

    def numpy() -> np.ndarray:
        scores = q[0, 0].T @ k[0, 0] * np.float32(d**-0.5)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights @ v / weights.sum(axis=1, keepdims=True)

    run = nki.simulate(flash_fwd)
    np.testing.assert_allclose(run(q, k, v[None, None])[0, 0], numpy(), atol=1e-4)
    took = interleaved({"ours": lambda: run(q, k, v[None, None]), "numpy": numpy}, 6.0)
    ours, peer = took.least("ours"), took.least("numpy")
    name = f"flash attention forward, {tokens} x {d}, float32"
    return [Row(name, micros(ours), micros(peer), f"{ours / peer:.2f}", "< 8")]


# -- one instruction -------------------------------------------------------------------
def _many(issue: Callable[[Any, Any, Any], Any], count: int) -> Any:
    """A kernel that issues an instruction so often."""

    def kernel(x: Any) -> None:
        tiles = [nl.ndarray((_P, _N), nl.float32) for _ in range(2)]
        psum = nl.ndarray((_P, _N), nl.float32, buffer=nl.psum)
        for tile in tiles:
            nisa.dma_copy(tile, x)
        for _ in range(count):
            issue(tiles[0], tiles[1], psum)

    return nki.simulate(kernel)


def _instructions() -> list[Row]:
    x, y, out = (_floats(_P, _N) for _ in range(3))
    left = np.ascontiguousarray(x[:, :_P].T)
    column = np.empty((_P, 1), np.float32)
    pairs: dict[str, tuple[Any, Any]] = {
        "tensor_tensor": (
            lambda a, b, p: nisa.tensor_tensor(b, a, a, op=nl.add),
            lambda: np.add(x, y, out=out),
        ),
        "tensor_scalar": (
            lambda a, b, p: nisa.tensor_scalar(b, a, op0=nl.multiply, operand0=2.0),
            lambda: np.multiply(x, np.float32(2), out=out),
        ),
        "activation(exp)": (
            lambda a, b, p: nisa.activation(b, op=nl.exp, data=a),
            lambda: np.exp(x, out=out),
        ),
        "tensor_reduce": (
            lambda a, b, p: nisa.tensor_reduce(b[:, 0:1], op=nl.add, data=a, axis=1),
            lambda: np.add.reduce(x, axis=1, keepdims=True, out=column),
        ),
        "nc_matmul": (
            lambda a, b, p: nisa.nc_matmul(p, a[:, 0:_P], a, accumulate=False),
            lambda: np.matmul(left, x, out=out),
        ),
        "dma_copy": (
            lambda a, b, p: nisa.dma_copy(b, a),
            lambda: np.copyto(out, x),
        ),
    }
    rows, extra = [], []
    with threadpool_limits(1):
        for name, (issue, numpy) in pairs.items():
            full, empty = _many(issue, _COUNT), _many(issue, 0)
            took = interleaved(
                {
                    "full": lambda full=full: full(x),
                    "empty": lambda empty=empty: empty(x),
                    "numpy": lambda numpy=numpy: [numpy() for _ in range(_COUNT)],
                },
                2.0,
            )
            ours = (took.least("full") - took.least("empty")) / _COUNT
            peer = took.least("numpy") / _COUNT
            extra.append(ours - peer)
            rows.append(Row(name, micros(ours), micros(peer), f"{ours / peer:.2f}", ""))
    median = statistics.median(extra)
    rows.append(Row("median beyond NumPy", micros(median), "", "", "< 40 us"))
    return rows


# -- recording -------------------------------------------------------------------------
def _recorded() -> list[Row]:
    x = _floats(_P, _N)
    run = _many(lambda a, b, p: nisa.tensor_tensor(b, a, a, op=nl.add), 1000)
    took = interleaved({"with": lambda: run.run(x).report(), "without": lambda: run(x)})
    ours, peer = took.least("with"), took.least("without")
    name = "a run with dependencies and schedule, beside one without"
    return [Row(name, micros(ours), micros(peer), f"{ours / peer:.2f}", "< 1.3")]


# -- fp8, and functions ----------------------------------------------------------------
def _repeated(
    issue: Callable[..., Any], allocate: Callable[[], Any]
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Runs of a kernel that issues an instruction `_COUNT` times, and of one never."""
    x = _floats(_P, _N)

    def run_of(count: int) -> Callable[[], Any]:
        def kernel(x: Any) -> None:
            tiles = allocate()
            for _ in range(count):
                issue(*tiles)

        return partial(nki.simulate(kernel), x)

    return run_of(_COUNT), run_of(0)


def _double_row() -> list[Row]:
    def tiles(dtype: Any, rows: int) -> Callable[[], Any]:
        def allocate() -> Any:
            left = nl.full((_P, rows, _P), 1.0, dtype)
            right = nl.full((_P, rows, _N), 1.0, dtype)
            return left, right, nl.ndarray((_P, _N), nl.float32, buffer=nl.psum)

        return allocate

    def plain(left: Any, right: Any, total: Any) -> None:
        for i in range(2):
            nisa.nc_matmul(total, left[:, i, :], right[:, i, :], accumulate=i > 0)

    def double(left: Any, right: Any, total: Any) -> None:
        mode = nisa.matmul_perf_mode.double_row
        nisa.nc_matmul(total, left, right, accumulate=False, perf_mode=mode)

    full, empty = _repeated(double, tiles(nl.float8_e4m3, 2))
    full_peer, empty_peer = _repeated(plain, tiles(nl.float32, 2))
    with threadpool_limits(1):
        took = interleaved(
            {
                **{"full": full, "empty": empty},
                **{"full peer": full_peer, "empty peer": empty_peer},
            },
            4.0,
        )
    ours = (took.least("full") - took.least("empty")) / _COUNT
    peer = (took.least("full peer") - took.least("empty peer")) / _COUNT
    name = "a double-row fp8 product, beside its float32 product"
    return [Row(name, micros(ours), micros(peer), f"{ours / peer:.2f}", "< 2")]


def _functions() -> list[Row]:
    x, out = _floats(_P, _N), np.empty((_P, _N), np.float32)
    rows = []
    for name in ("gelu", "erf"):
        op = getattr(nl, name)
        full = _many(lambda a, b, p, op=op: nisa.activation(b, op=op, data=a), _COUNT)
        empty = _many(lambda a, b, p: None, 0)
        # As many calls of the peer in a reading: on a busy machine one alone would find
        # a moment to itself that a whole run never does.
        took = interleaved(
            {
                "full": partial(full, x),
                "empty": partial(empty, x),
                "numpy": lambda: [np.tanh(x, out=out) for _ in range(_COUNT)],
            },
            3.0,
        )
        ours = (took.least("full") - took.least("empty")) / _COUNT
        peer = took.least("numpy") / _COUNT
        rows.append(
            Row(
                f"activation({name}), beside np.tanh",
                *(micros(ours), micros(peer), f"{ours / peer:.2f}", "< 10"),
            )
        )
    return rows


def main() -> None:
    print_table("NKI: products in tiles, beside NumPy", _products())
    print_table("NKI: attention, beside NumPy", _attention())
    print_table("NKI: one instruction on 128 x 512, beside NumPy", _instructions())
    print_table("NKI: what a report costs", _recorded())
    print_table("NKI: fp8 and functions", _double_row() + _functions())


if __name__ == "__main__":
    main()
