"""Sixty kernels in three sizes: warm calls of simulate_jit, beside NumPy and jax.jit.

    uv run --group bench python -m benchmarks.bench_kernels
    ... --kind products --kind scans --size large
    ... --kernel sort --kernel "log10"
    ... --markdown docs/speed_table.md

All three get NumPy arrays and give NumPy arrays, with as many threads as they take, in
one run. A cell is how often its own call fits into the time of NumPy's: 2.00 is twice
as fast. Values are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib.metadata
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kernel_records import SIZES, Kernel, Make
from benchmarks.kernels import KERNELS
from benchmarks.timing import micros
from nkipy.runtime import simulate_jit

#: What takes NumPy less is as fast as a call of anything can be.
LEAST_SECONDS = 20e-6
#: Blocks of readings of each, in turns.
ROUNDS = 4
#: After a block of NumPy's: the threads of its BLAS wait actively for about a tenth of
#: a second after a call, and slow what runs meanwhile.
_REST_SECONDS = 0.15
#: One reading covers as many calls as fit into this, or one.
_READING_SECONDS = 50e-6


@dataclass(frozen=True)
class Timed:
    """The least seconds of a call of a kernel with arguments of one size."""

    kernel: Kernel
    size: str
    numpy: float
    ours: float
    jax: float

    def speed(self, whose: str) -> float:
        """How many calls of simulate_jit, or of jax.jit, one of NumPy takes."""
        return self.numpy / float(getattr(self, whose))

    @property
    def counts(self) -> bool:
        """Whether NumPy takes long enough for the summary."""
        return self.numpy > LEAST_SECONDS


# -- measuring -------------------------------------------------------------------------
def calls_of(kernel: Kernel, size: str) -> dict[str, Callable[[], Any]]:
    """A call of the kernel under each of the three, compiled; their values agree.

    Raises:
        AssertionError: they do not.
    """
    import jax
    import jax.numpy as jnp

    args = kernel.arguments(Make(), kernel.sizes[SIZES.index(size)])
    ours = simulate_jit(functools.partial(kernel.function, np))
    theirs = jax.jit(functools.partial(kernel.jax or kernel.function, jnp))
    calls: dict[str, Callable[[], Any]] = {
        "numpy": lambda: kernel.function(np, *args),
        "ours": lambda: ours(*args),
        "jax": lambda: np.asarray(theirs(*args)),
    }
    expected = calls["numpy"]()
    relative, absolute = kernel.tolerance
    for whose in ("ours", "jax"):
        np.testing.assert_allclose(
            *(calls[whose](), expected, relative, absolute),
            err_msg=f"{kernel.name}, {size}, {whose}",
        )
    return calls


def least_seconds(
    calls: dict[str, Callable[[], Any]], seconds: float
) -> dict[str, float]:
    """The least time of a call of each, over about `seconds` for all of them."""
    gc.collect()
    counts = {name: _calls_of_a_reading(call) for name, call in calls.items()}
    least = dict.fromkeys(calls, float("inf"))
    block = seconds / ROUNDS / len(calls)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            end = time.perf_counter() + block
            call()
            taken = 0
            while taken < 2 or time.perf_counter() < end:
                least[name] = min(least[name], _reading(call, counts[name]))
                taken += 1
            if name == "numpy":
                time.sleep(_REST_SECONDS)
    return least


def _calls_of_a_reading(call: Callable[[], Any]) -> int:
    call()
    took = min(_reading(call, 1) for _ in range(3))
    return max(1, int(_READING_SECONDS / took))


def _reading(call: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def measure(
    kernels: Iterable[Kernel], sizes: Sequence[str], seconds: float
) -> list[Timed]:
    """Every kernel in every size, `seconds` of timing each."""
    timed = []
    for kernel in kernels:
        for size in sizes:
            least = least_seconds(calls_of(kernel, size), seconds)
            timed.append(Timed(kernel, size, **least))
            _tell_progress(f"{kernel.name}, {size}")
    _tell_progress("")
    return timed


def _tell_progress(what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what}")
        sys.stderr.flush()


# -- tables ----------------------------------------------------------------------------
def rows_of(timed: Iterable[Timed], sizes: Sequence[str]) -> list[list[str]]:
    """A row for each kernel: NumPy's time, our speed and jax.jit's, by size."""
    by_kernel: dict[Kernel, dict[str, Timed]] = {}
    for one in timed:
        by_kernel.setdefault(one.kernel, {})[one.size] = one
    rows = []
    for kernel, found in by_kernel.items():
        row = [kernel.kind, kernel.name]
        for size in sizes:
            one = found[size]
            speeds = (f"{one.speed(whose):.2f}" for whose in ("ours", "jax"))
            row += [micros(one.numpy), *speeds]
        rows.append(row)
    return rows


def header_of(sizes: Sequence[str]) -> list[str]:
    """What stands above :func:`rows_of`."""
    columns = [(f"NumPy, {size}", "simulate_jit", "jax.jit") for size in sizes]
    return ["kind", "kernel", *(name for column in columns for name in column)]


SUMMARY = [
    "of those that take NumPy > 20 us",
    "number",
    "geometric mean",
    "as fast as NumPy",
    "half as fast",
    "worst",
    "jax.jit: mean",
    "as fast",
]


def summary_of(timed: Sequence[Timed]) -> list[list[str]]:
    """By kind, by size and over all, of those for which NumPy takes long enough."""
    kinds = dict.fromkeys(one.kernel.kind for one in timed)
    sizes = dict.fromkeys(one.size for one in timed)
    groups = {kind: [t for t in timed if t.kernel.kind == kind] for kind in kinds}
    groups |= {f"size: {size}": [t for t in timed if t.size == size] for size in sizes}
    groups["all"] = list(timed)
    rows = []
    for name, group in groups.items():
        counted = [one for one in group if one.counts]
        if counted:
            rows.append([name, str(len(counted)), *_figures(counted)])
    return rows


def _figures(timed: Sequence[Timed]) -> list[str]:
    worst = min(timed, key=lambda one: one.speed("ours"))
    return [
        _mean(timed, "ours"),
        _share(timed, "ours", 1.0),
        _share(timed, "ours", 0.5),
        f"{worst.speed('ours'):.2f} ({worst.kernel.name}, {worst.size})",
        _mean(timed, "jax"),
        _share(timed, "jax", 1.0),
    ]


def _mean(timed: Iterable[Timed], whose: str) -> str:
    return f"{statistics.geometric_mean(one.speed(whose) for one in timed):.2f}"


def _share(timed: Sequence[Timed], whose: str, least: float) -> str:
    return f"{sum(one.speed(whose) >= least for one in timed) / len(timed):.0%}"


def machine() -> str:
    """What the figures are of, and what else there was to do meanwhile."""
    versions = [
        f"{name} {importlib.metadata.version(name)}"
        for name in ("numpy", "jaxlib", "jax")
    ]
    return (
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"Python {platform.python_version()}, {', '.join(versions)}; "
        f"load average {os.getloadavg()[1]:.1f}, of which this run is 1 to 2"
    )


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first row being their names."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, the first row being its head."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_PAGE = """\
# How fast kernels run

Sixty kernels in three sizes, warm calls, NumPy arrays in and out, all in one run with
as many threads as each takes. Under *NumPy* stands the time of a call; under
`simulate_jit` and `jax.jit`, how many of their calls fit into it: 2.00 is twice as fast
as NumPy, 0.50 half as fast. The records are in `benchmarks/kernels.py`.
[Speed](user_guide/speed.md) says where a call's time goes.

{machine}. Other machines have other figures.

{summary}
{table}
Written by `python -m benchmarks.bench_kernels --markdown`; not to be edited.
"""


# -- command line ----------------------------------------------------------------------
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_kernels",
        description=(__doc__ or "").partition("\n")[0],
    )
    kinds = list(dict.fromkeys(kernel.kind for kernel in KERNELS))
    names = [kernel.name for kernel in KERNELS]
    several: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME"}
    parser.add_argument("--kind", choices=kinds, help=", ".join(kinds), **several)
    parser.add_argument("--kernel", choices=names, help=", ".join(names), **several)
    parser.add_argument("--size", choices=SIZES, help=", ".join(SIZES), **several)
    parser.add_argument("--seconds", type=float, default=0.6, help="of timing, each")
    parser.add_argument("--markdown", type=Path, help="a file to write the page to")
    return parser


def chosen(kinds: Sequence[str], names: Sequence[str]) -> list[Kernel]:
    """The kernels of these kinds and names; all, if there are none."""
    found = [k for k in KERNELS if k.kind in kinds or k.name in names]
    return found if kinds or names else list(KERNELS)


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    sizes = [size for size in SIZES if size in (options.size or SIZES)]
    kernels = chosen(options.kind, options.kernel)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        timed = measure(kernels, sizes, options.seconds)
    summary = [SUMMARY, *summary_of(timed)]
    table = [header_of(sizes), *rows_of(timed, sizes)]
    sys.stdout.write(f"{machine()}\n\n{as_text(table)}\n{as_text(summary)}")
    if options.markdown:
        page = _PAGE.format(
            machine=machine(), summary=as_markdown(summary), table=as_markdown(table)
        )
        options.markdown.write_text(page)


if __name__ == "__main__":
    main()
