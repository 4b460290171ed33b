"""A NumPy function, called, then simulated: the numbers are the same.

    python examples/playground/simple_nkipy_kernel.py [--mode numpy|simulate]

Without --mode it runs both ways, compares, and shows the HLO that computed the result.
"""

from __future__ import annotations

import argparse

import numpy as np

from nkipy.runtime import simulate_jit


def scaled_add(x, y, scale):
    """(x + y) * scale, and the largest element of each row."""
    z = (x + y) * scale
    return z, np.max(z, axis=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=("numpy", "simulate"))
    mode = parser.parse_args().mode

    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 8)).astype(np.float32)
    y = rng.standard_normal((4, 8)).astype(np.float32)
    simulated = simulate_jit(scaled_add)
    kernels = {"numpy": scaled_add, "simulate": simulated}
    results = {m: kernels[m](x, y, 0.5) for m in ([mode] if mode else kernels)}

    for name, (_, largest) in results.items():
        print(f"{name:>9}: largest of each row {largest}")
    if mode is None:
        for ours, numpys in zip(results["simulate"], results["numpy"]):
            np.testing.assert_allclose(ours, numpys, rtol=1e-6)
            assert ours.dtype == numpys.dtype and ours.shape == numpys.shape
        print("\nThe same numbers. What the simulation executed:\n")
        print(simulated.hlo(x, y, 0.5))


if __name__ == "__main__":
    main()
