"""Where kernels run: simulated on the CPU, or on a NeuronCore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nkipy.lazy import lazy_names

if TYPE_CHECKING:
    from nkipy.compiler.artifacts import ArtifactError, cache_directory
    from nkipy.core.compile import compile_to_neff, lower_to_nki
    from nkipy.execution.engines import SimulatorNotFoundError
    from nkipy.hlo.options import SimulationOptions
    from nkipy.runtime.baremetal import BaremetalKernel
    from nkipy.runtime.baremetal_executor import BaremetalExecutor, CompiledKernel
    from nkipy.runtime.decorators import baremetal_jit, simulate_jit
    from nkipy.runtime.device_kernel import DeviceKernel
    from nkipy.runtime.device_tensor import DeviceTensor
    from nkipy.runtime.devices import (
        is_neuron_compatible,
        max_loaded_kernels,
        set_max_loaded_kernels,
        unload_kernels,
    )
    from nkipy.runtime.execute import (
        baremetal_run_traced_kernel,
        simulate_traced_kernel,
    )
    from nkipy.runtime.simulate import PerRank, SimulatedKernel

__all__ = [
    "ArtifactError",
    "BaremetalExecutor",
    "BaremetalKernel",
    "CompiledKernel",
    "DeviceKernel",
    "DeviceTensor",
    "PerRank",
    "SimulatedKernel",
    "SimulationOptions",
    "SimulatorNotFoundError",
    "baremetal_jit",
    "baremetal_run_traced_kernel",
    "cache_directory",
    "compile_to_neff",
    "is_neuron_compatible",
    "lower_to_nki",
    "max_loaded_kernels",
    "set_max_loaded_kernels",
    "simulate_jit",
    "simulate_traced_kernel",
    "unload_kernels",
]

#: Imported on first use: the simulator needs neither spike nor a compiler.
_LAZY = {
    "ArtifactError": "nkipy.compiler.artifacts",
    "BaremetalExecutor": "nkipy.runtime.baremetal_executor",
    "BaremetalKernel": "nkipy.runtime.baremetal",
    "CompiledKernel": "nkipy.runtime.baremetal_executor",
    "DeviceKernel": "nkipy.runtime.device_kernel",
    "DeviceTensor": "nkipy.runtime.device_tensor",
    "PerRank": "nkipy.runtime.simulate",
    "SimulatedKernel": "nkipy.runtime.simulate",
    "SimulationOptions": "nkipy.hlo.options",
    "SimulatorNotFoundError": "nkipy.execution.engines",
    "baremetal_jit": "nkipy.runtime.decorators",
    "baremetal_run_traced_kernel": "nkipy.runtime.execute",
    "cache_directory": "nkipy.compiler.artifacts",
    "compile_to_neff": "nkipy.core.compile",
    "is_neuron_compatible": "nkipy.runtime.devices",
    "lower_to_nki": "nkipy.core.compile",
    "max_loaded_kernels": "nkipy.runtime.devices",
    "set_max_loaded_kernels": "nkipy.runtime.devices",
    "simulate_jit": "nkipy.runtime.decorators",
    "simulate_traced_kernel": "nkipy.runtime.execute",
    "unload_kernels": "nkipy.runtime.devices",
}


__getattr__, __dir__ = lazy_names(__name__, globals(), _LAZY)
