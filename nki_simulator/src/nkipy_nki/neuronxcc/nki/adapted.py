"""Functions that today's language has as well, on tiles of the first generation."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from nkipy_nki import language
from nkipy_nki.language.tiles import as_number
from nkipy_nki.neuronxcc.nki.creation import full
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.indices import as_mask
from nkipy_nki.neuronxcc.nki.issuing import on_chip
from nkipy_nki.neuronxcc.nki.state import settle
from nkipy_nki.neuronxcc.nki.tiles import Tile
from nkipy_nki.tensors import NkiTensor

__all__ = ["ADAPTED", "device_print", "rand", "random_seed"]

_NAMES = ("ceil", "cos", "floor", "sin", "tan", "trunc", "dropout", "gather_flattened")


def _adapted(name: str) -> Callable[..., Any]:
    today: Callable[..., Any] = getattr(language, name)

    def function(*args: Any, mask: Any = None, **kwargs: Any) -> Any:
        if mask is not None and not as_mask(mask).is_full:
            raise fault(
                "unsupported_expression_in_mask",
                f"nl.{name} takes no mask that leaves elements out",
            )
        settle()
        given = {key: _elements(name, value) for key, value in kwargs.items()}
        made = today(*(_elements(name, value) for value in args), **given)
        return Tile(made) if isinstance(made, NkiTensor) else None

    functools.update_wrapper(function, today)
    signature = inspect.signature(today)
    kinds = inspect.Parameter
    mask = kinds("mask", kinds.KEYWORD_ONLY, default=None, annotation="Any")
    parameters = (*signature.parameters.values(), mask)
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def device_print(prefix: str, x: Any, *, mask: Any = None) -> None:
    """Print a text, and the values of a tile.

    Args:
        prefix: the text.
        x: the tile.
        mask: one that leaves nothing out.
    """
    _adapted("device_print")(prefix, x, mask=mask)


def rand(shape: Any, dtype: Any = "float32") -> Tile:
    """A tile of random numbers from 0 to 1."""
    made: Tile = _adapted("rand")(tuple(map(int, shape)), dtype)
    return made


def random_seed(seed: Any, *, mask: Any = None) -> None:
    """Set what :func:`rand` begins with.

    Args:
        seed: a whole number of 32 bits, or a tile ``[1, 1]`` of one.
        mask: one that leaves nothing out.
    """
    if as_number(seed) is not None:
        seed = full((1, 1), int(seed), "uint32")
    _adapted("random_seed")(seed, mask=mask)


def _elements(name: str, given: Any) -> Any:
    """The elements of a tile, whose first dimension is that of partitions."""
    if not isinstance(given, Tile):
        return given
    tile = on_chip(given, f"nl.{name}: an operand") if given.blocks else given
    return tile.elements


#: By name.
ADAPTED = {name: _adapted(name) for name in _NAMES}
