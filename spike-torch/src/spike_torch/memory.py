"""The memory of cores: what is cached, how much there may be, what it is used for.

Numbers are of bytes. Statistics are those that torch keeps for any accelerator
(``torch.accelerator.memory_stats`` lists their keys).
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from typing import Any, SupportsIndex

import torch

import spike_torch._C as _C
from spike_torch.devices import Device, device_index

_MIB = 1 << 20
#: What C++ counts bytes with.
_MOST = (1 << 64) - 1
#: What each core's share of memory was set to.
_fractions: dict[int, float] = {}


def empty_cache() -> None:
    """Give device memory that no tensor uses back."""
    torch.accelerator.empty_cache()


def trim_cache(target: SupportsIndex = 0, device: Device = None) -> int:
    """Give memory that no tensor uses back until at most `target` bytes are reserved.

    Returns:
        How many bytes were given back.

    Raises:
        TypeError: `target` is no integer.
        ValueError: it is negative.
    """
    return int(_C.trim(device_index(device), _bytes("target", target)))


def set_memory_limit(limit: SupportsIndex | None, device: Device = None) -> None:
    """Let this process reserve at most `limit` bytes of a core's memory; None: all.

    What goes beyond raises torch.OutOfMemoryError.

    Raises:
        TypeError: `limit` is no integer.
        ValueError: it is negative.
    """
    index = device_index(device)
    _C.set_limit(index, None if limit is None else _bytes("limit", limit))
    _fractions.pop(index, None)


def _bytes(name: str, size: SupportsIndex) -> int:
    """A number of bytes; more than there can be is as many as there can be."""
    try:
        found = operator.index(size)
    except TypeError:
        raise TypeError(f"{name} is a number of bytes: got {size!r}") from None
    if found < 0:
        raise ValueError(f"{name} is a number of bytes, 0 or more: got {found}")
    return min(found, _MOST)


def get_cached_blocks() -> int:
    """How many blocks of device memory are cached for tensors to come."""
    return int(_C.cached_blocks())


def memory_stats(device: Device = None) -> OrderedDict[str, Any]:
    """Statistics of a device's allocator, by name."""
    return torch.accelerator.memory_stats(device_index(device))


def memory_stats_as_nested_dict(device: Device = None) -> dict[str, Any]:
    """The same as dicts in dicts: ``["reserved_bytes"]["all"]["peak"]``."""
    nested: dict[str, Any] = {}
    for key, value in memory_stats(device).items():
        *path, last = key.split(".")
        place = nested
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return nested


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


def memory_summary(device: Device = None, abbreviated: bool = False) -> str:
    """The statistics as a text to be read.

    Args:
        device: the current one if it is None.
        abbreviated: torch's name; the text is short in any case.
    """
    index = device_index(device)
    stats = memory_stats(index)
    free, total = mem_get_info(index)

    def number(key: str) -> int:  # there are none before the first tensor
        return int(stats.get(key, 0))

    def line(text: str, key: str) -> str:
        now, peak = (number(f"{key}.all.{kind}") / _MIB for kind in ("current", "peak"))
        return f"{text:<20}{now:>12.2f} MiB{peak:>12.2f} MiB"

    return "\n".join(
        (
            f"nkipy:{index}: {free / _MIB:.2f} of {total / _MIB:.2f} MiB are free",
            f"{'':<20}{'now':>16}{'peak':>16}",
            line("taken by tensors", "allocated_bytes"),
            line("asked for", "requested_bytes"),
            line("reserved", "reserved_bytes"),
            line("left over by splits", "inactive_split_bytes"),
            f"out of memory: {number('num_ooms')} times, after "
            f"{number('num_alloc_retries')} attempts with an emptied cache",
        )
    )


def set_per_process_memory_fraction(fraction: float, device: Device = None) -> None:
    """Let this process reserve at most a part of a core's memory.

    Raises:
        TypeError: `fraction` is no number.
        ValueError: it is not between 0 and 1.
    """
    if not isinstance(fraction, (int, float)):
        raise TypeError(
            f"Invalid type for fraction argument, must be `float`: got {fraction!r}"
        )
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    index = device_index(device)
    set_memory_limit(int(mem_get_info(index)[1] * fraction), index)
    _fractions[index] = float(fraction)


def get_per_process_memory_fraction(device: Device = None) -> float:
    """The part of a core's memory that this process may reserve: 1.0 until set."""
    return _fractions.get(device_index(device), 1.0)
