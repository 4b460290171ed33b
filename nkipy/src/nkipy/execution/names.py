"""Arrays by the names of a program's parameters and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nkipy.execution.errors import BindingError
from nkipy.hlo.arguments import describe
from nkipy.hlo.array_classes import other_meaning
from nkipy.hlo.dtypes import as_dtype
from nkipy.hlo.ir import TensorPlaceholder


def named(arrays: Mapping[str, Any] | None, what: str) -> Mapping[str, Any]:
    """What is to be bound, by name; none if that is not given.

    Raises:
        BindingError: it is no mapping.
    """
    return {} if arrays is None else _mapping(arrays, what)


def _mapping(arrays: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(arrays, Mapping):
        raise BindingError(
            f"{what} are given by name, as a mapping, but received {describe(arrays)}"
        )
    return arrays


def by_name(
    what: str, specs: Sequence[TensorPlaceholder], arrays: Mapping[str, Any]
) -> list[Any]:
    """The array of each of `specs`, in their order; None for those not in `arrays`.

    A parameter that is written into is known by its own name, and by that with the
    suffix that marks it in the module.

    Raises:
        BindingError: `arrays` has a name that none of them has, or both names of one,
            or is no mapping.
    """
    arrays = _mapping(arrays, "inputs" if what == "parameter" else "outputs")
    places = {spec.name: i for i, spec in enumerate(specs)}
    places |= {spec.original_name: i for i, spec in enumerate(specs)}
    made: list[Any] = [None] * len(specs)
    known_as: dict[int, str] = {}
    for name, array in arrays.items():
        place = places.get(name)
        if place is None:
            known = ", ".join(spec.original_name for spec in specs) or "none"
            raise BindingError(f"unknown {what} '{name}'; the program has: {known}")
        if place in known_as:
            raise BindingError(
                f"{what} '{specs[place].original_name}' is given twice, as "
                f"'{known_as[place]}' and as '{name}'"
            )
        known_as[place] = name
        made[place] = array
    return made


def host_array(array: Any, spec: TensorPlaceholder) -> np.ndarray:
    """`array` as a C-contiguous array, which must be of the shape and dtype of `spec`.

    One of the other byte order is copied into this machine's.

    Raises:
        BindingError: it is not, or its class computes otherwise than an ndarray does.
    """
    problem = other_meaning(array)
    if problem is not None:
        raise BindingError(f"parameter '{spec.original_name}' {problem}")
    try:
        made = np.asarray(array)
    except (TypeError, ValueError) as error:
        raise BindingError(
            f"parameter '{spec.original_name}' takes an array, but received "
            f"{describe(array)}: {error}"
        ) from error
    if (made.shape, made.dtype) != (spec.shape, spec.dtype):
        if (made.shape, as_dtype(made.dtype)) == (spec.shape, spec.dtype):
            return np.asarray(made, spec.dtype, order="C")
        raise BindingError(
            f"parameter '{spec.original_name}' is {array_text(made.dtype, made.shape)}"
            f", but the program takes {array_text(spec.dtype, spec.shape)}"
        )
    return np.asarray(made, order="C")


def array_text(dtype: np.dtype, shape: Sequence[int]) -> str:
    """An array in words: ``float32[2, 3]``, and a byte order that is not ours."""
    order = "" if dtype.isnative else f" of the other byte order ({dtype.str})"
    return f"{dtype.name}{list(shape)}{order}"
