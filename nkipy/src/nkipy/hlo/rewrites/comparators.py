"""Keeps sorts from comparators that contradict themselves.

A sort by a comparator that is no strict weak order reads and writes beyond its arrays,
or never ends. Whether one is, is decided from its instructions: it has to be a boolean
formula over comparisons of *keys*, each computed in the same way of either row. All
that such a formula can tell apart is how the two rows' keys compare, one by one, so it
is an order if it is one for rows of the values 0, 1, 2 and NaN.

NaN is not less than any number, nor is a number less than NaN, so ``x < y`` is no order
of rows with NaN. Such comparators are replaced by ones in which NaN is greater than all
numbers, and equal to itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Literal

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.instruction import callees_of
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, with_callees
from nkipy.hlo.rewrites.base import Place, rewrite

Value = HLOInstruction

#: Of rows that are compared with each other; beyond, keys are looked at one by one.
_MAX_ROWS = 1024
_DIRECTIONS = {
    "EQ": np.equal,
    "NE": np.not_equal,
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
}
_FORMULAS = {
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
}


class ComparatorError(HLOVerificationError):
    """A sort's comparator is no strict weak order, or cannot be seen to be one."""


def order_sorts(module: HLOModule) -> HLOModule:
    """`module` with sorts whose comparators are strict weak orders.

    It is `module` itself if they are already.

    Raises:
        ComparatorError: one is none whatever NaN is, or is no formula of keys.
    """
    sorts = [i for i in module.instructions() if i.opcode == "sort"]
    replaced: dict[HLOComputation, HLOComputation] = {}
    for comparator in {s.attributes["to_apply"]: s for s in sorts}.items():
        made = _ordered(*comparator)
        if made is not comparator[0]:
            replaced[comparator[0]] = made
    if not replaced:
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        if inst.opcode != "sort" or inst.attributes["to_apply"] not in replaced:
            return None
        return place.builder.emit(
            *("sort", operands, inst.shape, inst.dtype),
            with_callees(inst.attributes, replaced),
            inst.tuple_shapes,
        )

    return rewrite(module, rule)


def plain_order(
    comparator: HLOComputation,
) -> Literal["ascending", "descending"] | None:
    """The order of rows by their first elements, if it is NumPy's; else None.

    NaN is after all numbers there, and before them in a descending order.
    """
    try:
        formula = _Formula(comparator)
        nan_is_last = not formula.is_order(nan_is_last=False)
        return formula.plain_order(formula.root, comparator.parameters[0], nan_is_last)
    except (_NoFormulaError, ValueError):
        return None


def ascending_keys(comparator: HLOComputation) -> int | None:
    """By how many of their first elements rows are in NumPy's ascending order.

    The first one decides, then the second and so on. None if the order is another.
    """
    try:
        formula = _Formula(comparator)
        nan_is_last = not formula.is_order(nan_is_last=False)
        return formula.ascending_keys(
            formula.root, comparator.parameters[::2], nan_is_last
        )
    except (_NoFormulaError, ValueError):
        return None


def _ordered(comparator: HLOComputation, sort: Value) -> HLOComputation:
    where = f" ({sort.source_location})" if sort.source_location else ""
    name = f"the comparator {comparator.name!r} of a sort{where}"
    try:
        formula = _Formula(comparator)
        if formula.is_order(nan_is_last=False):
            return comparator
        if formula.is_order(nan_is_last=True):
            return _with_nan_last(comparator, formula)
    except _NoFormulaError as e:
        raise ComparatorError(
            f"{name} cannot be seen to be a strict weak order: {e}; compare keys of "
            "the two rows, each computed in the same way of either"
        ) from None
    raise ComparatorError(
        f"{name} is not a strict weak order: for some rows it contradicts itself, such "
        "as by saying of two that each is before the other, or one before itself"
    )


class _NoFormulaError(Exception):
    """What is in the way of looking at a comparator as a formula."""


class _Formula:
    """A comparator as a formula over comparisons of keys."""

    def __init__(self, comparator: HLOComputation) -> None:
        assert comparator.root is not None
        self.root = comparator.root
        #: Of each instruction, the rows (0 and 1) that it depends on.
        self.rows: dict[Value, frozenset[int]] = {}
        #: Of each instruction, a number for what it computes of its row.
        self.keys: dict[Value, int] = {}
        numbers: dict[Any, int] = {}
        places = {p: divmod(i, 2) for i, p in enumerate(comparator.parameters)}
        for inst in comparator.instructions:
            if callees_of(inst.attributes) or inst.opcode == "custom-call":
                raise _NoFormulaError(f"it has a {inst.opcode}")
            if inst in places:
                operand, row = places[inst]
                self.rows[inst] = frozenset((row,))
                what: Any = ("parameter", operand)
            else:
                self.rows[inst] = frozenset().union(
                    *(self.rows[o] for o in inst.operands)
                )
                what = _structure(inst, [self.keys[o] for o in inst.operands])
            self.keys[inst] = numbers.setdefault(what, len(numbers))

    def is_order(self, nan_is_last: bool, root: Value | None = None) -> bool:
        """Whether it is a strict weak order, for all that keys can be."""
        root = root or self.root
        domains = self._domains(root)
        if prod(len(d) for d in domains.values()) <= _MAX_ROWS:
            return _is_order(self._relation(root, domains, nan_is_last))
        for first, rest in self._halves(root):
            if self._is_first_key(first, rest, nan_is_last):
                return self.is_order(nan_is_last, rest[1])
        raise _NoFormulaError(f"it has {len(domains)} keys and is not lexicographic")

    def plain_order(
        self, root: Value, first: Value, nan_is_last: bool
    ) -> Literal["ascending", "descending"] | None:
        """The order by one key, `first` of the one row."""
        domains = self._domains(root)
        if set(domains) != {self.keys[first]}:
            return None
        found = self._relation(root, domains, nan_is_last)
        ranks = np.arange(len(found))  # as elements of a domain are: NaN is the last
        if (found == (ranks[:, None] < ranks)).all():
            return "ascending"
        return "descending" if (found == (ranks[:, None] > ranks)).all() else None

    def ascending_keys(
        self, root: Value, firsts: Sequence[Value], nan_is_last: bool
    ) -> int | None:
        """How many of `firsts`, of the one row, it is lexicographic in."""
        if self.plain_order(root, firsts[0], nan_is_last) == "ascending":
            return 1
        for first, rest in self._halves(root) if len(firsts) > 1 else ():
            if self.plain_order(first, firsts[0], nan_is_last) != "ascending":
                continue
            if self._is_first_key(first, rest, nan_is_last):
                more = self.ascending_keys(rest[1], firsts[1:], nan_is_last)
                if more is not None:
                    return 1 + more
        return None

    def _halves(self, root: Value) -> Iterator[tuple[Value, tuple[Value, Value]]]:
        """All ways to read it as ``first or (same and rest)``."""
        if root.opcode != "or":
            return
        for first, other in (root.operands, root.operands[::-1]):
            if other.opcode == "and":
                yield first, (other.operands[0], other.operands[1])
                yield first, (other.operands[1], other.operands[0])

    def _is_first_key(
        self, first: Value, rest: tuple[Value, Value], nan_is_last: bool
    ) -> bool:
        """Whether it is an order, and the rest is asked where that does not decide."""
        same = rest[0]
        domains = self._domains(first) | self._domains(same)
        if prod(len(d) for d in domains.values()) > _MAX_ROWS:
            return False
        before = self._relation(first, domains, nan_is_last)
        asked = self._relation(same, domains, nan_is_last)
        undecided = ~before & ~before.T
        return _is_order(before) and bool((asked | before == undecided | before).all())

    def _domains(self, root: Value) -> dict[int, np.ndarray]:
        """The keys of a formula, by number, with what they are tried with."""
        found: dict[int, np.ndarray] = {}
        seen, stack = set(), [root]
        while stack:
            inst = stack.pop()
            if inst in seen:
                continue
            seen.add(inst)
            if self._is_key(inst):
                found[self.keys[inst]] = _domain(inst)
            else:
                stack += inst.operands
        return found

    def _is_key(self, inst: Value) -> bool:
        """Whether it is of one row, and no formula of that row's keys."""
        if len(self.rows[inst]) != 1:
            return False
        return inst.dtype != dt.bool_ or not self._is_formula(inst)

    def _is_formula(self, inst: Value) -> bool:
        if inst.opcode == "compare":
            x, y = inst.operands
            return x.dtype == dt.bool_ or self.keys[x] == self.keys[y]
        return inst.opcode in _FORMULAS or inst.opcode == "select"

    def _relation(
        self, root: Value, domains: dict[int, np.ndarray], nan_is_last: bool
    ) -> np.ndarray:
        """Whether each row is before each other one, by the formula."""
        grids = np.meshgrid(*domains.values(), indexing="ij") if domains else []
        columns = {key: grid.reshape(-1) for key, grid in zip(domains, grids)}
        size = prod(len(d) for d in domains.values())
        known: dict[Value, np.ndarray] = {}

        def value(inst: Value) -> np.ndarray:
            if inst not in known:
                known[inst] = compute(inst)
            return known[inst]

        def compute(inst: Value) -> np.ndarray:
            if self._is_key(inst):
                (row,) = self.rows[inst]
                column = columns[self.keys[inst]]
                return column[:, None] if row == 0 else column[None, :]
            if inst.opcode == "constant" and inst.dtype == dt.bool_:
                return np.asarray(inst.attributes["literal"]).reshape(1, 1)
            if inst.dtype != dt.bool_:
                raise _NoFormulaError(f"it computes a {inst.opcode} of both rows")
            if inst.opcode in _FORMULAS:
                return _FORMULAS[inst.opcode](*map(value, inst.operands))
            if inst.opcode == "select":
                return np.where(*map(value, inst.operands))
            if inst.opcode != "compare":
                raise _NoFormulaError(f"it computes a {inst.opcode} of both rows")
            x, y = inst.operands
            if x.dtype != dt.bool_ and self.keys[x] != self.keys[y]:
                raise _NoFormulaError("it compares one row's key with another key")
            replaces = nan_is_last and len(self.rows[inst]) == 2
            values = [_ranks(v) if replaces else v for v in (value(x), value(y))]
            return _DIRECTIONS[inst.attributes["direction"]](*values)

        return np.broadcast_to(value(root), (size, size))


def _structure(inst: Value, operands: list[int]) -> tuple[Any, ...]:
    """What an instruction computes, for comparing it with others."""
    attributes = {
        name: (value.tobytes(), value.shape) if isinstance(value, np.ndarray) else value
        for name, value in inst.attributes.items()
    }
    text = repr(sorted(attributes.items()))
    return (inst.opcode, str(inst.dtype), inst.shape, text, *operands)


def _domain(key: Value) -> np.ndarray:
    if key.dtype is None or key.shape:
        raise _NoFormulaError("it compares what is no scalar")
    if key.dtype == dt.bool_:
        return np.array([False, True])
    values = [0.0, 1.0, 2.0]
    return np.array([*values, np.nan] if dt.is_float(key.dtype) else values)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Numbers that compare as keys do where NaN is the greatest."""
    return np.where(np.isnan(values), np.inf, values)


def _is_order(before: np.ndarray) -> bool:
    """Whether a relation is a strict weak order."""
    if (before & before.T).any():
        return False
    return _is_transitive(before) and _is_transitive(~before & ~before.T)


def _is_transitive(relation: np.ndarray) -> bool:
    numbers = relation.astype(np.float32)
    return not ((numbers @ numbers > 0) & ~relation).any()


def _with_nan_last(comparator: HLOComputation, formula: _Formula) -> HLOComputation:
    """The comparator with NaN greater than all numbers, in comparisons of two rows."""
    made = HLOComputation(f"{comparator.name}.nan_last")
    b = HLOBuilder(made)
    values: dict[Value, Value] = {}
    for p in comparator.parameters:
        values[p] = made.add_parameter(p.shape, p.dtype, p.name)
    for inst in comparator.instructions:
        if inst in values:
            continue
        operands = tuple(values[o] for o in inst.operands)
        x = inst.operands[0] if inst.operands else inst
        is_of_floats = inst.opcode == "compare" and dt.is_float(_dtype(x))
        if is_of_floats and len(formula.rows[inst]) == 2:
            direction = inst.attributes["direction"]
            values[inst] = _compared(b, operands[0], operands[1], direction)
        else:
            values[inst] = b.emit(
                inst.opcode, operands, inst.shape, inst.dtype, inst.attributes
            )
    assert comparator.root is not None
    made.root = values[comparator.root]
    return made


def _dtype(inst: Value) -> np.dtype:
    assert inst.dtype is not None
    return inst.dtype


def _compared(b: HLOBuilder, x: Value, y: Value, direction: str) -> Value:
    if direction in ("NE", "GE", "LE"):
        opposite = {"NE": "EQ", "GE": "LT", "LE": "GT"}[direction]
        return b.not_(_compared(b, x, y, opposite))
    if direction == "GT":
        return _compared(b, y, x, "LT")
    x_is_nan, y_is_nan = b.compare(x, x, "NE"), b.compare(y, y, "NE")
    if direction == "EQ":
        return b.or_(b.compare(x, y, "EQ"), b.and_(x_is_nan, y_is_nan))
    beyond = b.and_(b.not_(x_is_nan), y_is_nan)
    return b.or_(b.compare(x, y, "LT"), beyond)
