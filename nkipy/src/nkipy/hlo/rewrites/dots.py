"""Writes products of arrays of any dimensions as matrix multiplications.

A compiler that has only these brings all other products into that form itself, by
transposes that it adds and may not remove again. Here none is added that is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite

Value = HLOInstruction


@dataclass(frozen=True)
class _Side:
    """One operand of a dot and what becomes of its dimensions."""

    shape: tuple[int, ...]
    batch: tuple[int, ...]
    contracting: tuple[int, ...]

    @property
    def free(self) -> tuple[int, ...]:
        taken = {*self.batch, *self.contracting}
        return tuple(i for i in range(len(self.shape)) if i not in taken)

    @property
    def is_plain(self) -> bool:
        """Leading batch dimensions, one contracted and at most one free dimension."""
        leading = self.batch == tuple(range(len(self.batch)))
        return leading and len(self.contracting) == 1 and len(self.free) <= 1

    def sizes(self, dimensions: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.shape[i] for i in dimensions)

    def flat(self, b: HLOBuilder, x: Value, contracting_first: bool) -> Value:
        """`x` with one contracted and one free dimension, behind those of the batch."""
        groups = [self.free, self.contracting]
        if contracting_first:
            groups.reverse()
        x = b.transpose(x, (*self.batch, *groups[0], *groups[1]))
        sizes = [prod(self.sizes(group)) for group in groups]
        return b.reshape(x, (*self.sizes(self.batch), *sizes))


def flatten_dots(module: HLOModule) -> HLOModule:
    """`module` with matrix multiplications for its dots; itself if it has no others.

    A matrix multiplication has leading batch dimensions, and besides these one that is
    contracted and at most one that is not in each operand. Operands are transposed
    where their dimensions are in another order, and reshaped, which moves nothing.
    """
    if not any(map(_needs, module.instructions())):
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        return _flattened(inst, operands, place.builder) if _needs(inst) else None

    return rewrite(module, rule)


def _sides(dot: Value) -> tuple[_Side, _Side]:
    x, y = dot.operands
    a = dot.attributes
    return (
        _Side(x.shape, a["lhs_batch_dims"], a["lhs_contracting_dims"]),
        _Side(y.shape, a["rhs_batch_dims"], a["rhs_contracting_dims"]),
    )


def _needs(inst: Value) -> bool:
    return inst.opcode == "dot" and not all(side.is_plain for side in _sides(inst))


def _flattened(dot: Value, operands: tuple[Value, ...], b: HLOBuilder) -> Value:
    left, right = _sides(dot)
    x = left.flat(b, operands[0], contracting_first=False)
    y = right.flat(b, operands[1], contracting_first=True)
    batch = tuple(range(len(left.batch)))
    n = len(batch)
    product = b.dot(x, y, ((n + 1,), (n,)), (batch, batch), dot.dtype)
    return b.reshape(product, dot.shape)
