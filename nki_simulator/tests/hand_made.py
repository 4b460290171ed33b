"""Programs that are made by hand, of a few records that no kernel can call."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Sequence
from typing import Any

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.program import (
    Allocation,
    Dynamic,
    Instruction,
    Line,
    Loop,
    Program,
    Register,
    Step,
    View,
    contiguous_strides,
    whole,
)
from nkipy_nki.records import InstructionRecord, OperandRule, reads, writes
from nkipy_nki.regions import HBM, ON_CHIP, MemoryRegion

ANYWHERE = ON_CHIP | HBM


def _copy(call: Call) -> None:
    call.write("dst", call.read("src").reshape(call.operands["dst"].shape))


def _add(call: Call) -> None:
    call.write("dst", call.read("a") + call.read("b"))


def record(
    name: str,
    engine: Engine,
    cost: Callable[[Instruction, Chip], float],
    meaning: Callable[[Call], None],
    **operands: OperandRule,
) -> InstructionRecord:
    return InstructionRecord(
        name=name,
        engines=(engine,),
        choose_engine=None,
        operands=operands,
        operations={},
        signature=inspect.Signature(),
        doc="Made by hand.",
        rules=(),
        meaning=meaning,
        cost=cost,
        samples=tuple,
        refused=tuple,
    )


def _columns(step: Instruction, chip: Chip) -> float:
    return max(64.0, step.operands["dst"].free_size)


def _copies(name: str, engine: Engine) -> InstructionRecord:
    return record(name, engine, _columns, _copy, dst=writes(), src=reads())


LOAD = record(
    *("dma_copy", Engine.dma, lambda step, chip: 1.0, _copy),
    dst=writes(ANYWHERE),
    src=reads(ANYWHERE, register=True),
)
COPIES = {
    engine: _copies(f"copy_{engine.name}", engine)
    for engine in (Engine.vector, Engine.scalar, Engine.gpsimd)
}
MATMUL = record(
    *("nc_matmul", Engine.tensor, lambda step, chip: 512.0, _add),
    dst=writes(),
    a=reads(),
    b=reads(),
)
ADD = record("add", Engine.vector, _columns, _add, dst=writes(), a=reads(), b=reads())


class Kernel:
    """A program, as it is put together.

    Args:
        chip: the target's name.
        file: what its lines are of.
    """

    def __init__(self, chip: str = "trn2", file: str = "kernel.py") -> None:
        self.program = Program(chip)
        self.file = file
        self.steps: list[Step] = self.program.body

    def tile(self, *shape: int, line: int = 1, **fields: Any) -> Allocation:
        """A tensor; in the SBUF unless `region` is given."""
        made = Allocation(
            id=len(self.program.allocations),
            region=fields.pop("region", MemoryRegion.sbuf),
            shape=shape,
            dtype=find_dtype(fields.pop("dtype", "float32")),
            line=Line(self.file, line, "kernel"),
            **fields,
        )
        self.program.allocations.append(made)
        return made

    def hbm(self, *shape: int) -> Allocation:
        return self.tile(*shape, region=MemoryRegion.shared_hbm, role="input")

    def psum(self, *shape: int) -> Allocation:
        return self.tile(*shape, region=MemoryRegion.psum)

    def register(self) -> Register:
        self.program.registers += 1
        return Register(self.program.registers - 1)

    def add(
        self, made: InstructionRecord, line: int = 1, **operands: Any
    ) -> Instruction:
        """An instruction; tensors stand for views of all of them."""
        step = Instruction(
            made,
            {
                name: whole(operand) if isinstance(operand, Allocation) else operand
                for name, operand in operands.items()
            },
            {},
            made.engines[0],
            Line(self.file, line, "kernel"),
        )
        self.steps.append(step)
        return step

    def loop(self, count: int | Register, body: Callable[[Register], None]) -> Loop:
        """A loop, whose body is what `body` adds."""
        made = Loop(self.register(), (0, count, 1), line=Line(self.file, 1, "kernel"))
        outer, self.steps = self.steps, made.body
        body(made.counter)
        self.steps = outer
        self.steps.append(made)
        return made


def part(tile: Allocation, *ranges: tuple[int, int]) -> View:
    """A view of a tensor, from so many on so many in each dimension."""
    strides = contiguous_strides(tile.shape)
    offset = sum(first * stride for (first, _), stride in zip(ranges, strides))
    shape = tuple(count for _, count in ranges)
    return View(tile, tile.dtype, offset, shape, strides)


def indexed(view: View, register: Register, step: int, limit: int) -> View:
    """The view, put further by a register."""
    dynamic = Dynamic(register, step, limit)
    return View(
        view.allocation, view.dtype, view.offset, view.shape, view.strides, dynamic
    )


def random_kernel(seed: int, count: int = 60, chip: str = "trn2") -> Kernel:
    """Instructions of all engines over a few tensors and parts of them."""
    rng = random.Random(seed)
    made = Kernel(chip)
    hbm = [made.hbm(256, 64) for _ in range(2)]
    tiles = [made.tile(128, 64) for _ in range(4)]
    psum = [made.psum(128, 64) for _ in range(2)]

    def some(tensors: Sequence[Allocation], rows: int) -> View:
        tensor = rng.choice(tensors)
        first = rng.randrange(0, tensor.shape[0] - rows + 1, 32)
        columns = rng.choice((16, 32, 64))
        return part(
            tensor,
            (first, rows),
            (rng.randrange(0, 65 - columns, 16), columns),
        )

    for i in range(count):
        rows = rng.choice((32, 64, 128))
        kind = rng.randrange(4)
        if kind == 0:
            made.add(LOAD, i, dst=some(tiles, rows), src=some(hbm, rows))
        elif kind == 1:
            made.add(LOAD, i, dst=some(hbm, rows), src=some(tiles, rows))
        elif kind == 2:
            a, b = some(tiles, rows), some(tiles, rows)
            made.add(MATMUL, i, dst=some(psum, rows), a=a, b=b)
        else:
            copy = COPIES[rng.choice(list(COPIES))]
            source = tiles if copy.engines[0] is Engine.gpsimd else tiles + psum
            made.add(copy, i, dst=some(tiles, rows), src=some(source, rows))
    return made


def tiled_sum(tiles: int, buffers: int, columns: int = 512) -> Kernel:
    """Loads, adds to itself and stores each of many tiles, in so many buffers."""
    made = Kernel()
    source, result = made.hbm(128 * tiles, columns), made.hbm(128 * tiles, columns)
    held = [(made.tile(128, columns), made.tile(128, columns)) for _ in range(buffers)]
    for i in range(tiles):
        given, summed = held[i % buffers]
        rows = (128 * i, 128), (0, columns)
        made.add(LOAD, 1, dst=given, src=part(source, *rows))
        made.add(ADD, 2, dst=summed, a=given, b=given)
        made.add(LOAD, 3, dst=part(result, *rows), src=summed)
    return made
