"""Computes scalars that are computed alike, and wait for nothing of each other, as one.

A kernel with loops over elements, ``x[i, j] = (x[i - 1, j] + x[i + 1, j]) / 2`` or
``np.stack([x[i] * 2 for i in range(n)])``, is a small program for each of them, and a
compiler makes code for each. Where many are the same expression of other elements, and
none is needed for another (those of a diagonal, in the first example), their leaves are
gathered into vectors, and the expression is written once, of vectors. What is read of
them later is gathered again; so is an array that elements are stored into one by one.

Only operations that round in one way for any number of elements are taken, so that the
values are the same to the bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.base import constant_below, with_operands
from nkipy.hlo.rewrites.stores import starts_of

Value = HLOInstruction
#: An element: of which array, and its number there in C order.
Element = tuple[Value, int]

#: How many expressions are worth a vector, and operations of scalars this rewrite.
_FEWEST_ALIKE = 8
_FEWEST_SCALARS = 64
#: Elements of an array that is copied to be gathered from.
_MOST_ELEMENTS = 4096
#: Elements of an array that can be numbered, by an int32.
_MOST_NUMBERED = 2**31 - 1
#: Operations in one expression.
_MOST_IN_TREE = 32

#: Correctly rounded, or exact.
_PACKED = frozenset(
    {
        *("add", "subtract", "multiply", "divide", "negate", "abs", "sqrt"),
        *("maximum", "minimum", "select", "compare", "and", "or", "xor", "not"),
        *("clamp", "convert"),
    }
)
_KINDS = frozenset(
    {
        *(CostKind.ELEMENTWISE, CostKind.VIEW, CostKind.TRANSPOSE, CostKind.MOVE),
        *(CostKind.RENAME, CostKind.REDUCE, CostKind.DOT),
    }
)
_LEAVES = frozenset({"parameter", "constant", "iota"})


def pack_scalars(module: HLOModule) -> HLOModule:
    """`module` with vectors for scalars; itself if it has few, or other effects."""
    instructions = module.entry.instructions
    if sum(map(_is_packed, instructions)) < _FEWEST_SCALARS:
        return module
    if not all(_is_pure(inst) for inst in instructions):
        return module
    if any(prod(inst.shape) > _MOST_NUMBERED for inst in instructions):
        return module
    trees = _Trees(module)
    if not trees.groups:
        return module
    return _Packing(module, trees).made


def _is_packed(inst: Value) -> bool:
    return inst.opcode in _PACKED and prod(inst.shape) == 1


def _is_pure(inst: Value) -> bool:
    if inst.opcode in _LEAVES:
        return True
    return inst.tuple_shapes is None and OPCODES[inst.opcode].cost.kind in _KINDS


class _Trees:
    """Expressions of scalars, each of operations that nothing else reads.

    Attributes:
        groups: those that are alike and at the same level, by their roots.
        level: after how many expressions, one after the other, a value is there.
        inner: operations of expressions, but roots.
        leaves: what each root's expression reads, but constants.
    """

    def __init__(self, module: HLOModule) -> None:
        readers: dict[Value, list[Value]] = defaultdict(list)
        for inst in module.entry.instructions:
            for operand in inst.operands:
                readers[operand].append(inst)
        results = set(module.results)
        self.inner: set[Value] = set()
        self.leaves: dict[Value, list[Value]] = {}
        self.level: dict[Value, int] = {}
        keys: dict[Value, tuple] = {}
        numbers: dict[tuple, int] = {}
        sizes: dict[Value, int] = {}
        groups: dict[tuple, list[Value]] = defaultdict(list)
        for inst in module.entry.instructions:
            level = max((self.level[o] for o in inst.operands), default=0)
            self.level[inst] = level
            if not _is_packed(inst):
                continue
            leaves: list[Value] = []
            parts: list[object] = [inst.opcode, inst.dtype, repr(inst.attributes)]
            size = 1
            for operand in inst.operands:
                constant = constant_below(operand)
                if constant is not None:
                    literal = constant.attributes["literal"]
                    parts.append((literal.dtype, literal.tobytes()))
                elif (
                    operand in self.leaves
                    and size + sizes[operand] < _MOST_IN_TREE
                    and len(readers[operand]) == 1
                    and operand not in results
                ):
                    leaves += self.leaves[operand]
                    parts.append(keys[operand])
                    size += sizes[operand]
                    self.inner.add(operand)
                else:
                    leaves.append(operand)
                    parts.append(operand.dtype)
            self.leaves[inst], sizes[inst] = leaves, size
            # Numbers in the place of nested keys, whose hashes take ever longer.
            number = numbers.setdefault(tuple(parts), len(numbers))
            keys[inst] = ("tree", number)
            self.level[inst] = 1 + max((self.level[o] for o in leaves), default=0)
        for root in self.leaves:
            if root not in self.inner and self.leaves[root]:
                groups[self.level[root], keys[root]].append(root)
        self.groups = {
            members[0]: members
            for members in groups.values()
            if len(members) >= _FEWEST_ALIKE
        }

    def order(self, instructions: Sequence[Value]) -> list[Value]:
        """By level, expressions first; roots stand for what is in them."""
        return sorted(instructions, key=lambda i: (self.level[i], i not in self.leaves))


class _Packing:
    """A copy of a module, as it is made.

    Attributes:
        made: the copy.
    """

    def __init__(self, module: HLOModule, trees: _Trees) -> None:
        self.made = HLOModule(module.name)
        self.made.entry.parameters = list(module.parameters)
        self._b = HLOBuilder(self.made.entry)
        self._trees = trees
        self._values: dict[Value, Value] = {}
        #: Where the elements are of scalars, and of arrays stored into, of the copy.
        self._elements: dict[Value, Element] = {}
        self._flat: dict[Value, Value] = {}
        grouped = {m: first for first, all_ in trees.groups.items() for m in all_}
        chains = _chains(module)
        skipped = _inside(grouped, trees.inner) | {
            store for stores in chains.values() for store in stores[:-1]
        }
        for inst in trees.order(module.entry.instructions):
            self._b.current_source_location = inst.source_location
            if inst in trees.groups:
                self._pack(trees.groups[inst])
            elif inst in chains:
                self._values[inst] = self._stored(chains[inst])
            elif inst.opcode == "concatenate" and self._is_of_elements(inst):
                elements = [self._element(operand) for operand in inst.operands]
                made = self._b.reshape(self._gather(elements), inst.shape)
                self._values[inst] = made
            elif inst not in grouped and inst not in skipped:
                self._keep(inst)
        self.made.set_results(
            [self._value(r) for r in module.results], module.output_names
        )
        self.made.aliases = list(module.aliases)

    def _is_of_elements(self, inst: Value) -> bool:
        return len(inst.operands) >= _FEWEST_ALIKE and all(
            operand in self._elements for operand in inst.operands
        )

    def _keep(self, inst: Value) -> None:
        """Copies an instruction, or only notes which element it is."""
        if prod(inst.shape) == 1 and inst.opcode in ("slice", "reshape"):
            (operand,) = inst.operands
            if prod(operand.shape) == 1:
                self._elements[inst] = self._element(operand)
                return
            source = self._value(operand)
            number = np.ravel_multi_index(inst.attributes["starts"], operand.shape)
            self._elements[inst] = source, int(number)
            return
        kept = with_operands(inst, [self._value(o) for o in inst.operands])
        self.made.entry.instructions.append(kept)
        self._values[inst] = kept

    def _element(self, inst: Value) -> Element:
        return self._elements.get(inst) or (self._value(inst), 0)

    def _value(self, inst: Value) -> Value:
        """What an instruction is in the copy."""
        if inst not in self._values:
            source, number = self._elements[inst]
            found = source
            if prod(source.shape) > 1:
                found = self._b.slice(self._flatten(source), (number,), (number + 1,))
            self._values[inst] = self._b.reshape(found, inst.shape)
        return self._values[inst]

    def _flatten(self, source: Value) -> Value:
        if source not in self._flat:
            self._flat[source] = self._b.reshape(source, (prod(source.shape),))
        return self._flat[source]

    def _pack(self, roots: list[Value]) -> None:
        """Writes the expression of `roots` once, of vectors."""
        columns = list(zip(*(self._trees.leaves[root] for root in roots)))
        leaves = iter(
            [self._gather([self._element(e) for e in column]) for column in columns]
        )
        made = self._write(roots[0], leaves, (len(roots),))
        made = self._b.emit("opt-barrier", (made,), made.shape, made.dtype)
        for number, root in enumerate(roots):
            self._elements[root] = made, number

    def _write(
        self, root: Value, leaves: Iterator[Value], shape: tuple[int, ...]
    ) -> Value:
        operands = []
        for operand in root.operands:
            constant = constant_below(operand)
            if constant is not None:
                literal = constant.attributes["literal"]
                value = self._b.constant(literal.reshape(()), constant.dtype)
                operands.append(self._b.broadcast_to(value, shape))
            elif operand in self._trees.inner:
                operands.append(self._write(operand, leaves, shape))
            else:
                operands.append(next(leaves))
        return self._b.emit(
            root.opcode, tuple(operands), shape, root.dtype, root.attributes
        )

    def _gather(self, elements: list[Element]) -> Value:
        """A vector of elements."""
        b = self._b
        sources = list(dict.fromkeys(source for source, _ in elements))
        if len(sources) > 1 and any(map(_is_large, sources)):
            elements = self._picked(elements)
            sources = list(dict.fromkeys(source for source, _ in elements))
        ends = np.cumsum([0, *(prod(source.shape) for source in sources)]).tolist()
        firsts = dict(zip(sources, ends))
        flat = [self._flatten(source) for source in sources]
        numbers = np.array([firsts[s] + n for s, n in elements], np.int32)
        steps = set(np.diff(numbers).tolist())
        array = b.concatenate(flat, 0)
        if len(steps) == 1 and (step := steps.pop()) > 0:
            first, last = int(numbers[0]), int(numbers[-1])
            if (first, last, step) == (0, array.shape[0] - 1, 1):
                return array
            return b.slice(array, (first,), (last + 1,), (step,))
        return b.gather(
            array,
            b.constant(numbers.reshape(-1, 1), dt.int32),
            offset_dims=(),
            collapsed_slice_dims=(0,),
            start_index_map=(0,),
            slice_sizes=(1,),
        )

    def _picked(self, elements: list[Element]) -> list[Element]:
        """The same, those of large arrays from vectors of what is needed of them."""
        needed: dict[Value, set[int]] = defaultdict(set)
        for source, number in elements:
            if _is_large(source):
                needed[source].add(number)
        places: dict[Element, Element] = {}
        for source, numbers in needed.items():
            own = [(source, number) for number in sorted(numbers)]
            vector = self._gather(own)
            places.update({e: (vector, i) for i, e in enumerate(own)})
        return [places.get(element, element) for element in elements]

    def _stored(self, stores: list[Value]) -> Value:
        """The array that elements are stored into, one by one."""
        base = stores[0].operands[0]
        array = self._value(base)
        elements: list[Element] = [(array, i) for i in range(prod(base.shape))]
        for store in stores:
            starts = starts_of(store)
            assert starts is not None
            number = int(np.ravel_multi_index(starts, base.shape))
            elements[number] = self._element(store.operands[1])
        return self._b.reshape(self._gather(elements), base.shape)


def _is_large(value: Value) -> bool:
    return prod(value.shape) > _MOST_ELEMENTS


def _inside(grouped: dict[Value, Value], inner: set[Value]) -> set[Value]:
    """The operations of the expressions that are packed, but roots."""
    found: set[Value] = set()
    left = list(grouped)
    while left:
        operands = [o for o in left.pop().operands if o in inner]
        found.update(operands)
        left += operands
    return found


def _chains(module: HLOModule) -> dict[Value, list[Value]]:
    """Stores of elements of which only the last version is read, by the last."""
    readers: dict[Value, int] = defaultdict(int)
    for inst in module.entry.instructions:
        for operand in inst.operands:
            readers[operand] += 1
    for result in module.results:
        readers[result] += 2
    chains: dict[Value, list[Value]] = {}
    for inst in module.entry.instructions:
        if (
            starts_of(inst) is not None
            and prod(inst.operands[1].shape) == 1
            and prod(inst.shape) <= _MOST_ELEMENTS
        ):
            before = inst.operands[0]
            one = before in chains and readers[before] == 1
            chains[inst] = chains.pop(before) if one else []
            chains[inst].append(inst)
    return {k: c for k, c in chains.items() if len(c) >= _FEWEST_ALIKE}
