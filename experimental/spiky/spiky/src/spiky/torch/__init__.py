"""The backend of torch.compile: how it is set up, and which core it is on."""

from __future__ import annotations

from spike_torch import current_device, device_count, set_device
from spiky.configuration import (
    NKIPyBackendConfig,
    get_nkipy_backend_config,
    is_nkipy_backend_initialized,
    reset_nkipy_backend_config,
    set_nkipy_backend_config,
)
from spiky.initialization import init_nkipy_backend, reset_nkipy_backend

__all__ = [
    "NKIPyBackendConfig",
    "current_device",
    "device_count",
    "get_nkipy_backend_config",
    "init_nkipy_backend",
    "is_nkipy_backend_initialized",
    "reset_nkipy_backend",
    "reset_nkipy_backend_config",
    "set_device",
    "set_nkipy_backend_config",
]
