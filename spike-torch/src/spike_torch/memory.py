"""The memory of cores: what is cached, how much there may be, what it is used for.

Numbers are of bytes. Statistics are those that torch keeps for any accelerator
(``torch.accelerator.memory_stats`` lists their keys).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch

import spike_torch._C as _C
from spike_torch.devices import Device, device_index

_MIB = 1 << 20
_MOST = (1 << 63) - 1


def empty_cache() -> None:
    """Give device memory that no tensor uses back."""
    torch.accelerator.empty_cache()


def trim_cache(target: int = 0, device: Device = None) -> int:
    """Give memory that no tensor uses back until at most `target` bytes are reserved.

    Returns:
        How many bytes were given back.

    Raises:
        TypeError: `target` is no int.
        ValueError: `target` is negative.
    """
    return int(_C.trim(device_index(device), _bytes("target", target)))


def set_memory_limit(limit: int | None, device: Device = None) -> None:
    """Let this process reserve at most `limit` bytes of a core's memory; None: all.

    What goes beyond raises torch.OutOfMemoryError.

    Raises:
        TypeError: `limit` is no int.
        ValueError: `limit` is negative.
    """
    size = None if limit is None else _bytes("limit", limit)
    _C.set_limit(device_index(device), size)


def _bytes(name: str, size: int) -> int:
    """A number of bytes that is an argument. More than any core has is as much."""
    if not isinstance(size, int):
        raise TypeError(f"{name} is a number of bytes, an int: got {size!r}")
    if size < 0:
        raise ValueError(f"{name} is a number of bytes, 0 or more: got {size}")
    return min(size, _MOST)


def get_cached_blocks() -> int:
    """How many blocks of device memory are cached for tensors to come."""
    return int(_C.cached_blocks())


def memory_stats(device: Device = None) -> OrderedDict[str, Any]:
    """Statistics of a device's allocator, by name."""
    return torch.accelerator.memory_stats(device_index(device))


def memory_stats_as_nested_dict(device: Device = None) -> dict[str, Any]:
    """The same by parts of their names."""
    return dict(torch._C._accelerator_getDeviceStats(device_index(device)))


def memory_allocated(device: Device = None) -> int:
    """Bytes that tensors take."""
    return torch.accelerator.memory_allocated(device_index(device))


def max_memory_allocated(device: Device = None) -> int:
    """The most that tensors took since the start, or since the peak was reset."""
    return torch.accelerator.max_memory_allocated(device_index(device))


def memory_reserved(device: Device = None) -> int:
    """Bytes that the allocator has of libnrt, in use or cached."""
    return torch.accelerator.memory_reserved(device_index(device))


def max_memory_reserved(device: Device = None) -> int:
    """The most that the allocator had of libnrt."""
    return torch.accelerator.max_memory_reserved(device_index(device))


def reset_peak_memory_stats(device: Device = None) -> None:
    """Have peaks begin at what there is now."""
    torch.accelerator.reset_peak_memory_stats(device_index(device))


def reset_accumulated_memory_stats(device: Device = None) -> None:
    """Have sums begin at 0."""
    torch.accelerator.reset_accumulated_memory_stats(device_index(device))


def mem_get_info(device: Device = None) -> tuple[int, int]:
    """Bytes of a core's memory that are free, and that there are."""
    return torch.accelerator.get_memory_info(device_index(device))


def memory_snapshot() -> list[dict[str, Any]]:
    """The segments of device memory of all cores, with their blocks by address."""
    return list(_C.snapshot())


def memory_summary(device: Device = None) -> str:
    """The statistics as a text to be read."""
    index = device_index(device)
    stats = memory_stats(index)
    free, total = mem_get_info(index)

    def line(text: str, key: str) -> str:
        now, peak = (stats[f"{key}.all.{kind}"] / _MIB for kind in ("current", "peak"))
        return f"{text:<20}{now:>12.2f} MiB{peak:>12.2f} MiB"

    return "\n".join(
        (
            f"nkipy:{index}: {free / _MIB:.2f} of {total / _MIB:.2f} MiB are free",
            f"{'':<20}{'now':>16}{'peak':>16}",
            line("taken by tensors", "allocated_bytes"),
            line("asked for", "requested_bytes"),
            line("reserved", "reserved_bytes"),
            line("left over by splits", "inactive_split_bytes"),
            f"out of memory: {stats['num_ooms']} times, after "
            f"{stats['num_alloc_retries']} attempts with an emptied cache",
        )
    )


def set_per_process_memory_fraction(fraction: float, device: Device = None) -> None:
    """Let this process reserve at most a part of a core's memory.

    Raises:
        ValueError: `fraction` is not between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    set_memory_limit(int(mem_get_info(device)[1] * fraction), device)
