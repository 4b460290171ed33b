"""Puts HLO in the place of custom calls, as the records of their targets build it."""

from __future__ import annotations

from collections.abc import Callable

from nkipy.hlo import custom_calls
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.custom_calls import CustomCall, CustomCallError
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite

#: ``build(record, call, operands, builder)``; None leaves the call as it is.
Build = Callable[
    [CustomCall, HLOInstruction, tuple[HLOInstruction, ...], HLOBuilder],
    "HLOInstruction | None",
]
#: What takes a call's place may have calls itself, so often.
MAX_ROUNDS = 16


def expand_calls(module: HLOModule, build: Build) -> HLOModule:
    """A copy of `module` without the calls that `build` has HLO for.

    It is `module` itself if there are none. What records build is verified.

    Raises:
        EntryPointError: an installed package has a record, which cannot be loaded.
        CustomCallError: a record builds what does not fit the call, or calls itself.
        HLOVerificationError: a record builds what is not valid.
    """
    for _ in range(MAX_ROUNDS):
        expanded = _expand_once(module, build)
        if expanded is module:
            return module
        module = expanded
    targets = ", ".join(custom_calls.targets_of(module.computations()))
    raise CustomCallError(f"custom calls whose HLO calls them again: {targets}")


def _expand_once(module: HLOModule, build: Build) -> HLOModule:
    targets = custom_calls.targets_of(module.computations())
    if not targets:
        return module
    records = {target: custom_calls.find(target) for target in targets}
    expanded: set[str] = set()

    def rule(
        inst: HLOInstruction, operands: tuple[HLOInstruction, ...], place: Place
    ) -> HLOInstruction | None:
        if inst.opcode != "custom-call":
            return None
        record = records[inst.attributes["custom_call_target"]]
        if record is None:
            return None
        made = build(record, inst, operands, place.builder)
        if made is not None:
            expanded.add(record.target)
        return made

    result = rewrite(module, rule)
    if not expanded:
        return module
    result.verify()
    return result
