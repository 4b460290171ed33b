"""One valid program or more for each opcode, and ways to get each wrong."""

from __future__ import annotations

from tests.unit.hlo.sample import (
    Sample,
    Wrong,
    comparator,
    computation,
    instruction,
    reducer,
)
from tests.unit.hlo.samples_calls import CALLS
from tests.unit.hlo.samples_elements import ELEMENTS

SAMPLES = [*ELEMENTS, *CALLS]

__all__ = [
    "SAMPLES",
    "Sample",
    "Wrong",
    "comparator",
    "computation",
    "instruction",
    "reducer",
]
