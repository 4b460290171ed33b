"""Softmax in plain NumPy, simulated exactly and as the matrix engine would round.

python examples/playground/softmax.py [--mode numpy|simulate]
"""

from __future__ import annotations

import argparse

import ml_dtypes
import numpy as np

from nkipy.runtime import simulate_jit


def softmax(x, axis=-1):
    """Softmax of `x` over `axis`, in the dtype of `x`."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=("numpy", "simulate"), default="simulate")
    mode = parser.parse_args().mode

    kernel = simulate_jit(softmax) if mode == "simulate" else softmax
    x = np.random.default_rng(0).standard_normal((2, 128)).astype(np.float32)
    exact = softmax(x.astype(np.float64))
    print(f"mode {mode}")
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        result = kernel(x.astype(dtype))
        assert result.dtype == dtype
        error = np.max(np.abs(result.astype(np.float64) - exact)) / np.max(exact)
        print(
            f"{np.dtype(dtype).name:>9}: largest error {error:.1e} of the largest value"
        )
        assert error < 4 * float(ml_dtypes.finfo(dtype).eps)


if __name__ == "__main__":
    main()
