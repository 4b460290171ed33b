"""Streams and events, as torch's own classes with this device.

Work on a core is done when the call that starts it returns. Streams and events order
what they are asked to order, and have nothing to wait for.
"""

from __future__ import annotations

import torch

from spike_torch._names import NAME
from spike_torch.devices import Device, device, device_index

#: torch's own: without a device they are of the process's accelerator, which is this.
Stream = torch.Stream
Event = torch.Event


def current_stream(device: Device = None) -> torch.Stream:
    """The one that this thread's work on a device goes to."""
    return torch.accelerator.current_stream(torch.device(NAME, device_index(device)))


def default_stream(device: Device = None) -> torch.Stream:
    """The one that work goes to unless another is chosen."""
    return torch.Stream(
        stream_id=0, device_index=device_index(device), device_type=_device_type()
    )


def set_stream(stream: torch.Stream | None) -> None:
    """Have this thread's work go to a stream; None changes nothing."""
    if stream is not None:
        torch.accelerator.set_stream(stream)


def is_current_stream_capturing() -> bool:
    """Never: there are no graphs of a core's work."""
    return False


class StreamContext:
    """Has work go to a stream for the scope of a ``with``; None changes nothing."""

    def __init__(self, stream: torch.Stream | None) -> None:
        self.stream = stream
        self._before: torch.Stream | None = None
        self._device = device(None)

    def __enter__(self) -> None:
        if self.stream is None:
            return
        self._device = device(self.stream.device)
        self._device.__enter__()
        self._before = current_stream()
        set_stream(self.stream)

    def __exit__(self, *raised: object) -> None:
        if self._before is not None:
            set_stream(self._before)
            self._device.__exit__()


def stream(stream: torch.Stream | None) -> StreamContext:
    """``with torch.nkipy.stream(s):`` has work go to s."""
    return StreamContext(stream)


def synchronize(device: Device = None) -> None:
    """Wait for what was started on a device."""
    torch.accelerator.synchronize(device_index(device))


def _device_type() -> int:
    return int(torch._C._autograd.DeviceType.PrivateUse1.value)
