"""
Training on handwritten digits
==============================

A perceptron of two layers, its gradients and its training step, all in plain NumPy. The
step changes the weights in place. ``python -m examples.digits`` trains it by NumPy, in
simulation and on a NeuronCore, and compares all steps.

.. literalinclude:: /../examples/digits/model.py
   :pyobject: train_step
   :lines: 1, 13-
"""

import matplotlib.pyplot as plt
import numpy as np

from examples.digits import model, train
from nkipy.runtime import simulate_jit

# %%
# The same batches in the same order, by NumPy and simulated.

data = train.load()
losses, weights = {}, {}
for name, step in (("NumPy", model.train_step), ("simulated", None)):
    weights[name] = model.init()
    step = step or simulate_jit(model.train_step)
    losses[name] = train.train(name, step, weights[name], data, epochs=10)

score = train.accuracy(simulate_jit(model.logits), weights["simulated"], data)
print(f"loss {losses['simulated'][-1]:.3f}, {score:.1%} of the test images are right")
assert score > 0.9

# %%
# The two curves coincide, so what lies between them has an axis of its own.

difference = np.abs(losses["NumPy"] - losses["simulated"])
assert np.max(difference) < 1e-3
figure, (above, below) = plt.subplots(
    2, 1, sharex=True, figsize=(7, 5), height_ratios=(2, 1), layout="constrained"
)
above.plot(losses["NumPy"], linewidth=5, alpha=0.3, label="NumPy")
above.plot(losses["simulated"], linewidth=1, label="simulated")
above.set(ylabel="cross-entropy", yscale="log", title="The loss of each step")
above.legend()
below.plot(np.maximum(difference, 1e-9), color="C2", linewidth=1)
below.set(xlabel="step", ylabel="difference", yscale="log")

# %%
# Some of the images that it had not seen, and what it takes them for.

predicted = np.argmax(model.logits(weights["simulated"], data.x_test[:16]), axis=1)
figure, cells = plt.subplots(2, 8, figsize=(7, 2.4), layout="constrained")
for cell, image, digit in zip(cells.flat, data.x_test, predicted):
    cell.imshow(image.reshape(8, 8), cmap="gray_r")
    cell.set_title(str(digit))
    cell.axis("off")
