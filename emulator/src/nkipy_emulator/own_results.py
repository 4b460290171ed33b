"""Large results, which the caller gets in the memory that XLA has made them in.

That is one copy less, and one array less at the peak. The memory is XLA's: it goes back
where it comes from when nobody has an array of it any more, and no later call gets it
before that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from weakref import WeakSet

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import uint8
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy_emulator import _xla
from nkipy_emulator.memory import ZERO_COPY_BYTES

#: Arrays from this size on NumPy asks large pages for.
_BLANK_BYTES = 1 << 22


def own_results(module: HLOModule) -> tuple[int, ...]:
    """The results that XLA makes in memory of their own: large ones that are computed.

    Of others, an argument or the same array twice, it would make one copy more.
    """
    seen: set[HLOInstruction] = set(module.parameters)
    written = module.input_output_alias
    found = []
    for i, result in enumerate(module.results):
        if result in seen or i in written or result.nbytes < ZERO_COPY_BYTES:
            continue
        if result.opcode != "constant":
            found.append(i)
        seen.add(result)
    return tuple(found)


def transpose_once(module: HLOModule, own: Sequence[int]) -> None:
    """Have XLA make results that are transposes once, before the store and all else.

    A transpose is another layout of its operand to XLA, of which it makes a copy for
    the store, and a slow one for the caller.
    """
    b = HLOBuilder(module.entry)
    results = list(module.results)
    for i in own:
        made = results[i]
        if made.opcode == "transpose":
            results[i] = b.emit("opt-barrier", (made,), made.shape, made.dtype)
    module.set_results(results, module.output_names)


def needs_blank(result: HLOInstruction) -> bool:
    """Whether memory for a result is to be made before the call: of large pages."""
    return result.nbytes >= _BLANK_BYTES


@lru_cache(maxsize=64)
def blank(nbytes: int) -> _xla.Blank:
    """What makes memory for a large result. XLA's own would be in small pages.

    The system takes thousands of times to make 64 MB of those, longer than most
    programs to fill it.
    """
    module = HLOModule("blank")
    attributes = _xla.handler_call("nkipy_blank")
    memory = HLOInstruction("custom-call", (), (nbytes,), uint8, attributes)
    module.add_operation(memory)
    module.set_results(memory)
    made = _xla.compile_proto(module.serialize()).blank()
    _blanks.add(made)
    return made


_blanks: WeakSet[_xla.Blank] = WeakSet()


def _keep_after_fork() -> None:
    for made in _blanks:
        _xla.leave_alone(made)


os.register_at_fork(after_in_child=_keep_after_fork)


def add_blanks(module: HLOModule) -> None:
    """Have large results of the module's own written into further parameters."""
    count = len(module.entry.instructions)
    for i, made in enumerate(module.results):
        if needs_blank(made):
            module.add_parameter(made.shape, made.dtype, f"nkipy_blank_{i}")
            module.alias(i, len(module.parameters) - 1)
    instructions = module.entry.instructions
    instructions[:] = instructions[count:] + instructions[:count]
