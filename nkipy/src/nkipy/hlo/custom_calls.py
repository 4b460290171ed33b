"""Custom calls: the records of their targets, and where records come from.

A module names the target of a custom call and nothing else of it. What the target means
stands in a :class:`CustomCall`, which whoever meets the call reads: the emulator's
engine, its compiler's checks, its cost model, and the hash of the module.

:func:`find` knows the vendor's targets and those that this process has registered.
Only for another one, or one of the vendor's that nothing here computes, does it ask the
installed packages: an entry point of the group ``nkipy.custom_calls``, whose name is
the target, gives the record. No other entry point is loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from nkipy.hlo.arguments import expect
from nkipy.hlo.custom_call import (
    CustomCall,
    RankedRun,
    Refusal,
    Run,
    accept,
    emit,
    shapes_of,
)
from nkipy.hlo.custom_call_costs import (
    AS_LOWERED,
    UNKNOWN_COST,
    AsHLO,
    EngineStep,
    EngineTime,
    EngineTimes,
    Passes,
    View,
)
from nkipy.hlo.entry_points import EntryPointError, Offer, describe, load, offers
from nkipy.hlo.errors import CustomCallError
from nkipy.hlo.vendor_calls import VENDOR_CALLS

if TYPE_CHECKING:
    from nkipy.hlo.instruction import HLOComputation

__all__ = [
    "AS_LOWERED",
    "GROUP",
    "UNKNOWN_COST",
    "AsHLO",
    "CustomCall",
    "CustomCallError",
    "EngineStep",
    "EngineTime",
    "EngineTimes",
    "EntryPointError",
    "Passes",
    "RankedRun",
    "Refusal",
    "View",
    "accept",
    "emit",
    "find",
    "known_targets",
    "recognized_targets",
    "register",
    "shapes_of",
    "targets_of",
    "unregister",
    "versions",
    "with_run",
]

GROUP = "nkipy.custom_calls"

_lock = threading.Lock()
_registered: dict[str, CustomCall] = {}
_loaded: dict[tuple[str, str], CustomCall] = {}  # by name and object of entry points


def register(record: CustomCall) -> None:
    """Have `record` stand for its target in this process, until it is unregistered.

    It takes the place of one that was registered before, and comes before what
    installed packages offer.

    Raises:
        HLOArgumentError: `record` is no record.
        CustomCallError: the target is one of the vendor's that is computed here.
    """
    expect(record, CustomCall, "register", "record")
    known = VENDOR_CALLS.get(record.target)
    if known is not None and known.is_computed:
        raise CustomCallError(
            f"{record.target} is computed by XLA itself, as plain HLO"
        )
    with _lock:
        _registered[record.target] = record


def unregister(target: str) -> None:
    """Forget what was registered. Programs already compiled keep it."""
    expect(target, str, "unregister", "target")
    with _lock:
        _registered.pop(target, None)


def find(target: str) -> CustomCall | None:
    """The record of a target, or None if there is none.

    Raises:
        EntryPointError: an installed package has a record, and it cannot be loaded.
        CustomCallError: several packages have one.
    """
    if type(target) is not str:
        expect(target, str, "find", "target")
    record = _registered.get(target) or VENDOR_CALLS.get(target)
    if record is not None and record.is_computed:
        return record
    return _offered(target) or record


def with_run(target: str, run: Run, version: str) -> CustomCall:
    """A record of a target of which little is known but how to compute it.

    Of a target of the vendor's, check and cost are known.
    """
    parts = {"run": run, "version": version, "only_compiled": False}
    known = VENDOR_CALLS.get(target)
    if known is not None:
        return replace(known, **parts)  # type: ignore[arg-type]
    return CustomCall(target=target, check=accept, cost=UNKNOWN_COST, **parts)  # type: ignore[arg-type]


def known_targets() -> list[str]:
    """The targets that something here can compute, or an installed package says so."""
    vendor = (name for name, record in VENDOR_CALLS.items() if record.is_computed)
    with _lock:
        registered = list(_registered)
    return sorted({*vendor, *registered, *(offer.name for offer in offers(GROUP))})


def recognized_targets() -> list[str]:
    """The targets that there is a record of, computed here or only compiled."""
    return sorted({*VENDOR_CALLS, *known_targets()})


def _offered(target: str) -> CustomCall | None:
    found = [offer for offer in offers(GROUP) if offer.name == target]
    if not found:
        return None
    if len(found) > 1:
        both = " and ".join(map(describe, found))
        raise CustomCallError(f"custom call {target!r} has several records: {both}")
    # Without the lock: importing the package may take others, or register something.
    key = (target, found[0].value)
    record = _loaded.get(key)
    if record is None:
        record = _record_of(found[0])
        with _lock:
            record = _loaded.setdefault(key, record)
    return record


def _record_of(offer: Offer) -> CustomCall:
    record = load(offer)
    if not isinstance(record, CustomCall):
        raise EntryPointError(offer, f"is no CustomCall but a {type(record).__name__}")
    if record.target != offer.name:
        raise EntryPointError(offer, f"is the record of {record.target!r}")
    return record


# -- modules ---------------------------------------------------------------------------
def targets_of(computations: Iterable[HLOComputation]) -> tuple[str, ...]:
    """The targets that computations call, each once, in order."""
    targets = {
        inst.attributes["custom_call_target"]
        for computation in computations
        for inst in computation.instructions
        if inst.opcode == "custom-call"
    }
    return tuple(sorted(targets))


def versions(targets: Iterable[str]) -> str:
    """The records' versions as one text, for hashes; empty without targets.

    A target without a record has no version: it is whatever the compiler makes of it.

    Raises:
        EntryPointError, CustomCallError: as :func:`find`.
    """
    records = {target: find(target) for target in targets}
    pairs = [(t, "" if r is None else r.version) for t, r in records.items()]
    return repr(pairs) if pairs else ""
