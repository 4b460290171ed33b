"""Tensors on a device."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import ml_dtypes  # noqa: F401  -- makes NumPy know bfloat16 and fp8 by name
import numpy as np
import numpy.typing as npt

from spike._spike import NrtTensor
from spike.device_array import SpikeArray, contiguous_strides
from spike.spike_singleton import get_spike_singleton
from spike.tensor_exchange import TensorExchange, as_array
from spike.tensor_views import TensorViews, as_shape

if TYPE_CHECKING:
    from typing_extensions import Self


class SpikeTensor(TensorViews, TensorExchange):
    """Device memory with a shape and a dtype; the memory is freed with the last tensor
    on it, or by `close`.

    `tensor_ref`, `shape` and `dtype` (as given) never change; a `name` may.
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
    tensor_ref = property(attrgetter("_tensor_ref"), doc="The memory, as an NrtTensor.")
    shape = property(attrgetter("_shape"), doc="Dimensions, as a tuple.")
    dtype = property(attrgetter("_dtype"), doc="Element type, as it was given.")

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
