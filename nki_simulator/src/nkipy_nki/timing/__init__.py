"""When a kernel's instructions run, estimated from its program, and reports on it.

::

    trace = Trace()
    run.machine.observers.append(trace)  # before the kernel runs
    ...
    report = Report(schedule(run.program, trace))
    report.text(), report.as_json(), report.save("kernel.json"), report.page()

All times are estimates: they are made from documented rates, and nothing was measured.
"""

from __future__ import annotations

from nkipy_nki.timing.report import Report
from nkipy_nki.timing.scheduling import Schedule, schedule, schedule_together
from nkipy_nki.timing.trace import Trace

__all__ = ["Report", "Schedule", "Trace", "schedule", "schedule_together"]
