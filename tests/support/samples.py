"""Chooses samples of an op's record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from nkipy.testing.samples import Sample


def every_other(
    samples: Iterable[Sample],
    turn: int | None,
    allows: Callable[[Sample], bool] = lambda sample: True,
) -> Callable[[Sample], bool]:
    """What to keep of samples, for :func:`nkipy.testing.check_op`, asked in order.

    Args:
        samples: the op's samples.
        turn: 0 keeps the first of those allowed, the third and so on; 1 the others, or
            the only one; None keeps them all.
        allows: whether a sample may be kept.
    """
    allowed = [allows(sample) for sample in samples]
    if turn is None:
        return _in_turn(allowed)
    turn = turn if sum(allowed) > 1 else 0
    numbers = iter(range(len(allowed)))
    return _in_turn([a and next(numbers) % 2 == turn for a in allowed])


def _in_turn(answers: list[bool]) -> Callable[[Sample], bool]:
    turns: Iterator[bool] = iter(answers)
    return lambda sample: next(turns)
