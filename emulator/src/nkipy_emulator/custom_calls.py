"""Custom calls as XLA can execute them: as plain HLO, or through a Python function.

Which it is, the record of the call's target says: see :mod:`nkipy.hlo.custom_calls`.
The function runs in the middle of an XLA program: it gets the operands as read-only
arrays and writes into the arrays of the results.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from nkipy.hlo import custom_calls
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.custom_calls import CustomCall, CustomCallError, known_targets, shapes_of
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy.hlo.rewrites.custom_calls import expand_calls
from nkipy.hlo.rewrites.lending import controlled, lend
from nkipy_emulator._xla import handler_call
from nkipy_emulator.call_sites import CallSite, CustomCalls, Handler
from nkipy_emulator.errors import SimulationError, UnsupportedCustomCallError
from nkipy_emulator.ranked_calls import gathered, own_result, ranked_site

__all__ = [
    "Handler",
    "known_targets",
    "register_custom_call",
    "unregister_custom_call",
]


def register_custom_call(
    target: str, handler: Handler, version: str = "unversioned"
) -> None:
    """Let `handler` answer custom calls to `target` in modules compiled from now on.

    It is registered in this process only; a package offers a record of its own, see
    :mod:`nkipy.hlo.custom_calls`.

    Args:
        target: the call's ``custom_call_target``.
        handler: called as ``handler(inputs, outputs, backend_config)`` with lists of
            arrays of the call's shapes and dtypes. It fills every output, keeps no
            reference to any array, and may be called from several threads at a time.
            What it raises, a simulation raises; on an emulated device, NrtError is
            raised from it. No result is written then.
        version: enters the hash of every module with such a call.

    Raises:
        ValueError: `target` is lowered to plain HLO and cannot be replaced, or is
            empty, or `handler` is no function.
    """
    custom_calls.register(custom_calls.with_run(target, handler, version))


def unregister_custom_call(target: str) -> None:
    """Forget the handler of `target`. Programs already compiled keep it."""
    custom_calls.unregister(target)


# -- modules ---------------------------------------------------------------------------
def lower_custom_calls(
    module: HLOModule, vector: HLOInstruction, calls: CustomCalls, ranks: int = 1
) -> HLOModule:
    """A copy of `module` whose custom calls XLA can execute; itself if it has none.

    Args:
        module: what to copy.
        vector: the parameter that points to the state of the running call.
        calls: receives the call sites of Python handlers.
        ranks: how many run it at once.

    Raises:
        UnsupportedCustomCallError: nothing here can compute a target.
        EntryPointError: an installed package has its record, which cannot be loaded.
        SimulationError: the record and the call do not fit each other.
        HLOVerificationError: a record puts into a call's place what is not valid.
    """
    try:
        module = expand_calls(module, _lowered)
    except CustomCallError as e:
        raise SimulationError(str(e)) from None
    targets = custom_calls.targets_of(module.computations())
    if not targets:
        return module
    records = {target: custom_calls.find(target) for target in targets}
    module, lent = lend(module, vector, filter(_calls_something, controlled(module)))

    def rule(
        inst: HLOInstruction, operands: tuple[HLOInstruction, ...], place: Place
    ) -> HLOInstruction | None:
        if inst.opcode != "custom-call":
            return None
        target = inst.attributes["custom_call_target"]
        record = records[target]
        if record is None or not record.is_computed:
            raise UnsupportedCustomCallError(_unknown(target, inst))
        if problem := record.problem(inst):
            raise UnsupportedCustomCallError(
                f"custom call to {target!r} cannot be simulated: {problem}"
                f"{_where(inst)}"
            )
        try:
            site = _site(record, inst)
        except CustomCallError as e:
            raise SimulationError(f"{e}{_where(inst)}") from None
        b = place.builder
        if ranks == 1 or record.groups_in(inst) is None:
            lends = vector if place.is_entry else lent.get(place.computation)
            state = () if lends is None else (lends,)
            return _python_call(inst, operands, state, calls.add(site), site, b)
        if not place.is_entry:
            raise UnsupportedCustomCallError(_nested(target, inst))
        site = ranked_site(record, site, ranks)
        given = gathered(operands, ranks, b)
        made = _python_call(inst, given, (vector,), calls.add(site), site, b)
        return own_result(made, ranks, b)

    return rewrite(module, rule)


def _calls_something(computation: HLOComputation) -> bool:
    return any(i.opcode == "custom-call" for i in computation.instructions)


def _lowered(
    record: CustomCall,
    inst: HLOInstruction,
    operands: tuple[HLOInstruction, ...],
    builder: HLOBuilder,
) -> HLOInstruction | None:
    if record.lowering is None:
        return None
    return record.lower(inst, operands, builder)


def _site(record: CustomCall, inst: HLOInstruction) -> CallSite:
    assert record.run is not None
    inputs = [shapes_of(operand) for operand in inst.operands]
    first = list(itertools.accumulate(map(len, inputs), initial=0))
    return CallSite(
        record.run,
        inst.attributes.get("backend_config", b""),
        tuple(itertools.chain(*inputs)),
        shapes_of(inst),
        tuple((out, first[i]) for out, i in record.aliases_in(inst).items()),
    )


def _unknown(target: str, inst: HLOInstruction) -> str:
    return (
        f"custom call to {target!r}{_where(inst)} cannot be simulated; known targets "
        f"are {', '.join(known_targets())}. nkipy_emulator.register_custom_call adds "
        f"one, and so does a package with an entry point of {custom_calls.GROUP!r}"
    )


def _nested(target: str, inst: HLOInstruction) -> str:
    return (
        f"custom call to {target!r}{_where(inst)} cannot be simulated: ranks exchange "
        "something in it, which they can outside of loops and branches only"
    )


def _where(inst: HLOInstruction) -> str:
    return f" ({inst.source_location})" if inst.source_location else ""


def python_call_attributes(
    site: int, state: int, has_side_effect: bool
) -> Mapping[str, Any]:
    """Of a custom call to the Python function of a site; see ``custom_calls.h``."""
    config = f"{{id = {site} : i64, state = {state} : i64}}"
    return handler_call("nkipy_call_python", config.encode(), has_side_effect)


def _python_call(
    inst: HLOInstruction,
    operands: tuple[HLOInstruction, ...],
    state: tuple[HLOInstruction, ...],
    number: int,
    site: CallSite,
    builder: HLOBuilder,
) -> HLOInstruction:
    """A call of a site's function in the place of `inst`."""
    attributes = python_call_attributes(
        number, len(state), bool(inst.attributes.get("has_side_effect", False))
    )
    given = (*operands, *state)
    if inst.tuple_shapes is not None:
        return builder.emit("custom-call", given, (), None, attributes, site.outputs)
    ((dtype, dims),) = site.outputs
    return builder.emit("custom-call", given, dims, dtype, attributes)
