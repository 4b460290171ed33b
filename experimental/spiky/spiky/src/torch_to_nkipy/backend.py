"""The backend of torch.compile, by its predecessor's names."""

from __future__ import annotations

from spiky.torch import (
    NKIPyBackendConfig,
    get_nkipy_backend_config,
    init_nkipy_backend,
    is_nkipy_backend_initialized,
    reset_nkipy_backend,
    reset_nkipy_backend_config,
    set_nkipy_backend_config,
)
from spiky.torch._backend import nkipy as nkipy_backend_fn

__all__ = [
    "NKIPyBackendConfig",
    "get_nkipy_backend_config",
    "init_nkipy_backend",
    "is_nkipy_backend_initialized",
    "nkipy_backend_fn",
    "reset_nkipy_backend",
    "reset_nkipy_backend_config",
    "set_nkipy_backend_config",
]
