"""What a custom call costs: the ways to say it in its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nkipy.hlo.errors import CustomCallError
from nkipy.hlo.opcodes.cost import ENGINES, GPSIMD

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder
    from nkipy.hlo.instruction import HLOInstruction

#: ``lowering(call, operands, builder)``: what takes the place of a call.
Lowering = Callable[
    ["HLOInstruction", "tuple[HLOInstruction, ...]", "HLOBuilder"], "HLOInstruction"
]


def _require_engine(engine: str) -> None:
    if engine not in ENGINES:
        raise CustomCallError(f"{engine!r} is no engine: {', '.join(ENGINES)}")


@dataclass(frozen=True)
class Passes:
    """So many instructions of one engine, over all elements.

    Attributes:
        engine: one of the engines of a NeuronCore.
        steps: how many instructions, at least one.
        over: of which array: the call's result, or its first operand.
    """

    engine: str
    steps: int = 1
    over: Literal["result", "operand"] = "result"

    def __post_init__(self) -> None:
        _require_engine(self.engine)
        if self.steps < 1 or self.over not in ("result", "operand"):
            raise CustomCallError(f"no such cost: {self!r}")


@dataclass(frozen=True)
class View:
    """Nothing: the result is another name for the first operand's bytes."""


@dataclass(frozen=True)
class AsHLO:
    """What the HLO would cost that `build` puts in the call's place.

    Attributes:
        build: as :attr:`CustomCall.lowering`. None: the lowering itself.
    """

    build: Lowering | None = None


@dataclass(frozen=True)
class EngineStep:
    """What an engine does for a while, one of the steps of a call.

    Attributes:
        name: what it is called in a timeline.
        start_ns: from when on, counted from when the call's operands are there.
        duration_ns: how long.
        lane: where several go on in one engine at once, as in its queues, which of them
            it is: ``"queue 3"``.
        source: the line that it is of, as ``file:number``.
        nbytes: bytes moved.
        flops: additions and multiplications of products.
    """

    name: str
    start_ns: float
    duration_ns: float
    lane: str = ""
    source: str = ""
    nbytes: int = 0
    flops: int = 0

    def __post_init__(self) -> None:
        _require_amounts(self, self.start_ns, self.duration_ns, self.nbytes, self.flops)


def _require_amounts(made: object, *amounts: float) -> None:
    if min(amounts) < 0 or not all(map(math.isfinite, amounts)):
        raise CustomCallError(f"no such time: {made!r}")


@dataclass(frozen=True)
class EngineTime:
    """One engine at work on a call.

    Attributes:
        engine: one of the engines of a NeuronCore, or ``"DMA"``.
        duration_ns: how long.
        start_ns: from when on, counted from when the operands are there.
        flops: additions and multiplications of products.
        nbytes: bytes moved, of ``"DMA"``.
        steps: what it does meanwhile, as far as that is told.
    """

    engine: str
    duration_ns: float
    start_ns: float = 0.0
    flops: int = 0
    nbytes: int = 0
    steps: tuple[EngineStep, ...] = ()

    def __post_init__(self) -> None:
        if self.engine != "DMA":
            _require_engine(self.engine)
        _require_amounts(self, self.duration_ns, self.start_ns, self.flops, self.nbytes)


@dataclass(frozen=True)
class EngineTimes:
    """What the engines do, and when.

    Attributes:
        of: ``of(call, target)``, with a chip's name (``"trn2"``). Times of one engine
            do not overlap. None: nothing is known of this call.
        notes: ``notes(call)``: what a reader of an estimate should know, or nothing.
    """

    of: Callable[[HLOInstruction, str], Sequence[EngineTime] | None]
    notes: Callable[[HLOInstruction], Sequence[str]] = lambda call: ()


Cost = Passes | View | AsHLO | EngineTimes
AS_LOWERED = AsHLO()
#: Of which nothing is known: an estimate counts one pass over the result, and says so.
UNKNOWN_COST = Passes(GPSIMD)
