"""A NumPy function, called, simulated, run on a NeuronCore: the same numbers.

    python examples/playground/simple_nkipy_kernel.py [--mode numpy|simulate|baremetal]

Without --mode it runs all three ways, compares, and shows the HLO that computed the
results.
"""

from __future__ import annotations

import argparse

import numpy as np

from nkipy.command_line import run_command
from nkipy.runtime import baremetal_jit, simulate_jit


def scaled_add(x, y, scale):
    """(x + y) * scale, and the largest element of each row."""
    z = (x + y) * scale
    return z, np.max(z, axis=-1)


KERNELS = {
    "numpy": scaled_add,
    "simulate": simulate_jit(scaled_add),
    "baremetal": baremetal_jit(scaled_add),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=KERNELS)
    mode = parser.parse_args().mode

    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 8)).astype(np.float32)
    y = rng.standard_normal((4, 8)).astype(np.float32)
    results = {m: KERNELS[m](x, y, 0.5) for m in ([mode] if mode else KERNELS)}

    for name, (_, largest) in results.items():
        print(f"{name:>9}: largest of each row {largest}")
    if mode is None:
        for name in ("simulate", "baremetal"):
            for ours, numpys in zip(results[name], results["numpy"]):
                np.testing.assert_allclose(ours, numpys, rtol=1e-6)
                assert ours.dtype == numpys.dtype and ours.shape == numpys.shape
        print("\nThe same numbers. What was executed:\n")
        print(KERNELS["simulate"].hlo(x, y, 0.5))


if __name__ == "__main__":
    raise SystemExit(run_command(main, "simple_nkipy_kernel"))
