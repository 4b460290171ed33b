"""Tests of kernels and of ops: NumPy, simulation and device compared.

Needs no pytest; :mod:`nkipy.testing.pytest_plugin` is for those who use it. What this
exports is imported on first use, since pytest loads the plugin into every session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nkipy.lazy import lazy_names

if TYPE_CHECKING:
    from nkipy.testing.comparison import compare
    from nkipy.testing.cores import core_released, machine_cores, run_python
    from nkipy.testing.kernels import (
        MODES,
        check_kernel,
        run_resident,
        run_simulated,
    )
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

_LAZY = {
    "MODES": "nkipy.testing.kernels",
    "RTOL": "nkipy.testing.tolerances",
    "Tolerance": "nkipy.testing.tolerances",
    "check_error": "nkipy.testing.ops",
    "check_kernel": "nkipy.testing.kernels",
    "check_op": "nkipy.testing.ops",
    "compare": "nkipy.testing.comparison",
    "core_released": "nkipy.testing.cores",
    "following_table": "nkipy.testing.low_precision",
    "machine_cores": "nkipy.testing.cores",
    "run_python": "nkipy.testing.cores",
    "run_resident": "nkipy.testing.kernels",
    "run_simulated": "nkipy.testing.kernels",
    "special_values": "nkipy.testing.values",
    "subnormals": "nkipy.testing.values",
}
__getattr__, __dir__ = lazy_names(__name__, globals(), _LAZY)
