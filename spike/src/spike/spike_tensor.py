"""Tensors on a device."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes  # noqa: F401  -- makes NumPy know bfloat16 and fp8 by name
import numpy as np
import numpy.typing as npt

from spike._spike import NrtTensor
from spike.device_array import SpikeArray, contiguous_strides, spike_array
from spike.spike_singleton import get_spike_singleton
from spike.tensor_exchange import TensorExchange, as_array

if TYPE_CHECKING:
    from typing_extensions import Self

# How much of a pattern is uploaded before the device copies it on.
_FILL_BYTES = 1 << 20


def as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """A shape as a tuple; an int is a shape of one dimension."""
    return (shape,) if isinstance(shape, int) else tuple(map(int, shape))


class SpikeTensor(TensorExchange):
    """Device memory with a shape and a dtype; the memory is freed with the last tensor
    on it, or by `close`.

    All but a `name` never change.

    Attributes:
        tensor_ref: the memory, as an NrtTensor.
        shape: dimensions, as a tuple.
        dtype: element type, as it was given.
        name: for messages, or None.
    """

    __slots__ = ("__weakref__", "_array", "_dtype", "_shape", "_tensor_ref", "name")

    def __init__(
        self,
        tensor_ref: NrtTensor,
        shape: int | Sequence[int],
        dtype: npt.DTypeLike,
        name: str | None = None,
    ) -> None:
        self._tensor_ref = tensor_ref
        self._shape = as_shape(shape)
        self._dtype = dtype
        self.name = name
        self._array: SpikeArray | None = None

    # Prepared calls recognise a tensor by its identity, so these must not change.
    tensor_ref: Final[NrtTensor] = property(attrgetter("_tensor_ref"), doc="Memory.")  # type: ignore[assignment]
    shape: Final[tuple[int, ...]] = property(attrgetter("_shape"), doc="Dimensions.")  # type: ignore[assignment]
    dtype: npt.DTypeLike = property(attrgetter("_dtype"), doc="As it was given.")  # type: ignore[assignment]

    def __spike_array__(self) -> SpikeArray:
        """The device-array protocol: see :mod:`spike.device_array`."""
        if self._array is None:
            shape, dtype = self._shape, np.dtype(self._dtype)
            strides = contiguous_strides(shape, dtype)
            self._array = SpikeArray(
                self._tensor_ref, 0, shape, strides, dtype, self.core_id
            )
        return self._array

    @classmethod
    def empty(
        cls,
        shape: int | Sequence[int],
        dtype: npt.DTypeLike,
        name: str | None = None,
        core_id: int = 0,
    ) -> Self:
        """A tensor whose contents are whatever the memory holds."""
        shape = as_shape(shape)
        if min(shape, default=0) < 0:
            raise ValueError(f"a shape has no negative dimension, got {shape}")
        nbytes = prod(shape) * np.dtype(dtype).itemsize
        ref = get_spike_singleton().allocate_tensor(nbytes, core_id, name)
        return cls(ref, shape, dtype, name)

    @classmethod
    def zeros(
        cls,
        shape: int | Sequence[int],
        dtype: npt.DTypeLike,
        name: str | None = None,
        core_id: int = 0,
    ) -> Self:
        """A tensor of zeros, set on the device."""
        tensor = cls.empty(shape, dtype, name, core_id)
        tensor.tensor_ref.fill(0)
        return tensor

    @classmethod
    def from_numpy(
        cls, array: npt.ArrayLike, name: str | None = None, core_id: int = 0
    ) -> Self:
        """A tensor with a copy of the array: its shape, also (), and its dtype."""
        array = as_array(array)
        tensor = cls.empty(array.shape, array.dtype, name, core_id)
        tensor.tensor_ref.write(array)
        return tensor

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def core_id(self) -> int:
        return self.tensor_ref.core_id

    @property
    def is_freed(self) -> bool:
        """Whether its memory is gone: closed, or the runtime is."""
        return self.tensor_ref.is_freed

    def numpy(self, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """A copy on the host, in `out` if given: C-contiguous, this shape and dtype."""
        if out is None:
            out = np.empty(self.shape, self.dtype)
        elif out.shape != self.shape or out.dtype != np.dtype(self.dtype):
            raise ValueError(
                f"out: expected {self.shape} {np.dtype(self.dtype)}, got {out.shape} "
                f"{out.dtype}"
            )
        self.tensor_ref.read_into(out, 0, self.nbytes)
        return out

    def write_from_numpy(self, array: npt.ArrayLike) -> None:
        """Overwrite with the bytes of an array of the same size.

        Raises ValueError if its size in bytes differs.
        """
        array = as_array(array)
        if array.nbytes != self.nbytes:
            raise ValueError(
                f"Size mismatch: source {array.nbytes} bytes, "
                f"target {self.nbytes} bytes"
            )
        self.tensor_ref.write(array)

    def copy_from(self, source: Any) -> None:
        """Overwrite with an array, or with a device array of the same size: on the
        device, or through the host if they are on different cores.

        Raises ValueError if the sizes in bytes differ, or its elements have gaps.
        """
        array = spike_array(source)
        if array is None:
            self.write_from_numpy(source)
        elif array.nbytes != self.nbytes or not array.is_contiguous:
            raise ValueError(
                f"Size mismatch: source {array.nbytes} bytes, "
                f"target {self.nbytes} bytes, both in C order"
            )
        elif self.nbytes:
            size = self.nbytes
            self.tensor_ref.copy_from(array.tensor, array.offset, 0, size)

    def fill(self, value: Any) -> None:
        """Set every element, on the device."""
        element = np.array(value, self.dtype)
        pattern = set(element.tobytes())
        if len(pattern) == 1:
            return self.tensor_ref.fill(pattern.pop(), 0, self.nbytes)
        count = min(prod(self.shape), _FILL_BYTES // element.itemsize)
        self.tensor_ref.write(np.full(count, element))
        done = count * element.itemsize
        while done < self.nbytes:
            size = min(done, self.nbytes - done)
            self.tensor_ref.copy_from(self.tensor_ref, 0, done, size)
            done += size

    def slice(
        self, start: int = 0, stop: int | None = None, name: str | None = None
    ) -> Self:
        """Rows start to stop of the first axis, on the same memory.

        Counts as Python's slices do. Raises ValueError if it is empty.
        """
        if not self.shape:
            raise ValueError("a tensor of no dimensions has no rows")
        start, stop, _ = slice(start, stop).indices(self.shape[0])
        row = self.nbytes // max(1, self.shape[0])
        if row * (stop - start) <= 0:
            raise ValueError(f"rows {start} to {stop} of {self.shape} are empty")
        ref = self.tensor_ref.slice(start * row, (stop - start) * row, name)
        return type(self)(ref, (stop - start, *self.shape[1:]), self.dtype, name)

    def reshape(self, *shape: Any) -> Self:
        """The same memory under another shape, one dimension of which may be -1."""
        new = list(as_shape(shape[0] if len(shape) == 1 else shape))
        count = prod(self.shape)
        if new.count(-1) == 1:
            known = prod(n for n in new if n != -1)
            new[new.index(-1)] = count // known if known else 0
        if min(new, default=0) < 0 or prod(new) != count:
            raise ValueError(f"{self.shape} cannot be reshaped to {shape}")
        return type(self)(self.tensor_ref, new, self.dtype, self.name)

    def view(self, dtype: npt.DTypeLike) -> Self:
        """The same memory as elements of another dtype; the last axis grows or shrinks.

        Raises ValueError if its bytes do not divide into such elements.
        """
        if not self.shape:
            raise ValueError(
                "a tensor of no dimensions cannot be viewed as another dtype"
            )
        last, rest = divmod(
            self.shape[-1] * np.dtype(self.dtype).itemsize, np.dtype(dtype).itemsize
        )
        if rest:
            raise ValueError(f"{self!r} cannot be viewed as {np.dtype(dtype)}")
        return type(self)(self.tensor_ref, (*self.shape[:-1], last), dtype, self.name)

    def close(self) -> None:
        """Free the memory now, for every tensor on it but slices. Idempotent."""
        self.tensor_ref.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype}, "
            f"name={self.name})"
        )
