"""Traces kernels: what a custom call carries is made of one that is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nkipy_nki.arguments import Arguments
from nkipy_nki.cores import CoreGroup, run_cores
from nkipy_nki.embedding.interfaces import Interface, interface_of, written_inputs
from nkipy_nki.findings import Findings
from nkipy_nki.kernel import Kernel, simulate
from nkipy_nki.program import whole
from nkipy_nki.results import results_of
from nkipy_nki.simulation import Simulator, begin, configured_cores
from nkipy_nki.targets import target_chip
from nkipy_nki.wire import encode

__all__ = ["Embedded", "as_kernel", "embed"]


@dataclass(frozen=True)
class Embedded:
    """A kernel that was traced for arrays of certain shapes.

    Attributes:
        program: the bytes of what it runs.
        interface: what that takes and gives.
        operands: the `of` of each array, in the order of the inputs.
        names: what each is called: its parameter, or a part of that, as in ``"w[1]"``.
        returned: makes what the kernel returns of the outputs.
    """

    program: bytes
    interface: Interface
    operands: tuple[Any, ...]
    names: tuple[str, ...]
    returned: Callable[[Sequence[Any]], Any]


def as_kernel(kernel: Callable[..., Any]) -> Any:
    """A kernel of any generation, of one or of a plain function."""
    if isinstance(kernel, Kernel) or hasattr(kernel, "__nki_simulator__"):
        return kernel
    return Kernel(kernel)


def embed(
    kernel: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], target: str
) -> Embedded:
    """Trace a kernel whose arrays are :class:`ArraySpec`.

    Args:
        kernel: the kernel, of any generation.
        args: its arguments.
        kwargs: those by name.
        target: the chip.

    Raises:
        NkiValidationError: the kernel does what is not allowed.
    """
    simulator = simulate(kernel)
    with simulator.finding() as findings:
        return _embedded(simulator, findings, args, kwargs, target)


def _embedded(
    simulator: Simulator,
    findings: Findings,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    target: str,
) -> Embedded:
    function = simulator.function
    arguments = Arguments(function, args, kwargs)
    lnc = simulator.lnc or configured_cores()
    group = CoreGroup(lnc) if lnc > 1 else None
    runs = begin(target_chip(target), findings, group, executes=False)
    made = run_cores(
        runs[0].core, [partial(run.call, function, arguments) for run in runs]
    )
    structures = [results_of(run, value) for run, value in zip(runs, made)]
    for core in runs:
        core.finish()
    programs = tuple(run.program for run in runs)
    written = written_inputs(programs)
    for program in programs:
        program.outputs.extend(whole(program.allocations[i]) for i in written)
    return Embedded(
        encode(programs),
        interface_of(programs),
        tuple(argument.given.of for argument in arguments.arrays),
        tuple(argument.name for argument in arguments.arrays),
        structures[0].fill,
    )
