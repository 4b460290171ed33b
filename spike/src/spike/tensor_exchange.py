"""Device tensors and what other libraries hold: NumPy's arrays, and DLPack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing_extensions import Self


def as_array(array: npt.ArrayLike) -> npt.NDArray[Any]:
    """`array` as it goes to a device: C-contiguous, 0-d kept. Raises TypeError if its
    dtype has no bytes that a device could hold."""
    result = np.asarray(array, order="C")
    if result.dtype.hasobject or not result.dtype.isnative:
        raise TypeError(f"dtype {result.dtype} cannot be on a device")
    return result


class TensorExchange:
    """Of a SpikeTensor: copies that other libraries ask for, and copies of theirs."""

    __slots__ = ()

    numpy: Callable[[], npt.NDArray[Any]]
    from_numpy: Callable[..., Self]

    @classmethod
    def from_dlpack(
        cls, source: Any, name: str | None = None, core_id: int = 0
    ) -> Self:
        """A tensor with a copy of what is in host memory and speaks DLPack."""
        return cls.from_numpy(np.from_dlpack(source), name, core_id)

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("the memory is a device's: NumPy can only have a copy")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(self, *, copy: bool | None = None, **options: Any) -> Any:
        """A copy in host memory, for that is what another library can reach."""
        if copy is False:
            raise BufferError("the memory is a device's: DLPack can only have a copy")
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # the CPU
