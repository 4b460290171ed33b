"""Timing, and the table that results go into."""

from __future__ import annotations

import gc
import statistics
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


@dataclass(frozen=True)
class Timings:
    """Seconds that one call took, by name: a reading of each in every round."""

    readings: dict[str, list[float]]

    def least(self, name: str) -> float:
        """The least of its readings."""
        return min(self.readings[name])

    def ratio(self, name: str, peer: str) -> float:
        """The median over all rounds of its time by the peer's.

        The two of a round ran right after each other, so that load which slows one
        slows the other.
        """
        pairs = zip(self.readings[name], self.readings[peer])
        return statistics.median(own / others for own, others in pairs)


def interleaved(
    functions: dict[str, Callable[[], Any]], seconds: float = 2.0, calls: int = 1
) -> Timings:
    """Times calls of each in turns, the order changing from round to round.

    Args:
        functions: what to time, by name.
        seconds: for all of them together.
        calls: how many calls one reading covers.
    """
    timings = Timings({name: [] for name in functions})
    for function in functions.values():
        function()
    gc.collect()
    order = list(functions)
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 5 or time.perf_counter() < end:
        for name in order:
            timings.readings[name].append(_seconds(functions[name], calls))
        order.append(order.pop(0))
        if rounds % 2:
            order.reverse()
        rounds += 1
    return timings


def _seconds(function: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


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
