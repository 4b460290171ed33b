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
from typing import Any

_EXPORTS = {
    "neff.status": "NrtStatus",
    "spike._spike": "AsyncExecution ModelTensorInfo NrtError NrtModel NrtTensor "
    "SpikeError SystemTraceSession TensorMetadata __version__",
    "spike.benchmark": "BenchmarkResult SwitchResult SwitchTimes",
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
    return globals().setdefault(name, getattr(module, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
