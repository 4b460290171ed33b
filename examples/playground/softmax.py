"""Softmax in plain NumPy, simulated, and on a NeuronCore, in three precisions.

python examples/playground/softmax.py [--mode numpy|simulate|baremetal]
"""

from __future__ import annotations

import argparse

import ml_dtypes
import numpy as np

from nkipy.command_line import run_command
from nkipy.runtime import baremetal_jit, simulate_jit


def softmax(x, axis=-1):
    """Softmax of `x` over `axis`, in the dtype of `x`."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


KERNELS = {
    "numpy": softmax,
    "simulate": simulate_jit(softmax),
    "baremetal": baremetal_jit(softmax),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=KERNELS)
    mode = parser.parse_args().mode

    x = np.random.default_rng(0).standard_normal((2, 128)).astype(np.float32)
    exact = softmax(x.astype(np.float64))
    print("largest error, relative to the largest value")
    for name in [mode] if mode else KERNELS:
        errors = []
        for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
            result = KERNELS[name](x.astype(dtype))
            assert result.dtype == dtype
            error = np.max(np.abs(result.astype(np.float64) - exact)) / np.max(exact)
            assert error < 4 * float(ml_dtypes.finfo(dtype).eps)
            errors.append(f"{np.dtype(dtype).name} {error:.1e}")
        print(f"{name:>9}: {', '.join(errors)}")


if __name__ == "__main__":
    raise SystemExit(run_command(main, "softmax"))
