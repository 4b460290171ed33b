"""Each step waits for all that it must wait for, and for nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nki_simulator.tests.hand_made import (
    COPIES,
    LOAD,
    Kernel,
    indexed,
    part,
    random_kernel,
)
from nkipy.chips import DEFAULT
from nkipy_nki.engines import Engine
from nkipy_nki.modes import dependency
from nkipy_nki.program import Dynamic, Edge, Instruction, Register, View, whole
from nkipy_nki.timing import Trace
from nkipy_nki.timing.dependencies import dependencies
from nkipy_nki.timing.queues import queues
from nkipy_nki.timing.trace import unrolled


def waits_of(kernel: Kernel) -> list[set[int]]:
    trace = Trace(kernel.program.body)
    found = dependencies(trace, queues(trace.steps, DEFAULT))
    return [set(waits) for waits in found]


def touched(kernel: Kernel, step: Instruction) -> tuple[np.ndarray, np.ndarray]:
    """Of all elements of all tensors, which a step reads, and which it writes."""
    sizes = [tensor.size for tensor in kernel.program.allocations]
    begins = np.cumsum([0, *sizes])
    reads, writes = np.zeros((2, begins[-1]), bool)
    for name, view in step.views():
        places = np.full(view.shape, view.offset + begins[view.allocation.id])
        for axis, (count, stride) in enumerate(zip(view.shape, view.strides)):
            steps = np.arange(count) * stride
            places += np.expand_dims(steps, [a for a in range(2) if a != axis])
        (writes if step.record.operands[name].written else reads)[places] = True
    return reads, writes


@pytest.mark.parametrize("seed", range(6))
def test_all_conflicts_are_ordered(seed: int) -> None:
    kernel = random_kernel(seed, 80)
    steps = list(kernel.program.instructions())
    waits = waits_of(kernel)
    queue_of = queues(steps, DEFAULT)
    sets = [touched(kernel, step) for step in steps]
    conflicts = np.zeros((len(steps), len(steps)), bool)
    before = np.zeros_like(conflicts)
    for i, j in itertools.combinations(range(len(steps)), 2):
        (reads, writes), (its_reads, its_writes) = sets[i], sets[j]
        conflicts[j, i] = (writes & (its_reads | its_writes) | reads & its_writes).any()
    for j, found in enumerate(waits):
        earlier = [i for i in range(j) if queue_of[i] == queue_of[j]]
        for i in found | set(earlier):
            before[j] |= before[i]
            before[j, i] = True
        # Of these parts of tensors, rectangles are exact.
        assert all(conflicts[j, i] for i in found)
    assert not (conflicts & ~before).any()
    assert conflicts.sum() > 100


def test_a_result_is_waited_for_in_its_own_queue() -> None:
    made = Kernel()
    a, b, c = (made.tile(128, 8) for _ in range(3))
    copy = COPIES[Engine.vector]
    made.add(copy, dst=b, src=a)
    made.add(copy, dst=c, src=b)  # what was written
    made.add(copy, dst=b, src=a)  # over what was read: the order is enough
    assert waits_of(made) == [set(), {0}, set()]


def test_tensors_at_one_address_meet() -> None:
    made = Kernel()
    source = made.tile(128, 8)
    at = [made.tile(128, 8, address=(0, byte)) for byte in (0, 16, 64)]
    for tile, engine in zip(at, COPIES):
        made.add(COPIES[engine], dst=tile, src=source)
    assert waits_of(made) == [set(), {0}, set()]


def test_what_the_kernel_names_is_waited_for() -> None:
    made = Kernel()
    tiles = [made.tile(128, 8) for _ in range(4)]
    first = made.add(COPIES[Engine.vector], dst=tiles[0], src=tiles[1])
    second = made.add(COPIES[Engine.scalar], dst=tiles[2], src=tiles[3])
    second.after = (Edge(first, dependency.runtime),)
    assert waits_of(made) == [set(), {0}]


def test_many_parts_of_a_tensor() -> None:
    made = Kernel()
    tile, result = made.tile(128, 256), made.hbm(128, 256)
    for i in range(64):
        made.add(LOAD, dst=part(result, (0, 128), (4 * i, 4)), src=tile)
    made.add(LOAD, dst=made.tile(128, 8), src=part(result, (0, 128), (100, 8)))
    made.add(LOAD, dst=tile, src=made.hbm(128, 256))
    waits = waits_of(made)
    assert waits[:64] == [set()] * 64
    assert waits[64] == {25, 26}  # which wrote columns 100 to 107
    # Of each other queue, the last that read the tile.
    assert waits[65] == {48, *range(50, 64)}


def test_registers_tell_iterations_apart() -> None:
    made = Kernel()
    tile, result = made.tile(128, 8), made.hbm(1024, 8)

    def body(i: Register) -> None:
        where = indexed(part(result, (0, 128), (0, 8)), i, step=128 * 8, limit=8)
        made.add(LOAD, dst=where, src=tile)

    made.loop(8, body)
    trace = unrolled(made.program)
    assert len(trace.steps) == 8
    assert dependencies(trace, queues(trace.steps, DEFAULT)) == [()] * 8
    # Without the registers each is taken to write all of the tensor.
    blind = Trace(trace.steps)
    found = dependencies(blind, queues(blind.steps, DEFAULT))
    assert found == [(), *((i,) for i in range(7))]


def test_an_index_in_memory_is_read() -> None:
    made = Kernel()
    index, tile, result = made.tile(128, 1), made.tile(128, 8), made.hbm(1024, 8)
    made.add(COPIES[Engine.vector], dst=index, src=made.tile(128, 1))
    view = part(result, (0, 128), (0, 8))
    gathered = View(
        *(result, view.dtype, 0, view.shape, view.strides),
        Dynamic(whole(index), step=8, limit=1024, axis=0),
    )
    made.add(LOAD, dst=tile, src=gathered)
    assert waits_of(made) == [set(), {0}]
