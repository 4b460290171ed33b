"""Python runtime layer over libnrt, the AWS Neuron runtime library.

Tensors and models on NeuronCores: :class:`SpikeTensor`, :class:`SpikeModel`. The
runtime opens at their first use; :func:`configure` chooses cores before, :func:`reset`
closes it.
Which libnrt is used, and why, is what ``python -m spike`` says.

Importing this loads neither libnrt nor the C++ extension: what is exported comes with
its first use. :mod:`spike.neff` never needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spike._spike import (
        AsyncExecution,
        ModelTensorInfo,
        NrtError,
        NrtModel,
        NrtTensor,
        SpikeError,
        SystemTraceSession,
        TensorMetadata,
    )
    from spike.benchmark import BenchmarkResult
    from spike.profiler import SpikeProfiler
    from spike.spike_model import SpikeModel
    from spike.spike_singleton import configure, get_spike_singleton, reset
    from spike.spike_tensor import SpikeTensor

    __version__: str

__all__ = [
    "AsyncExecution",
    "BenchmarkResult",
    "ModelTensorInfo",
    "NrtError",
    "NrtModel",
    "NrtTensor",
    "SpikeError",
    "SpikeModel",
    "SpikeProfiler",
    "SpikeTensor",
    "SystemTraceSession",
    "TensorMetadata",
    "__version__",
    "configure",
    "get_spike_singleton",
    "reset",
]

# Where what is not of the extension comes from.
_MODULES = {
    "BenchmarkResult": "benchmark",
    "SpikeModel": "spike_model",
    "SpikeProfiler": "profiler",
    "SpikeTensor": "spike_tensor",
    "configure": "spike_singleton",
    "get_spike_singleton": "spike_singleton",
    "reset": "spike_singleton",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, '_spike')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
