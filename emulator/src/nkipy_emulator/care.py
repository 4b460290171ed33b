"""With how much care XLA makes the code of a program: by its kind and size.

Care takes time to compile, and is lost on calls that are over in no time, on loops of
which each is another, and on some kinds of loops.
"""

from __future__ import annotations

from math import prod

from nkipy.hlo.ir import HLOModule
from nkipy.hlo.rewrites.lending import controlled
from nkipy_emulator import _xla
from nkipy_emulator.loop_work import has_long_loops
from nkipy_emulator.program_size import (
    has_odd_loops,
    has_seams,
    is_varied,
    takes_longer_to_compile,
)

#: Of a module whose loops are fused.
_MOST_SCALARS = 256


def care_for(
    module: HLOModule,
    traced: HLOModule,
    prepared: HLOModule,
    fast_compile: bool = False,
) -> _xla.Care:
    """What code is made with.

    Args:
        module: the program.
        traced: the same, before repeated steps of it became loops.
        prepared: what XLA gets of it.
        fast_compile: whether to compile in less time is wanted.
    """
    # Imported here: a process that finds its code on disk needs nothing of it.
    from nkipy_emulator.layers import has_layers

    is_quick = takes_longer_to_compile(module, traced)
    fast = fast_compile or is_quick or is_varied(module)
    # XLA has code that it makes with care once for loops that are alike.
    fast = fast or has_layers(prepared) or has_odd_loops(prepared)
    optimization = _xla.OPTIMIZATION
    if is_quick:
        optimization = _xla.NO_OPTIMIZATION
    elif has_seams(prepared):
        optimization = _xla.MOST_OPTIMIZATION
    hoist = not _has_barriers_in_loops(prepared)
    share = has_long_loops(prepared)
    return _xla.Care(fast, _can_fuse(module), optimization, hoist, share)


def _can_fuse(module: HLOModule) -> bool:
    """Whether XLA can be let fuse loops: 500 scalars in one take LLVM all memory.

    A constant of one element is a scalar to it, whatever its shape.
    """
    ones = sum(
        i.opcode == "constant" and prod(i.shape) == 1 for i in module.instructions()
    )
    return ones <= _MOST_SCALARS


def _has_barriers_in_loops(module: HLOModule) -> bool:
    return any(
        inst.opcode == "opt-barrier"
        for computation in controlled(module)
        for inst in computation.instructions
    )
