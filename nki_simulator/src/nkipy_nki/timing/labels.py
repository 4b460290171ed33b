"""What is called how where people read it."""

from __future__ import annotations

from nkipy_nki.engines import Engine

__all__ = ["NAMES", "shown"]

#: Engines, in the order in which they are shown.
NAMES = {
    Engine.tensor: "TensorE",
    Engine.vector: "VectorE",
    Engine.scalar: "ScalarE",
    Engine.gpsimd: "GpSimd",
    Engine.sync: "SyncE",
    Engine.dma: "DMA",
    Engine.unknown: "unknown",
}


def shown(ns: float) -> str:
    """A time as text."""
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.2f} {unit}"
    return f"{ns:.0f} ns"
