"""Sizes of compiled programs: expressions of symbols, and the buckets of these."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Expression:
    """A whole number that depends on symbols; made of :func:`Size` by arithmetic."""

    tokens: tuple[int | str, ...]

    def __add__(self, other: Expression | int) -> Expression:
        return self._with("+", other)

    def __sub__(self, other: Expression | int) -> Expression:
        return self._with("-", other)

    def __mul__(self, other: Expression | int) -> Expression:
        return self._with("*", other)

    def __floordiv__(self, other: Expression | int) -> Expression:
        return self._with("//", other)

    def __mod__(self, other: Expression | int) -> Expression:
        return self._with("%", other)

    def __radd__(self, other: int) -> Expression:
        return expression(other) + self

    def __rsub__(self, other: int) -> Expression:
        return expression(other) - self

    def __rmul__(self, other: int) -> Expression:
        return expression(other) * self

    def __rfloordiv__(self, other: int) -> Expression:
        return expression(other) // self

    def __rmod__(self, other: int) -> Expression:
        return expression(other) % self

    def minimum(self, other: Expression | int) -> Expression:
        """The smaller of both."""
        return self._with("min", other)

    def maximum(self, other: Expression | int) -> Expression:
        """The greater of both."""
        return self._with("max", other)

    def _with(self, operation: str, other: Expression | int) -> Expression:
        return Expression((*self.tokens, *expression(other).tokens, operation))


def Size(symbol: int) -> Expression:
    """The exact value of a function's symbol, counted from 0."""
    return Expression((f"${operator.index(symbol)}",))


def expression(size: Expression | int) -> Expression:
    """A number as an expression."""
    if isinstance(size, Expression):
        return size
    return Expression((operator.index(size),))


#: A dimension's exact size; or its factors, the last of which varies fastest, where
#: each is padded for itself: (4, Size(0)) is 4 times as many as the symbol 0 says.
Dimension = int | Expression | Sequence[int | Expression]
#: The same in a program, whose sizes are fixed.
PaddedDimension = int | Sequence[int]


@dataclass(frozen=True)
class PowersOfTwo:
    """Buckets first, 2 * first and so on, where `first` is rounded up to a power.

    Attributes:
        most: the largest of them, after which come its multiples; None: none is.
        limit: no value is larger, so that no bucket need be; None: any may come.
    """

    first: int = 1
    most: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Linear:
    """Buckets first, first + step, first + 2 * step and so on.

    Attributes:
        most, limit: as of :class:`PowersOfTwo`.
    """

    first: int
    step: int
    most: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Listed:
    """These buckets, and powers of two for what is larger than the largest."""

    buckets: tuple[int, ...]


@dataclass(frozen=True)
class Exact:
    """A bucket for each size."""


@dataclass(frozen=True)
class OneBucket:
    """One bucket, called 0, for all values: of a number that is no size of anything."""


Buckets = PowersOfTwo | Linear | Listed | Exact | OneBucket


def rule_of(buckets: Buckets) -> tuple[str, list[int]]:
    """As the extension has it: a name, and its numbers.

    Raises:
        TypeError: they are no rule of buckets.
        ValueError: its numbers cannot be.
    """
    ends: list[int] = []
    if isinstance(buckets, (PowersOfTwo, Linear)):
        is_linear = isinstance(buckets, Linear)
        rule = "linear" if is_linear else "powers of two"
        numbers = [buckets.first, getattr(buckets, "step", 1)]
        ends = [buckets.most or 0, buckets.limit or 0]
    elif isinstance(buckets, Listed):
        rule, numbers = "listed", sorted(set(buckets.buckets))
    elif isinstance(buckets, (Exact, OneBucket)):
        return ("exact" if isinstance(buckets, Exact) else "one"), []
    else:
        raise TypeError(f"no rule of buckets: {buckets!r}")
    if not numbers or min(numbers) < 1 or min(ends, default=0) < 0:
        raise ValueError(
            f"buckets are numbers from 1 up, and at least one: {buckets!r}"
        )
    return rule, numbers + ends


def tokens_of(size: Expression | int) -> list[int | str]:
    """As the extension has it: numbers, symbols and operations, each after its own."""
    return list(expression(size).tokens)


def dimensions_of(shape: Sequence[Dimension]) -> list[list[list[int | str]]]:
    """As the extension has it: the factors of each dimension."""
    return [
        [tokens_of(d)] if isinstance(d, (int, Expression)) else list(map(tokens_of, d))
        for d in shape
    ]
