"""The registers of an engine that reductions are kept in between instructions."""

from __future__ import annotations

import numpy as np

from nkipy_nki.geometry import PARTITIONS

__all__ = ["ReduceRegisters"]

#: What a register was left in, beside the number of an operation.
_NEVER_SET, _UNKNOWN = 0, 1


class ReduceRegisters:
    """One float32 for each lane, a partition, and what it is a reduction by.

    Attributes:
        values: what the registers hold.
    """

    __slots__ = ("_operations", "_states", "values")

    def __init__(self) -> None:
        self.values = np.zeros(PARTITIONS, np.float32)
        self._states = np.zeros(PARTITIONS, np.int8)
        self._operations: list[str] = []

    def set(self, lanes: slice, operation: str, values: np.ndarray | float) -> None:
        """Begin a reduction."""
        self.values[lanes] = values
        self._states[lanes] = self._number(operation)

    def disturb(self, lanes: slice) -> None:
        """Let registers that were set hold what nobody can rely on."""
        states = self._states[lanes]
        states[states != _NEVER_SET] = _UNKNOWN

    def problem(self, lanes: slice, operation: str | None) -> str | None:
        """What is wrong if they are read, or a reduction by `operation` goes on."""
        states = self._states[lanes]
        for lane in np.flatnonzero(states < 2)[:1]:
            how = "were never reset" if states[lane] == _NEVER_SET else _DISTURBED
            return f"the reduce registers {how}, of partition {lanes.start + lane}"
        if operation is None:
            return None
        other = np.flatnonzero(states != self._number(operation))
        if not other.size:
            return None
        began = self._operations[states[other[0]] - 2]
        return (
            f"the reduce registers hold a reduction by {began}, of partition "
            f"{lanes.start + other[0]}, and it goes on by {operation}"
        )

    def _number(self, operation: str) -> int:
        if operation not in self._operations:
            self._operations.append(operation)
        return self._operations.index(operation) + 2


_DISTURBED = (
    "hold what an instruction with reduce_cmd.idle left since they were reset, which "
    "is not known"
)
