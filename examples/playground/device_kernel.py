"""Compile a kernel once, keep its tensors on the device, call it, and time it.

    python examples/playground/device_kernel.py [--size N] [--mode MODE]

Modes are numpy, simulate and baremetal. Without one it also computes under NumPy and
simulated, and compares. Times on the emulated device are estimates of a cost model;
"host" times are this machine's.
"""

from __future__ import annotations

import argparse

import numpy as np

from nkipy.command_line import run_command
from nkipy.runtime import DeviceKernel, DeviceTensor, simulate_jit


def product(a, b):
    """aᵀ b."""
    return a.transpose(1, 0) @ b


def on_device(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product, computed and timed on a NeuronCore."""
    inputs = {
        "a": DeviceTensor.from_numpy(a, name="a"),
        "b": DeviceTensor.from_numpy(b, name="b"),
    }
    output = DeviceTensor.zeros((a.shape[1], b.shape[1]), a.dtype, name="output0")

    # Of the arguments, only shape and dtype matter here.
    kernel = DeviceKernel.compile_and_load(
        product, inputs["a"], inputs["b"], name="product"
    )
    print(f"NEFF: {kernel.neff_path}")
    print(f"inputs: {kernel.input_tensors_info}")
    print(f"outputs: {kernel.output_tensors_info}")

    kernel(inputs=inputs, outputs={"output0": output})
    for mode in ("device", "host"):
        result = kernel.benchmark(
            inputs, {"output0": output}, warmup_iter=3, benchmark_iter=10, mode=mode
        )
        flops = 2 * a.shape[0] * a.shape[1] * b.shape[1]
        print(
            f"{mode:>6}: mean {result.mean_ms:.3f} ms, min {result.min_ms:.3f} ms, "
            f"max {result.max_ms:.3f} ms over {result.iterations} runs, "
            f"{flops / result.mean_ms / 1e9:.3f} TFLOP/s"
            f"{' (an estimate: nothing was measured)' if result.estimated else ''}"
        )
    return output.numpy()


KERNELS = {"numpy": product, "simulate": simulate_jit(product), "baremetal": on_device}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=KERNELS)
    parser.add_argument("--size", type=int, default=512)
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    a, b = (
        rng.standard_normal((args.size, args.size)).astype(np.float16) for _ in range(2)
    )
    results = {m: KERNELS[m](a, b) for m in ([args.mode] if args.mode else KERNELS)}
    for name, result in results.items():
        print(f"{name:>9}: norm {np.linalg.norm(result.astype(np.float32)):.2f}")
    if args.mode is None:
        # NumPy adds up in float16; the device and its simulation in float32.
        exact = product(a.astype(np.float32), b.astype(np.float32))
        for name in ("simulate", "baremetal"):
            np.testing.assert_allclose(results[name], exact, rtol=2e-3, atol=2e-2)
        print("The same numbers.")


if __name__ == "__main__":
    raise SystemExit(run_command(main, "device_kernel"))
