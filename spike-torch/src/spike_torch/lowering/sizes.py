"""Sizes of dimensions: numbers, or expressions of symbols whose values differ.

Expressions are those of torch's shape environment (sympy's, with ``FloorDiv`` and
others of torch's own); nothing here imports sympy, which a program of static sizes does
without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from spike_torch.lowering.errors import NeedsExactSize, UnknownSize

#: An int, or an expression of sympy's.
Size: TypeAlias = "int | Any"

#: Elements that a program makes room for at once, where it has all of one array beside
#: all of another: what would take more is left to the CPU.
MOST_ELEMENTS = 1 << 24


def symbols_of(size: Size) -> frozenset[Any]:
    """The symbols in an expression."""
    return frozenset() if isinstance(size, int) else frozenset(size.free_symbols)


def is_static(size: Size) -> bool:
    """Whether it is a number."""
    return isinstance(size, int)


def plain(size: Size) -> Size:
    """An int where an expression is one."""
    if isinstance(size, int) or size.free_symbols:
        return size
    return int(size) if size.is_integer else float(size)


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes; 1 of none."""
    result: Size = 1
    for size in sizes:
        result = plain(result * size)
    return result


def quotient(size: Size, divisor: Size) -> Size | None:
    """``size / divisor`` where that is whole for all values of the symbols."""
    if isinstance(size, int) and isinstance(divisor, int):
        return size // divisor if divisor and size % divisor == 0 else None
    if size == divisor:
        return 1
    if isinstance(divisor, int) and divisor == 1:
        return size
    import sympy

    # Dimensions have elements: what is divided by is never 0.
    ratio = sympy.cancel(sympy.sympify(size) / sympy.sympify(divisor))
    above, below = sympy.fraction(ratio)
    if below != 1 or not _has_whole_coefficients(above):
        return None
    return plain(above)


def _has_whole_coefficients(expression: Any) -> bool:
    terms = expression.as_ordered_terms()
    return all(term.as_coeff_Mul()[0].is_integer for term in terms)


def grows(size: Size) -> bool:
    """Whether an expression is known never to fall when a symbol rises.

    Then its value of the buckets is no less than that of any sizes in them.
    """
    if isinstance(size, int) or size.is_Integer or size.is_Symbol:
        return True
    if size.is_Add:
        return all(grows(term) for term in size.args)
    if size.is_Mul:
        return all(grows(f) and f.is_nonnegative for f in size.args)
    name = type(size).__name__
    if name in ("FloorDiv", "CleanDiv", "CeilDiv", "CeilToInt"):
        above, below = size.args
        return grows(above) and below.is_Integer and below > 0
    if name in ("Max", "Min"):
        return all(grows(each) for each in size.args)
    return False


class Sizes:
    """The symbols of a program, and the bucket that each is in.

    Args:
        buckets: the size of each symbol's bucket.
        exact: symbols whose size is the program's own, and that.
        order: all symbols, as the program's input of sizes has them; None: those of
            the buckets.
    """

    def __init__(
        self,
        buckets: Mapping[Any, int] | None = None,
        exact: Mapping[Any, int] | None = None,
        order: Iterable[Any] | None = None,
    ) -> None:
        self.buckets = dict(buckets or {})
        self.exact = dict(exact or {})
        symbols = self.buckets if order is None else order
        self.places = {symbol: i for i, symbol in enumerate(symbols)}

    def of(self, size: Size) -> Size:
        """The size in this program: a number where its symbols are exact."""
        if isinstance(size, int):
            return size
        return plain(size.xreplace(_integers(self.exact)) if self.exact else size)

    def padded(self, size: Size) -> int:
        """Its value in the buckets, no less than any that the program is called with.

        Raises:
            NeedsExactSize: that is not known.
            UnknownSize: it depends on a number that is no size of what is given.
        """
        if isinstance(size, int):
            return size
        if not size.free_symbols <= self.buckets.keys():
            raise UnknownSize(f"has a size ({size}) that depends on data or a number")
        if not grows(size):
            unsure = [s for s in size.free_symbols if not s.is_nonnegative]
            reason = f"has a size ({size}) that a bucket may exceed"
            raise NeedsExactSize(reason, *(unsure or (size,)))
        return int(size.xreplace(_integers(self.buckets)))


def _integers(values: Mapping[Any, int]) -> dict[Any, Any]:
    import sympy

    return {symbol: sympy.Integer(value) for symbol, value in values.items()}
