"""Tensors of torch's and of spike's on one memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch

import spike_torch._C as _C
from spike import NrtTensor, SpikeTensor
from spike_torch._names import NAME

if TYPE_CHECKING:
    from typing_extensions import Self

_BY_NUMPY: dict[np.dtype, torch.dtype] = {
    np.dtype(name): getattr(torch, name)
    for name in (
        *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"),
    )
} | {
    np.dtype(getattr(ml_dtypes, name)): getattr(torch, name)
    for name in (
        *("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2"),
        *("float8_e5m2fnuz", "float8_e8m0fnu"),
    )
}
_BY_TORCH = {ours: theirs for theirs, ours in _BY_NUMPY.items()}


class _Shared(SpikeTensor):
    """A tensor on memory of torch's, which goes on for as long, and as long as what is
    made of it."""

    __slots__ = ("_keeps",)

    _keeps: Any  # a torch.Tensor

    def _and_keep(self, tensor: Any) -> Self:
        tensor.__spike_keep__()
        self._keeps = tensor
        return self

    def __spike_written__(self) -> None:
        """A kernel has written into it."""
        self._keeps.__spike_written__()

    def slice(
        self, start: int = 0, stop: int | None = None, name: str | None = None
    ) -> Self:
        return super().slice(start, stop, name)._and_keep(self._keeps)

    def reshape(self, *shape: Any) -> Self:
        return super().reshape(*shape)._and_keep(self._keeps)

    def view(self, dtype: npt.DTypeLike) -> Self:
        return super().view(dtype)._and_keep(self._keeps)


class TensorInfo(NamedTuple):
    """What libnrt knows a tensor's memory by.

    Attributes:
        tensor: the memory from the address on, up to the end of what torch allocated.
        core_id: the core that it is on.
    """

    tensor: NrtTensor
    core_id: int


def torch_dtype(dtype: npt.DTypeLike) -> torch.dtype:
    """torch's name of a dtype of NumPy's.

    Raises:
        TypeError: torch has none.
    """
    found = _BY_NUMPY.get(np.dtype(dtype))
    if found is None:
        raise TypeError(f"torch has no dtype {dtype}")
    return found


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    """NumPy's (or ml_dtypes') dtype of torch's.

    Raises:
        TypeError: there is none.
    """
    found = _BY_TORCH.get(dtype)
    if found is None:
        raise TypeError(f"NumPy has no dtype {dtype}")
    return found


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """A tensor's elements as an array, which may share the memory of one of the CPU's.

    Raises:
        TypeError: neither NumPy nor ml_dtypes has the dtype.
    """
    dtype = numpy_dtype(tensor.dtype)
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    elements = flat.view(torch.uint8).numpy().view(dtype) if len(flat) else ()
    return np.asarray(elements, dtype).reshape(tensor.shape)


def get_tensor_info(data_ptr: int) -> TensorInfo:
    """What is at an address, as ``tensor.data_ptr()`` returns it.

    The memory is the tensor's: when torch has freed that, others may have it.

    Raises:
        TypeError: `data_ptr` is no int.
        ValueError: no tensor on the device is there.
    """
    if not isinstance(data_ptr, int):
        raise TypeError(f"data_ptr is an address, an int: got {data_ptr!r}")
    if not 0 <= data_ptr < 1 << 64:
        raise ValueError(f"no tensor on {NAME} is at the address {data_ptr}")
    return TensorInfo(*_C.nrt_tensor_at(data_ptr))


def get_nrt_tensor(tensor: torch.Tensor) -> NrtTensor:
    """libnrt's tensor of a contiguous tensor's elements, sharing its memory.

    It does not keep the memory: when torch has freed that, others may have it.

    Raises:
        TypeError: it is no tensor on the device.
        ValueError: its elements do not follow each other, or there are none.
    """
    return _memory_of(tensor, "torch")


def to_spike(tensor: torch.Tensor, name: str = "torch") -> SpikeTensor:
    """A SpikeTensor that shares a contiguous tensor's memory, and keeps it.

    Raises:
        TypeError: it is no tensor on the device, or NumPy has no such dtype.
        ValueError: its elements do not follow each other, or there are none.
        RuntimeError: it requires grad, where gradients are computed.
    """
    _require_device(tensor)
    if torch.is_grad_enabled() and tensor.requires_grad:
        raise RuntimeError(
            "Can't call to_spike() on Tensor that requires grad. Use "
            "spike_torch.to_spike(tensor.detach()) instead."
        )
    dtype = numpy_dtype(tensor.dtype)
    part = _memory_of(tensor, name)
    return _Shared(part, tuple(tensor.shape), dtype, name)._and_keep(tensor.detach())


def _memory_of(tensor: torch.Tensor, name: str) -> NrtTensor:
    _require_device(tensor)
    if not tensor.is_contiguous() or tensor.is_conj() or tensor.is_neg():
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} with strides {tensor.stride()} "
            "is no one piece of memory: call .contiguous() first"
        )
    if tensor.numel() == 0:
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} has no elements, and no memory"
        )
    memory = get_tensor_info(tensor.data_ptr()).tensor
    return memory.slice(0, tensor.numel() * tensor.itemsize, name)


def from_spike(tensor: SpikeTensor) -> torch.Tensor:
    """A torch tensor that shares a SpikeTensor's memory, and keeps it.

    Raises:
        TypeError: it is no SpikeTensor, or torch has no such dtype.
        RuntimeError: it was freed.
    """
    if not isinstance(tensor, SpikeTensor):
        raise TypeError(f"expected a SpikeTensor, got {type(tensor).__name__}")
    sizes = list(tensor.shape)
    dtype = torch_dtype(tensor.dtype)
    core = tensor.tensor_ref.core_id
    if math.prod(sizes) == 0:
        return torch.empty(sizes, dtype=dtype, device=torch.device(NAME, core))
    kept = getattr(tensor, "_keeps", None)
    if kept is not None:
        return _part_of(kept, tensor, dtype)
    share = _C.share_of(tensor.tensor_ref)
    return torch.ops.spike_torch.attached(share, sizes, dtype)


def _part_of(
    kept: torch.Tensor, tensor: SpikeTensor, dtype: torch.dtype
) -> torch.Tensor:
    """What lies where `tensor` does, as a view of the torch tensor that it is of.

    Raises:
        RuntimeError: the memory was freed, or given to another tensor.
    """
    first = tensor.tensor_ref.va - kept.data_ptr()
    if tensor.is_freed or not 0 <= first <= kept.nbytes - tensor.nbytes:
        raise RuntimeError(f"{tensor!r} was freed, and has no memory to share")
    data = kept.detach().view(-1).view(torch.uint8)
    return data[first : first + tensor.nbytes].view(dtype).view(list(tensor.shape))


def _require_device(tensor: torch.Tensor) -> None:
    if not isinstance(tensor, torch.Tensor) or tensor.device.type != NAME:
        found = getattr(tensor, "device", type(tensor).__name__)
        raise TypeError(f"expected a tensor on {NAME!r}, got {found}")
