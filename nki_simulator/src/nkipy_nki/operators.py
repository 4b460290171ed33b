"""The operations that instructions take: of the ALUs, and activation functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

AluOp: TypeAlias = Callable[[Any, Any], Any]

#: By name.
ALU: dict[str, AluOp] = {"add": np.add}
