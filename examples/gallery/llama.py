"""
A decoder layer with a cache
============================

One layer of a Llama-style decoder: rotary embedding, grouped-query attention, RMS norm,
and a cache of keys and values that each step writes into. The position is a traced
scalar, so that one program serves all steps. ``python -m examples.llama`` runs it on a
NeuronCore, too.

.. literalinclude:: /../examples/llama/decoder.py
   :pyobject: decoder_layer
   :lines: 1, 16-
"""

import matplotlib.pyplot as plt
import numpy as np

from examples.llama.__main__ import generate
from examples.llama.decoder import Config, decoder_layer
from nkipy.runtime import simulate_jit

# %%
# Sixteen steps by NumPy and simulated, each fed with what the one before it gave.

config, steps = Config(), 16
layer = simulate_jit(decoder_layer)
expected, _ = generate(decoder_layer, config, steps)
states, cache = generate(layer, config, steps)
np.testing.assert_allclose(states, expected, rtol=1e-3, atol=1e-4)
print("programs:", layer.cache_size())

# %%
# How far the simulated states are from NumPy's. The difference does not grow out of
# bounds, though each step builds on the last.

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
difference = np.max(np.abs(states - expected), axis=(1, 2))
axes.semilogy(np.maximum(difference, 1e-9), "o-")
axes.set(xlabel="step", ylabel="largest difference", title="Hidden states, float32")

# %%
# The keys in the cache, of the first sequence and head: a column for each position.
# What has not been reached is zero.

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
image = axes.imshow(cache.k[0, :, 0].T, cmap="RdBu", aspect="auto", vmin=-3, vmax=3)
axes.set(xlabel="position", ylabel="element of the key", title="Keys after 16 steps")
figure.colorbar(image)
