"""What is known of each HLO opcode: one record for each, in files by subject.

``OPCODES["slice"]`` says how many operands a slice has, which attributes, how these are
written in a proto and in text, what the result has to be and what decides its cost.
Adding an opcode is adding a record: see the developer's guide.
"""

from __future__ import annotations

from nkipy.hlo.opcodes import (  # noqa: F401  (they fill the table)
    calls,
    collectives,
    contraction,
    indexing,
    movement,
    windows,
)
from nkipy.hlo.opcodes.attribute import Attribute, Kind, Wire, optional
from nkipy.hlo.opcodes.compiled import Cast, Compiled
from nkipy.hlo.opcodes.cost import CostClass, CostKind
from nkipy.hlo.opcodes.elementwise import BINARY, DIRECTIONS, UNARY
from nkipy.hlo.opcodes.record import OPCODES, Keeps, OnCpu, Opcode, define
from nkipy.hlo.opcodes.windows import WindowDim

__all__ = [
    "BINARY",
    "DIRECTIONS",
    "OPCODES",
    "UNARY",
    "Attribute",
    "Cast",
    "Compiled",
    "CostClass",
    "CostKind",
    "Keeps",
    "OnCpu",
    "Kind",
    "Opcode",
    "WindowDim",
    "Wire",
    "define",
    "optional",
]
