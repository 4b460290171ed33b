"""Large arrays: what a warm call takes, and the most memory of it, beside NumPy's.

Arguments are where NumPy puts them, 16 bytes behind a multiple of 64.

    uv run --group bench python -m benchmarks.bench_memory
    ... --kernels    # the peaks of the sixty kernels of bench_kernels, too
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kernel_records import Make
from benchmarks.kernels import KERNELS
from benchmarks.timing import Row, best, micros, print_table
from nkipy.runtime import simulate_jit

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MB = 1 << 20


def add(x: Any, y: Any) -> Any:
    return x + y


def negate(x: Any) -> Any:
    return -x


def chain(x: Any, y: Any) -> Any:
    """A copy-heavy one: three results, one of them transposed."""
    return x + y, x - y, x.T + 1


def by_vector(a: Any, x: Any) -> Any:
    return a @ x


def transposed_by_vector(a: Any, x: Any) -> Any:
    return a.T @ x


def inner(x: Any, y: Any) -> Any:
    return x @ y


def capturing(function: Callable[..., Any], array: np.ndarray) -> Callable[..., Any]:
    """`function` with its last argument from outside."""

    def kernel(x: Any) -> Any:
        return function(x, array)

    return kernel


def cases() -> list[tuple[str, Callable[..., Any], tuple[np.ndarray, ...], str]]:
    """Name, kernel, arguments, the ratio of times aimed at."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    x, y, large, other = (normal(n) for n in (4_000_000, 4_000_000, 1 << 24, 1 << 24))
    square, second, matrix = normal(2000, 2000), normal(2000, 2000), normal(4000, 4000)
    vector = normal(4000)
    return [
        ("add, 2 x 16 MB", add, (x, y), "<= 1.0"),
        ("negate, 16 MB", negate, (x,), "<= 1.0"),
        ("add, 2 x 64 MB", add, (large, other), "<= 1.0"),
        ("add, 64 MB captured", capturing(add, other), (large,), ""),
        ("three results, 2 x 16 MB", chain, (square, second), "<= 1.0"),
        ("matrix x vector, 64 MB", by_vector, (matrix, vector), "<= 1.0"),
        (
            "transposed x vector, 64 MB",
            transposed_by_vector,
            (matrix, vector),
            "<= 1.0",
        ),
        ("vector x vector, 2 x 16 MB", inner, (x, y), "<= 1.0"),
    ]


def steps(x: Any) -> Any:
    """A chain, of whose values NumPy has two or three at a time."""
    for _ in range(10):
        x = np.tanh(x) * x + 1
    return x


def layer(x: Any, first: Any, bias: Any, second: Any) -> Any:
    return np.maximum(x @ first + bias, 0) @ second


def stencil(x: Any) -> Any:
    for _ in range(10):
        rolled = [np.roll(x, by, axis) for axis in (0, 1) for by in (1, -1)]
        x = x + 0.1 * (sum(rolled) - 4 * x)
    return x


def softmax(x: Any) -> Any:
    grown = np.exp(x - x.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)


def covariance(x: Any) -> Any:
    centred = x - x.mean(0)
    return centred.T @ centred / len(x)


def sort(x: Any) -> Any:
    return np.sort(x)


def argsort(x: Any) -> Any:
    return np.argsort(x)


def sort_columns(x: Any) -> Any:
    return np.sort(x, axis=0)


def argsort_columns(x: Any) -> Any:
    return np.argsort(x, axis=0)


def inside(x: Any) -> None:
    """A step of a stencil, in its argument's place."""
    x[1:-1, 1:-1] = 0.25 * (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:])


def transposed_by_matrix(x: Any, y: Any) -> Any:
    return x.T @ y


def holding_cases() -> list[tuple[str, Callable[..., Any], tuple[np.ndarray, ...]]]:
    """Name, kernel and arguments of calls that hold more than their results."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    x, square, rows = normal(1 << 22), normal(2048, 2048), normal(4096, 1024)
    weights = normal(1024, 4096), normal(4096), normal(4096, 1024)
    return [
        ("chain of 30 steps, 16 MB", steps, (x,)),
        ("layer of 4096, 16 MB", layer, (rows, *weights)),
        ("stencil, ten steps, 16 MB", stencil, (square,)),
        ("softmax of rows, 16 MB", softmax, (rows,)),
        ("covariance, 16 MB", covariance, (normal(1 << 14, 256),)),
        ("sort, 16 MB", sort, (x,)),
        ("argsort, 16 MB", argsort, (x,)),
        ("sort of columns, 16 MB", sort_columns, (square,)),
        ("argsort of columns, 16 MB", argsort_columns, (square,)),
        ("stencil in place, 16 MB", inside, (square.copy(),)),
        ("transpose x matrix, 2 x 16 MB", transposed_by_matrix, (rows, rows[::-1])),
    ]


def peak(function: Callable[[], Any]) -> int | None:
    """The most bytes that a call has in memory beyond what was there before.

    None where the system does not say.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # what is free already counts again when it is used
        trim(ctypes.c_size_t(0))
    try:
        _RESET.write_text("5")
        before = _status("VmHWM")
        result = function()
        most = _status("VmHWM")
    except (OSError, KeyError):
        return None
    del result
    return most - before


def _status(key: str) -> int:
    """A size that the system knows of this process, in bytes."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def _megabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / _MB:.0f} MB"


def _peaks(name: str, own: Callable[[], Any], numpy: Callable[[], Any]) -> Row:
    for function in (own, own, numpy):  # which compile, and keep what they have packed
        function()
    most, peer = peak(own), peak(numpy)
    shown = f"{most / peer:.2f}" if most is not None and peer else ""
    return Row(name, _megabytes(most), _megabytes(peer), shown, "")


def peaks_of_kernels() -> list[Row]:
    """Of each kernel that takes large arrays, in its largest size."""
    rows = []
    for kernel in KERNELS:
        args = kernel.arguments(Make(), kernel.sizes[-1])
        if sum(x.nbytes for x in args) >= _MB:
            function = functools.partial(kernel.function, np)
            own = functools.partial(simulate_jit(function), *args)
            rows.append(_peaks(kernel.name, own, functools.partial(function, *args)))
    return rows


def main(arguments: Sequence[str] = ()) -> None:
    """Print both tables, and with ``--kernels`` a third one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_memory")
    parser.add_argument("--kernels", action="store_true", help="their peaks, too")
    options = parser.parse_args(arguments)
    times, peaks = [], []
    for name, kernel, args, aim in cases():
        own = functools.partial(simulate_jit(kernel), *args)
        numpy = functools.partial(kernel, *args)
        # By themselves: BLAS's threads go on turning for a while after a call.
        ours, theirs = best(own, 1.0), best(numpy, 1.0)
        row = Row(name, micros(ours), micros(theirs), f"{ours / theirs:.2f}", aim)
        times.append(row)
        peaks.append(_peaks(name, own, numpy))
    for name, kernel, given in holding_cases():
        own = functools.partial(simulate_jit(kernel), *given)
        peaks.append(_peaks(name, own, functools.partial(kernel, *given)))
    print_table("Warm call, large NumPy arrays in and out (peer: NumPy)", times)
    print_table("The most memory of such a call beyond its arguments", peaks)
    if options.kernels:
        print_table("The same of sixty kernels, large", peaks_of_kernels())


if __name__ == "__main__":
    main(sys.argv[1:])
