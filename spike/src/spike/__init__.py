"""Python runtime layer over libnrt, the AWS Neuron runtime library.

Tensors and models on NeuronCores: :class:`SpikeTensor`, :class:`SpikeModel`. The
runtime opens at their first use; :func:`configure` chooses cores before, :func:`reset`
closes it.
Which libnrt is used, and why, is what ``python -m spike`` says.

Importing this loads neither libnrt nor the C++ extension: what is exported comes with
its first use. reading NEFFs, with :mod:`neff`, never needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neff.status import NrtStatus as NrtStatus
    from spike._spike import AsyncExecution as AsyncExecution
    from spike._spike import ModelTensorInfo as ModelTensorInfo
    from spike._spike import NrtError as NrtError
    from spike._spike import NrtModel as NrtModel
    from spike._spike import NrtTensor as NrtTensor
    from spike._spike import SpikeError as SpikeError
    from spike._spike import SystemTraceSession as SystemTraceSession
    from spike._spike import TensorMetadata as TensorMetadata
    from spike.benchmark import BenchmarkResult as BenchmarkResult
    from spike.c_interface import get_include as get_include
    from spike.device_array import SpikeArray as SpikeArray
    from spike.device_array import spike_array as spike_array
    from spike.profiler import SpikeProfiler as SpikeProfiler
    from spike.spike_model import SpikeModel as SpikeModel
    from spike.spike_singleton import configure as configure
    from spike.spike_singleton import get_spike_singleton as get_spike_singleton
    from spike.spike_singleton import reset as reset
    from spike.spike_tensor import SpikeTensor as SpikeTensor

    __version__: str

_EXPORTS = {
    "neff.status": "NrtStatus",
    "spike._spike": "AsyncExecution ModelTensorInfo NrtError NrtModel NrtTensor "
    "SpikeError SystemTraceSession TensorMetadata __version__",
    "spike.benchmark": "BenchmarkResult",
    "spike.c_interface": "get_include",
    "spike.device_array": "SpikeArray spike_array",
    "spike.profiler": "SpikeProfiler",
    "spike.spike_model": "SpikeModel",
    "spike.spike_singleton": "configure get_spike_singleton reset",
    "spike.spike_tensor": "SpikeTensor",
}
_MODULES = {name: module for module in _EXPORTS for name in _EXPORTS[module].split()}
__nkipy_internal__ = True  # see nkipy.core.roles

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_MODULES[name])
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
