"""Collectives in which ranks send as many elements as a tensor says when it runs.

What a rank sends and where what it receives goes is in the rows of a tensor of uint32:
0: how many elements go to each rank; 1: where they begin in the source; 2: how many
come from each rank, which is written; 3: where those go, or else each rank has an equal
part of the destination.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.collectives.declaring import by_ring, collective, sources, targets
from nkipy_nki.collectives.groups import ReplicaGroup, equal_lists, valid_group
from nkipy_nki.collectives.rendezvous import Rendezvous, begin
from nkipy_nki.collectives.rules import on_hbm, one_tensor, priority_of_gen4, tensors
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.machine import Prepared
from nkipy_nki.program import Instruction, View, contiguous_strides
from nkipy_nki.records import OperandRule, Sample, Samples, TransferTime
from nkipy_nki.regions import HBM, MemoryRegion
from nkipy_nki.running import kernel_line
from nkipy_nki.sampling import numbers, sample, together

__all__ = [
    "all_gather_v",
    "all_gather_v_prepare",
    "all_gather_v_trigger",
    "all_to_all_v",
    "all_to_all_v_prepare",
    "all_to_all_v_trigger",
]

P = ParamSpec("P")
R = TypeVar("R")

_NAME = "metadata_tensor"
_METADATA = OperandRule(
    read=True,
    written=True,
    regions=frozenset({MemoryRegion.sbuf, *HBM}),
    dtypes=("uint32",),
    aligned=False,
)


# -- rules -----------------------------------------------------------------------------
def _flat(made: Instruction, chip: Chip) -> str | None:
    """Elements lie side by side; each rank has an equal part of the destination."""
    for name in ("srcs", "dsts"):
        (view,) = made.operands[name]
        if tuple(view.strides) != contiguous_strides(view.shape):
            return f"{name} has a view whose elements do not lie side by side"
    count = len(made.attributes["replica_group"][0])
    (dst,) = made.operands["dsts"]
    if dst.size % count and not made.attributes["has_rdispls"]:
        return f"dsts has {dst.size} elements, which {count} ranks do not divide"
    return None


def _rows_fit(made: Instruction, chip: Chip) -> str | None:
    view = made.operands[_NAME]
    count = len(made.attributes["replica_group"][0])
    for name in ("recv_counts_known", "has_rdispls"):
        if type(made.attributes[name]) is not bool:
            return f"{name} is {made.attributes[name]!r}, and must be True or False"
    rows = (4,) if made.attributes["has_rdispls"] else (3, 4)
    first = (1,) if view.region.is_on_chip else ()
    allowed = [(*first, n, count) for n in rows]
    if tuple(view.shape) not in allowed or view.dynamic is not None:
        shapes = " or ".join(str(list(shape)) for shape in allowed)
        return f"{_NAME} has the shape {list(view.shape)}, and must have {shapes}"
    return None


_RULES = (
    *(valid_group, equal_lists, tensors("srcs", "dsts"), priority_of_gen4),
    *(on_hbm, one_tensor, _rows_fit, _flat),
)


# -- meaning ---------------------------------------------------------------------------
class _Plan(NamedTuple):
    """What the rows say.

    Attributes:
        counts: how many elements are sent to each rank.
        starts: where they begin.
        displacements: where what comes from each rank goes; None if in equal parts.
    """

    counts: list[int]
    starts: list[int]
    displacements: list[int] | None


def _row(view: View, number: int) -> View:
    """A row of the tensor that says how much is sent."""
    *_, step, stride = view.strides
    offset = view.offset + number * step
    return View(view.allocation, view.dtype, offset, view.shape[-1:], (stride,))


def _plan(call: Call, *, gathers: bool) -> _Plan:
    """Read the rows; of a gathering, the first column says what goes to all."""
    view = call.operands[_NAME]
    count = view.shape[-1]

    def row(number: int, columns: int) -> list[int]:
        one = _row(view, number)
        part = View(one.allocation, one.dtype, one.offset, (columns,), one.strides)
        if call.machine.core is not None:
            machine, made = call.machine, call.instruction
            call.machine.core.access(machine, made, _NAME, part, False)
        return [int(value) for value in call.elements(part, _NAME)]

    columns = 1 if gathers else count
    times = count if gathers else 1
    displacements = row(3, count) if call.attributes["has_rdispls"] else None
    return _Plan(row(0, columns) * times, row(1, columns) * times, displacements)


def _carry_out(call: Call, plan: _Plan, *, gathers: bool) -> None:
    rendezvous = begin(call)
    if rendezvous is None:
        return
    (src,), (dst,) = call.operands["srcs"], call.operands["dsts"]
    chunks: list[np.ndarray] = []
    for count, start in zip(plan.counts, plan.starts):
        if not _is_inside(call, "srcs", src, start, count):
            return
        if gathers and chunks:
            chunks.append(chunks[0])
            continue
        chunks.append(rendezvous.sent(_part(src, start, count), "srcs"))
    contributions = rendezvous.exchange(chunks)
    received = [chunks[rendezvous.index] for chunks, *_ in contributions]
    for number, elements in enumerate(received):
        _take(rendezvous, plan, dst, number, elements, same=gathers)
    if not call.attributes["recv_counts_known"]:
        counts = np.array([elements.size for elements in received], np.uint32)
        rendezvous.receive(_row(call.operands[_NAME], 2), _NAME, counts, same=gathers)
    rendezvous.end()


def _take(
    rendezvous: Rendezvous,
    plan: _Plan,
    dst: View,
    number: int,
    elements: np.ndarray,
    *,
    same: bool,
) -> None:
    """Store what one rank sends where it belongs."""
    call, rank = rendezvous.call, rendezvous.ranks[number]
    if elements.dtype != dst.dtype.element:
        text = f"dsts is {dst.dtype.name}, and rank {rank} sends {elements.dtype}"
        call.report("wrong-operand", text)
        return
    slot = dst.size // len(rendezvous.ranks)
    if plan.displacements is None and elements.size > slot:
        call.report(
            "out-of-bounds",
            f"rank {rank} sends {elements.size} elements, and there is room for {slot}",
            value=elements.size,
            position=[number],
            extent=slot,
        )
        return
    start = number * slot if plan.displacements is None else plan.displacements[number]
    if elements.size and _is_inside(call, "dsts", dst, start, elements.size):
        part = _part(dst, start, elements.size)
        rendezvous.receive(part, "dsts", elements, same=same)


def _part(view: View, start: int, count: int) -> View:
    """Elements of a view whose elements lie side by side."""
    return View(view.allocation, view.dtype, view.offset + start, (count,), (1,))


def _is_inside(call: Call, name: str, view: View, start: int, count: int) -> bool:
    """Report elements that a tensor does not have."""
    if start + count <= view.size or not count:
        return True
    call.report(
        "out-of-bounds",
        f"{count} elements from {start} on are those of {name}, which has {view.size}",
        operand=name,
        value=start + count,
        position=[start],
        extent=view.size,
    )
    return False


def _at_once(gathers: bool) -> Any:
    def meaning(call: Call) -> None:
        _carry_out(call, _plan(call, gathers=gathers), gathers=gathers)

    return meaning


def _prepare(gathers: bool) -> Any:
    def meaning(call: Call) -> None:
        before = call.machine.prepared
        if before is not None:
            text = f"{before.name} at {before.line} has not been triggered yet"
            call.report("wrong-operand", text)
        name, line = call.instruction.record.name, call.instruction.line
        plan = _plan(call, gathers=gathers)
        call.machine.prepared = Prepared(name, line, _operands(call), plan)

    return meaning


def _operands(call: Call) -> tuple[View, ...]:
    return tuple(view for _, view in call.instruction.views())


def _trigger(gathers: bool) -> Any:
    def meaning(call: Call) -> None:
        prepared = call.machine.prepared
        name = call.instruction.record.name.replace("_trigger", "_prepare")
        if prepared is None or not _is_of(call, name, prepared):
            call.report("wrong-operand", f"there is no {name} that it is of")
            return
        call.machine.prepared = None
        _carry_out(call, prepared.plan, gathers=gathers)

    return meaning


def _is_of(call: Call, name: str, prepared: Prepared) -> bool:
    """Whether what was prepared has the name and the operands of an instruction."""
    theirs, mine = (
        [(v.allocation, v.offset, tuple(v.shape)) for v in views]
        for views in (prepared.operands, _operands(call))
    )
    return prepared.name == name and theirs == mine


# -- records ---------------------------------------------------------------------------
_LISTS: dict[str, Any] = {"srcs": sources(), "dsts": targets(), _NAME: _METADATA}
#: Of what is only named until it is triggered.
_NAMED = OperandRule(regions=frozenset(HBM), several=True, aligned=False)
_LATER: dict[str, Any] = {
    "srcs": _NAMED,
    "dsts": _NAMED,
    _NAME: replace(_METADATA, written=False),
}


#: How many elements go to each of four ranks, where they begin, and where those of a
#: rank go.
_COUNTS = ((1, 2, 0, 3), (4, 0, 1, 2), (0, 0, 0, 0), (2, 2, 2, 2))
_STARTS = ((0, 1, 3, 3), (0, 4, 4, 5), (9, 9, 9, 9), (6, 4, 2, 0))
_PLACES = (12, 8, 4, 0)
_ALL = ((0, 1, 2, 3),)


def _samples(*before: str) -> Iterator[Sample]:
    for dtype in (np.float32, np.int16):
        for known in (False, True):
            for displaced in (False, True):
                yield _of_all(dtype, known, displaced, *before)
    yield _of_all(np.float32, False, False, *before, on_chip=True)


def _of_all(*named: Any, **others: Any) -> Sample:
    return together([_of_rank(rank, *named, **others) for rank in range(4)])


def _of_rank(
    rank: int,
    dtype: Any,
    known: bool,
    displaced: bool,
    before: str = "",
    on_chip: bool = False,
) -> Sample:
    rows = [_COUNTS[rank], _STARTS[rank], (77,) * 4, _PLACES][: 3 + displaced]
    metadata = np.array([rows] if on_chip else rows, np.uint32)
    regions = dict.fromkeys(("srcs", "dsts", _NAME), MemoryRegion.private_hbm)
    if on_chip:
        regions[_NAME] = MemoryRegion.sbuf
    return sample(
        {
            "srcs": [numbers(dtype, (10,), rank)],
            "dsts": [numbers(dtype, (16,), 50 + rank)],
            _NAME: metadata,
        },
        regions=regions,
        replica_group=_ALL,
        recv_counts_known=known,
        has_rdispls=displaced,
        priority=None,
        after=before,
        dense=True,
    )


def _refused() -> Iterator[Sample]:
    right = _of_rank(0, np.float32, False, False)
    named = {**right.attributes, "regions": right.regions}
    for name, value, message in (
        ("recv_counts_known", 1, "must be True or False"),
        ("has_rdispls", None, "must be True or False"),
        ("replica_group", ((0, 0, 1, 2),), "there twice"),
        ("has_rdispls", True, "must have [4, 4]"),
    ):
        yield sample(right.operands, **{**named, name: value}, message=message)
    short = {**right.operands, "dsts": [((15,), "float32")]}
    yield sample(short, **named, message="which 4 ranks do not divide")
    signed = {**right.operands, _NAME: np.zeros((3, 4), np.int32)}
    yield sample(signed, **named, message="is int32, and may be uint32")


def _refused_alone() -> Iterator[Sample]:
    """What is triggered must have been prepared."""
    right = _of_rank(0, np.float32, False, False)
    yield replace(right, message="there is no")
    yield from _refused()


def _declared(
    meaning: Any,
    transfer_ns: TransferTime | None,
    operands: dict[str, Any] = _LISTS,
    samples: Samples = _samples,
    refused: Samples = _refused,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    return collective(
        meaning, _RULES, transfer_ns, samples=samples, refused=refused, **operands
    )


def _alike(name: str, doc: str) -> Any:
    """A function with the signature of ``all_to_all_v``, for another record."""
    like = all_to_all_v.__wrapped__  # type: ignore[attr-defined]
    made = FunctionType(like.__code__, like.__globals__, name, like.__defaults__)
    made.__doc__, made.__annotations__ = doc, like.__annotations__
    return made


@_declared(_at_once(False), by_ring())
def all_to_all_v(
    srcs: Any,
    dsts: Any,
    replica_group: ReplicaGroup,
    metadata_tensor: Any,
    recv_counts_known: bool = False,
    has_rdispls: bool = False,
    priority: int | None = None,
    name: str | None = None,
) -> Instruction:
    """Send each rank as many elements as a tensor says, and receive what they send.

    Args:
        srcs: one tensor in HBM that the kernel has made, taken as its elements in C's
            order.
        dsts: one of the same dtype, of any size.
        replica_group: which ranks exchange elements, lists of one length.
        metadata_tensor: uint32, (rows, ranks) in HBM or (1, rows, ranks) in SBUF; 3
            rows, or 4 with `has_rdispls`. A column is of a rank, by its place in the
            list. Row 0: how many elements it is sent; 1: where they begin in the
            source; 2: how many came from it; 3: where they go.
        recv_counts_known: whether row 2 is left alone. It is written otherwise.
        has_rdispls: whether row 3 says where elements go. Each rank has an equal part
            of the destination otherwise.
        priority: 0 to 3, on gen4; the simulator does not look at it.
    """
    raise NotImplementedError


all_gather_v = _declared(_at_once(True), by_ring())(
    _alike(
        "all_gather_v",
        """Give all ranks as many elements of each as a tensor says.

        Args:
            srcs: as for ``all_to_all_v``.
            dsts: the same.
            replica_group: which ranks gather together, lists of one length.
            metadata_tensor: as for ``all_to_all_v``, but of rows 0 and 1 only the first
                column is read: what is sent to all ranks.
            recv_counts_known: whether row 2 is left alone. It is written otherwise.
            has_rdispls: whether row 3 says where elements go.
            priority: 0 to 3, on gen4; the simulator does not look at it.
        """,
    )
)

_PREPARE = """Begin an ``{name}``: the tensor is read that says how much is sent.

What it returns goes to ``{name}_trigger``, before anything else is prepared. The
arguments are those of ``{name}``; `srcs` may be filled afterwards.
"""
_TRIGGER = "Carry out what was prepared: see ``nki.collectives``."


def _in_two_parts(name: str, gathers: bool) -> tuple[Any, Any]:
    """The records of a collective's two parts: prepare, and trigger."""
    prepare = _alike(f"{name}_prepare", _PREPARE.format(name=name))
    trigger = _alike(f"{name}_trigger", _TRIGGER)
    return (
        _declared(_prepare(gathers), None, _LATER)(prepare),
        _declared(
            _trigger(gathers),
            by_ring(),
            samples=partial(_samples, f"{name}_prepare"),
            refused=_refused_alone,
        )(trigger),
    )


all_to_all_v_prepare, _emit_all_to_all = _in_two_parts("all_to_all_v", False)
all_gather_v_prepare, _emit_all_gather = _in_two_parts("all_gather_v", True)


def _triggered(emit: Any, prepare: str, given: Any, name: str | None) -> Instruction:
    if not isinstance(given, Instruction) or given.record.name != prepare:
        raise NkiValidationError(
            f"prepare_instr is {given!r}, and must be what {prepare} returned\n"
            f"  at {kernel_line()}"
        )
    made: Instruction = emit(**given.operands, **given.attributes, name=name)
    return made


def all_to_all_v_trigger(
    prepare_instr: Instruction, name: str | None = None
) -> Instruction:
    """Carry out what ``all_to_all_v_prepare`` began.

    Args:
        prepare_instr: what it returned.
        name: the instruction's.

    Raises:
        NkiValidationError: it is something else, or was triggered before.
    """
    return _triggered(_emit_all_to_all, "all_to_all_v_prepare", prepare_instr, name)


def all_gather_v_trigger(
    prepare_instr: Instruction, name: str | None = None
) -> Instruction:
    """Carry out what ``all_gather_v_prepare`` began.

    Args:
        prepare_instr: what it returned.
        name: the instruction's.

    Raises:
        NkiValidationError: it is something else, or was triggered before.
    """
    return _triggered(_emit_all_gather, "all_gather_v_prepare", prepare_instr, name)
