"""Devices: one index for each core that this process may use."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch

import spike_torch._C as _C
from spike_torch._names import NAME

Device: TypeAlias = "torch.device | str | int | None"


class DeviceProperties(NamedTuple):
    """Of a core.

    Attributes:
        name: ``"AWS Neuron Core 0"``.
        device_index: as in ``torch.device("nkipy", device_index)``.
        target: the chip that it is of, as compilers name it: ``"trn2"``.
        generation: of its cores, NeuronCore-v…: 3.
        total_memory: bytes of device memory that it may use.
    """

    name: str
    device_index: int
    target: str
    generation: int
    total_memory: int

    def __getitem__(self, key: Any) -> Any:
        """By name too, as some devices' properties are dicts."""
        return getattr(self, key) if isinstance(key, str) else tuple(self)[key]


def device_index(device: Device = None, *, optional: bool = False) -> int:
    """The index of a device: the current one for None and for "nkipy".

    Raises:
        TypeError: it is no device.
        ValueError: it is a device of another type.
        RuntimeError: this process has no core with the index.
    """
    if isinstance(device, str):
        device = torch.device(device)
    if isinstance(device, torch.device):
        if device.type != NAME:
            raise ValueError(f"expected a device of type {NAME!r}, got {device}")
        device = device.index
    if device is not None and not isinstance(device, int):
        raise TypeError(
            "expected a device, its name or its index, got "
            f"{type(device).__name__} {device!r}"
        )
    return int(_C.checked(-1 if device is None else device))


def device_count() -> int:
    """How many cores this process may use; 0 where that cannot be told."""
    return int(_C.device_count())


def is_available() -> bool:
    """Whether there is a core to use."""
    return device_count() > 0


def current_device() -> int:
    """This thread's: 0 until it is set."""
    return int(_C.current_device())


def set_device(device: Device) -> None:
    """Make a device this thread's current one.

    Raises:
        RuntimeError: this process has no core with the index.
    """
    _C.exchange_device(device_index(device))


def get_device_name(device: Device = None) -> str:
    """``"AWS Neuron Core 0"``."""
    return f"AWS Neuron Core {device_index(device)}"


def get_device_properties(device: Device = None) -> DeviceProperties:
    """What is known of a core; the chip is the one that kernels are compiled for."""
    from nkipy.chips import find_chip
    from nkipy.compiler.targets import get_platform_target

    index = device_index(device)
    target = get_platform_target().value
    chip = find_chip(target)
    if chip is None:
        raise RuntimeError(f"nkipy knows no chip {target!r}")
    total = torch.accelerator.get_memory_info(index)[1]
    return DeviceProperties(
        get_device_name(index), index, target, chip.generation, total
    )


def get_device_capability(device: Device = None) -> tuple[int, int]:
    """The generation of the cores, as (3, 0)."""
    return get_device_properties(device).generation, 0


def can_device_access_peer(device: Device, peer_device: Device) -> bool:
    """Whether memory of two devices is copied from one to the other directly."""
    return device_index(device) != device_index(peer_device)


class device:
    """Makes a device the current one for the scope of a ``with``.

    Args:
        device: a device, its name or its index; with None or an index below 0, nothing
            is changed.
    """

    def __init__(self, device: Any) -> None:
        changes = device is not None and not (isinstance(device, int) and device < 0)
        self.idx = device_index(device) if changes else -1
        self.prev_idx = -1

    def __enter__(self) -> None:
        self.prev_idx = int(_C.exchange_device(self.idx))

    def __exit__(self, *raised: object) -> None:
        _C.exchange_device(self.prev_idx)


class device_of(device):
    """Makes the device of a tensor or storage current, if it is of this type."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if getattr(obj, "is_nkipy", False) else None)
