"""Lends a value of the entry computation to what loops, branches and calls run.

A loop's state gets one element more, which no iteration changes; so does the operand of
a branch; a called computation gets one parameter more.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import (
    HLOComputation,
    HLOInstruction,
    HLOModule,
    Shape,
    callees_of,
    with_callees,
)
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.base import element

Value = HLOInstruction


class _Role(Enum):
    """How a computation is called, which is how it gets the value."""

    CALLED = auto()  # as its last parameter
    BRANCH = auto()  # or condition: as the last element of its one parameter
    BODY = auto()  # so too, and it gives the value back with its result


def is_control(inst: Value) -> bool:
    """Whether an instruction runs the computations that it has, and nothing else."""
    return OPCODES[inst.opcode].cost.kind is CostKind.CONTROL


def controlled(module: HLOModule) -> list[HLOComputation]:
    """What loops, branches and calls of the entry run, callees first."""
    found: set[HLOComputation] = set()
    for computation in reversed(module.computations()):
        if computation is module.entry or computation in found:
            for inst in filter(is_control, computation.instructions):
                found.update(callees_of(inst.attributes))
    return [c for c in module.computations() if c in found]


def lend(
    module: HLOModule, value: Value, wanted: Iterable[HLOComputation]
) -> tuple[HLOModule, dict[HLOComputation, Value]]:
    """A copy of `module` in which the `wanted` computations have `value` too.

    Args:
        module: what to copy; itself if nothing is wanted.
        value: a parameter of its entry computation, an array.
        wanted: computations of :func:`controlled`.

    Returns:
        The copy, and in it the value in each computation that has it, the entry's too.
    """
    takers = _takers(module, set(wanted))
    if not takers:
        return module, {module.entry: value}
    made = HLOModule(module.name)
    lender, roles = _Lender(value, takers, made.entry), _roles(module)
    for computation in module.computations():
        if computation in takers:
            for role in roles[computation]:
                lender.add(computation, role)
    entry = _Copy(lender, module.entry, made.entry)
    entry.keep_parameters()
    lender.lent[made.entry] = entry.lent = value
    entry.copy_instructions()
    made.set_results([entry.of(r) for r in module.results], module.output_names)
    made.aliases = list(module.aliases)
    return made, lender.lent


def _takers(module: HLOModule, wanted: set[HLOComputation]) -> set[HLOComputation]:
    """Those, what passes the value on to them, and the other half of each loop."""
    takers = set(wanted)
    for computation in (*controlled(module), module.entry):
        for inst in filter(is_control, computation.instructions):
            callees = callees_of(inst.attributes)
            if takers.isdisjoint(callees):
                continue
            if inst.opcode == "while":
                takers.update(callees)
            if computation is not module.entry:
                takers.add(computation)
    return takers


def _roles(module: HLOModule) -> dict[HLOComputation, dict[_Role, None]]:
    """How each computation is called, in order."""
    roles: dict[HLOComputation, dict[_Role, None]] = {}
    for inst in filter(is_control, module.instructions()):
        for callee in callees_of(inst.attributes):
            roles.setdefault(callee, {})[_role(inst, callee)] = None
    return roles


def _role(caller: Value, computation: HLOComputation) -> _Role:
    if caller.opcode == "call":
        return _Role.CALLED
    if caller.opcode == "while" and caller.attributes["body"] is computation:
        return _Role.BODY
    return _Role.BRANCH


class _Lender:
    """What has been copied so far.

    Attributes:
        takers: the computations that get the value.
        entry: the entry's copy.
        copies: their copies, by how they are called.
        lent: the value in each copy.
    """

    def __init__(
        self, value: Value, takers: set[HLOComputation], entry: HLOComputation
    ) -> None:
        self.shape = Shape(value.dtype, value.shape)
        self.takers = takers
        self.entry = entry
        self.copies: dict[tuple[HLOComputation, _Role], HLOComputation] = {}
        self.lent: dict[HLOComputation, Value] = {}

    def add(self, computation: HLOComputation, role: _Role) -> None:
        """Copy a computation, whose callees have been copied."""
        made = HLOComputation(f"{computation.name}.{role.name.lower()}")
        copy = _Copy(self, computation, made)
        if role is _Role.CALLED:
            copy.copy_parameters()
            copy.lent = made.add_parameter(self.shape.dims, self.shape.dtype)
        else:
            copy.widen_parameter()
        self.lent[made] = copy.lent
        copy.copy_instructions()
        assert computation.root is not None
        root = copy.of(computation.root)
        made.root = copy.extended(root) if role is _Role.BODY else root
        self.copies[computation, role] = made


class _Copy:
    """One computation while it is copied.

    But for the entry, a copy has no instruction of the original's: that may stay in the
    module, as what is applied to elements, and may be copied for another role.

    Attributes:
        lent: the value.
    """

    lent: Value

    def __init__(
        self, lender: _Lender, computation: HLOComputation, made: HLOComputation
    ) -> None:
        self.lender = lender
        self.computation = computation
        self.made = made
        self.b = HLOBuilder(made)
        self.values: dict[Value, Value] = {}
        #: Of tuples that have got an element more: what they have become.
        self.wide: dict[Value, Value] = {}

    def keep_parameters(self) -> None:
        """Have the parameters of the original, the same instructions."""
        for p in self.computation.parameters:
            self.made.parameters.append(p)
            self.values[p] = p

    def copy_parameters(self) -> None:
        """Have parameters like the original's."""
        for p in self.computation.parameters:
            self.values[p] = self.made.add_parameter(
                p.shape, p.dtype, p.name, p.tuple_shapes
            )

    def widen_parameter(self) -> None:
        """Have a parameter with one element more, which is the value."""
        (p,) = self.computation.parameters
        shapes = (*_shapes(p), self.lender.shape)
        wide = self.made.add_parameter((), None, p.name, shapes)
        self.lent = element(self.b, wide, len(shapes) - 1)
        self._become(p, wide)

    def copy_instructions(self) -> None:
        """Copy all but parameters that have others in their place."""
        for inst in self.computation.instructions:
            self.b.current_source_location = inst.source_location
            if inst.opcode == "parameter":
                if inst in self.values and self.values[inst] is inst:
                    self.b.append(inst)
            elif inst.opcode == "get-tuple-element" and inst.operands[0] in self.wide:
                wide = self.wide[inst.operands[0]]
                self.values[inst] = element(self.b, wide, inst.attributes["index"])
            elif is_control(inst) and not self.lender.takers.isdisjoint(
                callees_of(inst.attributes)
            ):
                self._control(inst)
            else:
                self.values[inst] = self._kept(inst)

    def of(self, inst: Value) -> Value:
        """What has become of an instruction."""
        if inst not in self.values:
            self.values[inst] = self.packed(
                [element(self.b, self.wide[inst], i) for i in range(len(_shapes(inst)))]
            )
        return self.values[inst]

    def extended(self, value: Value) -> Value:
        """An array or a tuple with one element more."""
        parts = [value]
        if value.opcode == "tuple":
            parts = list(value.operands)
        elif value.tuple_shapes is not None:
            parts = [element(self.b, value, i) for i in range(len(value.tuple_shapes))]
        return self.packed([*parts, self.lent])

    def packed(self, parts: list[Value]) -> Value:
        shapes = tuple([Shape(part.dtype, part.shape) for part in parts])
        return self.b.emit("tuple", tuple(parts), (), None, tuple_shapes=shapes)

    def _become(self, inst: Value, wide: Value) -> None:
        if inst.tuple_shapes is None:
            self.values[inst] = element(self.b, wide, 0)
        else:
            self.wide[inst] = wide

    def _kept(self, inst: Value) -> Value:
        operands = tuple(map(self.of, inst.operands))
        if operands == inst.operands and self.made is self.lender.entry:
            self.b.append(inst)
            return inst
        return self._like(inst, operands)

    def _like(self, inst: Value, operands: tuple[Value, ...]) -> Value:
        return self.b.emit(
            *(inst.opcode, operands, inst.shape, inst.dtype, inst.attributes),
            tuple_shapes=inst.tuple_shapes,
        )

    def _control(self, inst: Value) -> None:
        """A loop, branch or call some of whose computations get the value."""
        operands = tuple(map(self.of, inst.operands))
        if inst.opcode == "call":
            operands = (*operands, self.lent)
        elif inst.opcode == "while":
            operands = (self.extended(operands[0]),)
        else:
            branches = inst.attributes["branches"]
            values = [
                self.extended(value) if branch in self.lender.takers else value
                for branch, value in zip(branches, operands[1:])
            ]
            operands = (operands[0], *values)
        copies = {
            c: self.lender.copies.get((c, _role(inst, c)), c)
            for c in callees_of(inst.attributes)
        }
        attributes = with_callees(inst.attributes, copies)
        if inst.opcode == "while":
            shapes = operands[0].tuple_shapes
            made = self.b.emit("while", operands, (), None, attributes, shapes)
            self._become(inst, made)
            return
        self.values[inst] = self.b.emit(
            *(inst.opcode, operands, inst.shape, inst.dtype, attributes),
            tuple_shapes=inst.tuple_shapes,
        )


def _shapes(inst: Value) -> tuple[Shape, ...]:
    """Those of a tuple's elements, or of the array."""
    if inst.tuple_shapes is not None:
        return inst.tuple_shapes
    return (Shape(inst.dtype, inst.shape),)
