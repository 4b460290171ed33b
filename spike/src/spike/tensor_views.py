"""Device tensors as parts of others, otherwise described, filled, copied."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spike.device_array import spike_array

if TYPE_CHECKING:
    from typing_extensions import Self

    from spike._spike import NrtTensor

# How much of a pattern is uploaded before the device copies it on.
_FILL_BYTES = 1 << 20


def as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """A shape as a tuple; an int is a shape of one dimension."""
    return (shape,) if isinstance(shape, int) else tuple(map(int, shape))


class TensorViews:
    """Of a SpikeTensor: other tensors on its memory, and what the device does with it
    by itself."""

    __slots__ = ()

    if TYPE_CHECKING:
        tensor_ref: NrtTensor
        shape: tuple[int, ...]
        dtype: npt.DTypeLike
        name: str | None

        @property
        def nbytes(self) -> int: ...

        @property
        def core_id(self) -> int: ...

        def __init__(
            self,
            tensor_ref: NrtTensor,
            shape: int | Sequence[int],
            dtype: npt.DTypeLike,
            name: str | None = None,
        ) -> None: ...

        def write_from_numpy(self, array: npt.ArrayLike) -> None: ...

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
