"""Which arguments of a kernel become parameters of its program, and how."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from operator import index
from typing import Any, NoReturn

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend import _active_ctx
from nkipy.core.backend._source import caller_location, warn_caller
from nkipy.core.backend.hlo import HLOTraceContext, leaked
from nkipy.core.errors import (
    LeakedTracerError,
    NKIPyError,
    NKIPyTypeError,
    refuse_other_meaning,
)
from nkipy.core.tensor import NKIPyTensorRef, as_traced, layout_with, tensor_of
from nkipy.core.tree import Path, path_name

#: Of a parameter, in characters; what is longer ends in a digest instead.
_LONGEST_NAME = 160


class ShapeDtype:
    """The shape and dtype of an array that need not exist.

    It stands for an array where only these matter: in :meth:`NKIPyKernel.specialize`,
    :func:`trace_function`, and the ``lower()`` and ``hlo()`` of jitted kernels. So does
    any other object with a shape and a dtype.

    Args:
        shape: the dimensions, or one of them.
        dtype: anything that names a dtype, those of ml_dtypes included.

    Raises:
        TypeError: a dimension is no integer, or there is no such dtype.
        ValueError: a dimension is negative.
    """

    # Not a dataclass: those are containers to the tree functions.
    __slots__ = ("_shape", "_dtype")

    def __init__(self, shape: int | Sequence[int], dtype: Any) -> None:
        dims = shape if isinstance(shape, Sequence) else (shape,)
        self._shape = tuple(map(index, dims))
        if any(d < 0 for d in self._shape):
            raise ValueError(f"a dimension is negative in shape {self._shape}")
        self._dtype = dt.as_dtype(dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return self._shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the elements."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShapeDtype):
            return NotImplemented
        return (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"ShapeDtype({self.shape}, {self.dtype.name})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(
            f"{self!r} has no values: it can be traced, as lower() does, and not run"
        )


def is_array_like(value: Any) -> bool:
    """Whether `value` becomes a parameter: an array, or has a shape and a dtype.

    NumPy scalars do not: they are static, as Python's are.
    """
    if isinstance(value, np.ndarray):
        return True
    if isinstance(value, (np.generic, type)):
        return False
    try:
        # The shape of a mock object, which has every attribute, is a mock object.
        shape = getattr(value, "shape", None)
        return isinstance(shape, (tuple, list)) and hasattr(value, "dtype")
    except Exception:  # of a __getattr__ that does not raise AttributeError
        return False


def array_dtype(array: Any, name: str) -> np.dtype:
    """NumPy's dtype of argument `array`.

    Arrays on a device may have names of their own for dtypes, as torch's have: those
    answer what it is (see :mod:`spike.device_array`).

    Raises:
        TypeError: it is none of NumPy's, nor of an array on a device.
    """
    try:
        return np.dtype(array.dtype)
    except TypeError as error:
        require_array(array, name)
        answer = _on_device(array)
        if answer is None:
            raise NKIPyTypeError(f"argument '{name}': {error}") from None
        dtype: np.dtype = answer.dtype
        return dtype


def require_array(array: Any, name: str) -> None:
    """Refuse what could be on a device, and is not.

    Raises:
        TypeError: it is a tensor of torch's on the host.
    """
    if hasattr(type(array), "__spike_array__") and _on_device(array) is None:
        raise NKIPyTypeError(
            f"argument '{name}' is a {type(array).__name__} on "
            f"{getattr(array, 'device', 'the host')}, and kernels take NumPy's arrays "
            "and tensors on a NeuronCore: pass its .numpy(), or move it there"
        )


def _on_device(array: Any) -> Any:
    describe = getattr(type(array), "__spike_array__", None)
    return None if describe is None else describe(array)


def _sanitize_array_dtype(arr: Any, name: str = "") -> Any:
    """`arr`, or a copy narrowed to 32 bits, with one warning that names the argument.

    Raises:
        TypeError: the dtype has no counterpart on the device.
    """
    dtype = parameter_dtype(arr, name)
    return arr if dtype == arr.dtype else arr.astype(dtype)


def parameter_dtype(array: Any, name: str) -> np.dtype:
    """The dtype that argument `array` has on the device; warns where it is narrower."""
    if type(array) is np.ndarray and dt.is_supported(array.dtype):
        return array.dtype
    refuse_other_meaning(array, f"argument '{name}'")
    own = array_dtype(array, name)
    try:
        dtype = dt.narrow(own)
    except TypeError as error:
        raise NKIPyTypeError(f"argument '{name}': {error}") from None
    # What lies on a device is not converted: the call says what it takes instead.
    if dtype.itemsize != own.itemsize and _on_device(array) is None:
        warn_caller(
            f"argument '{name}' has dtype {own.name}, which the device does not have; "
            f"it is converted to {dtype.name}"
        )
    return dtype


def _digest(name: str) -> str:
    import hashlib  # takes milliseconds, for names that hardly a kernel has

    return hashlib.sha256(name.encode()).hexdigest()[:16]


class UniqueNames:
    """Names the arrays among a call's arguments, which are met in their order."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, path: Path) -> str:
        """The name of the next array, which stands at `path`."""
        name = path_name(path)
        if len(name) > _LONGEST_NAME:  # a compiler may make files of that name
            name = f"{name[:_LONGEST_NAME]}_{_digest(name)}"
        unique, n = name, 1
        while unique in self._taken:
            unique, n = f"{name}_{n}", n + 1
        self._taken.add(unique)
        return unique


class Parameters:
    """Makes a parameter of each array among the arguments, under a unique name."""

    def __init__(self, ctx: HLOTraceContext) -> None:
        self.ctx = ctx
        self.name_of = UniqueNames()
        self.paths: list[Path] = []
        #: Whether an array lies in memory otherwise than C-contiguous ones.
        self.has_strided = False
        self.tensors: list[NKIPyTensorRef] = []

    def __call__(self, path: Path, leaf: Any) -> Any:
        if type(leaf) is not np.ndarray:  # most are
            leaf = as_traced(leaf)
            if isinstance(leaf, NKIPyTensorRef):
                raise _passed_on(leaf, path_name(path))
            if not is_array_like(leaf):
                return leaf
        name = self.name_of(path)
        dtype = parameter_dtype(leaf, name)
        inst = self.ctx.module.add_parameter(tuple(leaf.shape), dtype, name)
        tensor = tensor_of(self.ctx, inst)
        tensor._name = name
        if isinstance(leaf, np.ndarray) and not leaf.flags.c_contiguous:
            tensor._laid = _laid_out(leaf, dtype)
            self.has_strided = True
        self.paths.append(path)
        self.tensors.append(tensor)
        return tensor


def _laid_out(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A layout like the array's, of elements of `dtype`, which may be narrower."""
    own, strides = array.itemsize, array.strides
    if any(stride % own for stride in strides):  # fields of records, say
        return layout_with(array.shape, strides, own)
    size = dtype.itemsize
    return layout_with(array.shape, tuple(s // own * size for s in strides), size)


def _passed_on(tensor: NKIPyTensorRef, name: str) -> NKIPyError:
    """The error for a traced argument: the calling kernel's own, or a leaked one."""
    if tensor._ctx is not _active_ctx.get():
        return leaked(tensor)
    return LeakedTracerError(
        f"argument '{name}' is {tensor!r} of the kernel that makes this call, whose "
        "value is not known yet; within a kernel, call the plain function (a jitted "
        "kernel has it as .func)",
        location=caller_location(),
    )


def bind_arguments(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> inspect.BoundArguments:
    """Arguments by the name of the parameter that takes them, defaults included.

    Raises:
        TypeError: they do not fit the function's signature.
    """
    return bind(signature_of(func), func, args, kwargs)


def bind(
    signature: inspect.Signature,
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> inspect.BoundArguments:
    """As :func:`bind_arguments`, of a function whose signature is known."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{kernel_name(func)}() {error}") from None
    bound.apply_defaults()
    return bound


def kernel_name(func: Callable[..., Any]) -> str:
    """A name for any callable: partials and callable objects have none of their own."""
    name = getattr(func, "__name__", None)
    if name is None:
        inner = getattr(func, "func", None)
        name = kernel_name(inner) if inner is not None else type(func).__name__
    return name


def signature_of(func: Callable[..., Any]) -> inspect.Signature:
    """The signature of `func`; of ufuncs and builtins too, which have none."""
    inner = func
    while isinstance(inner, functools.partial):
        inner = inner.func
    if isinstance(inner, np.ufunc):  # whose defaults may not all be passed at once
        return _ANY_ARGUMENTS
    try:
        return inspect.signature(func)
    except ValueError:
        return _ANY_ARGUMENTS


_ANY_ARGUMENTS = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)
