"""
A kernel whose tensors stay on the device
=========================================

A product that is compiled once and called with tensors of the device. The example
itself, ``examples/playground/device_kernel.py``, runs on a NeuronCore, emulated where
there is no other:

.. literalinclude:: /../examples/playground/device_kernel.py
   :pyobject: on_device

This page runs its kernel in simulation, and asks the :doc:`cost model </cost_model>`
how the rate depends on the size.
"""

import matplotlib.pyplot as plt
import numpy as np

import nkipy
from examples import timeline
from examples.playground.device_kernel import product
from nkipy.runtime import simulate_jit
from nkipy_emulator.cost_model import estimate

# %%
# The same numbers as NumPy's, computed in float32: products are added up in float32 on
# the device, where NumPy adds in float16.

rng = np.random.default_rng(0)
a, b = (rng.standard_normal((128, 128)).astype(np.float16) for _ in range(2))
simulated = simulate_jit(product)
exact = product(a.astype(np.float32), b.astype(np.float32))
np.testing.assert_allclose(simulated(a, b), exact, rtol=2e-3, atol=2e-2)

# %%
# For an estimate, shapes and dtypes are enough. These are estimates, not measurements.

sizes = [128, 256, 512, 1024, 2048, 4096]
estimates = {}
for size in sizes:
    operand = nkipy.ShapeDtype((size, size), "float16")
    estimates[size] = estimate(simulated.lower(operand, operand), "trn2")
    rate = estimates[size].flops / estimates[size].total_ns / 1000
    print(f"{size:5}: {estimates[size].total_ns / 1000:8.1f} µs, {rate:6.2f} TFLOP/s")

# %%
# A small product waits for its launch; a large one keeps the matrix engine busy.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
rates = [e.flops / e.total_ns / 1000 for e in estimates.values()]
axes.plot(sizes, rates, "o-")
axes.set(xlabel="rows and columns", ylabel="TFLOP/s, estimated for trn2", xscale="log")
axes.set_xticks(sizes, [str(size) for size in sizes])
axes.minorticks_off()
axes.set_title("aᵀ b in float16")

# %%
# Which engine works when, in the product of 512 rows and columns.

timeline.draw(estimates[512], "aᵀ b of 512 × 512 in float16")
