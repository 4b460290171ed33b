"""Other processes, and the end of this one.

Tensors that are to go to other processes are refused, where somebody sees it. Each
process has cores of its own, and memory that is no other's. ``torch.save`` and
``pickle`` copy; torch's multiprocessing shares memory, and that is what is refused.
"""

from __future__ import annotations

import atexit
import threading
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.multiprocessing.reductions import reduce_storage

import spike_torch._C as _C
from spike_torch._names import NAME

#: The thread of multiprocessing's queues. What raises there is lost, and whoever waits
#: for it, such as a DataLoader for its workers, waits for ever.
_FEEDER = "QueueFeederThread"


def refuse(why: str) -> None:
    """What a storage becomes where it arrives."""
    raise RuntimeError(why)


def register() -> None:
    """Have torch's multiprocessing refuse the device's storages; have the end wait."""
    ForkingPickler.register(torch.UntypedStorage, _reduce)
    atexit.register(_wait_for_autograd)


def _wait_for_autograd() -> None:
    """Python may end only when no thread of autograd's is about to take its lock."""
    if _C.is_open() and not _C.is_forked():
        _C.wait_for_autograd()


def _reduce(storage: torch.UntypedStorage) -> Any:
    if storage.device.type != NAME:
        return reduce_storage(storage)
    why = (
        f"a tensor on {storage.device} cannot go to another process, which has cores "
        "of its own: send tensor.cpu(), as a DataLoader's workers are to return "
        "tensors of the CPU, and move that where it arrives"
    )
    if threading.current_thread().name != _FEEDER:
        raise RuntimeError(why)
    return refuse, (why,)
