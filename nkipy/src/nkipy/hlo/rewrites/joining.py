"""Puts an array together that a program stores piece by piece, and reads then.

``out[t] = h`` in a loop over ``t`` is a chain of ``dynamic-update-slice``, of which a
compiler keeps one version after the other, each with code of its own. Where nobody
reads the versions between, the last one is a concatenation of what was stored and of
what is left of the array before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code
from nkipy.hlo.rewrites.stores import starts_of

Value = HLOInstruction

#: How many stores are worth a concatenation.
_FEWEST_STORES = 8
#: Boxes that the borders of all stores cut an array into: each has come from one store.
_MOST_BOXES = 1 << 16
#: Pieces of a concatenation, for each store.
_MOST_PIECES = 4


def join_stores(module: HLOModule) -> HLOModule:
    """`module` with concatenations for stores; itself if it has few in a row."""
    joined = {stores[-1]: _Joined(stores) for stores in _chains(module)}
    joined = {last: j for last, j in joined.items() if j.is_worth_it}
    if not joined:
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        return joined[inst].build(place) if inst in joined else None

    made = rewrite(module, rule)
    eliminate_dead_code(made)
    return made


def _chains(module: HLOModule) -> list[list[Value]]:
    """Stores at known places of which only the last version is read."""
    readers = Counter(o for i in module.entry.instructions for o in i.operands)
    readers.update(module.results)
    chains: dict[Value, list[Value]] = {}
    for inst in module.entry.instructions:
        if starts_of(inst) is not None:
            before = inst.operands[0]
            stores = chains.pop(before, []) if readers[before] == 1 else []
            chains[inst] = [*stores, inst]
    return [stores for stores in chains.values() if len(stores) >= _FEWEST_STORES]


class _Joined:
    """An array as it is after a chain of stores.

    Attributes:
        is_worth_it: whether it is made of few pieces.
    """

    def __init__(self, stores: Sequence[Value]) -> None:
        self._stores = stores
        self._starts = [starts_of(store) or () for store in stores]
        self._borders = [self._borders_along(a) for a in range(len(stores[0].shape))]
        self._tree: _Tree | None = None
        boxes = tuple(len(at) - 1 for at in self._borders)
        if prod(boxes) <= _MOST_BOXES:
            last = self._last(boxes)
            whole = [(0, size) for size in boxes]
            self._tree = _tree(last, whole)
        most = _MOST_PIECES * len(stores)
        self.is_worth_it = self._tree is not None and self._tree.pieces() <= most

    def build(self, place: Place) -> Value:
        """The array, where `place` has what was stored."""
        assert self._tree is not None
        return self._build(self._tree, place)

    def _build(self, tree: _Tree, place: Place) -> Value:
        if tree.parts:
            parts = [self._build(part, place) for part in tree.parts]
            return place.builder.concatenate(parts, tree.axis)
        begin = [at[first] for at, (first, _) in zip(self._borders, tree.boxes)]
        end = [at[last] for at, (_, last) in zip(self._borders, tree.boxes)]
        if tree.store < 0:
            source = place.values[self._stores[0].operands[0]]
        else:
            source = place.values[self._stores[tree.store].operands[1]]
            own = self._starts[tree.store]
            begin = [i - start for i, start in zip(begin, own)]
            end = [i - start for i, start in zip(end, own)]
        if tuple(end) == source.shape and not any(begin):
            return source
        return place.builder.slice(source, tuple(begin), tuple(end))

    def _borders_along(self, axis: int) -> list[int]:
        """Where a store begins or ends, and where the array does."""
        at = {0, self._stores[0].shape[axis]}
        for store, starts in zip(self._stores, self._starts):
            at |= {starts[axis], starts[axis] + store.operands[1].shape[axis]}
        return sorted(at)

    def _last(self, boxes: tuple[int, ...]) -> np.ndarray:
        """The number of the store that each box between borders has come from, last;
        -1 is the array before all of them."""
        places = [{at: i for i, at in enumerate(along)} for along in self._borders]
        last = np.full(boxes, -1, np.int32)
        for number, (store, starts) in enumerate(zip(self._stores, self._starts)):
            sizes = store.operands[1].shape
            region = zip(places, starts, sizes)
            last[tuple([slice(p[s], p[s + n]) for p, s, n in region])] = number
        return last


class _Tree(NamedTuple):
    """What a part of an array is put together of.

    Attributes:
        boxes: which ones it has along each axis, from the first to before the last.
        store: which store it has come from, if it has no parts.
        axis: along which the parts follow each other.
        parts: of which none is one with its neighbour.
    """

    boxes: list[tuple[int, int]]
    store: int
    axis: int = 0
    parts: Sequence[_Tree] = ()

    def pieces(self) -> int:
        return sum(part.pieces() for part in self.parts) or 1


def _tree(last: np.ndarray, boxes: list[tuple[int, int]]) -> _Tree:
    inside = last[tuple([slice(*along) for along in boxes])]
    for axis, (first, end) in enumerate(boxes):
        along = np.moveaxis(inside, axis, 0).reshape(end - first, -1)
        changes = np.flatnonzero((along[1:] != along[:-1]).any(1)) + 1
        if len(changes):
            at = [first, *(changes + first).tolist(), end]
            parts = [
                _tree(last, [*boxes[:axis], part, *boxes[axis + 1 :]])
                for part in zip(at, at[1:])
            ]
            return _Tree(boxes, -1, axis, parts)
    return _Tree(boxes, int(inside.flat[0]))
