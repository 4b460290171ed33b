"""What a kernel is called with: arrays, which become tensors, and all else.

Tensors lie in the caller's own memory where it is in C's order, so that what a kernel
writes to them is there. Otherwise it is copied there at the end.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import CHIPS
from nkipy.shared_elements import has_shared_elements
from nkipy_nki.dtypes import as_outside, narrow, tensor_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.on_device import answer_of, made_beside, overlap, store, values_at

__all__ = [
    "Argument",
    "Arguments",
    "ArraySpec",
    "WrongCallError",
    "as_numpy",
    "is_array",
    "share_memory",
]

#: torch's types that NumPy has not, stored as integers of as many bytes.
_TORCH = {
    "torch.bfloat16": ("int16", ml_dtypes.bfloat16),
    "torch.float8_e4m3fn": ("int8", ml_dtypes.float8_e4m3fn),
    "torch.float8_e5m2": ("int8", ml_dtypes.float8_e5m2),
}


@dataclass(frozen=True)
class ArraySpec:
    """An array of which only shape and dtype are known.

    Attributes:
        shape: its shape.
        dtype: its dtype, NumPy's or ml_dtypes'.
        of: whatever it stands for.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    of: Any = None


@dataclass(eq=False)
class Argument:
    """One array among the arguments.

    Attributes:
        name: the parameter's; of a part of one, with where it is: ``"w[1]"``.
        given: what the caller gave.
        array: its values in C's order: the caller's memory, or a copy. Of an
            :class:`ArraySpec`, that itself.
        dtype: the caller's, however the values are kept.
        shares: the names of others whose arrays have memory in common with it.
    """

    name: str
    given: Any
    array: Any
    dtype: np.dtype
    shares: list[str] = field(default_factory=list)

    @cached_property
    def why_unwritable(self) -> str:
        """Why nobody may write to the caller's array, and the way out; or ""."""
        if isinstance(self.array, ArraySpec):
            return ""
        mine = as_numpy(self.given, self.name)
        if not mine.flags.writeable:
            return f"whose array is read-only: give {self.name}.copy()"
        if has_shared_elements(mine):
            way = "np.ascontiguousarray({})"
            if _is_torch(self.given):
                way = "{}.contiguous()"
            return (
                f"whose array has elements that share memory (its strides are "
                f"{list(mine.strides)} bytes): give {way.format(self.name)}"
            )
        if self.shares:
            return (
                f"whose array shares memory with the argument {self.shares[0]}: give a "
                "copy of one of them"
            )
        return ""

    def widen(self) -> None:
        """Keep its values in float32, apart from the caller's array."""
        self.array = self.array.astype(np.float32, copy=False)

    def write_back(self) -> None:
        """Let the caller's array have what the tensor has, where it is a copy."""
        if self.why_unwritable:
            return
        mine = as_numpy(self.given, self.name)
        self._store_in(mine)
        if answer_of(self.given) is not None:
            store(self.given, mine)

    def _store_in(self, mine: np.ndarray) -> None:
        stored = tensor_dtype(mine.dtype, mine.shape)
        is_copy = not np.shares_memory(mine, self.array)
        if self.array.dtype != stored.element:
            mine[...] = narrow(self.array, stored)
        elif is_copy or stored.outside != stored.element:
            mine[...] = as_outside(self.array, stored)


class WrongCallError(TypeError):
    """A kernel is called with other arguments than it takes."""


class Arguments:
    """The arguments of a call.

    Args:
        function: the kernel's.
        args: by position.
        kwargs: by name.

    Attributes:
        arrays: the arrays, in the order of the parameters.

    Raises:
        WrongCallError: the kernel does not take them; it is a TypeError.
        NkiValidationError: the language has no such element type.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self._signature = inspect.signature(function)
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(function, "__name__", "")
            raise WrongCallError(f"kernel {name}: {error}") from None
        self._values = dict(bound.arguments)
        self.arrays: list[Argument] = []
        for name, value in self._values.items():
            self._collect(name, value)
        self._find_shared()

    def _find_shared(self) -> None:
        """Find arrays that have memory in common: of tensors, none has."""
        held = [
            (one, as_numpy(one.given, one.name))
            for one in self.arrays
            if not isinstance(one.array, ArraySpec)
        ]
        for (one, mine), (other, its) in combinations(held, 2):
            if share_memory(one.given, mine, other.given, its):
                one.shares.append(other.name)
                other.shares.append(one.name)

    def _collect(self, name: str, value: Any) -> None:
        if is_array(value):
            self.arrays.append(Argument(name, value, *_in_order(value, name)))
        elif isinstance(value, (tuple, list)):
            for i, part in enumerate(value):
                self._collect(f"{name}[{i}]", part)
        elif isinstance(value, Mapping):
            for key, part in value.items():
                self._collect(f"{name}[{key!r}]", part)

    def call(self, function: Callable[..., Any], tensors: list[Any]) -> Any:
        """Call a kernel with a tensor for each array; lists are tuples for it."""
        left = iter(tensors)
        made = {name: _replace(v, left) for name, v in self._values.items()}
        bound = inspect.BoundArguments(self._signature, made)
        return function(*bound.args, **bound.kwargs)

    def write_back(self) -> None:
        """Let the caller's arrays have what the kernel wrote to their tensors."""
        for argument in self.arrays:
            argument.write_back()

    def as_given(self, array: np.ndarray) -> Any:
        """A result, of the kind that the arrays are of: torch's, or NumPy's.

        Torch's is on the device that the first tensor which is on one is on.
        """
        for argument in self.arrays:
            made = made_beside(argument.given, array)
            if made is not None:
                return made
        if any(_is_torch(argument.given) for argument in self.arrays):
            return _as_torch(array)
        return array


def share_memory(one: Any, mine: np.ndarray, other: Any, its: np.ndarray) -> bool:
    """Whether two arrays have memory in common; `mine`, `its`: NumPy's of them."""
    there, elsewhere = answer_of(one), answer_of(other)
    if there is None or elsewhere is None:
        return bool(np.may_share_memory(mine, its) and np.shares_memory(mine, its))
    return overlap(there, elsewhere)


def is_array(value: Any) -> bool:
    """Whether a tensor is made of an argument."""
    if isinstance(value, np.generic):
        return False
    return isinstance(value, (np.ndarray, ArraySpec)) or hasattr(value, "__array__")


def _replace(value: Any, tensors: Any) -> Any:
    if is_array(value):
        return next(tensors)
    if isinstance(value, (tuple, list)):
        return tuple(_replace(part, tensors) for part in value)
    if isinstance(value, Mapping):
        return {key: _replace(part, tensors) for key, part in value.items()}
    return value


def _in_order(value: Any, name: str) -> tuple[Any, np.dtype]:
    """An argument's values in C's order, and their dtype.

    They are as the language's element type stores them.
    """
    if isinstance(value, ArraySpec):
        array: Any = value
    else:
        array = as_numpy(value, name)
    if array.shape == ():
        raise NkiValidationError(
            f"argument {name} has no dimension: give a number, or an array of one "
            "element in one dimension"
        )
    if 0 in array.shape:
        raise NkiValidationError(
            f"argument {name} has the shape {list(array.shape)}, and no elements: a "
            "tensor has elements"
        )
    try:
        stored = tensor_dtype(array.dtype, array.shape)
    except NkiValidationError as error:
        raise NkiValidationError(
            f"argument {name}: {error}; {_way_out(array.dtype, value, name)}"
        ) from None
    if isinstance(array, ArraySpec):
        return array, array.dtype
    return _as_one_piece(array, name).view(stored.element), array.dtype


def _as_one_piece(array: np.ndarray, name: str) -> np.ndarray:
    """An array in C's order: itself, or a copy.

    Raises:
        NkiValidationError: the copy is larger than a chip's memory, or this machine's.
    """
    if array.flags.c_contiguous:
        return array
    most = max(chip.hbm_bytes for chip in CHIPS)
    problem = f"argument {name} is {array.nbytes} bytes, of the shape "
    problem += f"{list(array.shape)}, and must be copied, as it is not in C's order"
    if array.nbytes > most:
        raise NkiValidationError(f"{problem}: no chip has more than {most} bytes")
    try:
        return np.ascontiguousarray(array)
    except MemoryError as error:
        raise NkiValidationError(f"{problem}: {error}") from error


#: By kind of dtype, what an array is converted to, or made of.
_WAYS = {
    "i": "convert it first, as in {}.astype(np.int32)",
    "u": "convert it first, as in {}.astype(np.uint32)",
    "c": "give two arrays, {0}.real and {0}.imag",
    **dict.fromkeys("USMmO", "give an array of numbers"),
}


def _way_out(dtype: np.dtype, given: Any, name: str) -> str:
    """What to do about an array of a dtype that the language has not."""
    if dtype.names:
        return f"give an array for each field, as {name}[{dtype.names[0]!r}]"
    way = _WAYS.get(dtype.kind, "convert it first, as in {}.astype(np.float32)")
    if _is_torch(given):
        way = way.replace(".astype(np.", ".to(torch.")
    return way.format(name)


def as_numpy(value: Any, name: str = "") -> np.ndarray:
    """An array as NumPy's, in the same memory where that can be; not on a device.

    Raises:
        NkiValidationError: it has a mask, or torch would compute gradients of it, or
            cannot give its elements.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise NkiValidationError(
            f"argument {name} is a masked array, and a tensor has no mask: give two "
            f"arrays, {name}.data and {name}.mask, or {name}.filled()"
        )
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    answer = answer_of(value)
    if answer is not None:
        return values_at(answer)
    if not _is_torch(value):
        return np.asarray(value)
    if value.requires_grad and sys.modules["torch"].is_grad_enabled():
        raise NkiValidationError(
            f"argument {name} requires grad, and what a kernel computes has no "
            f"gradients: give {name}.detach(), or call it under torch.no_grad()"
        )
    value = value.detach()
    if value.device.type != "cpu":
        raise NkiValidationError(
            f"argument {name} is on the device {value.device}: call .cpu() first"
        )
    stored = _TORCH.get(str(value.dtype))
    try:
        if stored is None:
            return np.asarray(value.numpy())
        integers = getattr(sys.modules["torch"], stored[0])
        return np.asarray(value.view(integers).numpy()).view(stored[1])
    except (RuntimeError, TypeError) as error:  # it is sparse, or its negative is meant
        raise NkiValidationError(
            f"argument {name} is a tensor of torch's whose elements NumPy cannot be "
            f"given: {error}"
        ) from error


def _is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def _as_torch(array: np.ndarray) -> Any:
    torch = sys.modules["torch"]
    for name, (integers, dtype) in _TORCH.items():
        if array.dtype == dtype:
            made = torch.from_numpy(array.view(integers))
            return made.view(getattr(torch, name.partition(".")[2]))
    return torch.from_numpy(array)
