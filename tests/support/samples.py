"""Chooses samples of an op's record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import compress, count

from nkipy.testing.samples import Sample


def one_in(
    step: int,
    turn: int,
    samples: Iterable[Sample],
    allows: Callable[[Sample], bool] = lambda sample: True,
) -> Callable[[Sample], bool]:
    """What to keep of samples, for :func:`nkipy.testing.check_op`, asked in order.

    Args:
        step: of as many samples in a row, one is kept; always one of all.
        turn: which of them, from 0 on.
        samples: the op's samples.
        allows: whether a sample may be kept at all.
    """
    allowed = [allows(sample) for sample in samples]
    places = list(compress(count(), allowed))
    kept = set(places[turn % min(step, len(places)) :: step]) if places else set()
    turns = count()
    return lambda sample: next(turns) in kept
