"""Products of matrices and of vectors, by the loop that NumPy itself calls for them.

The loop hands them to NumPy's BLAS: a small product is NumPy's own, bit by bit. A
larger one is put together of small ones (``products.h``), or computed by kernels of
our own, where the CPU has vectors for them (``packed_products.h``). Operands are read
where they lie; XLA copies one that is transposed, a slice of another, or begins at an
address of no use to it, and multiplies vectors by one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from nkipy.hlo.dtypes import float32, float64
from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.views import View, merged, view_of

__all__ = ["MatrixProduct", "has_blas", "product_of"]

Value = HLOInstruction
_DTYPES = (float32, float64)
#: Multiplications of a product that is one call of a BLAS; so has it ``products.h``.
_OF_ONE_CALL = 1 << 18
#: Rows, columns and terms of a larger product that is not narrow.
_LEAST_SIDE = 64
#: Terms of a product whose columns are many: so many times as many.
_FEW_TERMS, _MANY_COLUMNS = 128, 3
#: Multiplications of one from which on XLA's is as fast as one of blocks, or faster:
#: it packs operands for all of it (measured at 256 to 1,000 rows, columns and terms).
_LEAST_OF_XLA = 1 << 25
_KINDS_FOR_XLA = frozenset(
    {"large products", "products in place", "products of few terms"}
)


class MatrixProduct(NamedTuple):
    """Products of matrices: what they are of, and how these lie there.

    A vector is a matrix of one row, or of one column.

    Attributes:
        operands: what the elements are taken from.
        sizes: how many products there are, and the rows, columns and terms of each.
        left: where the left operand begins, in elements, and its steps: to the next
            product, to the next row and to the next term.
        right: the same, of columns in the place of rows.
    """

    operands: tuple[Value, Value]
    sizes: tuple[int, int, int, int]
    left: tuple[int, int, int, int]
    right: tuple[int, int, int, int]

    @property
    def layout(self) -> tuple[int, ...]:
        """As the handler takes it."""
        return (*self.sizes, *self.left, *self.right)

    @property
    def kind(self) -> str:
        """What the table of calls has it under (:mod:`nkipy_emulator.fast_calls`)."""
        batch, rows, columns, terms = self.sizes
        if min(rows, columns) == 1:
            return "products of vectors"
        if rows * columns * terms <= _OF_ONE_CALL:
            return "products"
        if min(rows, columns, terms) < _LEAST_SIDE:
            return "narrow products"
        if self._is_square_of_one or self._is_of_parts:
            return "products in place"
        is_of_few_terms = terms <= _FEW_TERMS and columns >= _MANY_COLUMNS * terms
        if batch == 1 and is_of_few_terms and self.left[-1] == 1:
            return "products of few terms"
        return "large products"

    @property
    def multiplications(self) -> int:
        """Those of all products together."""
        return prod(self.sizes)

    @property
    def is_for_xla(self) -> bool:
        """Whether it is so large that blocks of it gain nothing."""
        if self.kind not in _KINDS_FOR_XLA:
            return False
        return prod(self.sizes[1:]) >= _LEAST_OF_XLA and not self._is_square_of_one

    @property
    def _is_square_of_one(self) -> bool:
        """Whether a matrix is multiplied by its own transpose."""
        left, right = self.operands
        return left is right and self.left == self.right

    @property
    def _is_of_parts(self) -> bool:
        """Whether one of the matrices is a part of a larger array."""
        batch, rows, columns, terms = self.sizes
        sizes = (batch * rows * terms, batch * columns * terms)
        return any(prod(x.shape) > n for x, n in zip(self.operands, sizes))


@lru_cache(maxsize=1)
def has_blas() -> bool:
    """Whether NumPy has been built with a BLAS: its own loops are slow."""
    built = np.show_config(mode="dicts") or {}
    return bool(built.get("Build Dependencies", {}).get("blas", {}).get("found"))


class _Side(NamedTuple):
    """Sizes and steps: of products, of rows or columns, and of terms."""

    base: Value
    sizes: tuple[int, int, int]
    place: tuple[int, int, int, int]

    @property
    def is_readable(self) -> bool:
        """Whether a BLAS can read it there.

        It takes matrices of which rows, or columns, have their elements side by side,
        and do not overlap.
        """
        _, free, terms = self.sizes
        _, _, free_step, term_step = self.place
        if free == 1:
            return term_step > 0
        if term_step == 1:
            return free_step >= terms
        return free_step == 1 and term_step >= free


def product_of(dot: Value) -> MatrixProduct | None:
    """What a ``dot`` multiplies, if the handler can do it.

    None for products of elements of another type, for such as have none, or sum
    nothing, and where several dimensions are not one in memory.
    """
    if dot.dtype not in _DTYPES or any(x.dtype != dot.dtype for x in dot.operands):
        return None
    left, right = (_side(dot, i, name) for i, name in enumerate(("lhs", "rhs")))
    if left is None or right is None:
        return None
    (batch, rows, terms), columns = left.sizes, right.sizes[1]
    if min(batch, rows, columns) < 1 or terms < 2:
        return None
    sizes = (batch, rows, columns, terms)
    return MatrixProduct((left.base, right.base), sizes, left.place, right.place)


def _side(dot: Value, index: int, name: str) -> _Side | None:
    x = dot.operands[index]
    batch = dot.attributes[f"{name}_batch_dims"]
    terms = dot.attributes[f"{name}_contracting_dims"]
    free = [i for i in range(len(x.shape)) if i not in {*batch, *terms}]
    steps = tuple(prod(x.shape[i + 1 :]) for i in range(len(x.shape)))
    for view in (view_of(x), View(x, 0, x.shape, steps)):  # else XLA makes it first
        side = _as_matrices(view, (batch, free, terms))
        if side is not None and side.is_readable:
            return side
    return None


def _as_matrices(view: View, groups: Sequence[Sequence[int]]) -> _Side | None:
    found = [merged(view, group) for group in groups]
    if None in found:
        return None
    (batch, batch_step), (free, free_step), (terms, term_step) = filter(None, found)
    place = (view.offset, batch_step, free_step, term_step)
    return _Side(view.base, (batch, free, terms), place)
