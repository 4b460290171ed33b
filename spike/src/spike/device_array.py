"""The device-array protocol: what an object in device memory is asked.

An object answers ``__spike_array__()`` with a :class:`SpikeArray`. `SpikeTensor` does,
and so may any other class: whoever takes device arrays calls :func:`spike_array` on
what it got, and does not look at its type. A class of which some objects are elsewhere
answers None for these.

Memory that its class gives to others, when the object is gone, is kept by keeping the
object. Such a class (torch's tensors are one) may have, for nkipy's kernels:

- ``__spike_written__()``: a kernel has written into the object;
- ``__spike_empty__(shape, dtype)``: an object on the same core, for a result;
- ``__spike_keep__()``: the memory stays where it is, as another object is on it.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from spike._spike import NrtTensor


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
            above does. None if an object's answer never changes, so that its identity
            is enough to recognise it. What the bytes are does not matter.
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
        return self.nbytes == 0 or all(
            n == 1 or stride == expected
            for n, stride, expected in zip(
                self.shape, self.strides, contiguous_strides(self.shape, self.dtype)
            )
        )

    def is_same_memory(self, other: SpikeArray) -> bool:
        """Whether both begin at the same byte of a device."""
        mine, theirs = self.tensor, other.tensor
        is_same = mine is theirs or mine.va == theirs.va != 0
        return is_same and self.offset == other.offset


def contiguous_strides(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """The strides, in bytes, of an array of this shape and dtype in C order."""
    return tuple(prod(shape[i + 1 :]) * dtype.itemsize for i in range(len(shape)))


def spike_array(value: Any) -> SpikeArray | None:
    """What `value` answers; None if it is no device array."""
    describe = getattr(type(value), "__spike_array__", None)
    return None if describe is None else describe(value)


class DeviceMemory:
    """The memory of device arrays, each as a tensor of just their bytes.

    libnrt takes tensors of the exact size. One that an array has a part of is sliced,
    once for each array; the slice goes with the array, or when its token changes.
    """

    def __init__(self) -> None:
        self._slices: dict[int, tuple[weakref.ref[Any], SpikeArray, NrtTensor]] = {}

    def of(self, value: Any, array: SpikeArray | None = None) -> NrtTensor:
        """The memory of `value`, which answers `array`. Raises SpikeError if it is
        freed or has fewer bytes than the array."""
        array = array or value.__spike_array__()
        nbytes = array.nbytes
        if array.offset == 0 and nbytes in (0, array.tensor.size):
            return array.tensor
        # By number and not in a WeakKeyDictionary: some arrays compare by element.
        key, drop = id(value), self._slices.pop
        kept = self._slices.get(key)
        if kept is None or kept[0]() is not value or kept[1] != array:
            drop(key, None)  # also if there will be no other
            part = array.tensor.slice(array.offset, nbytes)
            kept = weakref.ref(value, lambda _: drop(key, None)), array, part
            self._slices[key] = kept
        return kept[2]
