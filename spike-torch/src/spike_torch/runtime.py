"""The runtime that the device is over: spike's, the process's one."""

from __future__ import annotations

import spike
import spike_torch._C as _C

configure = spike.configure


def _ensure_initialized() -> None:
    """Open the runtime, if it is not.

    Raises:
        RuntimeError: it cannot be opened; the text says why.
    """
    if not _C.is_open():
        _C.open()


def reset() -> None:
    """Give back what is cached, and close the runtime.

    Every tensor on the device becomes invalid: using one raises RuntimeError. The next
    tensor opens the runtime again.

    Raises:
        RuntimeError: an operator that this thread is in calls it.
    """
    if _C.has_access():
        raise RuntimeError(
            "reset() waits for operations on the device to end, and one of them calls "
            "it: call it when the operator has returned"
        )
    from spike_torch.memory import empty_cache

    empty_cache()
    spike.reset()
