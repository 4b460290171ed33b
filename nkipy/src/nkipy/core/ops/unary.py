"""Element-wise ops of one operand."""

from __future__ import annotations

import numpy as np

from nkipy.core.ops._ufunc import UFuncOp, opcode

exp = UFuncOp(np.exp, opcode("exponential"))
