"""Arrays in device memory."""

from __future__ import annotations

import importlib
import operator
import warnings
from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import spike
from nkipy.core import dtypes as dt
from nkipy.core.errors import NKIPyOverflowError, refuse_other_meaning
from nkipy.execution.device_arrays import SILENT
from nkipy.runtime.ranks import set_up_runtime
from spike import SpikeTensor
from spike.device_array import SpikeArray, spike_array

if TYPE_CHECKING:
    from typing_extensions import Self

_BY_NAME = {dtype.name: dtype for dtype in dt.SUPPORTED}
_NARROWER = {"int64": "int32", "uint64": "uint32", "float64": "float32"}

set_up_runtime()


class DeviceTensor(SpikeTensor):
    """An array in the memory of a NeuronCore.

    Has the dtypes that kernels have: 64-bit arrays are narrowed to 32 bits, with a
    warning, when they are taken over. It may have no dimensions, or no elements.

    Attributes:
        shape: tuple of ints.
        dtype: a NumPy dtype, ml_dtypes' included.
        name: what a person calls it, or None.
        tensor_ref: the runtime library's tensor, which has one byte where the array
            has none.
    """

    __slots__ = ()

    #: Where `torch` has its tensor by default.
    _torch_device = "cpu"

    if TYPE_CHECKING:
        dtype: np.dtype[Any]

    @classmethod
    def empty(
        cls,
        shape: int | Sequence[int],
        dtype: npt.DTypeLike = np.float32,
        name: str | None = None,
        core_id: int = 0,
    ) -> Self:
        """Memory for an array; what it holds is undefined.

        Args:
            shape: an int, or a sequence of ints.
            dtype: anything that names a dtype.
            name: for people, and for the runtime's own messages.
            core_id: the core, counted among the visible ones.

        Raises:
            TypeError: the device does not have the dtype.
            NrtError: there is no memory left, or no such core.
        """
        shape, dtype = _as_shape(shape), _narrow(np.dtype(dtype))
        size = max(prod(shape) * dtype.itemsize, 1)
        ref = spike.get_spike_singleton().allocate_tensor(size, core_id, name)
        return cls(ref, shape, dtype, name)

    @classmethod
    def zeros(
        cls,
        shape: int | Sequence[int],
        dtype: npt.DTypeLike = np.float32,
        name: str | None = None,
        core_id: int = 0,
    ) -> Self:
        """An array of zeros. Arguments and errors as for :meth:`empty`."""
        made = cls.empty(shape, dtype, name, core_id)
        made.tensor_ref.fill(0)
        return made

    @classmethod
    def from_numpy(
        cls, array: npt.ArrayLike, name: str | None = None, core_id: int = 0
    ) -> Self:
        """A copy of `array`, or of what NumPy makes an array of, on the device.

        Raises:
            TypeError: the device does not have the dtype, or the array's class computes
                otherwise than an ndarray does.
            OverflowError: an integer of 64 bits is out of range for 32.
        """
        array = _as_plain(array)
        dtype = _narrow(array.dtype)
        _check_range(array, dtype)
        array = array.astype(dtype, copy=False)
        made = cls.empty(array.shape, array.dtype, name, core_id)
        made._write(array)
        return made

    @classmethod
    def from_torch(
        cls, tensor: Any, name: str | None = None, core_id: int | None = None
    ) -> Self:
        """A torch tensor on the device: a copy of one on the host; of one that is on
        the device the same memory, which this keeps.

        Args:
            tensor: the tensor.
            name: for people, and for the runtime's own messages.
            core_id: the core, counted among the visible ones: by default 0, and that of
                a tensor on the device.

        Raises:
            ImportError: torch is not installed.
            TypeError: the device does not have the dtype.
            OverflowError: an integer of 64 bits is out of range for 32.
            ValueError: a tensor on the device is on another core, or its elements do
                not lie one after another.
            RuntimeError: a tensor on the device requires grad, where gradients are
                computed.
        """
        array = spike_array(tensor)
        if array is not None:
            return cls._sharing(tensor, array, name, core_id)  # type: ignore[return-value]
        tensor = _narrowed_torch(tensor)
        dtype = _dtype_of_torch(tensor)
        made = cls.empty(tuple(tensor.shape), dtype, name, core_id or 0)
        made._write(_bytes_of_torch(tensor))
        return made

    @staticmethod
    def _sharing(
        tensor: Any, array: SpikeArray, name: str | None, core_id: int | None
    ) -> TorchDeviceTensor:
        if array.dtype not in dt.SUPPORTED:
            raise TypeError(
                f"a tensor on the device shares its memory as it is, and kernels have "
                f"no {array.dtype.name}: convert it, or give tensor.cpu()"
            )
        if core_id not in (None, array.core_id):
            raise ValueError(
                f"the tensor is on core {array.core_id}, and cannot share its memory "
                f"with one on core {core_id}"
            )
        if not array.is_contiguous:
            raise ValueError(
                f"a tensor of shape {array.shape} with strides of {array.strides} "
                "bytes is no one piece of memory: call .contiguous() first"
            )
        part = array.tensor.slice(
            name=name
        )  # which close() frees, and not the tensor's
        made = TorchDeviceTensor(part, array.shape, array.dtype, name)
        return made._and_keep(tensor.detach())

    def numpy(self, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """A copy on the host, in `out` if given: C-contiguous, this shape and dtype."""
        if self.nbytes:
            return super().numpy(out)
        return np.empty(self.shape, self.dtype) if out is None else out

    def torch(self, device: Any = None) -> Any:
        """The array as a torch tensor: on the host a copy, on the device the same
        memory.

        Args:
            device: ``"cpu"`` or ``"nkipy"``. By default it is where `from_torch` had
                the tensor that this is of, and the host if it is of none.

        Raises:
            ImportError: torch is not installed; on the device, spike-torch.
            TypeError: torch does not have the dtype.
            ValueError: it is on another device.
            RuntimeError: the memory was freed.
        """
        torch = _torch()
        wanted = self._torch_device if device is None else str(device)
        if wanted != "cpu":
            return self._shared_torch(wanted)
        dtype = getattr(torch, self.dtype.name, None)
        if dtype is None:
            raise TypeError(f"torch has no dtype {self.dtype.name}")
        made = torch.empty(self.shape, dtype=dtype, device="cpu")
        self._read(made.reshape(-1).view(torch.uint8).numpy())
        return made

    def _shared_torch(self, device: str) -> Any:
        if device not in ("nkipy", f"nkipy:{self.core_id}"):
            raise ValueError(
                f"the tensor is on core {self.core_id}: it can be a torch tensor on "
                f"cpu, or on nkipy:{self.core_id}, and not on {device}"
            )
        try:
            spike_torch = importlib.import_module("spike_torch")
        except ImportError as error:
            raise ImportError(
                f"spike-torch is not available ({error}); install it to have torch "
                "tensors on the device"
            ) from error
        return spike_torch.from_spike(self)

    def write_from_numpy(self, array: npt.ArrayLike) -> None:
        """Overwrite the array, with as many elements of the same dtype.

        Raises:
            ValueError: it has another number of bytes.
            TypeError: it has another dtype (one of 64 bits is narrowed), or its class
                computes otherwise than an ndarray does.
            OverflowError: an integer of 64 bits is out of range for 32.
        """
        array = _as_plain(array)
        if dt.narrow(array.dtype) == self.dtype:
            _check_range(array, self.dtype)
            array = array.astype(self.dtype, copy=False)
        self._check_source(array.nbytes, array.dtype)
        self._write(array)

    def write_from_torch(self, tensor: Any) -> None:
        """Overwrite the array. Errors as for :meth:`write_from_numpy`."""
        tensor = _narrowed_torch(tensor)
        raw = _bytes_of_torch(tensor)
        self._check_source(raw.nbytes, _dtype_of_torch(tensor))
        self._write(raw)

    def _check_source(self, nbytes: int, dtype: np.dtype) -> None:
        if nbytes != self.nbytes:
            raise ValueError(
                f"Size mismatch: source {nbytes} bytes, target {self.nbytes} bytes"
            )
        if dtype != self.dtype:
            raise TypeError(
                f"dtype mismatch: source {dtype.name}, target {self.dtype.name}"
            )

    def _write(self, array: np.ndarray) -> None:
        if array.size:
            self.tensor_ref.write(np.ascontiguousarray(array))

    def _read(self, array: np.ndarray) -> None:
        if array.size:
            self.tensor_ref.read_into(array, 0, array.nbytes)


SILENT.add(DeviceTensor)


class TorchDeviceTensor(DeviceTensor):
    """One on the memory of a torch tensor on the device.

    It keeps that tensor, and so does what is made of it. A kernel that writes into it
    is an in-place operation to autograd.
    """

    __slots__ = ("_keeps",)
    _torch_device = "nkipy"

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
        """Rows start to stop; see :meth:`spike.SpikeTensor.slice`."""
        return super().slice(start, stop, name)._and_keep(self._keeps)

    def reshape(self, *shape: Any) -> Self:
        """Under another shape; see :meth:`spike.SpikeTensor.reshape`."""
        return super().reshape(*shape)._and_keep(self._keeps)

    def view(self, dtype: npt.DTypeLike) -> Self:
        """As another dtype; see :meth:`spike.SpikeTensor.view`."""
        return super().view(dtype)._and_keep(self._keeps)


def _as_plain(array: Any) -> np.ndarray:
    refuse_other_meaning(array, "the array")
    return np.asarray(array)


def _as_shape(shape: Any) -> tuple[int, ...]:
    try:
        made: tuple[int, ...] = (operator.index(shape),)
    except TypeError:
        if not isinstance(shape, Iterable):
            raise
        made = tuple(map(operator.index, shape))
    if any(n < 0 for n in made):
        raise ValueError(f"a shape has no negative dimensions, but received {made}")
    return made


def _check_range(array: np.ndarray, dtype: np.dtype) -> None:
    """Refuse integers that `dtype`, to which they are to be narrowed, cannot hold."""
    if not dt.fits(array, dtype):
        raise NKIPyOverflowError(
            f"the array holds values out of range for {dtype.name}, to which "
            f"{array.dtype.name} is narrowed"
        )


def _narrow(dtype: np.dtype) -> np.dtype:
    narrow = dt.narrow(dtype)
    if narrow.itemsize != dtype.itemsize:
        _warn_narrowed(dtype.name, narrow.name)
    return narrow


def _warn_narrowed(wide: str, narrow: str) -> None:
    warnings.warn(
        f"the device does not have {wide}; the array is converted to {narrow}",
        UserWarning,
        stacklevel=4,
    )


# ------------------------------------------------------------------------------- torch


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise ImportError(
            "torch is not available; install it to move torch tensors to the device"
        ) from None


def _narrowed_torch(tensor: Any) -> Any:
    """`tensor` on the host, contiguous, of 32 bits where it had 64."""
    torch = _torch()
    tensor = tensor.detach().cpu().contiguous()
    wide = _torch_name(tensor)
    if wide in _NARROWER:
        _warn_narrowed(wide, _NARROWER[wide])
        _check_range(tensor.numpy(), np.dtype(_NARROWER[wide]))
        tensor = tensor.to(getattr(torch, _NARROWER[wide]))
    return tensor


def _torch_name(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _dtype_of_torch(tensor: Any) -> np.dtype:
    name = _torch_name(tensor)
    if name not in _BY_NAME:
        raise TypeError(f"unsupported dtype torch.{name}")
    return _BY_NAME[name]


def _bytes_of_torch(tensor: Any) -> np.ndarray:
    """The memory of a contiguous tensor on the host. NumPy lacks some of its dtypes."""
    return tensor.reshape(-1).view(_torch().uint8).numpy()
