"""
Softmax in three precisions
===========================

One function in float32, float16 and bfloat16, and how far each is from float64. It is
``examples/playground/softmax.py``, which runs it on a NeuronCore, too.

.. literalinclude:: /../examples/playground/softmax.py
   :pyobject: softmax
"""

import matplotlib.pyplot as plt
import ml_dtypes
import numpy as np

import nkipy
from examples import timeline
from examples.playground.softmax import softmax
from nkipy.runtime import simulate_jit
from nkipy_emulator.cost_model import estimate

# %%
# A row of values in order, so that its softmax rises from nearly zero. The exact result
# is that of float64.

x = np.linspace(-6, 6, 128, dtype=np.float32)[None]
exact = softmax(x.astype(np.float64))

# %%
# The dtype of the argument is the dtype of the program; nothing else changes.

simulated = simulate_jit(softmax)
errors = {}
for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
    result = simulated(x.astype(dtype))
    assert result.dtype == dtype
    name = np.dtype(dtype).name
    errors[name] = np.abs(result.astype(np.float64) - exact)[0] / np.max(exact)
    assert np.max(errors[name]) < 4 * float(ml_dtypes.finfo(dtype).eps)
    print(f"{name:>8}: largest error {np.max(errors[name]):.1e}")

# %%
# The error, relative to the largest result. Each dtype stays within a few units of its
# last place.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for name, error in errors.items():
    axes.plot(x[0], np.maximum(error, 1e-12), label=name)
axes.set(xlabel="x", ylabel="error / largest result", yscale="log")
axes.set_title("Softmax, simulated, against float64")
axes.legend()

# %%
# Where the time of a larger one would go, by the :doc:`cost model </cost_model>`.

larger = simulated.lower(nkipy.ShapeDtype((128, 512), "float32"))
timeline.draw(estimate(larger, "trn2"), "Softmax of 128 × 512 in float32")
