"""Device arrays, as programs take them: whatever speaks the device-array protocol.

:mod:`spike.device_array` has the protocol: ``__spike_array__()`` answers where an array
lies on a device and what it is. The type of the object does not matter.

A class may have more, as torch's has: it is told what kernels write, and makes results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nkipy.execution.errors import BindingError
from nkipy.execution.names import array_text
from nkipy.hlo.arguments import describe
from nkipy.hlo.ir import TensorPlaceholder
from spike import NrtTensor, SpikeTensor
from spike.device_array import (
    DeviceMemory,
    SpikeArray,
    contiguous_strides,
    spike_array,
)

if TYPE_CHECKING:
    from spike._spike import AsyncExecution

__all__ = [
    "SILENT",
    "DeviceArray",
    "DeviceMemory",
    "SpikeArray",
    "is_device_array",
    "keep_until_done",
    "maker_beside",
    "memory_of",
    "note_written",
    "spike_array",
]


class DeviceArray(Protocol):
    """An array in device memory, to type checkers."""

    def __spike_array__(self) -> SpikeArray:
        """Where it is, and what."""
        ...


#: Classes whose arrays want to know of nothing, and make no results: most are of these.
SILENT: set[type] = {np.ndarray, SpikeTensor}


def is_device_array(value: Any) -> bool:
    """Whether `value` is an array in device memory."""
    return isinstance(value, SpikeTensor) or spike_array(value) is not None


def note_written(arrays: Iterable[Any]) -> None:
    """Tell arrays that a kernel has written into them, if their class wants to know."""
    for array in arrays:
        if type(array) not in SILENT:
            told = getattr(array, "__spike_written__", None)
            if told is not None:
                told()


def maker_beside(arrays: Iterable[Any]) -> Callable[..., Any] | None:
    """What makes an array for a result of a call that is given `arrays`.

    It takes shape and dtype. None: they are of classes that do not care.
    """
    for array in arrays:
        if type(array) not in SILENT:
            make = getattr(array, "__spike_empty__", None)
            if make is not None and is_device_array(array):
                return make
    return None


#: Executions that were started, and the arrays that they need.
_STARTED: dict[int, tuple[AsyncExecution, list[Any]]] = {}


def keep_until_done(started: AsyncExecution, *tensors: Mapping[str, Any]) -> None:
    """Keep arrays whose memory others may have when they are gone.

    That of a SpikeTensor belongs to its NrtTensor, which an execution keeps by itself.
    """
    kept = [x for each in tensors for x in each.values() if type(x) not in SILENT]
    if kept:
        for key, (execution, _) in list(_STARTED.items()):
            if execution.done():
                _STARTED.pop(key, None)
        _STARTED[id(started)] = started, kept


def memory_of(
    value: Any,
    array: SpikeArray,
    spec: TensorPlaceholder,
    core_id: int,
    memory: DeviceMemory,
    what: str = "argument",
) -> NrtTensor:
    """The memory of an array that is to be `spec` of a program on core `core_id`.

    It is the tensor that the array lies in, or, where that has more, a slice of it.

    Args:
        value: the array.
        array: what it answers.
        spec: the parameter or result.
        core_id: the core of the program.
        memory: keeps the slice for as long as there is the array.
        what: how the message names it.

    Raises:
        BindingError: the array is another core's, has another shape or dtype, or its
            elements do not lie one after another; or the answer is none of the
            protocol's.
        SpikeError: it is freed, or has fewer bytes than it says.
    """
    try:
        return _memory_of(value, array, spec, core_id, memory)
    except _Unfit as error:
        raise BindingError(f"{what} '{spec.original_name}' {error}") from None
    except (AttributeError, TypeError, OverflowError) as error:
        raise BindingError(
            f"{what} '{spec.original_name}' is a {type(value).__name__} whose "
            f"__spike_array__() answers {describe(array)}, which is no SpikeArray with "
            "an offset from 0 up, tuples of ints for shape and strides, and a NumPy "
            "dtype: "
            f"{_first_line(error)}"
        ) from error


class _Unfit(Exception):
    """What about an array does not fit; the text follows the parameter's name."""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _memory_of(
    value: Any,
    array: SpikeArray,
    spec: TensorPlaceholder,
    core_id: int,
    memory: DeviceMemory,
) -> NrtTensor:
    if array.core_id != core_id:
        raise _Unfit(
            f"is on core {array.core_id}, but the kernel runs on core {core_id}"
        )
    if (array.shape, array.dtype) != (spec.shape, spec.dtype):
        raise _Unfit(
            f"is {array_text(array.dtype, array.shape)} on the device, but the kernel "
            f"takes {array_text(spec.dtype, spec.shape)}"
        )
    strides, nbytes = _layout(spec.shape, spec.dtype)
    if array.strides != strides and not array.is_contiguous:
        raise _Unfit(
            f"has strides {array.strides}: its elements do not lie one after another "
            "on the device; pass a contiguous copy of it"
        )
    size = array.tensor.size
    if array.offset == 0 and size == nbytes:
        return array.tensor
    if array.offset == 0 and array.token is None:
        # What never changes has its tensor to itself; a view has a token, or an offset.
        raise _Unfit(f"has {size} bytes on the device, but the kernel takes {nbytes}")
    if not type(value).__weakrefoffset__:  # no one could say when to drop the slice
        return array.tensor.slice(array.offset, nbytes)
    return memory.of(value, array)


@lru_cache(maxsize=4096)
def _layout(shape: tuple[int, ...], dtype: np.dtype) -> tuple[tuple[int, ...], int]:
    """Strides and size, in bytes, of an array whose elements lie in C order."""
    return contiguous_strides(shape, dtype), prod(shape) * dtype.itemsize
