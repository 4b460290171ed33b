"""A run tells what it carried out; the schedule of that is of the run."""

from __future__ import annotations

import numpy as np
import pytest

from nki_simulator.tests.hand_made import ADD
from nkipy.chips import DEFAULT
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.emitting import emit
from nkipy_nki.findings import Findings
from nkipy_nki.memory import Memory
from nkipy_nki.program import Loop, View, whole
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import Run, running
from nkipy_nki.timing import Report, Trace, schedule


@pytest.fixture
def run() -> Run:
    return Run(DEFAULT, Findings(), Memory())


def tile(run: Run, value: float) -> View:
    made = run.allocate(
        region=MemoryRegion.sbuf, shape=(128, 16), dtype=find_dtype("float32")
    )
    assert run.machine is not None
    run.machine.memory.share(made, np.full((128, 16), value, np.float32))
    return whole(made)


def test_iterations_of_a_run(run: Run) -> None:
    trace = Trace()
    assert run.machine is not None
    run.machine.observers.append(trace)
    one, total = tile(run, 1.0), tile(run, 0.0)
    count = run.register()
    run.machine.registers[count.id] = 5
    with running(run):
        emit(ADD, {"dst": total, "a": total, "b": one}, {}, None)
        with run.loop(Loop(run.register(), (0, count, 1))):
            emit(ADD, {"dst": total, "a": total, "b": one}, {}, None)
    assert run.machine.memory.values(total)[0, 0] == 6.0
    assert len(trace.steps) == 6
    assert len(list(run.program.instructions())) == 2
    with pytest.raises(ValueError, match="trace of a run"):
        schedule(run.program)
    report = Report(schedule(run.program, trace))
    assert report.counts == {"add": 6}
    # Each waits for the result of the one before it.
    assert [part.place for part in report.schedule.critical_path] == list(range(6))
    (first, second) = sorted(report.lines, key=lambda time: time.line)
    assert (first.instructions, second.instructions) == (1, 5)
    assert first.line.file == __file__ and second.line.number > first.line.number
    assert "emit(ADD, {&quot;dst&quot;: total" in report.page()
