"""Every instruction again: on views with strides, and from a program's bytes."""

from __future__ import annotations

from functools import partial
from itertools import islice

import numpy as np
import pytest

from nkipy.chips import Chip
from nkipy_nki.cores import Core, run_cores
from nkipy_nki.engines import Engine
from nkipy_nki.executing import run_steps
from nkipy_nki.findings import Findings
from nkipy_nki.machine import Machine
from nkipy_nki.memory import Memory
from nkipy_nki.program import Program
from nkipy_nki.records import INSTRUCTIONS, InstructionRecord, Sample
from nkipy_nki.running import Run
from nkipy_nki.wire import decode, encode
from tests.support.nki.samples import (
    Prepared,
    cores_for,
    emit_sample,
    prepared,
    views_of,
    written,
)

#: As many of each instruction's samples as there are kinds of them.
SAMPLES = [
    (record, sample)
    for _, record in sorted(INSTRUCTIONS.items())
    for sample in islice(record.samples(), 5)
]
#: Each partition has a generator of its own, and they are not in the first ones.
RANDOM = {"dropout", "rand2", "rand_get_state", "rng"}


def _names() -> list[str]:
    return [f"{r.name}-{s.label or i}" for i, (r, s) in enumerate(SAMPLES)]


def _same(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        assert values.tobytes() == theirs[name].tobytes(), name


@pytest.mark.parametrize("record, sample", SAMPLES, ids=_names())
def test_views_give_the_bytes_that_whole_tiles_give(
    record: InstructionRecord, sample: Sample
) -> None:
    plain = prepared(record, sample)
    emit_sample(record, plain)
    cores = prepared(record, sample, strided=not sample.dense)
    before = [_all_bytes(core.run) for core in cores]
    emit_sample(record, cores)
    for mine, theirs, data in zip(cores, plain, before):
        if record.name not in RANDOM:
            _same(written(record, mine), written(record, theirs))
        _only_views_changed(record, mine, data)


def _memory(run: Run) -> Memory:
    assert run.machine is not None
    return run.machine.memory


def _all_bytes(run: Run) -> list[np.ndarray]:
    memory = _memory(run)
    return [memory.storage(made).data.copy() for made in run.program.allocations]


def _only_views_changed(
    record: InstructionRecord, core: Prepared, before: list[np.ndarray]
) -> None:
    """What lies between the elements of what is written is as it was."""
    for name, rule in record.operands.items():
        if not rule.written:
            continue
        for key, view in views_of(name, core.operands[name]):
            storage = _memory(core.run).storage(view.allocation)
            unsigned = f"u{view.dtype.itemsize}"
            elements = storage.elements(view).view(unsigned)
            data = before[view.allocation.id]
            start = view.offset * view.dtype.itemsize
            expected = np.ndarray(
                elements.shape, unsigned, data, start, elements.strides
            )
            elements[...] = expected[...] = 0
            assert storage.data.tobytes() == data.tobytes(), key


@pytest.mark.parametrize("record, sample", SAMPLES, ids=_names())
def test_a_program_s_bytes_give_the_same(
    record: InstructionRecord, sample: Sample
) -> None:
    cores = prepared(record, sample)
    before = [_State(core.run) for core in cores]
    emit_sample(record, cores)
    programs = [decode(encode((core.run.program,)))[0] for core in cores]
    group = cores_for(sample)
    machines = [
        state.machine(core.run.chip, program, one)
        for state, core, program, one in zip(before, cores, programs, group)
    ]
    calls = [partial(run_steps, m, p.body) for m, p in zip(machines, programs)]
    run_cores(group[0], calls)
    for machine, program, core in zip(machines, programs, cores):
        for made, theirs in zip(program.allocations, _all_bytes(core.run)):
            assert machine.memory.storage(made).data.tobytes() == theirs.tobytes(), made
        assert core.run.machine is not None
        assert machine.registers == core.run.machine.registers
        *_, instruction = program.instructions()
        assert instruction.engine is not Engine.unknown


class _State:
    """What a core's memory and registers hold."""

    def __init__(self, run: Run) -> None:
        assert run.machine is not None
        self._data = _all_bytes(run)
        self._registers = dict(run.machine.registers)
        storages = map(_memory(run).storage, run.program.allocations)
        written = [storage.written for storage in storages]
        self._marks = [None if w is None else w.copy() for w in written]

    def machine(self, chip: Chip, program: Program, core: Core | None) -> Machine:
        """A machine that holds the same, in the tensors of a program."""
        made = Machine(chip, Memory(), Findings({"would-not-compile": "off"}), core)
        made.registers.update(self._registers)
        for tensor, data, marks in zip(program.allocations, self._data, self._marks):
            if core is not None:
                core.allocated(tensor, made)
            storage = made.memory.storage(tensor)
            storage.data[:] = data
            storage.written = marks
        return made
