"""Where the values of a computation are, and from when on."""

from __future__ import annotations

from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.cost_model.lanes import Interval


class Value:
    """An array.

    Attributes:
        nbytes: its size.
        first, last: when its first tile, and all of it, can be used by an engine.
        in_sbuf: whether it is on chip.
        in_hbm_at: when it is in the HBM, or None if it is not.
        is_source: whether it is a parameter or constant as it came.
    """

    __slots__ = ("first", "in_hbm_at", "in_sbuf", "is_source", "last", "nbytes")

    def __init__(
        self,
        nbytes: int,
        ready: Interval,
        *,
        in_sbuf: bool = True,
        in_hbm_at: float | None = None,
        is_source: bool = False,
    ) -> None:
        self.nbytes = nbytes
        self.first, self.last = ready
        self.in_sbuf = in_sbuf
        self.in_hbm_at = in_hbm_at
        self.is_source = is_source

    def resized(self, nbytes: int) -> Value:
        """Part of it."""
        return Value(
            nbytes,
            (self.first, self.last),
            in_sbuf=self.in_sbuf,
            in_hbm_at=self.in_hbm_at,
            is_source=self.is_source,
        )


#: The value of an instruction; of one with a tuple result, its elements'.
Values = Value | list[Value]


def nbytes_of(inst: HLOInstruction) -> int:
    """The size of an array result; 0 for a tuple."""
    return 0 if inst.dtype is None else inst.nbytes


def initial(inst: HLOInstruction, at: float, budget: int) -> Values:
    """What a computation's parameter is when it is called at time `at`.

    Up to `budget` bytes are on chip, more are in the HBM.
    """
    if inst.tuple_shapes is None:
        return _initial(nbytes_of(inst), at, budget)
    sizes = [s.nbytes for s in inst.tuple_shapes]
    return [_initial(size, at, budget) for size in sizes]


def _initial(nbytes: int, at: float, budget: int) -> Value:
    if nbytes <= budget:
        return Value(nbytes, (at, at))
    return Value(nbytes, (at, at), in_sbuf=False, in_hbm_at=at)
