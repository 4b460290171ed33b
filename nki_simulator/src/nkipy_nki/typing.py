"""``nki.typing``: what parameters of kernels are annotated with."""

from __future__ import annotations

from types import GenericAlias
from typing import Any

__all__ = ["tensor"]


class tensor:
    """A tensor, as an annotation: ``x: tensor`` or, with a shape, ``tensor[128, 512]``.

    Annotations say something to readers: neither the language nor the simulator looks
    at them.
    """

    def __class_getitem__(cls, shape: Any) -> GenericAlias:
        return GenericAlias(cls, shape)
