"""Figures over time, with few enough points to be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["busy_shares", "thinned"]


def thinned(
    points: Iterable[tuple[float, int]], most: int = 1000
) -> list[tuple[float, int]]:
    """At most so many points of a step function; of several, the highest.

    Args:
        points: a time, and the value from then on, in order of time.
        most: how many points are kept.
    """
    given = list(points)
    size = -(-len(given) // most) or 1
    return [
        (part[0][0], max(value for _, value in part))
        for part in (given[i : i + size] for i in range(0, len(given), size))
    ]


def busy_shares(
    starts: Sequence[float], ends: Sequence[float], total: float, bins: int
) -> np.ndarray:
    """For each of some equal parts of the time, which share of it an engine works.

    Args:
        starts: when it begins something, in order; such stretches do not overlap.
        ends: when it ends that.
        total: the whole time.
        bins: how many parts there are.

    Returns:
        Numbers from 0 to 1, float64, of shape (bins,).
    """
    if not len(starts) or not total:
        return np.zeros(bins)
    begin, end = np.asarray(starts), np.asarray(ends)
    times = np.stack([begin, end], axis=1).reshape(-1)
    done = np.cumsum(end - begin)
    worked = np.stack([done - (end - begin), done], axis=1).reshape(-1)
    edges = np.linspace(0.0, total, bins + 1)
    share = np.diff(np.interp(edges, times, worked, left=0.0)) * bins / total
    return np.clip(share, 0.0, 1.0)
