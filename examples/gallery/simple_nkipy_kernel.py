"""
A first kernel
==============

A NumPy function of two results, called by NumPy and simulated: the same numbers. It is
``examples/playground/simple_nkipy_kernel.py``, which compares it on a NeuronCore, too.

.. literalinclude:: /../examples/playground/simple_nkipy_kernel.py
   :pyobject: scaled_add
"""

import numpy as np

from examples import timeline
from examples.playground.simple_nkipy_kernel import scaled_add
from nkipy.runtime import simulate_jit
from nkipy_emulator.cost_model import estimate

# %%
# NumPy computes what the kernel must compute.

rng = np.random.default_rng(0)
x = rng.standard_normal((4, 8)).astype(np.float32)
y = rng.standard_normal((4, 8)).astype(np.float32)
expected = scaled_add(x, y, 0.5)

# %%
# Simulated, it is traced to HLO, and XLA executes that. Shapes and dtypes are NumPy's.

simulated = simulate_jit(scaled_add)
for ours, numpys in zip(simulated(x, y, 0.5), expected):
    np.testing.assert_allclose(ours, numpys, rtol=1e-6)
    assert ours.dtype == numpys.dtype and ours.shape == numpys.shape
    print("the same:", ours.dtype, ours.shape)

# %%
# What was executed. The scale is a Python number, so it is a constant of the program.

print(simulated.hlo(x, y, 0.5))

# %%
# Where the time would go, by the :doc:`cost model </cost_model>`. A kernel as small as
# this one waits for its launch and for memory.

timeline.draw(estimate(simulated.lower(x, y, 0.5), "trn2"), "scaled_add of 4 × 8")
