"""
Training torch networks on handwritten digits
=============================================

A convolutional network and a transformer, trained by torch's own loop with model, data
and optimizer on the device "nkipy". ``python -m examples.torch_digits`` trains them for
longer, with a progress bar.

.. literalinclude:: /../examples/torch_digits/models.py
   :pyobject: Transformer
"""

import tempfile
from pathlib import Path

import torch

from examples.torch_digits import train

# %%
# The data move to each device once. With the same seed both devices draw the same
# numbers: for the weights, the batches and the dropout.

torch.set_num_threads(1)  # of which networks as small as these have most
data = {device: train.load(device) for device in ("cpu", "nkipy")}
curves, models = {}, {}
for name, steps in (("convolutional", 60), ("transformer", 60)):
    curves[name] = {}
    for device, digits in data.items():
        trained = train.train(name, digits, steps)
        curves[name][device] = trained.losses
    models[name] = trained.model
    difference = abs(curves[name]["cpu"] - curves[name]["nkipy"]).max()
    print(f"{name}: largest difference of the loss: {difference:.1e}")

# %%
# The curves coincide.

figure = train.draw(curves)

# %%
# What share of the images that it had not seen the convolutional network gets right,
# after so few steps.

print(f"{train.accuracy(models['convolutional'], data['nkipy']):.1%}")

# %%
# Weights are saved from the device, and loaded on the CPU or the device.

images = data["nkipy"].x_test
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "weights.pt")
    torch.save({name: model.state_dict() for name, model in models.items()}, file)
    for name, model in models.items():
        wanted = train.predictions(model, images)
        for device in data:
            loaded = train.restored(name, file, device)
            found = train.predictions(loaded, data[device].x_test)
            torch.testing.assert_close(found, wanted)
            print(f"{name} on {device}: the same predictions")
