"""PyTorch models on NeuronCores: torch.compile's backend "nkipy".

``spiky.torch.init_nkipy_backend()`` sets the backend up, which torch finds by its name.
Importing this registers the torch device, and opens no core.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spiky import _device  # noqa: F401 - before anything that needs the device

if TYPE_CHECKING:
    from spiky.compiled_model import CompiledModel, compile
    from spiky.explaining import explain
    from spiky.kernels import NKIOpRegistry
    from spiky.markers import mark_subgraph_identity
    from spiky.memory import clear_memory_pool, get_memory_stats, trim_memory_pool
    from spiky.options import CompileOptions
    from spiky.padding import (
        PaddingMetadata,
        attach_metadata,
        clear_metadata,
        compute_pad_ratio,
        get_metadata,
        has_metadata,
        is_compatible_padded,
        pad_inputs,
        unpad_outputs,
    )
    from spiky.report import Report
    from spiky.statistics import RuntimeStats, get_stats, reset_stats

_LAZY = {
    "CompileOptions": "options",
    "CompiledModel": "compiled_model",
    "NKIOpRegistry": "kernels",
    "PaddingMetadata": "padding",
    "Report": "report",
    "RuntimeStats": "statistics",
    "attach_metadata": "padding",
    "clear_memory_pool": "memory",
    "clear_metadata": "padding",
    "compile": "compiled_model",
    "compute_pad_ratio": "padding",
    "explain": "explaining",
    "get_memory_stats": "memory",
    "get_metadata": "padding",
    "get_stats": "statistics",
    "has_metadata": "padding",
    "is_compatible_padded": "padding",
    "mark_subgraph_identity": "markers",
    "pad_inputs": "padding",
    "reset_stats": "statistics",
    "trim_memory_pool": "memory",
    "unpad_outputs": "padding",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LAZY[name]}")
    return globals().setdefault(name, getattr(module, name))


__all__ = [
    "CompileOptions",
    "CompiledModel",
    "NKIOpRegistry",
    "PaddingMetadata",
    "Report",
    "RuntimeStats",
    "attach_metadata",
    "clear_memory_pool",
    "clear_metadata",
    "compile",
    "compute_pad_ratio",
    "explain",
    "get_memory_stats",
    "get_metadata",
    "get_stats",
    "has_metadata",
    "is_compatible_padded",
    "mark_subgraph_identity",
    "pad_inputs",
    "reset_stats",
    "trim_memory_pool",
    "unpad_outputs",
]
__version__ = "0.1.0"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
