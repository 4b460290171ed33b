"""For tests of rewrites: what is in a module, and whether it computes the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy.hlo.ir import HLOModule
from nkipy_emulator.engine import XlaCpuEngine


def opcodes(module: HLOModule) -> Counter[str]:
    """How often each is in the entry."""
    return Counter(i.opcode for i in module.entry.instructions)


def gauss_seidel(x: Any, sweeps: int) -> Any:
    """Sweeps over a square, each point of which is stored as it is computed."""
    for _ in range(sweeps):
        for i in range(1, len(x) - 1):
            for j in range(1, len(x) - 1):
                x[i, j] = (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1]) / 5
    return x


def check_values(
    module: HLOModule, kernel: Callable[[Any], Any], x: np.ndarray, rtol: float = 1e-5
) -> None:
    """Whether a module computes of `x` what `kernel` does in NumPy.

    Args:
        module: what a rewrite has made of the traced kernel.
        kernel: may store into its argument.
        x: an argument, which is left as it is.
        rtol: how far off results may be; 0 is to the bit.
    """
    module.verify()
    expected = kernel(x.copy())
    expected = expected if isinstance(expected, tuple) else (expected,)
    results = XlaCpuEngine().compile(module).run_new([x])
    for result, right in zip(results, expected, strict=True):
        if rtol == 0:
            np.testing.assert_array_equal(result, np.asarray(right))
        else:
            np.testing.assert_allclose(result, right, rtol=rtol, atol=rtol / 10)
