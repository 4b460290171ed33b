"""Indices that are known when compiling and lie outside of the array."""

from __future__ import annotations

from collections.abc import Iterator

from nkipy.hlo.ir import HLOInstruction
from nkipy.hlo.opcodes import OPCODES, Keeps
from nkipy_emulator.compiler.diagnostics import Diagnostic, about
from nkipy_emulator.compiler.options import CompileOptions


def gather(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF056."""
    operand, indices = inst.operands
    dims = inst.attributes["start_index_map"]
    for size, limit in _beyond(operand, indices, inst, dims):
        yield about(
            inst,
            "NCC_EVRF056",
            f"Gather from index values in [0, {size}) made by iota, while the operand "
            f"dimension only allows [0, {limit}).",
        )


def scatter(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF031."""
    operand, indices, _ = inst.operands
    dims = inst.attributes["scatter_dims_to_operand_dims"]
    for size, limit in _beyond(operand, indices, inst, dims):
        yield about(
            inst,
            "NCC_EVRF031",
            f"Scatter to index values in [0, {size}) made by iota, while the operand "
            f"dimension only allows [0, {limit}).",
        )


def _beyond(
    operand: HLOInstruction,
    indices: HLOInstruction,
    inst: HLOInstruction,
    dims: tuple[int, ...],
) -> Iterator[tuple[int, int]]:
    """(size of iota, size of the operand) where the first is the greater."""
    components = _components(indices, inst.attributes["index_vector_dim"], len(dims))
    for component, dim in zip(components, dims):
        size = _iota_size(component)
        if size is not None and size > operand.shape[dim]:
            yield size, operand.shape[dim]


def _components(
    indices: HLOInstruction, vector_dim: int, count: int
) -> tuple[HLOInstruction, ...]:
    """The indices of each dimension, if they can be told apart."""
    if count == 1:
        return (indices,)
    is_joined = indices.opcode == "concatenate" and len(indices.operands) == count
    if is_joined and indices.attributes["dimension"] == vector_dim:
        return indices.operands
    return ()


def _iota_size(inst: HLOInstruction) -> int | None:
    """How many values an iota that is only rearranged has."""
    while OPCODES[inst.opcode].keeps is Keeps.ALL:
        inst = inst.operands[0]
    if inst.opcode != "iota":
        return None
    return inst.shape[inst.attributes["iota_dimension"]]
