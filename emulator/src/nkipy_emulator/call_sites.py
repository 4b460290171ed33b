"""Functions of Python that XLA programs call, and how they print.

A call names its site by a number. The function runs in the middle of an XLA program: it
gets the operands as read-only arrays and writes into the arrays of the results.
"""

from __future__ import annotations

import itertools
import threading
import traceback
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nkipy.hlo import custom_calls
from nkipy.hlo.dtypes import bool_
from nkipy.hlo.ir import Shape
from nkipy.hlo.printing import PRINTER, Printer
from nkipy.hlo.time_limits import GO_ON
from nkipy_emulator import _xla

__all__ = ["LOOK_FOR_SIGNALS", "CallSite", "CustomCalls", "Handler"]

#: ``handler(inputs, outputs, backend_config)``. Inputs are read-only; it fills outputs.
Handler = custom_calls.Run


class CallSite(NamedTuple):
    """One custom call of a compiled module."""

    handler: Handler
    backend_config: bytes
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    aliases: tuple[tuple[int, int], ...]  # (output, input that it updates)


def _go_on(inputs: Any, outputs: Sequence[np.ndarray], config: bytes) -> None:
    """True, if Python raises nothing for a signal before it is here."""
    outputs[0][...] = True


#: The one site whose number is the same in all processes, so that code is kept.
LOOK_FOR_SIGNALS = 0
_sites: dict[int, CallSite] = {
    LOOK_FOR_SIGNALS: CallSite(_go_on, b"", (), (Shape(bool_, ()),), ())
}
_next_site = itertools.count(1)
_lock = threading.Lock()


def _call_site(
    number: int, inputs: list[memoryview], outputs: list[memoryview], loan: Any
) -> None:
    site = _sites[number]
    tokens = PRINTER.set(_printer(loan)), GO_ON.set(partial(_xla.require_time, loan))
    try:
        for output, source in site.aliases:
            outputs[output][:] = inputs[source]
        site.handler(
            [_array(view, shape) for view, shape in zip(inputs, site.inputs)],
            [_array(view, shape) for view, shape in zip(outputs, site.outputs)],
            site.backend_config,
        )
    except BaseException as error:
        _clear_frames(error)
        for view in (*inputs, *outputs):
            with suppress(BufferError):  # the handler has put an array somewhere
                view.release()
        raise
    finally:
        PRINTER.reset(tokens[0])
        GO_ON.reset(tokens[1])


def _printer(loan: Any) -> Printer:
    """What prints to where the execution's caller takes it."""

    def show(rank: int, name: str, values: np.ndarray) -> bool:
        text, dtype = name.replace("\0", " "), values.dtype.name
        return _xla.print_tensor(
            loan, rank, text, dtype, values.shape, values.tobytes()
        )

    return show


def _clear_frames(error: BaseException) -> None:
    """Take the arrays out of the frames that a traceback keeps: XLA frees their memory.

    A debugger, or pytest when it shows arguments, would read it.
    """
    chain: list[BaseException | None] = [error]
    seen = set()
    while chain:
        one = chain.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            chain += [one.__cause__, one.__context__]


def _array(view: memoryview, shape: Shape) -> np.ndarray:
    return np.frombuffer(view, np.uint8).view(shape.dtype).reshape(shape.dims)


_xla.set_python_hook(_call_site)


class CustomCalls:
    """The Python handlers that one compiled module uses; release them with it."""

    def __init__(self) -> None:
        self.sites: list[int] = []

    def add(self, site: CallSite) -> int:
        number = next(_next_site)
        with _lock:
            _sites[number] = site
        self.sites.append(number)
        return number

    def release(self) -> None:
        """Forget the call sites."""
        _forget_sites(self.sites)

    def release_with(self, owner: object) -> None:
        """Forget the call sites when `owner`, which makes the calls, is gone."""
        if self.sites:
            weakref.finalize(owner, _forget_sites, self.sites)


def _forget_sites(numbers: list[int]) -> None:
    with _lock:
        for number in numbers:
            _sites.pop(number, None)
