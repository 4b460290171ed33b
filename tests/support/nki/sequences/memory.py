"""Tensors as bytes, and views of them as the place of each element."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from tests.support.nki.sequences.plan import Place, Tensor

__all__ = ["Memory", "Seen", "element"]


def element(dtype: str) -> np.dtype:
    """NumPy's dtype of the language's."""
    return np.dtype(getattr(ml_dtypes, dtype, dtype))


@dataclass(frozen=True)
class Seen:
    """A view: where in its tensor's bytes each element begins."""

    tensor: str
    dtype: str
    at: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.at.shape

    @property
    def is_distinct(self) -> bool:
        """Whether no two elements lie at one place."""
        return np.unique(self.at).size == self.at.size


class Memory:
    """The bytes of tensors, and which of them were written."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = {tensor.name: tensor for tensor in tensors}
        self.bytes: dict[str, np.ndarray] = {}
        self.written: dict[str, np.ndarray] = {}
        for tensor in tensors:
            count = math.prod(tensor.shape) * element(tensor.dtype).itemsize
            self.bytes[tensor.name] = np.zeros(count, np.uint8)
            self.written[tensor.name] = np.full(count, tensor.filled)

    def is_on_chip(self, name: str) -> bool:
        return self.tensors[name].region != "hbm"

    # -- views -------------------------------------------------------------------------
    def see(self, place: Place, registers: Mapping[str, int]) -> Seen:
        """What a place shows, with what registers hold."""
        tensor = self.tensors[place.tensor]
        size = element(tensor.dtype).itemsize
        at = np.arange(math.prod(tensor.shape)).reshape(tensor.shape) * size
        seen = Seen(place.tensor, tensor.dtype, at)
        for kind, *told in place.looks:
            seen = getattr(self, f"_{kind}")(seen, registers, *told)
        return seen

    def _slice(self, seen: Seen, _: Any, axis: int, *bounds: int) -> Seen:
        index = (slice(None),) * axis + (slice(*bounds),)
        return Seen(seen.tensor, seen.dtype, seen.at[index])

    def _select(self, seen: Seen, held: Any, axis: int, number: Any) -> Seen:
        number = held.get(number, number)
        made = self._slice(seen, held, axis, number, number + 1)
        if seen.at.ndim > 1 + self.is_on_chip(seen.tensor):
            made = Seen(seen.tensor, seen.dtype, made.at.squeeze(axis))
        return made

    def _ds(
        self, seen: Seen, held: Any, axis: int, name: str, size: int, times: int
    ) -> Seen:
        start = held[name] * times
        assert start + size <= seen.shape[axis]
        return self._slice(seen, held, axis, start, start + size)

    def _reshape_dim(
        self, seen: Seen, _: Any, axis: int, shape: tuple[int, ...]
    ) -> Seen:
        whole = (*seen.shape[:axis], *shape, *seen.shape[axis + 1 :])
        return Seen(seen.tensor, seen.dtype, seen.at.reshape(whole))

    def _flatten(self, seen: Seen, _: Any, first: int, last: int) -> Seen:
        whole = (*seen.shape[:first], -1, *seen.shape[last + 1 :])
        return Seen(seen.tensor, seen.dtype, seen.at.reshape(whole))

    def _permute(self, seen: Seen, _: Any, dims: tuple[int, ...]) -> Seen:
        return Seen(seen.tensor, seen.dtype, seen.at.transpose(dims))

    def _spread(self, seen: Seen, _: Any, axis: int, size: int) -> Seen:
        at = np.repeat(np.expand_dims(seen.at, axis), size, axis)
        return Seen(seen.tensor, seen.dtype, at)

    def _ap(
        self, seen: Seen, _: Any, pattern: tuple[tuple[int, int], ...], offset: int
    ) -> Seen:
        at = np.asarray(int(seen.at.flat[0]) // element(seen.dtype).itemsize + offset)
        for stride, count in pattern:
            at = at[..., None] + np.arange(count) * stride
        return Seen(seen.tensor, seen.dtype, at * element(seen.dtype).itemsize)

    def _view(self, seen: Seen, _: Any, dtype: str) -> Seen:
        """Elements of another type: several for one, or one for several."""
        have, want = element(seen.dtype).itemsize, element(dtype).itemsize
        if want <= have:
            parts = np.arange(have // want) * want
            at = (seen.at[..., None] + parts).reshape(*seen.shape[:-1], -1)
        else:
            at = seen.at[..., :: want // have]
        return Seen(seen.tensor, dtype, at)

    def _rows(self, seen: Seen, _: Any, index: Place) -> Seen:
        rows = self.elements(self.see(index, {})).ravel()
        return Seen(seen.tensor, seen.dtype, seen.at[rows.astype(int)])

    # -- elements ----------------------------------------------------------------------
    def _places(self, seen: Seen) -> np.ndarray:
        return seen.at[..., None] + np.arange(element(seen.dtype).itemsize)

    def elements(self, seen: Seen) -> np.ndarray:
        """The elements of a view."""
        parts = self.bytes[seen.tensor][self._places(seen)]
        return np.ascontiguousarray(parts).view(element(seen.dtype))[..., 0]

    def store(self, seen: Seen, elements: np.ndarray) -> None:
        """Let a view have elements of its dtype, in any shape of as many."""
        flat = np.array(elements).reshape(-1, 1)
        assert flat.dtype == element(seen.dtype), flat.dtype
        places = self._places(seen).reshape(flat.size, -1)
        self.bytes[seen.tensor][places] = flat.view(np.uint8)
        self.mark(seen)

    def mark(self, seen: Seen) -> None:
        """Remember that a view was written."""
        if self.tensors[seen.tensor].filled:
            return
        self.written[seen.tensor][self._places(seen)] = True

    def marks(self, seen: Seen) -> np.ndarray:
        """By element, whether all of it was written."""
        return np.asarray(self.written[seen.tensor][self._places(seen)].all(-1))

    def are_written(self, seen: Seen) -> bool:
        """Whether all elements of a view were written."""
        return self.tensors[seen.tensor].filled or bool(self.marks(seen).all())
