"""``nki.isa``: the instructions, each a record in a chapter of this package."""

from __future__ import annotations

from nkipy_nki.errors import NkiValidationError as NkiValidationError
from nkipy_nki.exports import public_names as _public_names
from nkipy_nki.isa import clearing as _clearing
from nkipy_nki.isa import constants as constants
from nkipy_nki.isa import indexed as _indexed
from nkipy_nki.isa.activation import *
from nkipy_nki.isa.affine import *
from nkipy_nki.isa.arithmetic import *
from nkipy_nki.isa.broadcasts import *
from nkipy_nki.isa.choices import *
from nkipy_nki.isa.cores import *
from nkipy_nki.isa.dma import *
from nkipy_nki.isa.exponentials import *
from nkipy_nki.isa.gather import *
from nkipy_nki.isa.largest import *
from nkipy_nki.isa.matmul import *
from nkipy_nki.isa.microscaling import *
from nkipy_nki.isa.movement import *
from nkipy_nki.isa.names import *
from nkipy_nki.isa.nonzero import *
from nkipy_nki.isa.random import *
from nkipy_nki.isa.reduction import *
from nkipy_nki.isa.registers import *
from nkipy_nki.isa.scalars import *
from nkipy_nki.isa.scans import *
from nkipy_nki.isa.search import *
from nkipy_nki.isa.segments import *
from nkipy_nki.isa.statistics import *
from nkipy_nki.modes import dependency as dependency
from nkipy_nki.ordering import NkiInstruction as NkiInstruction
from nkipy_nki.registers import NkiScalar as NkiScalar
from nkipy_nki.registers import VirtualRegister as VirtualRegister

__all__ = _public_names(globals())
_ = _clearing, _indexed
