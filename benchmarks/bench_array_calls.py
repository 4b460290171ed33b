"""From how many elements on a handler for whole arrays beats XLA's own code.

    python -m benchmarks.bench_array_calls            # the table
    python -m benchmarks.bench_array_calls --write    # into the emulator

Each kind runs alone, both ways, in turns. The size at which a call wins counts for all
dtypes. A cell is how many times as fast as NumPy XLA's code is, and the call.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.bench_fast_calls import MARGIN, SHOWN, SIZES, enter, measure
from nkipy.core.trace import NKIPyKernel
from nkipy.hlo.ir import HLOModule
from nkipy_emulator import fast_calls

Kernel = Callable[..., Any]
Made = tuple[HLOModule, tuple[np.ndarray, ...]]


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def rows(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Rows of 64."""
    length = count // 64
    indices = np.random.default_rng(1).integers(0, length, length).astype(np.int32)
    return lambda table, i: table[i], (_normal(length, 64), indices)


def elements(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Elements of a vector, each once."""
    order = np.random.default_rng(1).permutation(count).astype(np.int32)
    return lambda x, i: np.take(x, i), (_normal(count), order)


def fold(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """The largest element of each column."""
    return lambda x: np.max(x, axis=0), (_normal(count // 64, 64),)


def scan(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """A running sum."""
    return np.cumsum, (_normal(count),)


def bits(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Whether any element of each column is true."""
    return lambda x: np.any(x, axis=0), (_normal(count // 64, 64) > 2,)


def counts(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """How many elements are true."""
    return np.count_nonzero, (_normal(count) > 0,)


def sums_of_integers(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Those of columns."""
    x = np.random.default_rng(0).integers(0, 9, (count // 64, 64)).astype(np.int32)
    return lambda x: np.sum(x, axis=0), (x,)


def plain(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """One addition."""
    return np.add, (_normal(count), _normal(count))


def moves(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """A frame of zeros around rows of 64."""
    return lambda x: np.pad(x, 1), (_normal(count // 64, 64),)


def small_products(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Of 4 by 4."""
    shape = (count // 16, 4, 4)
    return np.matmul, (_normal(*shape), _normal(*shape))


def among(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Which of some integers are among 64."""
    x = np.random.default_rng(0).integers(0, 2**31, count // 64 + 64).astype(np.int32)
    return lambda x, y: np.isin(x, y), (x, x[:64].copy())


def slides(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """A vector along which another one of 64 slides."""
    return lambda x, y: np.correlate(x, y), (_normal(count // 64 + 64), _normal(64))


def joins(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Two arrays, one behind the other, of which the last element comes first."""
    halves = _normal(2, count // 2)
    return lambda x, y: np.concatenate([x, y])[::-1] + 1, tuple(halves)


def rings(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Both neighbours of each element, ten times."""

    def steps(x: np.ndarray) -> np.ndarray:
        for _ in range(10):
            x = x + 0.1 * (np.roll(x, 1) - 2 * x + np.roll(x, -1))
        return x

    return steps, (_normal(count),)


def strided_stores(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Of one value at every third place, every fifth, and so on."""

    def stores(x: np.ndarray) -> np.ndarray:
        for step in (3, 5, 7, 11, 13, 17, 19, 23):
            x[step::step] = 0
        return x

    return stores, (_normal(count // 8),)


def products(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Of two matrices, with that many multiplications."""
    n = round(count ** (1 / 3))
    return np.matmul, (_normal(n, n), _normal(n, n))


def narrow_products(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Of a matrix of eight rows."""
    n = round((count / 8) ** 0.5)
    return np.matmul, (_normal(8, n), _normal(n, n))


def products_of_few_terms(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Of 64 terms each, with four times as many columns as rows."""
    rows = round((count / 256) ** 0.5)
    return np.matmul, (_normal(rows, 64), _normal(64, 4 * rows))


def products_in_place(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Of a slice by a transpose."""
    n = round(count ** (1 / 3))
    return lambda x, y: x[:, 1:] @ y.T, (_normal(n, n + 1), _normal(n, n))


def products_of_vectors(count: int) -> tuple[Kernel, tuple[np.ndarray, ...]]:
    """Of a matrix and a vector."""
    n = round(count**0.5)
    return np.matmul, (_normal(n, n), _normal(n))


KINDS: Mapping[str, Callable[[int], tuple[Kernel, tuple[np.ndarray, ...]]]] = (
    MappingProxyType(
        {
            "among": among,
            "bits": bits,
            "counts": counts,
            "elements gathered": elements,
            "fold": fold,
            "joins": joins,
            "large products": products,
            "moves": moves,
            "narrow products": narrow_products,
            "plain": plain,
            "products": products,
            "products in place": products_in_place,
            "products of few terms": products_of_few_terms,
            "products of vectors": products_of_vectors,
            "rings": rings,
            "rows": rows,
            "scan": scan,
            "slides": slides,
            "small products": small_products,
            "strided stores": strided_stores,
            "sums of integers": sums_of_integers,
        }
    )
)
_LARGE = (1 << 20, 1 << 21, 1 << 22, 1 << 24, 1 << 27)
#: Sizes of products, in multiplications, and by how much a call has to be faster.
PRODUCTS: Mapping[str, tuple[tuple[int, ...], float]] = MappingProxyType(
    {
        "large products": (_LARGE, MARGIN),
        "narrow products": (_LARGE, MARGIN),
        "products": ((1 << 9, 1 << 12, 1 << 15, 1 << 18), 1.03),
        "products in place": (_LARGE, 1.05),
        "products of few terms": (_LARGE, MARGIN),
        "products of vectors": ((1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 22), MARGIN),
    }
)


def module_of(kind: str, count: int) -> Made:
    """A module of one call with about that many results, and arguments for it."""
    kernel, arguments = KINDS[kind](count)
    # NumPy's functions take a traced array where they take one of its own.
    module = NKIPyKernel.trace(lambda *xs: kernel(*xs)).specialize(*arguments)
    assert module is not None
    return module, arguments


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each size")
    parser.add_argument("kinds", nargs="*", help="all of them if none")
    options = parser.parse_args()
    table = {name: dict(row) for name, row in fast_calls.table().items()}
    columns = ["kind", "from elements", *(f"{n:,}" for n in SHOWN), "alone"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for kind in options.kinds or KINDS:
        peer, _ = KINDS[kind](SHOWN[0])
        make = partial(module_of, kind)
        sizes, margin = PRODUCTS.get(kind, (SIZES, MARGIN))
        least, alone, speeds = measure(make, peer, options.seconds, sizes, margin)
        enter(table, kind, "any", least)
        enter(table, kind, fast_calls.ALONE, alone)
        shown = " | ".join(f"{speeds[n][0]:.2f} → {speeds[n][1]:.2f}" for n in SHOWN)
        cells = (kind, least or "never", shown, alone or "never")
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    if options.write:
        kept = {name: row for name, row in sorted(table.items()) if row}
        text = json.dumps(kept, indent=2)
        fast_calls.TABLE.write_text(text + "\n")


if __name__ == "__main__":
    main()
