"""Ranks in a ring: each sends to the next one of its list, over channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.collectives.declaring import (
    REDUCTION,
    SINCE,
    collective,
    one_step,
    sources,
    targets,
)
from nkipy_nki.collectives.exchanges import pass_on, reduced
from nkipy_nki.collectives.groups import ReplicaGroup, valid_group
from nkipy_nki.collectives.rendezvous import Rendezvous, begin, rank_of, ranks_of
from nkipy_nki.collectives.rules import priority_of_gen4, tensors
from nkipy_nki.collectives.sampling import DTYPES, GROUPS, PAIR, given, of_ranks
from nkipy_nki.costs import INTERVAL
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Held, Rule, Sample, Samples, writes
from nkipy_nki.registers import VirtualRegister, new_register
from nkipy_nki.running import kernel_line
from nkipy_nki.sampling import sample, together

__all__ = [
    "collective_permute_implicit",
    "collective_permute_implicit_current_processing_rank_id",
    "collective_permute_implicit_reduce",
    "rank_id",
]

#: Channels of a ring (the page of collective_permute_implicit).
_MOST_CHANNELS = 4

P = ParamSpec("P")
R = TypeVar("R")


def _channels(made: Instruction, chip: Chip) -> str | None:
    ids = made.attributes["channel_ids"]
    if not isinstance(ids, tuple) or ids != tuple(range(len(ids))):
        return f"channel_ids is {ids!r}, and must count from 0"
    count = len(made.operands["dsts_by_channel"])
    if len(ids) != count:
        return f"channel_ids has {len(ids)} channels, and there are {count} tensors"
    if count > _MOST_CHANNELS:
        return f"there are {count} channels, and may be {_MOST_CHANNELS}"
    return None


def _same_shapes(made: Instruction, chip: Chip) -> str | None:
    for views in zip(*made.operands.values()):
        shapes = [list(view.shape) for view in views]
        if any(shape != shapes[0] for shape in shapes):
            return f"the shapes of a channel are {shapes}: they must be equal"
    return None


def _one_each(name: str, by_channel: Any) -> tuple[View, ...]:
    """The tensors of lists that have one each."""
    if not isinstance(by_channel, (list, tuple)) or not by_channel:
        _refuse(f"{name} is {by_channel!r}, and must be a list for each channel")
    for channel in by_channel:
        if not isinstance(channel, (list, tuple)) or len(channel) != 1:
            _refuse(f"{name} has {channel!r}, and must have lists of one tensor")
    return tuple(channel[0] for channel in by_channel)


def _by_channel(
    operands: dict[str, Any], attributes: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Lists of one tensor for each channel as lists of tensors."""
    flat = {name: _one_each(name, given) for name, given in operands.items()}
    return flat, {**attributes, "channel_ids": tuple(attributes["channel_ids"])}


def _refuse(text: str) -> None:
    raise NkiValidationError(f"{text}\n  at {kernel_line()}")


def _send_on(call: Call, give: Any) -> None:
    """Send what `give` makes of a channel's sources to the next rank."""
    rendezvous = begin(call)
    if rendezvous is None:
        return
    channels = range(len(call.operands["dsts_by_channel"]))
    contributions = rendezvous.exchange(
        [give(rendezvous, channel) for channel in channels]
    )
    before = (rendezvous.index - 1) % len(rendezvous.ranks)
    values, place, _ = contributions[before]
    for channel, dst in enumerate(call.operands["dsts_by_channel"]):
        one = values[channel] if channel < len(values) else np.empty(0, bool)
        source = rendezvous.ranks[before]
        pass_on(rendezvous, one, place, dst, source, "dsts_by_channel")
    rendezvous.end()


# -- collective_permute_implicit -------------------------------------------------------
def _implicit(call: Call) -> None:
    def give(rendezvous: Rendezvous, channel: int) -> np.ndarray:
        return rendezvous.sent(
            call.operands["srcs_by_channel"][channel], "srcs_by_channel"
        )

    _send_on(call, give)


_RULES = (valid_group, priority_of_gen4, _channels, _same_shapes)


_SENT_ON = ("srcs_by_channel", "dsts_by_channel")


def _rings() -> Iterator[Sample]:
    for group in GROUPS:
        for channels in (1, 2):
            yield _ring(group, channels, _SENT_ON)
    for dtype in DTYPES:
        yield _ring(PAIR, 1, _SENT_ON, dtype=dtype)


def _ring(group: Any, channels: int, names: Sequence[str], **more: Any) -> Sample:
    ranks = sum(map(len, group))

    def one(rank: int) -> Sample:
        return given(
            *(rank, (4, 6), (4, 6)),
            tensors=channels,
            names=names,
            replica_group=group,
            channel_ids=tuple(range(channels)),
            priority=None,
            **more,
        )

    return of_ranks(ranks, one)


def _wrong_rings() -> Iterator[Sample]:
    right = {"replica_group": PAIR, "channel_ids": (0,), "priority": None}
    for channels in ((1,), (0, 1), 0):
        wrong = {**right, "channel_ids": channels}
        yield given(0, (4, 6), (4, 6), names=_SENT_ON, **wrong, message="channel_ids")
    twice = {**right, "replica_group": ((0, 0),)}
    yield given(0, (4, 6), (4, 6), names=_SENT_ON, **twice, message="there twice")
    yield given(0, (4, 6), (4, 5), names=_SENT_ON, **right, message="must be equal")


@collective(
    _implicit,
    [tensors("srcs_by_channel", "dsts_by_channel"), *_RULES],
    one_step(),
    samples=_rings,
    refused=_wrong_rings,
    prepare=_by_channel,
    srcs_by_channel=sources(),
    dsts_by_channel=targets(),
)
def collective_permute_implicit(
    srcs_by_channel: Sequence[Sequence[Any]],
    dsts_by_channel: Sequence[Sequence[Any]],
    replica_group: ReplicaGroup,
    channel_ids: Sequence[int] = (0,),
    priority: int | None = None,
    name: str | None = None,
) -> Instruction:
    """Send a tensor to the next rank of the list, and receive one of that before.

    After the last rank comes the first one.

    Args:
        srcs_by_channel: for each channel, a list of one tensor that the kernel has
            made. Ranks of one core send from ``private_hbm``.
        dsts_by_channel: the same, of the same shapes and dtypes.
        replica_group: the rings.
        channel_ids: 0, 1 and so on, at most 4.
        priority: 0 to 3, on gen4; the simulator does not look at it.
        name: the instruction's.

    Raises:
        NkiValidationError: this is not so.
    """
    raise NotImplementedError


# -- collective_permute_implicit_reduce ------------------------------------------------
def _implicit_reduce(call: Call) -> None:
    op = call.attributes["op"]

    def give(rendezvous: Rendezvous, channel: int) -> np.ndarray:
        names = ("srcs0_by_channel", "srcs1_by_channel")
        views = [call.operands[name][channel] for name in names]
        parts = [rendezvous.sent(view, name) for view, name in zip(views, names)]
        return reduced(op, parts, views[0].dtype)

    _send_on(call, give)


_REDUCED_ON = ("srcs0_by_channel", "srcs1_by_channel", "dsts_by_channel")


def _reducing_rings() -> Iterator[Sample]:
    for group in GROUPS:
        for op in ("add", "maximum", "minimum"):
            yield _ring(group, 2, _REDUCED_ON, op=op)
    for dtype in DTYPES:
        yield _ring(PAIR, 1, _REDUCED_ON, dtype=dtype, op="add")


def _wrong_reducing_rings() -> Iterator[Sample]:
    right = {"replica_group": PAIR, "channel_ids": (0,), "priority": None, "op": "add"}
    wrong = {**right, "op": "multiply"}
    x = {"names": _REDUCED_ON}
    yield given(0, (4, 6), (4, 6), **x, **wrong, message="op is multiply")
    yield given(0, (4, 6), (4, 5), **x, **right, message="must be equal")


@collective(
    _implicit_reduce,
    [tensors("srcs0_by_channel", "srcs1_by_channel", "dsts_by_channel"), *_RULES],
    one_step(),
    samples=_reducing_rings,
    refused=_wrong_reducing_rings,
    operations=REDUCTION,
    prepare=_by_channel,
    srcs0_by_channel=sources(),
    srcs1_by_channel=sources(),
    dsts_by_channel=targets(),
)
def collective_permute_implicit_reduce(
    srcs0_by_channel: Sequence[Sequence[Any]],
    srcs1_by_channel: Sequence[Sequence[Any]],
    dsts_by_channel: Sequence[Sequence[Any]],
    replica_group: ReplicaGroup,
    op: Any,
    channel_ids: Sequence[int] = (0,),
    priority: int | None = None,
    name: str | None = None,
) -> Instruction:
    """Reduce two tensors, send the result to the next rank, and receive one.

    Args:
        srcs0_by_channel: for each channel, a list of one tensor: the left operand.
        srcs1_by_channel: the same: the right operand.
        dsts_by_channel: where the result of the rank before goes.
        replica_group: the rings.
        op: ``nl.add``, ``nl.minimum`` or ``nl.maximum``.
        channel_ids: 0, 1 and so on, at most 4.
        priority: 0 to 3, on gen4; the simulator does not look at it.
        name: the instruction's.

    Raises:
        NkiValidationError: this is not so.
    """
    raise NotImplementedError


# -- ranks -----------------------------------------------------------------------------
def _set(call: Call, rank: int) -> None:
    call.machine.registers[call.operands["dst"].id] = rank


def _to_register(
    meaning: Any,
    samples: Samples,
    refused: Samples,
    rules: Sequence[Rule] = (),
    since: int = 2,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A record of an instruction that sets a register, its operand `dst`."""
    return instruction(
        Engine.sync,
        dst=writes((), register=True),
        rules=rules,
        meaning=meaning,
        cost=lambda made, chip: INTERVAL,
        samples=samples,
        refused=refused,
        since=since,
    )


def _own_ranks() -> Iterator[Sample]:
    yield sample({"dst": Held()}, label="alone")
    yield of_ranks(3, lambda rank: sample({"dst": Held()}))
    yield together([sample({"dst": Held()}, lnc=2)] * 4)


def _wrong_own_ranks() -> Iterator[Sample]:
    yield sample({"dst": 3}, message="must be a register")


def _record_rank(dst: Any, name: str | None = None) -> Instruction:
    """Set a register to the rank: see ``nki.collectives.rank_id``."""
    raise NotImplementedError


_record_rank.__name__ = "rank_id"
_emit_rank = _to_register(
    lambda call: _set(call, rank_of(call)), _own_ranks, _wrong_own_ranks
)(_record_rank)


def rank_id(name: str | None = None) -> VirtualRegister:
    """The rank that runs the kernel, in a register.

    Args:
        name: the instruction's.
    """
    made: VirtualRegister = new_register(VirtualRegister)
    _emit_rank(made, name)
    return made


def _step_of_a_channel(made: Instruction, chip: Chip) -> str | None:
    step, channel = made.attributes["iteration_id"], made.attributes["channel_id"]
    if type(step) is not int or step < 0:
        return f"iteration_id is {step!r}, and must be an int from 0 on"
    if type(channel) is not int or not 0 <= channel < _MOST_CHANNELS:
        return f"channel_id is {channel!r}, and may be 0 to {_MOST_CHANNELS - 1}"
    return None


def _processed(call: Call) -> None:
    ranks = ranks_of(call, call.attributes["replica_group"])
    if ranks is not None:
        place = ranks.index(rank_of(call)) - call.attributes["iteration_id"]
        _set(call, ranks[place % len(ranks)])


def _steps() -> Iterator[Sample]:
    for group in GROUPS:
        ranks = sum(map(len, group))
        for step in (0, 1, 3):
            x = sample(
                {"dst": Held()}, iteration_id=step, replica_group=group, channel_id=0
            )
            yield together([x] * ranks)


def _wrong_steps() -> Iterator[Sample]:
    right = {"iteration_id": 0, "replica_group": PAIR, "channel_id": 0}
    for name, value, message in (
        ("iteration_id", -1, "must be an int from 0 on"),
        ("channel_id", 4, "may be 0 to 3"),
        ("replica_group", ((0, 0),), "there twice"),
    ):
        wrong = {**right, name: value}
        yield sample({"dst": Held()}, **wrong, message=message)


def _record_processed(
    dst: Any,
    iteration_id: Any,
    replica_group: Any,
    channel_id: Any,
    name: str | None = None,
) -> Instruction:
    """Set a register to the rank whose data are there: see ``nki.collectives``."""
    raise NotImplementedError


_record_processed.__name__ = "collective_permute_implicit_current_processing_rank_id"
_emit_processed = _to_register(
    _processed, _steps, _wrong_steps, [valid_group, _step_of_a_channel], SINCE
)(_record_processed)


def collective_permute_implicit_current_processing_rank_id(
    iteration_id: int,
    replica_group: ReplicaGroup,
    channel_id: int = 0,
    name: str | None = None,
) -> VirtualRegister:
    """The rank whose data a rank has after so many steps of a ring, in a register.

    Args:
        iteration_id: how often data were sent on: at 0 it is the rank's own.
        replica_group: the rings.
        channel_id: of the data, 0 to 3; the ring is the same for all.
        name: the instruction's.

    Raises:
        NkiValidationError: this is not so.
    """
    made: VirtualRegister = new_register(VirtualRegister)
    _emit_processed(made, iteration_id, replica_group, channel_id, name)
    return made
