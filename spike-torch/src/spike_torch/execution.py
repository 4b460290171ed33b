"""Who computes operations, one at a time: the CPU, or programs on the core."""

from __future__ import annotations

import spike_torch._C as _C
from spike_torch._names import EXECUTIONS


def get_execution() -> str:
    """``"fallback"``, ``"device"`` or ``"auto"``."""
    return str(_C.execution())


def set_execution(execution: str) -> None:
    """Choose who computes an operation that is called by itself, in this process.

    A program is for a call as it is: operator, dtypes, sizes and strides of tensors,
    numbers and all other arguments. The CPU computes what has no lowering, or none for
    the arguments; what it may refuse for the values in tensors; random numbers; tensors
    that are empty, or that share memory with what is written to; and all that is called
    while another thread compiles the same.

    Args:
        execution: ``"auto"``, the default, has the CPU compute the first use of a call,
            and compiles a program at the second, as compiling takes milliseconds or
            more. What no number in a tensor makes a difference to stays the CPU's. An
            operator with many programs that ran seldom gets others later. The CPU
            computes all where ``torch.use_deterministic_algorithms`` wants one result
            of a call. ``"device"`` compiles at the first use; ``"fallback"`` has the
            CPU compute all.

    Raises:
        ValueError: it is none of these.
    """
    if execution not in EXECUTIONS:
        raise ValueError(
            f"an execution is one of {', '.join(EXECUTIONS)}: got {execution!r}"
        )
    _C.set_execution(execution)


def program_counts() -> dict[str, int]:
    """How often a program computed each operator, by names as ``"aten::add.out"``."""
    return dict(_C.program_counts())


def reset_program_counts() -> None:
    """Count from 0."""
    _C.reset_program_counts()
