"""Kernels in another language inside of a program: who traces, costs and runs them.

A package offers its language by an entry point of the group `GROUP`. What it names is a
module, or any object, with the functions of ``nkipy_nki.embedding``: this file is all
that uses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from nkipy.chips import find_chip
from nkipy.hlo.custom_call import CustomCall, RankedRun, Refusal, accept, shapes_of
from nkipy.hlo.custom_call_costs import (
    UNKNOWN_COST,
    EngineStep,
    EngineTime,
    EngineTimes,
)
from nkipy.hlo.entry_points import load_first, offers
from nkipy.hlo.instruction import Shape
from nkipy.hlo.printing import PRINTER
from nkipy.hlo.time_limits import GO_ON

if TYPE_CHECKING:
    import numpy as np

    from nkipy.hlo.instruction import HLOInstruction

__all__ = ["GROUP", "NATIVE_KERNEL", "emit_kernel", "language"]

GROUP = "nkipy.kernel_languages"
#: The target under which the vendor's frontends embed NKI kernels.
TARGET = "AwsNeuronCustomNativeKernel"
_NAME = "nki"


@lru_cache(maxsize=1)
def language() -> Any:
    """What traces and runs NKI kernels; None if no package is installed that does.

    Raises:
        EntryPointError: there is one, and it cannot be loaded.
    """
    return load_first(GROUP, _NAME)


def variables() -> tuple[str, ...]:
    """The environment variables that kernels are traced by, if any may have been."""
    loaded = language.cache_info().currsize and language()
    return loaded.VARIABLES if loaded else ()


class Emitter(Protocol):
    """What instructions are added to: a builder, or a trace."""

    def emit(
        self,
        opcode: str,
        operands: tuple[HLOInstruction, ...],
        shape: tuple[int, ...],
        dtype: np.dtype | None,
        attributes: Mapping[str, Any],
    ) -> HLOInstruction: ...

    def tuple_result(
        self,
        opcode: str,
        operands: tuple[HLOInstruction, ...],
        shapes: Sequence[Shape],
        attributes: Mapping[str, Any],
    ) -> tuple[HLOInstruction, ...]: ...


def emit_kernel(
    b: Emitter,
    program: bytes,
    outputs: Sequence[tuple[tuple[int, ...], np.dtype]],
    aliases: Mapping[int, int],
    operands: Sequence[HLOInstruction],
    attributes: Mapping[str, Any],
) -> list[HLOInstruction]:
    """Add the call of a kernel that was traced: each of its outputs.

    Args:
        b: what it is added to.
        program: what the kernel was traced to.
        outputs: shape and dtype of each.
        aliases: output to operand: such an output is the operand, updated in place.
        operands: of the call.
        attributes: of it, besides.
    """
    shapes = [Shape(dtype, dims) for dims, dtype in outputs]
    single = len(shapes) == 1
    aliasing = tuple(((None if single else out), i) for out, i in aliases.items())
    attributes = {
        "custom_call_target": TARGET,
        "backend_config": program,
        **({"output_operand_aliasing": aliasing} if aliasing else {}),
        **attributes,
    }
    values = tuple(operands)
    if not single:
        return list(b.tuple_result("custom-call", values, shapes, attributes))
    (shape,) = shapes
    return [b.emit("custom-call", values, shape.dims, shape.dtype, attributes)]


def _run(
    inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], config: bytes
) -> None:
    language().run(config, inputs, outputs, PRINTER.get(), GO_ON.get())


def _run_ranks(
    inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], config: bytes
) -> None:
    language().run_ranks(config, inputs, outputs, PRINTER.get(), GO_ON.get())


def _groups(inst: HLOInstruction) -> tuple[tuple[int, ...], ...] | None:
    """The ranks that exchange something in a kernel that was traced here."""
    config = inst.attributes.get("backend_config", b"")
    found = language()
    if not found.is_program(config):
        return None
    try:
        groups: tuple[tuple[int, ...], ...] | None = found.interface(config).ranks
    except ValueError:  # which whoever runs it will say
        return None
    return groups


def _problem(inst: HLOInstruction) -> str | None:
    """Why a kernel cannot be run, or None."""
    config = inst.attributes["backend_config"]
    if not language().is_program(config):
        return (
            "what it carries is no NKI kernel that was traced here: one under the jit "
            "of nkipy_nki is"
        )
    try:
        found = language().interface(config)
    except ValueError as error:
        return str(error)
    given = [(shape.dims, shape.dtype) for o in inst.operands for shape in shapes_of(o)]
    results = [(shape.dims, shape.dtype) for shape in shapes_of(inst)]
    if (given, results) == (list(found.inputs), list(found.outputs)):
        return None
    received = ", ".join(o.shape_text() for o in inst.operands)
    return (
        f"the NKI kernel does not fit its call: {inst.shape_text()} "
        f"custom-call({received})"
    )


def _check(inst: HLOInstruction, target: str) -> Iterator[Refusal]:
    """What a compiler for `target` refuses of a kernel that was traced here.

    Of one that the vendor's frontend traced, nothing is known.
    """
    config = inst.attributes["backend_config"]
    if not language().is_program(config):
        return
    if problem := _problem(inst):
        yield Refusal("NCC_EVRF013", problem)
        return
    found = language().interface(config)
    chip = find_chip(target)
    if chip is not None and chip.generation != found.generation:
        yield Refusal(
            "NCC_EVRF013",
            f"the NKI kernel was traced for {found.chip} (gen{found.generation}), and "
            f"is compiled for {chip.name} ({chip.nki_name}): "
            "NEURON_PLATFORM_TARGET_OVERRIDE says what kernels are traced for",
        )


def _times(inst: HLOInstruction, target: str) -> Sequence[EngineTime] | None:
    """When engines work, by the program; None of what the vendor's frontend traced."""
    config = inst.attributes["backend_config"]
    if not language().is_program(config):
        return None
    return [_time(work) for work in language().engine_times(config)]


def _time(work: Any) -> EngineTime:
    steps = [
        EngineStep(
            *(step.name, step.start, step.end - step.start),
            *(step.lane, step.line, step.nbytes, step.flops),
        )
        for step in work.steps
    ]
    return EngineTime(
        work.engine,
        work.end - work.start,
        work.start,
        work.flops,
        work.nbytes,
        tuple(steps),
    )


def _notes(inst: HLOInstruction) -> Sequence[str]:
    """That a timeline does not have all instructions of a kernel, if so.

    And that it is not known how long some of them take, other than by others.
    """
    config = inst.attributes["backend_config"]
    if not language().is_program(config):
        return ()
    times = language().engine_times(config)
    hidden = sum(work.hidden for work in times)
    if not hidden:
        return ()
    note = f"{inst.name or 'an NKI kernel'}: {hidden} more instructions of the kernel "
    note += "are not shown"
    if extrapolated := sum(work.extrapolated for work in times):
        note += (
            f"; {extrapolated} of them are of loops of which two iterations were "
            "estimated, and the time of the others is extrapolated"
        )
    return (note,)


def _record() -> CustomCall:
    """The record of the call: computed where a package is installed that can."""
    common: dict[str, Any] = {"target": TARGET}
    if not any(offer.name == _NAME for offer in offers(GROUP)):
        return CustomCall(
            **common, version="1", check=accept, cost=UNKNOWN_COST, only_compiled=True
        )
    return CustomCall(
        **common,
        version=language().version,
        check=_check,
        cost=EngineTimes(_times, _notes),
        run=_run,
        problem=_problem,
        ranked=RankedRun(_groups, _run_ranks),
    )


#: What the entry point of the call's target names.
NATIVE_KERNEL = _record()
