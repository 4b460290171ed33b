"""The runtime that the device is over: spike's, the process's one."""

from __future__ import annotations

import atexit
import os

import spike
import spike_torch._C as _C
from spike.library import VISIBLE_CORES

#: Which core a process is for, as torchrun counts the processes of a machine.
_LOCAL_RANK = "LOCAL_RANK"

configure = spike.configure


def _ensure_initialized() -> None:
    """Open the runtime, if it is not, on this rank's core where a launcher gave one.

    Raises:
        RuntimeError: it cannot be opened; the text says why.
    """
    if _C.is_open():
        return
    rank = os.environ.get(_LOCAL_RANK)
    if rank is not None and VISIBLE_CORES not in os.environ:
        try:
            spike.configure(visible_cores=[int(rank)])
        except ValueError as error:
            raise RuntimeError(f"{_LOCAL_RANK}={rank!r} is no core: {error}") from error
    _C.open()


@atexit.register
def _wait_for_autograd() -> None:
    """Python may end only when no thread of autograd's is about to take its lock."""
    if _C.is_open() and not _C.is_forked():
        _C.wait_for_autograd()


def reset() -> None:
    """Give back what is cached, and close the runtime.

    Every tensor on the device becomes invalid: using one raises RuntimeError. The next
    tensor opens the runtime again.
    """
    from spike_torch.memory import empty_cache

    empty_cache()
    spike.reset()
