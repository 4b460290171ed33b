"""The part of a kernel's program that a device executes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from nkipy.hlo.ir import HLOModule
from nkipy.hlo.rewrites.empty_arrays import without_empty_arrays


@dataclass(frozen=True)
class DeviceModule:
    """A module all of whose parameters and results have elements.

    Attributes:
        module: the module; None if nothing is left for the device to compute.
        inputs: for each of its parameters, the number of the kernel's parameter.
        outputs: for each of its results, the number of the kernel's result.
    """

    module: HLOModule | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def device_module(module: HLOModule) -> DeviceModule:
    """What is left of `module`, which is not changed, without empty arrays at its edge.

    Side effects of a program without results are not kept: it has no observer.
    """
    if not any(prod(result.shape) for result in module.results):
        return DeviceModule(None, (), ())
    left = without_empty_arrays(module)
    return DeviceModule(left.module, left.inputs, left.outputs)
