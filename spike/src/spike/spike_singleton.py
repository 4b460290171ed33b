"""The process's one runtime: opened at first use, closed at exit or by `reset`."""

from __future__ import annotations

import atexit
import operator
import os
import threading
import warnings
from collections.abc import Callable, Iterable

from spike._spike import Spike
from spike.debug_stream import DebugStreams
from spike.library import VISIBLE_CORES

_lock = threading.RLock()  # a handler of a signal may run while one closes
_singleton: Spike | None = None
_streams = DebugStreams()
_before_opening: list[Callable[[], object]] = []


def before_opening(do: Callable[[], object]) -> None:
    """Have `do` called each time before the runtime opens: it may set variables.

    What it raises is what opening raises.
    """
    with _lock:
        if do not in _before_opening:
            _before_opening.append(do)


def configure(visible_cores: Iterable[int] | None = None) -> None:
    """Choose the cores that this process uses, before the runtime opens.

    Raises RuntimeError if it is open, TypeError or ValueError for what is no core.
    """
    with _lock:
        if _singleton is not None and not _singleton.is_closed:
            raise RuntimeError(
                "Cannot configure: Spike runtime is already active. Call spike.reset() "
                "first."
            )
        if visible_cores is not None:
            _set_visible_cores(visible_cores)


def _set_visible_cores(visible_cores: Iterable[int]) -> None:
    if isinstance(visible_cores, int):
        raise TypeError(
            "visible_cores must be an iterable, not int. "
            f"Use [{visible_cores}] or ({visible_cores},)"
        )
    cores = [_core(core) for core in visible_cores]
    if cores:
        os.environ[VISIBLE_CORES] = ",".join(map(str, cores))


def _core(core: int) -> int:
    if isinstance(core, bool):
        raise TypeError(f"a core is an int, not {core!r}")
    number = operator.index(core)  # NumPy's ints are fine
    if number < 0:
        raise ValueError(f"a core is not negative: got {number}")
    return number


def get_spike_singleton() -> Spike:
    """The runtime, opened if it is not."""
    global _singleton, _streams
    with _lock:
        if _singleton is None or _singleton.is_closed:
            _streams.stop()
            for do in _before_opening:
                do()
            _singleton, _streams = Spike(), DebugStreams()
        return _singleton


def watch(core: int) -> None:
    """Print what kernels print on a core, until the runtime closes."""
    with _lock:
        _streams.connect(core)


# Before the end of the extension's, which closes libnrt.
atexit.register(lambda: _streams.stop())


def reset() -> None:
    """Close the runtime, if it is open: its tensors and models become invalid.

    It waits for running calls and for what is in flight. If a handler of a signal
    raises meanwhile, as that of Ctrl-C does, the runtime stays open.
    """
    global _singleton
    with _lock:
        closing, _singleton = _singleton, None
        if closing is None or closing.is_closed:
            return
        warnings.warn(
            "spike.reset() called. All existing SpikeTensor and SpikeModel objects are "
            "now invalid and should not be used.",
            UserWarning,
            stacklevel=2,
        )
        try:
            _streams.stop()
            closing.close()
        except BaseException:
            _singleton = closing
            raise
