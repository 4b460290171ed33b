"""``nki.simulate``: runs a kernel on arrays, and tells what it found."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pickle import PicklingError
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.arguments import Arguments, ArraySpec, WrongCallError
from nkipy_nki.capacity import check_capacity
from nkipy_nki.cores import Core, CoreGroup, run_cores
from nkipy_nki.dtypes import tensor_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.findings import Finding, Findings
from nkipy_nki.flags import flag
from nkipy_nki.limits import check_size
from nkipy_nki.machine import Machine
from nkipy_nki.memory import Memory
from nkipy_nki.precision import is_precise
from nkipy_nki.program import NOWHERE, Line, Program, whole
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.results import Returned, results_of, value_of
from nkipy_nki.running import (
    Grid,
    Run,
    refusing,
    running,
    telling_caller,
    telling_lines,
)
from nkipy_nki.targets import target_chip
from nkipy_nki.tensors import as_tensor
from nkipy_nki.timing import Report, Trace, schedule_together
from nkipy_nki.watching import watched

__all__ = [
    "CoreRun",
    "Simulation",
    "Simulator",
    "begin",
    "print_values",
]

#: How many physical cores a logical one has, unless a kernel says.
LNC_VARIABLE = "NEURON_LOGICAL_NC_CONFIG"
#: Tells AWS's `nki` to simulate. Here kernels always are simulated.
SIMULATOR_VARIABLE = "NKI_SIMULATOR"


@dataclass
class Simulation:
    """What a run of a kernel gave.

    Attributes:
        values: what the kernel returned: arrays for tensors, in the same containers.
        programs: what each core ran.
        findings: what was found that was no error.
        chip: the target.
        traces: which instructions each core carried out, in order.
        name: the kernel's.
        debug_output: what ``nl.device_print`` printed, for each core: names and values.
    """

    values: Any
    programs: tuple[Program, ...]
    chip: Chip
    traces: tuple[Trace, ...]
    findings: list[Finding] = field(default_factory=list)
    name: str = ""
    debug_output: tuple[list[tuple[str, np.ndarray]], ...] = ()

    def __reduce__(self) -> Any:
        """It is not pickled: instructions are of this process.

        Raises:
            PicklingError: always.
        """
        raise PicklingError(
            f"a Simulation of {self.name or 'a kernel'} cannot be pickled: send what "
            "is needed of it, such as values, findings, or numbers of its report()"
        )

    def __copy__(self) -> Simulation:
        return replace(self)

    def report(self, core: int = 0) -> Report:
        """Where a core's time goes: an estimate, with waits for the other core.

        Raises:
            ValueError: the kernel was not run on such a core.
        """
        cores = len(self.programs)
        if core not in range(cores):
            raise ValueError(
                f"core={core!r}: the kernel was run on {cores}, counted from 0"
            )
        made = schedule_together(self.programs, self.traces)
        return Report(made[core], self.name)


@dataclass(frozen=True)
class Simulator:
    """A kernel that is run by the simulator when it is called.

    Attributes:
        function: the kernel's.
        lnc: how many cores run it; None is what ``NEURON_LOGICAL_NC_CONFIG`` says.
        target: the chip, such as ``"trn2"``, for ``targets.target_chip``.
        findings: levels of findings, by kind, where they differ from the default.
        order: in which the cores take turns; None is that of their numbers. A kernel
            without races gives the same in any order.
        first: whether the kernel is of the first generation.
    """

    function: Callable[..., Any]
    lnc: int | None = None
    target: str | Chip | None = None
    findings: Mapping[str, str] | None = None
    order: Sequence[int] | None = None
    first: bool = False

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
        with self.finding() as findings:
            lnc = self.lnc or configured_cores()
            group = CoreGroup(lnc, order=self.order) if lnc > 1 else None
            with telling_caller(WrongCallError):
                arguments = Arguments(self.function, args, kwargs)
            (made,) = launch(self, findings, [arguments], group)
        return made

    @contextmanager
    def finding(self) -> Iterator[Findings]:
        """What is found in a run, which has the error that ends it as well."""
        findings = Findings(self.findings, first=self.first)
        findings.kernel = getattr(self.function, "__name__", "")
        with refusing(findings):
            yield findings


def launch(
    simulator: Simulator,
    findings: Findings,
    arguments: Sequence[Arguments],
    group: CoreGroup | None,
) -> list[Simulation]:
    """Run a kernel on several ranks, or on one.

    Args:
        simulator: what to run, and how.
        findings: of its run.
        arguments: of each rank.
        group: the cores of all ranks; None of one core alone.

    Returns:
        What each rank gave.

    Raises:
        NkiValidationError: the kernel does what is not allowed.
    """
    runs = begin(target_chip(simulator.target), findings, group)
    for run in runs:
        if run.machine is not None:
            run.machine.show = print_values
    cores = len(runs) // len(arguments)
    calls = [
        partial(run.call, simulator.function, arguments[number // cores])
        for number, run in enumerate(runs)
    ]
    made = run_cores(runs[0].core, calls)
    returned = [results_of(run, value) for run, value in zip(runs, made)]
    for run in runs:
        run.finish()
    simulations = []
    name = findings.kernel
    for rank, given in enumerate(arguments):
        own = slice(rank * cores, (rank + 1) * cores)
        simulations.append(_simulation(name, given, runs[own], returned[own][0]))
    return simulations


def _simulation(
    name: str, arguments: Arguments, runs: Sequence[CoreRun], returned: Returned
) -> Simulation:
    """What a rank gave, whose cores have ended."""
    arguments.write_back()
    first = runs[0]
    values = returned.fill(
        [value_of(first, view, arguments) for view in returned.views]
    )
    machines = [run.machine for run in runs if run.machine is not None]
    return Simulation(
        values,
        tuple(run.program for run in runs),
        first.chip,
        tuple(run.trace for run in runs),
        first.findings.found,
        name,
        tuple(machine.debug_output for machine in machines),
    )


def print_values(name: str, values: np.ndarray) -> None:
    """Print what a kernel prints, which is this function's purpose, to stdout."""
    sys.stdout.write(f"{name} {values}\n")


def configured_cores() -> int:
    """How many cores a kernel runs on that nobody said it of.

    Raises:
        NkiValidationError: the variable is neither 1 nor 2.
    """
    text = os.environ.get(LNC_VARIABLE) or "1"
    if text not in ("1", "2"):
        raise NkiValidationError(f"{LNC_VARIABLE}={text!r} is neither 1 nor 2")
    return int(text)


class CoreRun(Run):
    """A run that a kernel's arguments are given to.

    Attributes:
        trace: which instructions were carried out, in order.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.trace = Trace()
        self._watches = watched()
        self.precise = is_precise()
        if self.machine is not None:
            self.machine.observers += [self.trace, *self._watches]
            self.machine.memory.releases = not self._watches

    def finish(self) -> None:
        """Look at what only the end of a run shows.

        Raises:
            NkiValidationError: tiles do not fit, or overwrite each other; or another
                finding that is an error.
        """
        check_size(self.program, self.findings)
        check_capacity(self.program, self.findings)
        if self.machine is not None:
            self._require_triggered(self.machine)
            for watch in self._watches:
                watch.finish(self.machine)

    def _require_triggered(self, machine: Machine) -> None:
        if machine.prepared is not None:
            name, line = machine.prepared.name, machine.prepared.line
            text = "what it prepares is never triggered"
            self.findings.report("wrong-operand", text, line, name)

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """Run a kernel's function: its result, with tensors in it."""
        tensors = [as_tensor(whole(self._input(a, function))) for a in arguments.arrays]
        with running(self), telling_lines():
            returned = arguments.call(function, tensors)
        self.require_no_open_loop()
        return returned

    def _input(self, argument: Any, function: Callable[..., Any]) -> Any:
        region = MemoryRegion.private_hbm
        if self.grid.shape:
            region = MemoryRegion.shared_hbm
        made = self.allocate(
            region=region,
            shape=tuple(argument.array.shape),
            dtype=tensor_dtype(
                argument.dtype, argument.array.shape, precise=self.precise
            ),
            name=argument.name,
            line=_first_line(function),
            role="input",
        )
        self.program.inputs.append(made.id)
        if argument.why_unwritable:
            self.unwritable[made] = argument.why_unwritable
        if self.machine is not None and not isinstance(argument.array, ArraySpec):
            if made.dtype.is_kept_in_float32:
                argument.widen()
            self.machine.memory.share(made, argument.array)
        return made


def _first_line(function: Callable[..., Any]) -> Line:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return NOWHERE
    return Line(code.co_filename, code.co_firstlineno, code.co_name)


def begin(
    chip: Chip, findings: Findings, group: CoreGroup | None, *, executes: bool = True
) -> list[CoreRun]:
    """A run for each core.

    Args:
        chip: the target.
        findings: where what is found goes.
        group: the cores; None for one core alone.
        executes: whether instructions are carried out, or only checked and kept.

    Raises:
        NkiValidationError: the target has no logical cores of so many; or an
            environment variable has a value that it cannot have.
    """
    flag(SIMULATOR_VARIABLE, True)
    lnc = group.lnc if group else 1
    if lnc not in chip.lnc:
        raise NkiValidationError(
            f"a kernel is run on {lnc} cores, and {chip.name} has logical cores of "
            f"{' or '.join(map(str, chip.lnc))}: call kernel[1], or choose a target"
        )
    shape = (lnc,) if lnc > 1 else ()
    cores: Sequence[Core | None] = group.cores if group else (None,)
    return [
        CoreRun(
            chip,
            findings,
            Memory() if executes else None,
            Grid((core.core,)[: len(shape)] if core else (), shape),
            core,
        )
        for core in cores
    ]
