"""Has slices read what was stored, past the stores that lie between.

A kernel that stores single elements or rows, ``x[i, j] = ...``, is a chain of
``dynamic-update-slice``, and each reading of ``x`` waits for all stores before it.
Where the places are known, it is known as well which store a slice reads, or that none
touches it; or that it reads the newest store with its first or last elements, and with
the others an older version of the array. A store whose elements are all overwritten
before they are read is left out.

So readers wait for what they need only, which makes rows of instructions shorter, and a
compiler need not keep versions of the array for them.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import literal_below, with_operands

Value = HLOInstruction
Region = tuple[slice, ...]

#: Elements of an array above which is not noted down who has stored which.
_MOST_ELEMENTS = 1 << 16
#: Elements for which that is noted down, of all arrays.
_MOST_NOTED = 1 << 25
#: Elements that are looked at, in all, to find stores that nobody reads.
_MOST_LOOKED_AT = 1 << 28
#: A module with fewer stores is left as it is.
_FEWEST_STORES = 16
_STORE = "dynamic-update-slice"


def forward_stores(module: HLOModule) -> HLOModule:
    """`module` whose slices read past stores; itself if it has few stores."""
    instructions = module.entry.instructions
    if sum(i.opcode == _STORE for i in instructions) < _FEWEST_STORES:
        return module
    known = _Known(module)
    unread = known.unread()
    if not known.sources and not unread:
        return module
    made = HLOModule(module.name)
    made.entry.parameters = list(module.parameters)
    b = HLOBuilder(made.entry)
    values: dict[Value, Value] = {}
    for inst in instructions:
        b.current_source_location = inst.source_location
        if inst in unread:
            values[inst] = values[inst.operands[0]]
        elif inst in known.sources:
            parts = known.sources[inst]
            read = [b.slice(values[p.of], p.starts, p.limits) for p in parts]
            values[inst] = b.concatenate(read, parts[-1].axis)
        else:
            values[inst] = with_operands(inst, [values[o] for o in inst.operands])
            made.entry.instructions.append(values[inst])
    made.set_results([values[r] for r in module.results], module.output_names)
    made.aliases = list(module.aliases)
    return made


def starts_of(store: Value) -> tuple[int, ...] | None:
    """Where it stores; None if that is not known, or not within the array."""
    if store.opcode != _STORE:
        return None
    array, update, *starts = store.operands
    literals = [literal_below(start) for start in starts]
    if any(literal is None for literal in literals):
        return None
    found = tuple(int(literal) for literal in literals if literal is not None)
    room = zip(found, update.shape, array.shape)
    return found if all(0 <= s <= d - n for s, n, d in room) else None


class _Part(NamedTuple):
    """Elements of a slice: of which array, and where they go on in the slice."""

    of: Value
    starts: tuple[int, ...]
    shape: tuple[int, ...]
    axis: int = 0

    @property
    def limits(self) -> tuple[int, ...]:
        return tuple(start + size for start, size in zip(self.starts, self.shape))


class _Chain:
    """Stores into one array, each into what the one before has made.

    Attributes:
        base: the array before all of them.
        stores: with where each stores.
        last: the number of the store that each element has come from; -1 is `base`.
    """

    def __init__(self, base: Value) -> None:
        self.base = base
        self.stores: list[tuple[Value, tuple[int, ...]]] = []
        self.last = np.full(base.shape, -1, np.int32)

    def add(self, store: Value, starts: tuple[int, ...]) -> None:
        self.last[_region(starts, store.operands[1].shape)] = len(self.stores)
        self.stores.append((store, starts))

    def sources(self, inst: Value) -> list[_Part]:
        """Where the elements of a slice of the newest version come from.

        Its first or last ones along an axis may be the newest store's, and the others
        older; they are read from the version that the newest of them was stored in.
        """
        starts = inst.attributes["starts"]
        numbers = self.last[_region(starts, inst.shape)]
        if not numbers.size:
            return []
        newest = numbers.max()
        is_new = numbers == newest
        if is_new.all():
            return [self._stored(newest, starts, inst.shape)]
        divided = _divided(is_new)
        if divided is None:
            return []
        axis, at, new_is_first = divided
        parts = []
        for first, end in ((0, at), (at, inst.shape[axis])):
            begins, shape = list(starts), list(inst.shape)
            begins[axis] += first
            shape[axis] = end - first
            if (first == 0) == new_is_first:
                part = self._stored(newest, tuple(begins), tuple(shape))
            else:
                older = self.last[_region(tuple(begins), tuple(shape))].max()
                of = self.base if older < 0 else self.stores[older][0]
                part = _Part(of, tuple(begins), tuple(shape))
            parts.append(part._replace(axis=axis))
        return parts

    def _stored(
        self, number: int, starts: tuple[int, ...], shape: tuple[int, ...]
    ) -> _Part:
        """Elements that one store has stored."""
        if number < 0:
            return _Part(self.base, starts, shape)
        store, begins = self.stores[number]
        own = tuple(s - at for s, at in zip(starts, begins))
        return _Part(store.operands[1], own, shape)


def _divided(is_new: np.ndarray) -> tuple[int, int, bool] | None:
    """The axis that divides new elements from old, where, and whether new are first."""
    for axis, size in enumerate(is_new.shape):
        along = np.moveaxis(is_new, axis, 0).reshape(size, -1)
        changes = np.flatnonzero(along[1:, 0] != along[:-1, 0])
        if len(changes) == 1 and (along == along[:, :1]).all():
            return axis, int(changes[0]) + 1, bool(along[0, 0])
    return None


def _region(starts: tuple[int, ...], shape: tuple[int, ...]) -> Region:
    return tuple(slice(start, start + size) for start, size in zip(starts, shape))


class _Known:
    """What is known of the stores of an entry computation.

    Attributes:
        sources: for each slice that can read past stores: of what, and where it begins.
    """

    def __init__(self, module: HLOModule) -> None:
        self._module = module
        self._chains: list[_Chain] = []
        self.sources: dict[Value, list[_Part]] = {}
        newest: dict[Value, _Chain] = {}
        noted = 0
        for inst in module.entry.instructions:
            starts = starts_of(inst)
            if starts is not None and prod(inst.shape) <= _MOST_ELEMENTS:
                chain = newest.pop(inst.operands[0], None)
                if chain is None:
                    noted += prod(inst.shape)
                    if noted > _MOST_NOTED:
                        continue
                    chain = _Chain(inst.operands[0])
                    self._chains.append(chain)
                chain.add(inst, starts)
                newest[inst] = chain
            elif inst.opcode == "slice" and inst.operands[0] in newest:
                if all(stride == 1 for stride in inst.attributes["strides"]):
                    parts = newest[inst.operands[0]].sources(inst)
                    if parts:
                        self.sources[inst] = parts

    def unread(self) -> set[Value]:
        """The stores of which nobody reads an element."""
        read = set(self._module.results)
        following = {
            (chain.stores[i + 1][0], store)
            for chain in self._chains
            for i, (store, _) in enumerate(chain.stores[:-1])
        }
        for inst in self._module.entry.instructions:
            if inst in self.sources:
                read.update(part.of for part in self.sources[inst])
            else:
                others = (o for i, o in enumerate(inst.operands) if i)
                read.update(others)
                if inst.operands and (inst, inst.operands[0]) not in following:
                    read.add(inst.operands[0])
        return {store for chain in self._chains for store in _unread_of(chain, read)}


def _unread_of(chain: _Chain, read: set[Value]) -> set[Value]:
    versions = [store for store, _ in chain.stores if store in read]
    if len(versions) * chain.last.size > _MOST_LOOKED_AT:
        return set()
    needed: set[int] = set()
    last = np.full_like(chain.last, -1)
    for number, (store, starts) in enumerate(chain.stores):
        last[_region(starts, store.operands[1].shape)] = number
        if store in read:
            needed.update(np.unique(last).tolist())
    return {store for i, (store, _) in enumerate(chain.stores) if i not in needed}
