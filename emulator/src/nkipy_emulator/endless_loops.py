"""Lets loops that may never end be interrupted.

A signal waits until Python code runs in the main thread, and XLA runs none. So the
condition of each loop whose number of iterations cannot be seen, or is huge, calls a
function in Python, which takes a few microseconds. An exception in it, such as
KeyboardInterrupt, marks the call as failed, as does a caller who leaves it behind, and
makes the condition false: the program comes to its end, stores nothing, and raises that
exception. On the device, that it runs longer than an execution may is such an exception
too.
"""

from __future__ import annotations

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import bool_
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.rewrites.lending import lend
from nkipy_emulator.call_sites import LOOK_FOR_SIGNALS
from nkipy_emulator.custom_calls import python_call_attributes

#: Iterations from which on a loop is taken for endless: minutes, whatever it does.
_ENDLESS = 100_000_000


def make_interruptible(module: HLOModule, vector: HLOInstruction) -> HLOModule:
    """`module` whose endless loops look for signals; itself if it has none.

    Args:
        module: what to copy.
        vector: the parameter that points to the state of the running call.
    """
    wanted = _conditions(module)
    if not wanted:
        return module
    module, lent = lend(module, vector, wanted)
    for condition in _conditions(module):
        if condition in lent:
            _look_for_signals(condition, lent[condition])
    return module


def _conditions(module: HLOModule) -> dict[HLOComputation, None]:
    """The conditions of loops that may never end."""
    loops = [i for i in module.instructions() if i.opcode == "while"]
    if not loops:
        return {}
    from nkipy_emulator.cost_model.loops import trip_count

    counts = [(loop, trip_count(loop)) for loop in loops]
    endless = [loop for loop, n in counts if n is None or n >= _ENDLESS]
    return {loop.attributes["condition"]: None for loop in endless}


def _look_for_signals(condition: HLOComputation, vector: HLOInstruction) -> None:
    assert condition.root is not None
    b = HLOBuilder(condition)
    attributes = python_call_attributes(LOOK_FOR_SIGNALS, state=1, has_side_effect=True)
    goes_on = b.emit("custom-call", (vector,), (), bool_, attributes)
    condition.root = b.and_(condition.root, goes_on)
