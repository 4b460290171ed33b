"""The device-array protocol, as it is read here: an array is what it answers.

``__spike_array__()`` answers where an array lies on a device and what it is; the type
of the object does not matter.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import prod
from typing import Any, NamedTuple

import numpy as np

from nkipy.execution.errors import BindingError
from nkipy.hlo.ir import TensorPlaceholder
from spike import NrtTensor, SpikeTensor


class SpikeArray(NamedTuple):
    """Where an array is on a device, and what it is.

    Attributes:
        tensor: the memory that the array lies in.
        offset: bytes from the beginning of that memory to the first element.
        shape: dimensions.
        strides: bytes from an element to the next one, along each dimension.
        dtype: of the elements, ml_dtypes' included.
        core_id: the core whose memory it is, counted among the visible ones.
        token: differs, by ``==``, from that of an earlier answer whenever anything
            above does. None if an object's answer never changes.
    """

    tensor: NrtTensor
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    core_id: int
    token: Hashable | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie one after another in C order."""
        expected = self.dtype.itemsize
        for n, stride in zip(reversed(self.shape), reversed(self.strides)):
            if n != 1 and stride != expected:
                return self.nbytes == 0
            expected *= n
        return True


def is_device_array(value: Any) -> bool:
    """Whether `value` is an array in device memory."""
    return hasattr(type(value), "__spike_array__") or isinstance(value, SpikeTensor)


def spike_array(value: Any) -> SpikeArray | None:
    """What `value` answers; None if it is no device array."""
    describe = getattr(type(value), "__spike_array__", None)
    if describe is not None:
        return describe(value)
    if not isinstance(value, SpikeTensor):
        return None
    dtype = np.dtype(value.dtype)
    shape = value.shape
    strides = tuple(prod(shape[i + 1 :]) * dtype.itemsize for i in range(len(shape)))
    return SpikeArray(value.tensor_ref, 0, shape, strides, dtype, value.core_id)


def memory_of(
    array: SpikeArray, spec: TensorPlaceholder, core_id: int, what: str = "argument"
) -> NrtTensor:
    """The memory of an array that is to be `spec` of a program on core `core_id`.

    It is the tensor that the array lies in, or, where that has more, a slice of it.

    Raises:
        BindingError: the array is another core's, has another shape or dtype, or its
            elements do not lie one after another.
        SpikeError: it is freed, or has fewer bytes than it says.
    """
    name = f"{what} '{spec.original_name}'"
    if array.core_id != core_id:
        raise BindingError(
            f"{name} is on core {array.core_id}, but the kernel runs on core {core_id}"
        )
    if (array.shape, array.dtype) != (spec.shape, spec.dtype):
        raise BindingError(
            f"{name} is {array.dtype.name}{list(array.shape)} on the device, but the "
            f"kernel takes {spec.dtype.name}{list(spec.shape)}"
        )
    if not array.is_contiguous:
        raise BindingError(
            f"{name} has strides {array.strides}: its elements do not lie one after "
            "another on the device; pass a contiguous copy of it"
        )
    nbytes = array.nbytes
    if array.offset == 0 and array.tensor.size == nbytes:
        return array.tensor
    if array.offset == 0 and array.token is None:
        # What never changes has its tensor to itself; a view has a token, or an offset.
        raise BindingError(
            f"{name} has {array.tensor.size} bytes on the device, but the kernel takes "
            f"{nbytes}"
        )
    return array.tensor.slice(array.offset, nbytes)
