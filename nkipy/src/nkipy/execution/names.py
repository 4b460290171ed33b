"""Arrays by the names of a program's parameters and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nkipy.execution.errors import BindingError
from nkipy.hlo.ir import TensorPlaceholder


def by_name(
    what: str, specs: Sequence[TensorPlaceholder], arrays: Mapping[str, Any]
) -> list[Any]:
    """The array of each of `specs`, in their order; None for those not in `arrays`.

    A parameter that is written into is known by its own name, and by that with the
    suffix that marks it in the module.

    Raises:
        BindingError: `arrays` has a name that none of them has, or both names of one.
    """
    places = {spec.name: i for i, spec in enumerate(specs)}
    places |= {spec.original_name: i for i, spec in enumerate(specs)}
    made: list[Any] = [None] * len(specs)
    named: dict[int, str] = {}
    for name, array in arrays.items():
        place = places.get(name)
        if place is None:
            known = ", ".join(spec.original_name for spec in specs) or "none"
            raise BindingError(f"unknown {what} '{name}'; the program has: {known}")
        if place in named:
            raise BindingError(
                f"{what} '{specs[place].original_name}' is given twice, as "
                f"'{named[place]}' and as '{name}'"
            )
        named[place] = name
        made[place] = array
    return made


def host_array(array: Any, spec: TensorPlaceholder) -> np.ndarray:
    """`array` as a C-contiguous array, which must be of the shape and dtype of `spec`.

    Raises:
        BindingError: it is not.
    """
    made = np.asarray(array)
    if (made.shape, made.dtype) != (spec.shape, spec.dtype):
        raise BindingError(
            f"parameter '{spec.original_name}' is {made.dtype.name}{list(made.shape)}, "
            f"but the program takes {spec.dtype.name}{list(spec.shape)}"
        )
    return np.asarray(made, order="C")
