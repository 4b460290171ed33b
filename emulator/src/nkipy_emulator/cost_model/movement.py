"""Instructions that only move data: transfers, by bytes and by how they lie."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.cost_model.values import Value, nbytes_of

if TYPE_CHECKING:
    from nkipy_emulator.cost_model.schedule import Schedule


class Transfer(NamedTuple):
    """Bytes, of which `contiguous` at a time are next to each other."""

    nbytes: int
    contiguous: int


def move(schedule: Schedule, inst: HLOInstruction) -> None:
    """Place a transfer from the operands to the result.

    An update of part of an operand happens in that operand's memory, unless it is a
    parameter that has to stay as it is: then that is copied first.
    """
    if inst.opcode in ("dynamic-update-slice", "scatter"):
        _update(schedule, inst)
        return
    budget = schedule.costs.budget
    value = Value(nbytes_of(inst), (0.0, 0.0))
    to_hbm = value.nbytes > budget or schedule.is_stored(inst)
    at, hbm_ends = _sources(schedule, inst.operands)
    transfer = _transfer(inst)
    done = schedule.lanes.transfer(
        inst.name or inst.opcode,
        inst.opcode,
        (at, at),
        transfer.nbytes,
        hbm_ends + to_hbm,
        transfer.contiguous,
    )[1]
    value.first = value.last = done
    value.in_sbuf = not to_hbm
    value.in_hbm_at = done if to_hbm else None
    schedule.values[inst] = value


def _update(schedule: Schedule, inst: HLOInstruction) -> None:
    target = schedule.value(inst.operands[0])
    at, hbm_ends = _sources(schedule, inst.operands[1:])
    in_hbm = target.in_hbm_at is not None
    before = target.in_hbm_at if target.in_hbm_at is not None else target.last
    name = inst.name or inst.opcode
    if target.is_source and inst.operands[0] not in schedule.writable:
        copied = schedule.lanes.transfer(name, "copy", (before,) * 2, target.nbytes, 2)
        before = copied[1]
    at = max(at, before)
    transfer = _transfer(inst)
    done = schedule.lanes.transfer(
        name,
        inst.opcode,
        (at, at),
        transfer.nbytes,
        min(2, hbm_ends + in_hbm),
        transfer.contiguous,
    )[1]
    schedule.values[inst] = Value(
        target.nbytes,
        (done, done),
        in_sbuf=not in_hbm,
        in_hbm_at=done if in_hbm else None,
    )


def _sources(
    schedule: Schedule, operands: tuple[HLOInstruction, ...]
) -> tuple[float, int]:
    """When the operands are somewhere, and whether that is the HBM (0 or 1)."""
    at, hbm = schedule.start, 0
    for operand in operands:
        value = schedule.value(operand)
        if value.in_sbuf:
            at = max(at, value.last)
        else:
            at = max(at, value.in_hbm_at or 0.0)
            hbm = 1
    return at, hbm


def _transfer(inst: HLOInstruction) -> Transfer:
    """What the instruction moves; each byte counts once on its way."""
    itemsize = inst.dtype.itemsize
    attributes = inst.attributes
    opcode = inst.opcode
    source = inst.operands[0]
    if opcode == "dynamic-update-slice":
        update = inst.operands[1]
        run = _run(update.shape, inst.shape)
        return Transfer(nbytes_of(update), run * itemsize)
    if opcode == "dynamic-slice":
        return Transfer(nbytes_of(inst), _run(inst.shape, source.shape) * itemsize)
    if opcode == "gather":
        run = _run(attributes["slice_sizes"], source.shape)
        return Transfer(nbytes_of(inst), run * itemsize)
    if opcode == "scatter":
        # Read, combined and written again.
        updates = inst.operands[2]
        dims = [updates.shape[d] for d in attributes["update_window_dims"]]
        return Transfer(2 * nbytes_of(updates), max(1, prod(dims[-1:])) * itemsize)
    if opcode == "concatenate":
        inner = inst.shape[attributes["dimension"] :]
        return Transfer(nbytes_of(inst), prod(inner) * itemsize)
    if opcode == "reverse" and len(inst.shape) - 1 in attributes["dimensions"]:
        return Transfer(nbytes_of(inst), itemsize)
    return Transfer(nbytes_of(inst), prod(inst.shape[-1:]) * itemsize)


def _run(part: tuple[int, ...], whole: tuple[int, ...]) -> int:
    """Elements of `part` that are next to each other in `whole`."""
    run = 1
    for size, full in zip(reversed(part), reversed(whole)):
        run *= size
        if size != full:
            break
    return max(1, run)
