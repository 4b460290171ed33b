"""The torch device "nkipy": tensors in the memory of NeuronCores, over spike.

Importing this registers the device and opens the runtime; ``import torch`` alone, which
finds it by its entry point, registers the device and opens nothing before the first
tensor or question. Nor does importing this in a child that multiprocessing has started.
``torch.nkipy`` is the device's module, as ``torch.cuda`` is CUDA's.

Where the device cannot be registered, importing this raises ImportError with the cause.
"""

from __future__ import annotations

from importlib import import_module
from multiprocessing import current_process
from typing import TYPE_CHECKING, Any

import spike
from spike_torch import _registration
from spike_torch_autoload import is_autoloading

_registration.register()

from spike_torch.devices import (  # noqa: E402
    current_device,
    device_count,
    is_available,
    set_device,
)
from spike_torch.execution import (  # noqa: E402
    get_execution,
    program_counts,
    reset_program_counts,
    set_execution,
)
from spike_torch.fallback import (  # noqa: E402
    fallback_counts,
    get_fallback,
    reset_fallback_counts,
    set_fallback,
)
from spike_torch.memory import (  # noqa: E402
    empty_cache,
    get_cached_blocks,
    set_memory_limit,
    trim_cache,
)

if TYPE_CHECKING:
    from spike_torch.runtime import _ensure_initialized as _ensure_initialized
    from spike_torch.runtime import configure, reset
    from spike_torch.tensors import (
        TensorInfo,
        from_spike,
        get_nrt_tensor,
        get_tensor_info,
        to_spike,
    )

# Loaded with the first use: `import torch`, which registers the device, is not to wait.
_LAZY = {
    "_ensure_initialized": "runtime",
    "configure": "runtime",
    "reset": "runtime",
    "TensorInfo": "tensors",
    "from_spike": "tensors",
    "get_nrt_tensor": "tensors",
    "get_tensor_info": "tensors",
    "to_spike": "tensors",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LAZY[name]}")
    return globals().setdefault(name, getattr(module, name))


# A worker that was spawned imports what its parent has imported, which has the cores.
if not is_autoloading() and current_process().name == "MainProcess":
    __getattr__("_ensure_initialized")()

__all__ = [
    "TensorInfo",
    "configure",
    "current_device",
    "device_count",
    "empty_cache",
    "fallback_counts",
    "from_spike",
    "get_cached_blocks",
    "get_execution",
    "get_fallback",
    "get_nrt_tensor",
    "get_tensor_info",
    "is_available",
    "program_counts",
    "reset",
    "reset_fallback_counts",
    "reset_program_counts",
    "set_device",
    "set_execution",
    "set_fallback",
    "set_memory_limit",
    "spike",
    "to_spike",
    "trim_cache",
]
__version__ = "0.1.0"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
