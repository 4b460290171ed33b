"""Calls that type checkers must refuse, each where it says so."""

import numpy as np
from kernels import Layer, both, on_core_1, on_device, scaled

from nkipy.core.tensor_apis import conv2d, softmax, topk
from nkipy.distributed.collectives import all_gather
from nkipy.runtime import DeviceTensor, baremetal_jit, simulate_jit

x = np.ones((2, 3), np.float32)
tensor = DeviceTensor.from_numpy(x)
layer = Layer(x)

scaled(1, 2, nope=4)  # refused
scaled(x)  # refused
scaled(x, "two")  # refused
scaled(x, 2.0, 1.0)  # refused
both(x).sort()  # refused
first, second, third = both(x, x)  # refused
layer.forward(x, nope=4)  # refused
layer.forward(layer, x)  # refused
layer.on_device(x, 2)  # refused
on_device(1, 2, nope=4)  # refused
on_device(x, 2.0, 3.0)  # refused
on_core_1(y=x)  # refused
simulate_jit(options=1)  # refused
baremetal_jit(core="0")  # refused
tensor.shape.sum()  # refused
print(tensor.dtype.nope)  # refused
tensor.shape = (1,)  # refused
DeviceTensor.zeros("x", np.float32, nope=1)  # refused
softmax(x, axes=-1)  # refused
softmax(x, axis="last")  # refused
topk(x)  # refused
topk(x, 2, 0, True, 1)  # refused
conv2d(x, x, strides=2)  # refused
all_gather(x, 0)  # refused
all_gather(x, 0, replica_groups=2)  # refused
