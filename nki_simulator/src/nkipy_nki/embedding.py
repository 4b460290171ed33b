"""Kernels inside other programs: what a custom call carries, costs and does.

It is what the entry point ``nki`` of the group ``nkipy.kernel_languages`` names: who
traces, compiles or executes a program with kernels in it finds the functions here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from nkipy.chips import find_chip
from nkipy_nki._release import __version__
from nkipy_nki.arguments import Arguments, ArraySpec
from nkipy_nki.cores import CoreGroup, run_cores
from nkipy_nki.engines import Engine
from nkipy_nki.findings import Findings
from nkipy_nki.kernel import Kernel
from nkipy_nki.program import Program, whole
from nkipy_nki.replaying import run_in
from nkipy_nki.simulation import begin, configured_cores, results_of
from nkipy_nki.targets import target_chip
from nkipy_nki.timing import Trace, schedule
from nkipy_nki.timing.scheduling import engine_of
from nkipy_nki.wire import decode, encode, is_program

__all__ = [
    "ArraySpec",
    "Embedded",
    "Interface",
    "as_kernel",
    "embed",
    "engine_times",
    "interface",
    "is_program",
    "run",
    "version",
]

#: Of what a program means: it changes whenever the same bytes would do otherwise.
version = __version__


@dataclass(frozen=True)
class Interface:
    """What a program takes and gives.

    Attributes:
        chip: the target's name.
        generation: the target's.
        inputs: shape and element type of each.
        outputs: shape and element type of each.
        aliases: output to input: such an output is the input, updated in place.
    """

    chip: str
    generation: int
    inputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    aliases: Mapping[int, int]


@dataclass(frozen=True)
class Embedded:
    """A kernel that was traced for arrays of certain shapes.

    Attributes:
        program: the bytes of what it runs.
        interface: what that takes and gives.
        operands: the `of` of each array, in the order of the inputs.
        returned: makes what the kernel returns of the outputs.
    """

    program: bytes
    interface: Interface
    operands: tuple[Any, ...]
    returned: Callable[[Sequence[Any]], Any]


def as_kernel(kernel: Callable[..., Any]) -> Kernel:
    """A kernel, of one or of a plain function."""
    return kernel if isinstance(kernel, Kernel) else Kernel(kernel)


def embed(
    kernel: Kernel, args: tuple[Any, ...], kwargs: Mapping[str, Any], target: str
) -> Embedded:
    """Trace a kernel whose arrays are :class:`ArraySpec`.

    Args:
        kernel: the kernel.
        args: its arguments.
        kwargs: those by name.
        target: the chip.

    Raises:
        NkiValidationError: the kernel does what is not allowed.
    """
    function = kernel.func
    arguments = Arguments(inspect.signature(function), args, kwargs)
    lnc = kernel.lnc or configured_cores()
    group = CoreGroup(lnc) if lnc > 1 else None
    runs = begin(target_chip(target), Findings(), group, executes=False)
    made = run_cores(
        runs[0].core, [partial(run.call, function, arguments) for run in runs]
    )
    structures = [results_of(run, value) for run, value in zip(runs, made)]
    for core in runs:
        core.finish()
    programs = tuple(run.program for run in runs)
    written = _written_inputs(programs)
    for program in programs:
        program.outputs.extend(whole(program.allocations[i]) for i in written)
    return Embedded(
        encode(programs),
        _interface(programs),
        tuple(argument.given.of for argument in arguments.arrays),
        structures[0].fill,
    )


def _written_inputs(programs: Sequence[Program]) -> list[int]:
    """The inputs that a core writes to and that are not returned.

    Their numbers are those of all cores, which make the same tensors first.
    """
    first = programs[0]
    returned = {view.allocation.id for view in first.outputs if view.is_whole}
    written = _written(programs)
    return [i for i in first.inputs if i in written - returned]


def _written(programs: Sequence[Program]) -> set[int]:
    """The tensors that a core writes to."""
    return {
        view.allocation.id
        for program in programs
        for instruction in program.instructions()
        for name, view in instruction.views()
        if instruction.record.operands[name].written
    }


def _interface(programs: Sequence[Program]) -> Interface:
    program = programs[0]
    chip = find_chip(program.chip)
    assert chip is not None
    places = {number: i for i, number in enumerate(program.inputs)}
    inputs = [program.allocations[number] for number in program.inputs]
    return Interface(
        chip.name,
        chip.generation,
        tuple((tuple(made.shape), made.dtype.element) for made in inputs),
        tuple((tuple(v.shape), v.dtype.element) for v in program.outputs),
        _aliases(program, places, _written(programs)),
    )


def _aliases(
    program: Program, places: Mapping[int, int], written: set[int]
) -> dict[int, int]:
    """Output to input, of the first output that each input is which is written."""
    aliases: dict[int, int] = {}
    for out, view in enumerate(program.outputs):
        i = places.get(view.allocation.id) if view.allocation.id in written else None
        if i is not None and view.is_whole and i not in aliases.values():
            aliases[out] = i
    return aliases


@lru_cache(maxsize=16)
def engine_times(program: bytes) -> tuple[tuple[str, float, float], ...]:
    """When each engine is busy with a program of one core, or the first one's.

    An estimate. Of a loop whose bounds only the run knows, the body counts once.

    Returns:
        Engine (``"VectorE"``, ``"DMA"``), how long in ns, from when on in ns; those of
        an engine do not overlap.

    Raises:
        NkiProgramError: the bytes are no program.
    """
    made = _decoded(program)[0]
    try:
        found = schedule(made)
    except ValueError:
        found = schedule(made, Trace(made.instructions()))
    busy: dict[str, list[tuple[float, float]]] = {}
    for step, start, end in zip(found.steps, found.start, found.end):
        if (engine := _ENGINES.get(engine_of(step))) and end > start:
            busy.setdefault(engine, []).append((start, end))
    return tuple(
        (engine, end - start, start)
        for engine, times in busy.items()
        for start, end in _merged(times)
    )


#: The engines by the names that costs of custom calls have for them.
_ENGINES = {
    Engine.tensor: "TensorE",
    Engine.vector: "VectorE",
    Engine.scalar: "ScalarE",
    Engine.gpsimd: "GpSimd",
    Engine.dma: "DMA",
}


def _merged(times: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Times that overlap or touch, together."""
    made: list[tuple[float, float]] = []
    for start, end in sorted(times):
        if made and start <= made[-1][1]:
            made[-1] = made[-1][0], max(end, made[-1][1])
        else:
            made.append((start, end))
    return made


@lru_cache(maxsize=16)
def _decoded(program: bytes) -> tuple[Program, ...]:
    return decode(program)


@lru_cache(maxsize=16)
def interface(program: bytes) -> Interface:
    """What a program takes and gives.

    Raises:
        NkiProgramError: the bytes are no program.
    """
    return _interface(_decoded(program))


def run(
    program: bytes, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
) -> None:
    """Run a program.

    Args:
        program: its bytes.
        inputs: the arrays, in C's order; they are not written.
        outputs: the arrays to fill. One that is an input updated in place holds the
            input's values already.

    Raises:
        NkiProgramError: the bytes are no program, or the arrays do not fit it.
        NkiValidationError: a finding that only values show.
    """
    programs = _decoded(program)
    aliases = interface(program).aliases
    arrays = [np.ascontiguousarray(array) for array in inputs]
    for out, i in aliases.items():
        arrays[i] = outputs[out]
    values = run_in(programs, arrays, Findings())
    for out, (array, view) in enumerate(zip(outputs, values)):
        if out not in aliases:
            array[...] = view
