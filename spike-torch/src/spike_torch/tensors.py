"""Tensors of torch's and of spike's on one memory."""

from __future__ import annotations

import math
from typing import NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch

import spike_torch._C as _C
from spike import NrtTensor, SpikeTensor
from spike_torch._name import NAME

_BY_NUMPY: dict[np.dtype, torch.dtype] = {
    np.dtype(name): getattr(torch, name)
    for name in (
        *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"),
    )
} | {
    np.dtype(ml_dtypes.bfloat16): torch.bfloat16,
    np.dtype(ml_dtypes.float8_e4m3fn): torch.float8_e4m3fn,
    np.dtype(ml_dtypes.float8_e5m2): torch.float8_e5m2,
}
_BY_TORCH = {ours: theirs for theirs, ours in _BY_NUMPY.items()}


class _Shared(SpikeTensor):
    """A tensor on memory of torch's, which goes on for as long."""

    __slots__ = ("_keeps",)

    def __init__(self, part: NrtTensor, tensor: torch.Tensor, name: str) -> None:
        super().__init__(part, tuple(tensor.shape), numpy_dtype(tensor.dtype), name)
        self._keeps = tensor


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
    return to_spike(tensor).tensor_ref


def to_spike(tensor: torch.Tensor, name: str = "torch") -> SpikeTensor:
    """A SpikeTensor that shares a contiguous tensor's memory, and keeps it.

    Raises:
        TypeError: it is no tensor on the device, or NumPy has no such dtype.
        ValueError: its elements do not follow each other, or there are none.
    """
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
    part = memory.slice(0, tensor.numel() * tensor.itemsize, name)
    return _Shared(part, tensor, name)


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
    if math.prod(sizes) == 0:
        core = tensor.tensor_ref.core_id
        return torch.empty(sizes, dtype=dtype, device=torch.device(NAME, core))
    share = _C.share_of(tensor.tensor_ref)
    return torch.ops.spike_torch.attached(share, sizes, dtype)


def _require_device(tensor: torch.Tensor) -> None:
    if not isinstance(tensor, torch.Tensor) or tensor.device.type != NAME:
        found = getattr(tensor, "device", type(tensor).__name__)
        raise TypeError(f"expected a tensor on {NAME!r}, got {found}")
