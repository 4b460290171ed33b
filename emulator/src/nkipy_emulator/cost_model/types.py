"""What an estimate consists of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from nkipy.hlo.opcodes.cost import ENGINES, GPSIMD, SCALAR, TENSOR, VECTOR

__all__ = [
    "COLLECTIVES",
    "DMA",
    "ENGINES",
    "GPSIMD",
    "LANES",
    "LAUNCH",
    "SCALAR",
    "TENSOR",
    "VECTOR",
    "Estimate",
    "Event",
    "Step",
]

#: The lanes of a timeline, in the order in which a program goes through them. Engines
#: are those of a NeuronCore; `launch` is the fixed cost of starting an execution.
DMA, COLLECTIVES, LAUNCH = "DMA", "collectives", "launch"
LANES = (LAUNCH, DMA, *ENGINES, COLLECTIVES)


class Event(NamedTuple):
    """An engine at work, estimated. Events of one engine do not overlap.

    ``bytes`` are those moved by DMA or between cores; an engine that computes moves
    none. ``flops`` are additions and multiplications of products. ``groups`` are the
    ranks that meet in a collective, as JSON text: ``"[[0,1],[2,3]]"``.
    """

    name: str
    opcode: str
    engine: str
    start_ns: int
    duration_ns: int
    bytes: int
    flops: int
    groups: str = ""


class Step(NamedTuple):
    """What an engine does for a while during an event: an instruction of a kernel.

    ``call`` is the event's name. ``lane`` says which of several that go on in the
    engine at once it is, as ``"queue 3"``; those of one lane do not overlap.
    ``source`` is the kernel's line.
    """

    name: str
    call: str
    engine: str
    lane: str
    source: str
    start_ns: int
    duration_ns: int
    bytes: int
    flops: int


@dataclass(frozen=True)
class Estimate:
    """The estimated time of one execution. It is no measurement, and no promise.

    Attributes:
        total_ns: from launch to the last event's end.
        events: the timeline, by start.
        busy_ns: how long each lane has work.
        target: the target's name.
        lnc: physical cores per logical core.
        notes: what the estimate had to assume, for a reader.
        steps: what engines do during events, as far as that is told.
    """

    total_ns: int
    events: tuple[Event, ...]
    busy_ns: dict[str, int]
    target: str
    lnc: int = 1
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def flops(self) -> int:
        return sum(e.flops for e in self.events)

    @property
    def dma_bytes(self) -> int:
        return sum(e.bytes for e in self.events if e.engine == DMA)

    def timeline_text(self) -> str:
        """The events and steps as lines of tab-separated fields, for libnrt.

        Fields: engine, name, opcode, start_ns, duration_ns, bytes, flops; of a
        collective, groups. Those of a step: its call's name for the opcode, and two
        more, lane and source.
        """
        events = [
            f"{e.engine}\t{_field(e.name)}\t{e.opcode}\t{e.start_ns}\t"
            f"{e.duration_ns}\t{e.bytes}\t{e.flops}{_last(e.groups)}\n"
            for e in self.events
        ]
        steps = [
            f"{s.engine}\t{_field(s.name)}\t{_field(s.call)}\t{s.start_ns}\t"
            f"{s.duration_ns}\t{s.bytes}\t{s.flops}\t{_field(s.lane)}\t"
            f"{_field(s.source)}\n"
            for s in self.steps
        ]
        return "".join((*events, *steps))

    def to_dict(self) -> dict[str, Any]:
        """The estimate as JSON types; `kind` says what it is."""
        return {
            "kind": "estimate",
            "target": self.target,
            "lnc": self.lnc,
            "total_ns": self.total_ns,
            "flops": self.flops,
            "dma_bytes": self.dma_bytes,
            "busy_ns": self.busy_ns,
            "notes": list(self.notes),
            "events": [e._asdict() for e in self.events],
            "steps": [s._asdict() for s in self.steps],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    def _repr_html_(self) -> str:
        """Tables, for a notebook."""
        from nkipy_emulator.cost_model.report import estimate_html

        return estimate_html(self)


def _last(text: str) -> str:
    """One more field, unless it is empty."""
    return f"\t{text}" if text else ""


def _field(text: str) -> str:
    """`text` without what would end a field."""
    return text if text.isprintable() else " ".join(text.split())
