"""Dimensions whose data may be followed by padding.

A dimension is a row-major list of *factors*, each with the size that the program has
(``padded``) and the actual one (``size``). Most have one factor: the data is a prefix.
Merging ``[4, s]`` in a bucket of 8 into one dimension gives one of two factors,
``4 x (s of 8)``, whose data is no prefix of its 32 elements.

Factors are in one canonical form, so that equal layouts are equal: factors of 1 are
left out, and a number of elements that follows a factor is multiplied into it, since
``(s of 8) x 4`` is a prefix of ``4*s`` in 32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

from spike_torch.lowering.errors import NeedsExactSize
from spike_torch.lowering.sizes import Size, is_static, plain, product, quotient


class Factor(NamedTuple):
    """A part of a dimension: its size in the program, and the one that counts."""

    padded: int
    size: Size

    @property
    def is_padded(self) -> bool:
        return not is_static(self.size)


class Dim(NamedTuple):
    """A dimension. Make it by :func:`static`, :func:`prefix` or :func:`dim_of`."""

    factors: tuple[Factor, ...]

    @property
    def padded(self) -> int:
        """Elements in the program."""
        return prod(f.padded for f in self.factors)

    @property
    def size(self) -> Size:
        """Elements that count."""
        return product(f.size for f in self.factors)

    @property
    def is_padded(self) -> bool:
        """Whether there may be padding."""
        return any(f.is_padded for f in self.factors)

    @property
    def is_prefix(self) -> bool:
        """Whether all that counts comes before all padding."""
        return not any(f.is_padded for f in self.factors[1:])


ONE = Dim(())


def static(size: int) -> Dim:
    """A dimension without padding."""
    return ONE if size == 1 else Dim((Factor(size, size),))


def prefix(size: Size, padded: int) -> Dim:
    """A dimension whose first `size` elements of `padded` count."""
    return static(size) if isinstance(size, int) else Dim((Factor(padded, size),))


def dim_of(factors: Iterable[Factor]) -> Dim:
    """The dimension of these factors, in canonical form."""
    return Dim(tuple(_canonical(factors)))


def _canonical(factors: Iterable[Factor]) -> list[Factor]:
    made: list[Factor] = []
    for factor in factors:
        if factor.padded == 1 and factor.size == 1:
            continue
        if made and not factor.is_padded and factor.size:
            last = made.pop()
            size = plain(last.size * factor.size)
            made.append(Factor(last.padded * factor.padded, size))
        else:
            made.append(factor)
    return made


def reshaped(dims: Sequence[Dim], sizes: Sequence[Size]) -> tuple[Dim, ...]:
    """Dimensions of these sizes that have the elements of `dims` in their order.

    Raises:
        NeedsExactSize: they would not be where a program can tell.
    """
    if all(not d.is_padded for d in dims):
        if not all(map(is_static, sizes)):
            raise _cannot([prefix(size, 0) for size in sizes])
        return tuple(static(int(size)) for size in sizes)
    left = _canonical(f for d in dims for f in d.factors)
    left.reverse()
    made = [_take(left, size, dims) for size in sizes]
    if left:
        raise _cannot(dims)
    return tuple(made)


def _take(left: list[Factor], size: Size, dims: Sequence[Dim]) -> Dim:
    """Remove so many elements from the end of `left`, which is the first to go."""
    taken: list[Factor] = []
    while size != 1:
        if not left:
            raise _cannot(dims)
        factor = left.pop()
        rest = quotient(size, factor.size)
        if rest is not None:
            taken.append(factor)
            size = rest
            continue
        inner = quotient(factor.size, size)
        if not isinstance(inner, int) or factor.padded % inner:
            raise _cannot(dims)
        taken.append(Factor(factor.padded // inner, size))
        left.append(Factor(inner, inner))
        break
    return dim_of(taken)


def _cannot(dims: Sequence[Dim]) -> NeedsExactSize:
    return NeedsExactSize(
        "gives padded dimensions another shape than one made of theirs",
        *(d.size for d in dims),
    )


def merged(one: Dim, other: Dim) -> Dim | None:
    """The dimension that both are broadcast to; None if they do not go together."""
    if one == other or other == ONE:
        return one
    return other if one == ONE else None
