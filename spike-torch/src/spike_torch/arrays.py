"""spike's device-array protocol, as torch's tensors speak it.

With the device, ``torch.Tensor`` gets the methods that kernels ask for: where a tensor
lies (None for one that is on no core), that it was written into, and a tensor for a
result. `spike.device_array` has what they mean.

What this needs of spike and ml_dtypes is imported with the first use, for which
``import torch`` is not to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

import spike_torch._C as _C

if TYPE_CHECKING:
    import numpy as np

    from spike import NrtTensor
    from spike.device_array import SpikeArray


def speak_protocol() -> None:
    """Have every tensor of torch's answer."""
    tensors: Any = torch.Tensor
    _C.speak_protocol(tensors, _array_of)
    tensors.__spike_empty__ = _empty_beside


def _array_of(tensor: torch.Tensor, memory: NrtTensor, token: int) -> SpikeArray:
    from spike.device_array import SpikeArray
    from spike_torch.tensors import numpy_dtype

    size = tensor.itemsize
    strides = tuple(size * stride for stride in tensor.stride())
    shape, dtype = tuple(tensor.shape), numpy_dtype(tensor.dtype)
    return SpikeArray(memory, 0, shape, strides, dtype, memory.core_id, token)


def _empty_beside(
    tensor: torch.Tensor, shape: tuple[int, ...], dtype: np.dtype
) -> torch.Tensor:
    """A tensor on the same core, whatever it holds."""
    from spike_torch.tensors import torch_dtype

    return torch.empty(shape, dtype=torch_dtype(dtype), device=tensor.device)
