"""``torch.nkipy``: what torch and programs ask of a device's module."""

from __future__ import annotations

import torch

import spike_torch._C as _C
from spike_torch import random_numbers
from spike_torch.devices import (
    DeviceProperties,
    can_device_access_peer,
    current_device,
    device,
    device_count,
    device_of,
    get_device_capability,
    get_device_name,
    get_device_properties,
    is_available,
    set_device,
)
from spike_torch.memory import (
    empty_cache,
    get_per_process_memory_fraction,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_snapshot,
    memory_stats,
    memory_stats_as_nested_dict,
    memory_summary,
    reset_accumulated_memory_stats,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)
from spike_torch.random_numbers import (
    _get_generator as _get_generator,
)
from spike_torch.random_numbers import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from spike_torch.streams import (
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    is_current_stream_capturing,
    set_stream,
    stream,
    synchronize,
)

__all__ = [
    "DeviceProperties",
    "Event",
    "Stream",
    "StreamContext",
    "can_device_access_peer",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "get_amp_supported_dtype",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_per_process_memory_fraction",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "initial_seed",
    "is_available",
    "is_bf16_supported",
    "is_current_stream_capturing",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_snapshot",
    "memory_stats",
    "memory_stats_as_nested_dict",
    "memory_summary",
    "reset_accumulated_memory_stats",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_per_process_memory_fraction",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
]


def __getattr__(name: str) -> object:
    """What is asked for anew each time it is read.

    ``_initialized`` is what torch.utils.checkpoint asks for before it keeps the states
    of a device's generators; ``default_generators`` are those of all devices;
    ``Scheduling`` is what torch.compile's default backend registers devices by.
    """
    if name == "_initialized":
        return is_initialized()
    if name == "default_generators":
        return random_numbers.default_generators()
    if name == "Scheduling":
        from spike_torch import inductor

        inductor.refuse()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def is_initialized() -> bool:
    """Whether the runtime is open."""
    return bool(_C.is_open())


def init() -> None:
    """Open the runtime, if it is not."""
    from spike_torch.runtime import _ensure_initialized

    _ensure_initialized()


def get_amp_supported_dtype() -> list[torch.dtype]:
    """What ``torch.autocast("nkipy")`` takes."""
    return [torch.float32, torch.float16, torch.bfloat16]


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Cores have bfloat16."""
    return True


def _is_in_bad_fork() -> bool:
    """Whether this process was forked from one that had used a device."""
    return bool(_C.is_forked())


def _lazy_init() -> None:
    """torch's name; a device is opened by its first tensor."""


def _exchange_device(index: int) -> int:
    return int(_C.exchange_device(index))


def _maybe_exchange_device(index: int) -> int:
    return int(_C.exchange_device(index))
