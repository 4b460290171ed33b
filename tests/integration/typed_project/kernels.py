"""A user's kernels, and calls of them that type checkers must take."""

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import spike
from nkipy import ShapeDtype
from nkipy.core import ops
from nkipy.core.ops import nn
from nkipy.core.tensor_apis import constant, conv2d, rms_norm, softmax, topk, zeros
from nkipy.core.trace import NKIPyKernel
from nkipy.distributed.collectives import all_reduce, rank
from nkipy.hlo.ir import HLOModule
from nkipy.runtime import (
    BaremetalExecutor,
    BaremetalKernel,
    CompiledKernel,
    DeviceKernel,
    DeviceTensor,
    PerRank,
    SimulatedKernel,
    SimulationOptions,
    baremetal_jit,
    compile_to_neff,
    simulate_jit,
)

Array = npt.NDArray[np.float32]


@simulate_jit
def scaled(x: Array, factor: float, *, shift: float = 0.0) -> Array:
    return x * np.float32(factor) + np.float32(shift)


@simulate_jit(options=SimulationOptions())
def both(x: Array, y: Array) -> tuple[Array, Array]:
    return x + y, x - y


@simulate_jit(world_size=2)
def mean(x: Array) -> npt.NDArray[Any]:
    return all_reduce(x, replica_groups=[[0, 1]], reduce_op=np.maximum)


@baremetal_jit
def on_device(x: Array, factor: float) -> Array:
    return x * np.float32(factor)


@baremetal_jit(core_id=1, artifacts_dir="artifacts")
def on_core_1(x: Array) -> Array:
    return x


class Layer:
    def __init__(self, weight: Array) -> None:
        self.weight = weight

    @simulate_jit
    def forward(self, x: Array, scale: float = 1.0) -> Array:
        return x @ self.weight * np.float32(scale)

    @baremetal_jit
    def on_device(self, x: Array) -> Array:
        return x @ self.weight


@simulate_jit
def attention(scores: Array, values: Array, image: Array) -> Array:
    weights = softmax(scores, axis=-1)
    assert_type(weights, npt.NDArray[Any])
    best, indices = topk(rms_norm(scores, eps=1e-5), k=2, axis=-1)
    assert_type(indices, npt.NDArray[Any])
    filtered = conv2d(image, np.ones((1, 1, 3, 3)), padding="same", stride=(1, 2))
    ours = nn.silu(ops.matmul(weights, values)) + constant([1.0]) + zeros((2, 2))
    total: Array = np.sum(ours) + np.sum(best) + np.sum(filtered) + rank()
    return total


def plain(x: Array, factor: float = 2.0) -> Array:
    return x * np.float32(factor)


def use(x: Array, layer: Layer) -> None:
    assert_type(scaled(x, 2.0, shift=1.0), Array)
    assert_type(scaled.lower(x, 2.0), HLOModule)
    scaled.hlo(ShapeDtype((2, 3), np.float32), factor=2.0).splitlines()
    first, second = both(x, y=x)
    assert_type(first, Array)
    assert_type(second, Array)
    assert_type(mean(PerRank([x, x])), list[npt.NDArray[Any]])
    assert_type(layer.forward(x, scale=2.0), Array)
    assert_type(layer.on_device(x), Array)
    assert_type(Layer.forward(layer, x), Array)
    layer.forward.hlo(x)
    assert_type(on_device(x, factor=2.0), Array)
    assert_type(on_core_1(x), Array)
    simulated = simulate_jit(plain)
    assert_type(simulated(x), Array)
    kinds: list[SimulatedKernel[..., Any] | BaremetalKernel[..., Any]]
    kinds = [simulated, baremetal_jit(plain), on_device]
    assert kinds


def tensors(x: Array) -> None:
    tensor = DeviceTensor.from_numpy(x, name="x")
    assert_type(tensor, DeviceTensor)
    assert_type(tensor.shape, tuple[int, ...])
    assert_type(tensor.dtype, np.dtype[Any])
    assert_type(tensor.numpy(), npt.NDArray[Any])
    assert_type(on_device(tensor, 2.0), Array)
    inputs = {"x": tensor}
    kernel = DeviceKernel.compile_and_load(plain, x=tensor, name="plain")
    made = kernel(inputs)
    assert_type(made, dict[str, DeviceTensor])
    kernel(inputs, outputs={"output0": DeviceTensor.zeros((2, 3))})
    assert_type(kernel.benchmark(inputs).mean_ms, float)
    outputs = kernel.allocate_output_tensors()
    assert_type(outputs[0].shape, tuple[int, ...])
    with spike.SpikeTensor.zeros((2, 3), "float32") as other:
        assert_type(other.shape, tuple[int, ...])
        kernel({"x": other})


def by_hand(x: Array) -> None:
    kernel = NKIPyKernel.trace(plain)
    kernel.specialize(x)
    with BaremetalExecutor() as executor:
        compiled = CompiledKernel(kernel, compile_to_neff(kernel, "build"))
        assert_type(executor.benchmark(compiled, x).iterations, int)
