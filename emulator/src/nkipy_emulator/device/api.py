"""The functions that libnrt calls when it lives in this process, in a capsule.

libnrt imports this module by name. Loading comes back to Python; executing a loaded
program runs in C++ alone (``emulator/src/cpp/device_calls.h``).
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from typing import Any

from nkipy.hlo import run_errors
from nkipy_emulator import _xla, apart
from nkipy_emulator.device.options import LoadOptions
from nkipy_emulator.device.ranks import WORLDS, all_gather
from nkipy_emulator.device.service import LoadedProgram, load
from nkipy_emulator.device.status import Phase, describe_error


def _load(neff: memoryview, options: str) -> tuple[Any, str, Callable[[], str]]:
    apart.forget_interrupt()
    program = _load_apart(neff, LoadOptions.from_json(options))
    return program.executable.runner, program.description, program.estimate


def _load_apart(neff: memoryview, options: LoadOptions) -> LoadedProgram:
    """Load where no handler of a signal runs.

    Of what one raises in the midst of it, nobody could tell whether the program had
    raised it.
    """
    if threading.current_thread() is not threading.main_thread():
        return load(neff, options)
    kept = bytes(neff)  # what is left behind goes on after the caller has freed his
    return _xla.apart_until_the_end(lambda: load(kept, options), None, "nkipy-load")


def _all_gather(meeting: str, data: bytes) -> bytes:
    apart.forget_interrupt()
    if threading.current_thread() is not threading.main_thread():
        return all_gather(meeting, data)
    # Not here, where it could not be interrupted.
    return _xla.apart_until_the_end(
        lambda: all_gather(meeting, data), None, "nkipy-all-gather"
    )


def _describe(error: BaseException, phase: Phase) -> tuple[int, str, bool]:
    """As :func:`describe_error`, telling besides who called libnrt in this thread.

    The last member says whether a handler of a signal has raised it.
    """
    status, text = describe_error(error, phase)
    if phase == "execute":
        run_errors.note(error, status)
    return status, text, apart.is_interrupt(error)


#: What libnrt reads: a pointer to its table of functions.
CAPSULE = _xla.device_api(_load, _describe, _all_gather, WORLDS.leave)

# A thread that asks for the interpreter's lock while that ends never returns.
# Before that of spike, which is older and closes libnrt: LIFO.
atexit.register(_xla.close_gate)
