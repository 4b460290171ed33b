"""Functions that today's language has as well, on tiles of the first generation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nkipy_nki import language
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.indices import as_mask
from nkipy_nki.neuronxcc.nki.state import settle
from nkipy_nki.neuronxcc.nki.tiles import Tile
from nkipy_nki.tensors import NkiTensor

__all__ = ["ADAPTED"]

_NAMES = (
    *("ceil", "cos", "floor", "sin", "tan", "trunc"),
    *("dropout", "rand", "random_seed", "gather_flattened", "device_print"),
)


def _adapted(name: str) -> Callable[..., Any]:
    today: Callable[..., Any] = getattr(language, name)

    def function(*args: Any, mask: Any = None, **kwargs: Any) -> Any:
        if mask is not None and not as_mask(mask).is_full:
            raise fault(
                "unsupported_expression_in_mask",
                f"nl.{name} takes no mask that leaves elements out",
            )
        given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tile)]
        settle()
        made = today(*map(_view, args), **{n: _view(v) for n, v in kwargs.items()})
        if not isinstance(made, NkiTensor):
            return None
        return Tile(made, given[0].blocks if given else 0)

    functools.update_wrapper(function, today)
    return function


def _view(given: Any) -> Any:
    return given.view if isinstance(given, Tile) else given


#: By name.
ADAPTED = {name: _adapted(name) for name in _NAMES}
