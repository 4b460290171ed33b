"""Tensors that are to go to other processes: refused, where somebody sees it.

Each process has cores of its own, and memory that is no other's. ``torch.save`` and
``pickle`` copy; torch's multiprocessing shares memory, and that is what is refused.
"""

from __future__ import annotations

import threading
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.multiprocessing.reductions import reduce_storage

from spike_torch._names import NAME

#: The thread of multiprocessing's queues. What raises there is lost, and whoever waits
#: for it, such as a DataLoader for its workers, waits for ever.
_FEEDER = "QueueFeederThread"


def refuse(why: str) -> None:
    """What a storage becomes where it arrives."""
    raise RuntimeError(why)


def register() -> None:
    """Have storages on the device be refused by torch's multiprocessing."""
    ForkingPickler.register(torch.UntypedStorage, _reduce)


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
