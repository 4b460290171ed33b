"""Lets a program find out that an index was out of bounds.

HLO moves such indices inside, or drops what they were to write. A Neuron device reports
them. So the copy made here computes whether there was one. Only the entry computation
is looked at: what it calls cannot tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite

Operands = tuple[HLOInstruction, ...]


class _Indices(NamedTuple):
    """Indices of an instruction, and the greatest ones that are in bounds."""

    array: HLOInstruction
    limits: Sequence[int]
    axis: int | None  # of the array, that the limits run along; None: there is one


def with_bounds_flag(module: HLOModule) -> tuple[HLOModule, HLOInstruction | None]:
    """A copy of `module` that computes whether an index is out of bounds.

    Looked at are gather, scatter, dynamic-slice and dynamic-update-slice of the entry
    computation.

    Returns:
        The copy, and an instruction of its entry computation, a scalar of dtype bool:
        whether there is such an index. `module` itself and None if nothing in it has
        indices.
    """
    flags: list[HLOInstruction] = []

    def rule(inst: HLOInstruction, operands: Operands, place: Place) -> None:
        if not place.is_entry:
            return
        for found in _indices_of(inst, operands):
            if 0 not in found.array.shape:
                flags.append(_any_outside(place.builder, found))

    result = rewrite(module, rule)
    if not flags:
        return module, None
    builder = HLOBuilder(result.entry)
    flag = flags[0]
    for other in flags[1:]:
        flag = builder.or_(flag, other)
    return result, flag


def _indices_of(inst: HLOInstruction, operands: Operands) -> list[_Indices]:
    if inst.opcode == "dynamic-slice":
        return _starts(operands[0], operands[1:], inst.shape)
    if inst.opcode == "dynamic-update-slice":
        return _starts(operands[0], operands[2:], operands[1].shape)
    if inst.opcode == "gather":
        sizes = inst.attributes["slice_sizes"]
        dimensions = inst.attributes["start_index_map"]
        return [_vectors(inst, operands[0], operands[1], sizes, dimensions)]
    if inst.opcode == "scatter":
        count = len(operands) // 2
        sizes = _window(inst, operands[count + 1])
        dimensions = inst.attributes["scatter_dims_to_operand_dims"]
        return [_vectors(inst, operands[0], operands[count], sizes, dimensions)]
    return []


def _starts(
    x: HLOInstruction, starts: Operands, sizes: Sequence[int]
) -> list[_Indices]:
    limits = [d - s for d, s in zip(x.shape, sizes)]
    return [_Indices(start, [limit], None) for start, limit in zip(starts, limits)]


def _vectors(
    inst: HLOInstruction,
    x: HLOInstruction,
    indices: HLOInstruction,
    sizes: Sequence[int],
    dimensions: Sequence[int],
) -> _Indices:
    axis = inst.attributes["index_vector_dim"]
    limits = [x.shape[d] - sizes[d] for d in dimensions]
    return _Indices(indices, limits, axis if axis < len(indices.shape) else None)


def _window(scatter: HLOInstruction, updates: HLOInstruction) -> list[int]:
    """How far an update of a scatter reaches along each dimension of the operand."""
    a = scatter.attributes
    sizes = iter(updates.shape[d] for d in a["update_window_dims"])
    rank = len(scatter.operands[0].shape)
    return [1 if d in a["inserted_window_dims"] else next(sizes) for d in range(rank)]


def _any_outside(b: HLOBuilder, indices: _Indices) -> HLOInstruction:
    """Whether an index is below zero or above its limit: a scalar of dtype bool."""
    array, limits, axis = indices
    greatest = int(np.iinfo(array.dtype).max)
    reachable = [min(limit, greatest) for limit in limits]
    if axis is None:
        limit = b.full_like(array, reachable[0])
    else:
        row = b.constant(np.array(reachable, array.dtype))
        limit = b.broadcast_in_dim(row, array.shape, (axis,))
    outside = b.or_(
        b.compare(array, b.full_like(array, 0), "LT"), b.compare(array, limit, "GT")
    )
    return b.reduce(outside, "or", False, tuple(range(len(array.shape))))
