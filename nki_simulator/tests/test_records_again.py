"""Every instruction again: on views with strides, and from a program's bytes."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from nkipy_nki.engines import Engine
from nkipy_nki.findings import Findings
from nkipy_nki.machine import Machine
from nkipy_nki.marks import Marks
from nkipy_nki.memory import Memory
from nkipy_nki.program import View
from nkipy_nki.records import INSTRUCTIONS, InstructionRecord, Sample
from nkipy_nki.running import Run
from nkipy_nki.wire import decode, encode
from tests.support.nki.samples import emit_sample, prepared, written

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
    plain, operands = prepared(record, sample)
    emit_sample(plain, record, sample, operands)
    run, views = prepared(record, sample, strided=True)
    before = _all_bytes(run)
    emit_sample(run, record, sample, views)
    if record.name not in RANDOM:
        _same(written(run, record, views), written(plain, record, operands))
    _only_views_changed(run, record, views, before)


def _all_bytes(run: Run) -> list[np.ndarray]:
    assert run.machine is not None
    memory = run.machine.memory
    return [memory.storage(made).data.copy() for made in run.program.allocations]


def _only_views_changed(
    run: Run,
    record: InstructionRecord,
    operands: dict[str, object],
    before: list[np.ndarray],
) -> None:
    """What lies between the elements of what is written is as it was."""
    assert run.machine is not None
    for name, view in operands.items():
        if isinstance(view, View) and record.operands[name].written:
            number = view.allocation.id
            storage = run.machine.memory.storage(view.allocation)
            storage.elements(view).view(f"u{view.dtype.itemsize}")[...] = 0
            expected = np.ndarray(
                storage.elements(view).shape,
                f"u{view.dtype.itemsize}",
                before[number],
                view.offset * view.dtype.itemsize,
                storage.elements(view).strides,
            )
            expected[...] = 0
            assert storage.data.tobytes() == before[number].tobytes(), name


@pytest.mark.parametrize("record, sample", SAMPLES, ids=_names())
def test_a_program_s_bytes_give_the_same(
    record: InstructionRecord, sample: Sample
) -> None:
    run, operands = prepared(record, sample)
    before = _all_bytes(run)
    marks = [_written_marks(run, i) for i in range(len(before))]
    emit_sample(run, record, sample, operands)
    (program,) = decode(encode((run.program,)))
    memory = Memory()
    for made, data, marked in zip(program.allocations, before, marks):
        storage = memory.storage(made)
        storage.data[:] = data
        storage.written = marked
    machine = Machine(run.chip, memory, Findings({"would-not-compile": "off"}))
    machine.run(program.body)
    for made, theirs in zip(program.allocations, _all_bytes(run)):
        assert memory.storage(made).data.tobytes() == theirs.tobytes(), made
    (instruction,) = program.instructions()
    assert instruction.engine is not Engine.unknown


def _written_marks(run: Run, number: int) -> Marks | None:
    assert run.machine is not None
    written = run.machine.memory.storage(run.program.allocations[number]).written
    return None if written is None else written.copy()
