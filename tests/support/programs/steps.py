"""The steps of random programs: each writes one or a few lines, about what there is."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.programs.steps_objects import BRANCHES, CAPTURED, OBJECTS
from tests.support.programs.steps_stores import INSIDE, STORES
from tests.support.programs.steps_values import (
    BINARY,
    INDEXED,
    METHODS,
    MOVED,
    PRODUCTS,
    REDUCED,
    UNARY,
)
from tests.support.programs.writer import Step, Writer


def _one_of(steps: list[Step]) -> Callable[[Writer], str]:
    return lambda w: w.rng.choice(steps)(w)


#: Kinds of steps, and how often each is taken.
STEPS: list[tuple[Step, int]] = [
    (_one_of(UNARY), 4),
    (_one_of(BINARY), 6),
    (_one_of(REDUCED), 4),
    (_one_of(METHODS), 3),
    (_one_of(MOVED), 6),
    (_one_of(INDEXED), 4),
    (_one_of(PRODUCTS), 2),
    (_one_of(STORES), 9),
    (_one_of(INSIDE), 7),
    (_one_of(OBJECTS), 3),
    (_one_of(BRANCHES), 2),
    (_one_of(CAPTURED), 3),
]
