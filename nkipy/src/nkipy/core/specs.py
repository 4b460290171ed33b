"""Descriptions of kernels and of the arguments that they accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = [
    "CommonTypes",
    "InputSpec",
    "KernelSpec",
    "ScalarInputSpec",
    "ShapeSpec",
    "TensorInputSpec",
    "TypeSpec",
]

#: A size: exactly this one, any, or from a least to a greatest one (None is no limit).
Dim = int | None | tuple[int | None, int | None]


@dataclass
class ShapeSpec:
    """Shapes that an argument may have.

    Attributes:
        dims: what each dimension may be.
        default: an example, which is one of these shapes.

    Raises:
        ValueError: `default` is not one of these shapes.
    """

    dims: Sequence[Dim]
    default: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.default is not None and not self.is_valid(self.default):
            raise ValueError(
                f"default {self.default} is not one of the shapes {self.dims}"
            )

    def is_valid(self, shape: Sequence[int]) -> bool:
        """Whether `shape` is one of these shapes."""
        return len(shape) == len(self.dims) and all(map(_accepts, self.dims, shape))


def _accepts(dim: Dim, size: int) -> bool:
    if dim is None:
        return True
    if isinstance(dim, tuple):
        low, high = dim
        return (low is None or size >= low) and (high is None or size <= high)
    return size == dim


@dataclass
class TypeSpec:
    """Dtypes that an argument may have.

    Attributes:
        allowed: anything that names a dtype.
        default: an example, which is one of them.

    Raises:
        ValueError: `default` is not among `allowed`.
    """

    allowed: Sequence[Any]
    default: Any = None

    def __post_init__(self) -> None:
        if self.default is not None and not self.is_valid(self.default):
            raise ValueError(f"default {self.default} is not among {self.allowed}")

    def is_valid(self, dtype: Any) -> bool:
        """Whether `dtype` is one of these."""
        return np.dtype(dtype) in {np.dtype(d) for d in self.allowed}


@dataclass(kw_only=True)
class InputSpec:
    """An argument of a kernel.

    Attributes:
        dtype_spec: its dtypes.
        description: what it means.
        default_value: a value to call the kernel with, or None.
    """

    dtype_spec: TypeSpec
    description: str = ""
    default_value: Any = None


@dataclass(kw_only=True)
class ScalarInputSpec(InputSpec):
    """A scalar argument."""


@dataclass(kw_only=True)
class TensorInputSpec(InputSpec):
    """An array argument; `shape_spec` are its shapes."""

    shape_spec: ShapeSpec


@dataclass
class KernelSpec:
    """A kernel and its arguments.

    Attributes:
        function: the kernel.
        inputs: its arguments, in order.
        is_pure_numpy: whether it also runs as plain NumPy.
        description: what it computes.
    """

    function: Callable[..., Any]
    inputs: Sequence[InputSpec] = field(default_factory=tuple)
    is_pure_numpy: bool = True
    description: str = ""


class CommonTypes:
    """Dtypes that many kernels take."""

    FLOATS = TypeSpec([np.float32, np.float16], np.float32)
    INTS = TypeSpec([np.int8, np.int16, np.int32, np.int64], np.int32)
    BOOL = TypeSpec([np.bool_], np.bool_)
