"""Products of matrices, whose operands a handler of ours reads where they lie.

XLA copies an operand that is transposed, a slice of another, or begins at an address
of no use to it. The handler (``matrix_products.h``) packs operands from where they are
into what it multiplies, as libraries do, whatever the steps from element to element.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from nkipy.hlo.dtypes import float32, float64
from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.products import View, merged, view_of

__all__ = ["MatrixProduct", "matrix_product_of"]

Value = HLOInstruction
_DTYPES = (float32, float64)


class MatrixProduct(NamedTuple):
    """Products of matrices: what they are of, and how these lie there.

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
    def is_square_of_one(self) -> bool:
        """Whether a matrix is multiplied by its own transpose."""
        left, right = self.operands
        return left is right and self.left == self.right

    @property
    def is_of_parts(self) -> bool:
        """Whether one of the matrices is a part of a larger array."""
        batch, rows, columns, terms = self.sizes
        sizes = (batch * rows * terms, batch * columns * terms)
        return any(prod(x.shape) > n for x, n in zip(self.operands, sizes))

    @property
    def multiplications(self) -> int:
        batch, rows, columns, terms = self.sizes
        return batch * rows * columns * terms


class _Side(NamedTuple):
    """Sizes and steps: of products, of rows or columns, and of terms."""

    base: Value
    sizes: tuple[int, int, int]
    place: tuple[int, int, int, int]


def matrix_product_of(dot: Value) -> MatrixProduct | None:
    """What a ``dot`` multiplies, if the handler can do it.

    None for products of a vector, and for such as have elements of another type, no
    elements, or several dimensions that are not one in memory.
    """
    if dot.dtype not in _DTYPES or any(x.dtype != dot.dtype for x in dot.operands):
        return None
    left, right = (_side(dot, i, name) for i, name in enumerate(("lhs", "rhs")))
    if left is None or right is None:
        return None
    (batch, rows, terms), columns = left.sizes, right.sizes[1]
    if min(rows, columns) < 2 or min(batch, terms) < 1:
        return None
    sizes = (batch, rows, columns, terms)
    return MatrixProduct((left.base, right.base), sizes, left.place, right.place)


def _side(dot: Value, index: int, name: str) -> _Side | None:
    view = view_of(dot.operands[index])
    batch = dot.attributes[f"{name}_batch_dims"]
    terms = dot.attributes[f"{name}_contracting_dims"]
    free = [i for i in range(len(view.shape)) if i not in {*batch, *terms}]
    return _as_matrices(view, (batch, free, terms))


def _as_matrices(view: View, groups: Sequence[Sequence[int]]) -> _Side | None:
    found = [merged(view, group) for group in groups]
    if None in found:
        return None
    (batch, batch_step), (free, free_step), (terms, term_step) = filter(None, found)
    place = (view.offset, batch_step, free_step, term_step)
    return _Side(view.base, (batch, free, terms), place)
