"""Other processes: the memory of a core is of the process that uses the core."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

import torch
from torch.multiprocessing import reductions

from spike_torch._registration import NAME

#: Of multiprocessing.Queue: who waits for an item learns nothing of what it raises.
_FEEDER = "QueueFeederThread"


def refuse() -> None:
    """Have tensors on the device refused that are sent to another process."""
    ForkingPickler.register(torch.UntypedStorage, _reduce)


def _reduce(storage: torch.UntypedStorage) -> tuple[Callable[..., Any], Any]:
    if storage.device.type != NAME:
        return reductions.reduce_storage(storage)
    why = (
        f"nkipy: {storage.nbytes()} bytes on {storage.device} cannot be sent to "
        "another process, which has cores of its own: send tensor.cpu()"
    )
    if threading.current_thread().name == _FEEDER:
        return _raise, (why,)  # there, instead of having it wait for ever
    _raise(why)


def _raise(why: str) -> NoReturn:
    raise RuntimeError(why)
