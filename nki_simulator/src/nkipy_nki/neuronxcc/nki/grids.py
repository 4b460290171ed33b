"""Grids of programs: ``kernel[i, j](...)``."""

from __future__ import annotations

import math
from typing import Any

from nkipy_nki.control import num_programs as _count
from nkipy_nki.control import program_id as _id
from nkipy_nki.control import program_ndim as program_ndim
from nkipy_nki.errors import NkiValidationError

__all__ = ["nc", "num_programs", "program_id", "program_ndim", "spmd_dim"]


def program_id(axis: int) -> int:
    """Which program of the grid this is, along an axis."""
    return _id(axis)


def num_programs(axes: Any = None) -> Any:
    """How many programs there are along an axis; a tuple for several; None: in all."""
    if axes is None:
        return math.prod(_count(axis) for axis in range(program_ndim()))
    if isinstance(axes, (tuple, list)):
        return tuple(_count(axis) for axis in axes)
    return _count(axes)


class nc(int):
    """A number of cores, as a dimension of a grid: ``nl.nc(2)``.

    The simulator runs all programs of a grid on one core, one after the other.
    """

    def __mul__(self, other: Any) -> Any:
        return spmd_dim(self, other)


class spmd_dim(int):
    """A dimension of a grid, of two: of cores, and of programs on each."""

    def __new__(cls, *parts: Any) -> spmd_dim:
        count = 1
        for part in parts:
            count *= int(part)
        return super().__new__(cls, count)


def grid_of(given: Any) -> tuple[int, ...]:
    """The shape of a grid, as it is given in brackets.

    Raises:
        NkiValidationError: it is none.
    """
    parts = given if isinstance(given, tuple) else (given,)
    for part in parts:
        if isinstance(part, bool) or not hasattr(part, "__index__") or int(part) < 1:
            raise NkiValidationError(
                f"kernel[{given!r}]: a grid has positive whole numbers of programs"
            )
    return tuple(int(part) for part in parts)
