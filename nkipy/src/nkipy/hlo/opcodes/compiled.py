"""What the vendor's compiler makes of an instruction, as far as its opcode tells."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple


class Cast(Enum):
    """Which values ``--auto-cast`` has rounded to a narrower type."""

    NOTHING = auto()  # it computes no number, or picks among such as were rounded
    OPERANDS = auto()  # a product, accumulated in float32: with "matmult" already
    RESULT = auto()  # elementwise arithmetic: with "all"


class Compiled(NamedTuple):
    """What a compiler for Trainium does with an opcode.

    Attributes:
        cast: what ``--auto-cast`` rounds.
        refusals: the documented codes of errors that are about this opcode. Whether an
            instruction deserves one, a check of that code says.
    """

    cast: Cast
    refusals: tuple[str, ...] = ()


#: The code of an opcode that the compiler does not have at all.
UNSUPPORTED = "NCC_EVRF001"
AS_IT_IS = Compiled(Cast.NOTHING)
ROUNDED = Compiled(Cast.RESULT)


def refused(*codes: str, cast: Cast = Cast.NOTHING) -> Compiled:
    """That of an opcode some of whose instructions are refused with these codes."""
    return Compiled(cast, codes)
