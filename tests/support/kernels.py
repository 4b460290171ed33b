"""What most tests of kernels compare: NumPy and simulation.

A device computes what simulation computes: that is tested op by op.
"""

from __future__ import annotations

from functools import partial

from nkipy import testing

check_kernel = partial(testing.check_kernel, modes="simulate")
