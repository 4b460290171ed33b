"""Random numbers: each device has a default generator, with a state of its own.

With the same seed its numbers are those of the CPU's generator.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

import spike_torch._C as _C
from spike_torch.devices import Device, device_count, device_index


def _get_generator(device: Device = None) -> torch.Generator:
    """A device's default generator itself."""
    return torch.ops.spike_torch.default_generator(device_index(device))


def default_generators() -> tuple[torch.Generator, ...]:
    """The default generators of all devices."""
    return tuple(_get_generator(index) for index in range(device_count()))


def get_rng_state(device: Device = "nkipy") -> torch.Tensor:
    """The state of a device's generator: a ByteTensor on the CPU."""
    return torch.ops.spike_torch.rng_state(device_index(device))


def set_rng_state(new_state: torch.Tensor, device: Device = "nkipy") -> None:
    """Set the state of a device's generator to one that ``get_rng_state`` returned."""
    torch.ops.spike_torch.set_rng_state(device_index(device), new_state)


def get_rng_state_all() -> list[torch.Tensor]:
    """The states of all devices' generators."""
    return [get_rng_state(index) for index in range(device_count())]


def set_rng_state_all(new_states: Iterable[torch.Tensor]) -> None:
    """Set the states of all devices' generators."""
    for index, state in enumerate(new_states):
        set_rng_state(state, index)


def manual_seed(seed: int) -> None:
    """Seed the current device's generator."""
    _C.manual_seed(-1, _unsigned(seed))


def manual_seed_all(seed: int) -> None:
    """Seed all devices' generators."""
    for index in range(device_count()):
        _C.manual_seed(index, _unsigned(seed))


def seed() -> None:
    """Seed the current device's generator with a number that nobody knows."""
    _C.seed(-1)


def seed_all() -> None:
    """Seed all devices' generators with one number that nobody knows."""
    if device_count():
        manual_seed_all(_C.seed(0))


def initial_seed() -> int:
    """What the current device's generator was seeded with."""
    return int(_C.initial_seed(-1))


def _unsigned(seed: int) -> int:
    """A seed as torch takes it: negative ones count from the end."""
    seed = int(seed)
    if not -(1 << 63) <= seed < 1 << 64:
        raise RuntimeError(f"Overflow when unpacking long: a seed has 64 bits: {seed}")
    return seed % (1 << 64)
