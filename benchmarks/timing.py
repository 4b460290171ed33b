"""Timing, and the table that results go into."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def best(function: Callable[[], Any], seconds: float = 1.0, least: int = 5) -> float:
    """The least time of one call, in seconds, over about `seconds` of calls."""
    function()
    gc.collect()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def interleaved(
    functions: dict[str, Callable[[], Any]], seconds: float = 2.0, calls: int = 1
) -> dict[str, float]:
    """The least time of one call of each, taken in turns so that load hits all alike.

    Args:
        functions: what to time, by name.
        seconds: for all of them together.
        calls: how many calls one reading covers.
    """
    least = {name: float("inf") for name in functions}
    for function in functions.values():
        function()
    gc.collect()
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 5 or time.perf_counter() < end:
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(calls):
                function()
            least[name] = min(least[name], (time.perf_counter() - start) / calls)
        rounds += 1
    return least


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, ours, the peer's, and what is aimed at."""

    what: str
    ours: str
    peer: str
    ratio: str
    aim: str


def print_table(title: str, rows: list[Row]) -> None:
    """Write the rows as an aligned table."""
    header = Row("measured", "ours", "peer", "ratio", "aim")
    cells = [[r.what, r.ours, r.peer, r.ratio, r.aim] for r in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    lines = [title, *("  ".join(c.ljust(w) for c, w in zip(r, widths)) for r in cells)]
    sys.stdout.write("\n".join(line.rstrip() for line in lines) + "\n\n")


def micros(seconds: float) -> str:
    """A time as text."""
    if seconds >= 1e-2:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e6:.2f} us"
