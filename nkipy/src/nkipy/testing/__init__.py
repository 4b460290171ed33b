"""Tests of kernels and of ops: NumPy, simulation and device compared.

Needs no pytest; :mod:`nkipy.testing.pytest_plugin` is for those who use it.
"""

from __future__ import annotations

from nkipy.testing.comparison import compare
from nkipy.testing.cores import core_released, machine_cores, run_python
from nkipy.testing.kernels import MODES, check_kernel, run_resident, run_simulated
from nkipy.testing.low_precision import following_table
from nkipy.testing.ops import check_error, check_op
from nkipy.testing.tolerances import RTOL, Tolerance
from nkipy.testing.values import special_values, subnormals

__all__ = [
    "MODES",
    "RTOL",
    "Tolerance",
    "check_error",
    "check_kernel",
    "check_op",
    "compare",
    "core_released",
    "following_table",
    "machine_cores",
    "run_python",
    "run_resident",
    "run_simulated",
    "special_values",
    "subnormals",
]
