"""``nki.simulate``: runs a kernel on arrays, and tells what it found."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.arguments import Arguments
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.findings import Finding, Findings
from nkipy_nki.memory import Memory
from nkipy_nki.program import NOWHERE, Line, Program, View
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import Grid, Run, running
from nkipy_nki.targets import target_chip
from nkipy_nki.tensors import as_tensor, whole

__all__ = ["Simulation", "Simulator"]

#: How many physical cores a logical one has, unless a kernel says.
LNC_VARIABLE = "NEURON_LOGICAL_NC_CONFIG"


@dataclass
class Simulation:
    """What a run of a kernel gave.

    Attributes:
        values: what the kernel returned: arrays for tensors.
        programs: what each core ran.
        findings: what was found that was no error.
        chip: the target.
    """

    values: Any
    programs: tuple[Program, ...]
    findings: list[Finding] = field(default_factory=list)
    chip: Chip | None = None


@dataclass(frozen=True)
class Simulator:
    """A kernel that is run by the simulator when it is called.

    Attributes:
        function: the kernel's.
        lnc: how many cores run it; None is what ``NEURON_LOGICAL_NC_CONFIG`` says.
        target: the chip, such as ``"trn2"``, for ``targets.target_chip``.
        findings: levels of findings, by kind, where they differ from the default.
    """

    function: Callable[..., Any]
    lnc: int | None = None
    target: str | Chip | None = None
    findings: Mapping[str, str] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the kernel returns, arrays for tensors. See :meth:`run`."""
        return self.run(*args, **kwargs).values

    def run(self, *args: Any, **kwargs: Any) -> Simulation:
        """Run the kernel.

        Returns:
            What it returned, its programs, and what was found.

        Raises:
            NkiValidationError: it does what is not allowed.
        """
        function = self.function
        chip = target_chip(self.target)
        arguments = Arguments(inspect.signature(function), args, kwargs)
        findings = Findings(self.findings)
        cores = self.lnc or _configured_cores()
        runs = _runs(chip, findings, cores)
        returned = _run_all(runs, lambda run: _call(function, run, arguments))
        values = [_results(run, made, arguments) for run, made in zip(runs, returned)]
        arguments.write_back()
        programs = tuple(run.program for run in runs)
        return Simulation(values[0], programs, findings.found, chip)


def _configured_cores() -> int:
    text = os.environ.get(LNC_VARIABLE, "1")
    if text not in ("1", "2"):
        raise NkiValidationError(f"{LNC_VARIABLE}={text!r} is neither 1 nor 2")
    return int(text)


def _runs(chip: Chip, findings: Findings, cores: int) -> list[Run]:
    shape = (cores,) if cores > 1 else ()
    return [
        Run(chip, findings, Memory(), Grid((core,)[: len(shape)], shape), core)
        for core in range(cores)
    ]


def _run_all(runs: Sequence[Run], call: Callable[[Run], Any]) -> list[Any]:
    (run,) = runs
    return [call(run)]


def _call(function: Callable[..., Any], run: Run, arguments: Arguments) -> Any:
    """Run the function: its result, tensors in it."""
    region = MemoryRegion.private_hbm if not run.grid.shape else None
    code = getattr(function, "__code__", None)
    line = NOWHERE
    if code is not None:
        line = Line(code.co_filename, code.co_firstlineno, code.co_name)
    tensors = []
    for argument in arguments.arrays:
        made = run.allocate(
            region=region or MemoryRegion.shared_hbm,
            shape=argument.array.shape,
            dtype=find_dtype(argument.array.dtype),
            name=argument.name,
            line=line,
            role="input",
        )
        run.program.inputs.append(made.id)
        assert run.machine is not None
        run.machine.memory.share(made, argument.array)
        tensors.append(as_tensor(whole(made)))
    with running(run):
        return arguments.call(function, tensors)


def _results(run: Run, returned: Any, arguments: Arguments) -> Any:
    """Arrays for the tensors of what a kernel returned."""
    if isinstance(returned, (tuple, list)):
        run.program.returns_tuple = True
        return tuple(_results(run, part, arguments) for part in returned)
    if not isinstance(returned, View):
        return returned
    require_result(run, returned)
    run.program.outputs.append(returned)
    for argument, number in zip(arguments.arrays, run.program.inputs):
        if returned.allocation.id == number and returned.size == argument.array.size:
            return argument.given
    assert run.machine is not None
    return arguments.as_given(run.machine.memory.values(returned))


def require_result(run: Run, view: View) -> None:
    """Report what a result may not be.

    Raises:
        NkiValidationError: it is not in HBM, or not wholly written.
    """
    made = view.allocation
    if made.region.is_on_chip:
        run.findings.report(
            "wrong-operand",
            f"the kernel returns {made}, and results must be in shared_hbm",
            made.line,
        )
    if run.machine is None:
        return
    marks = run.machine.memory.storage(made).marks(view)
    if marks is None or marks.all():
        return
    written = marks.reshape(*view.shape, -1).all(-1)
    first = tuple(int(i) for i in np.argwhere(~written)[0])
    missing = int(written.size - written.sum())
    run.findings.report(
        "output-not-written",
        f"{missing} of {written.size} elements of the result {made} were never "
        f"written, the first at {list(first)}",
        made.line,
        missing=missing,
        position=list(first),
    )
