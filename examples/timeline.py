"""Draws an estimate of the cost model: a lane for each engine."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from nkipy_emulator.cost_model import Estimate
from nkipy_emulator.cost_model.types import LANES


def draw(estimate: Estimate, title: str) -> Figure:
    """A figure of the lanes in which `estimate` has work, over microseconds."""
    lanes = [lane for lane in LANES if estimate.busy_ns.get(lane)]
    figure, axes = plt.subplots(figsize=(7, 0.8 + 0.5 * len(lanes)))
    for row, lane in enumerate(lanes):
        spans = [
            (event.start_ns / 1000, event.duration_ns / 1000)
            for event in estimate.events
            if event.engine == lane
        ]
        axes.broken_barh(spans, (row - 0.35, 0.7), facecolors=f"C{row}")
    axes.set_yticks(range(len(lanes)), lanes)
    axes.invert_yaxis()
    axes.set(xlabel=f"µs, estimated for {estimate.target}", title=title)
    figure.tight_layout()
    return figure
