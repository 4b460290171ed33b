"""Where the results of a part go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from spiky.compiling.walk import value_of


class Devices:
    """Where results go: to the devices that torch says, or all stay on the core."""

    def __init__(self, outputs: Sequence[Any], stay: bool) -> None:
        devices = [_device_of(output) for output in outputs]
        is_on_cpu = [device == "cpu" for device in devices]
        #: All of them go to the CPU.
        self.to_cpu = not stay and set(devices) <= {"cpu", None}
        self._moved = [] if stay or self.to_cpu else is_on_cpu

    @property
    def is_mixed(self) -> bool:
        """Whether some go to the CPU, and some do not."""
        return any(self._moved)

    def moved(self, results: list[Any]) -> list[Any]:
        """Some go there, and some do not."""
        for place, is_moved in enumerate(self._moved):
            if is_moved:
                results[place] = results[place].cpu()
        return results


def _device_of(output: Any) -> str | None:
    """Of a tensor that is returned, as torch has it; None of what is no tensor."""
    value = value_of(output) if isinstance(output, fx.Node) else None
    return value.device.type if isinstance(value, torch.Tensor) else None
