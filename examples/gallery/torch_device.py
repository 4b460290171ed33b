"""
First steps with the torch device
=================================

Tensors of torch's in a core's memory: where they lie, what they take, who computes, and
a NumPy kernel on them. ``examples/playground/torch_device.py`` does as much in a
terminal; :doc:`The torch device </torch/index>` tells the rest.
"""

import matplotlib.pyplot as plt
import torch

import spike_torch
from examples.playground.torch_device import by_kernel

# %%
# Each core that this process may use is a device. The first question, or the first
# tensor, opens the runtime.

print(torch.nkipy.device_count(), torch.nkipy.get_device_properties())

# %%
# A tensor is made there, or moved. Views share its memory, whatever their strides; what
# is printed is fetched.

x = torch.arange(6, device="nkipy").reshape(2, 3)
print(x.t())
print(x.t().contiguous().cpu().float())

# %%
# The numbers of a seed are those that the CPU draws.

torch.manual_seed(0)
drawn = torch.randn(64, 64, device="nkipy")
torch.manual_seed(0)
assert torch.equal(drawn.cpu(), torch.randn(64, 64))

# %%
# An operation is computed by the CPU the first time, on the emulated device where the
# tensors lie. When the same call comes again, it is compiled, and a program of the
# core's computes it. Both are counted.

spike_torch.reset_fallback_counts()
spike_torch.reset_program_counts()
for _ in range(3):
    product = drawn.t() @ drawn
    expected = torch.softmax(product, dim=-1)
print("the CPU:", spike_torch.fallback_counts())
print("programs:", spike_torch.program_counts())

# %%
# A kernel of NumPy's functions runs on the core, on the same memory: nothing is copied,
# and nothing falls back.

spike_torch.reset_fallback_counts()
found = by_kernel(product)
torch.testing.assert_close(found.cpu(), expected.cpu())
print(spike_torch.fallback_counts())

# %%
# Memory comes from a pool, which keeps what tensors give back until it is emptied.

taken, reserved, kept = [], [], []
for step in range(24):
    if step < 12:
        kept.append(torch.empty(1 << 20, device="nkipy"))
    elif step < 20:
        kept.pop()
    else:
        torch.nkipy.empty_cache()
    taken.append(torch.nkipy.memory_allocated() / 2**20)
    reserved.append(torch.nkipy.memory_reserved() / 2**20)

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.step(range(24), reserved, where="post", label="reserved by the pool")
axes.step(range(24), taken, where="post", label="taken by tensors")
axes.set(
    xlabel="step", ylabel="MiB", title="12 tensors, then fewer, then empty_cache()"
)
axes.legend()
print(torch.nkipy.memory_summary())
