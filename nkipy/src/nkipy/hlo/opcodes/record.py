"""The record of an opcode: all that is known of it, and the table of all records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.errors import HLORecordError, HLOVerificationError
from nkipy.hlo.instruction import SHOWN_ATTRIBUTES, HLOInstruction, Shape
from nkipy.hlo.opcodes.attribute import CALLED_WIRE, Attribute, Fields, NameOf
from nkipy.hlo.opcodes.compiled import Compiled
from nkipy.hlo.opcodes.cost import CostClass
from nkipy.hlo.opcodes.rule import Rule

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader

ALL = frozenset(dt.HLO_NAMES)
FLOAT = frozenset(d for d in ALL if dt.is_float(d))
INTEGER = frozenset(d for d in ALL if dt.is_integer(d))
PRED = frozenset({dt.bool_})
SIGNED = FLOAT | frozenset(d for d in INTEGER if d.kind == "i")
NUMERIC = FLOAT | INTEGER
BITS = INTEGER | PRED


class Keeps(Enum):
    """Which values of its first operand a result consists of, and nothing else.

    They may be in another order, shape or number, or converted to the result's type.
    """

    NOTHING = auto()  # it computes, or has those of other operands too
    SOME = auto()
    ALL = auto()


class OnCpu(Flag):
    """What XLA on the CPU does otherwise than HLO says, unless it is prevented."""

    AS_IT_SAYS = 0
    #: It contracts a sum with a product, which is not rounded then.
    CONTRACTS = auto()
    #: Of integers and booleans, it folds constants to something else.
    FOLDS_OTHERWISE = auto()
    #: It computes something else where generated code turns out to have a constant: of
    #: ``x * 0`` for an integer, say, which is no constant of the module.
    COMPUTES_OTHERWISE = auto()
    #: It flushes a subnormal number, and reads the number's bits besides.
    READS_SUBNORMALS = auto()


class Opcode:
    """One opcode. Verifier, printer, writer, reader, cost models and checks read it.

    Args:
        name: as in HLO's text form.
        operands: how many, or the least and the greatest number (None is no limit).
        rule: what the result has to be (see :mod:`nkipy.hlo.opcodes.rule`).
        cost: what decides the time that an instruction takes.
        compiled: what the vendor's compiler makes of it.
        dtypes: element types of the (first) operand, or of the result where there is
            none.
        attributes: in the order of the text form; called computations in the order in
            which XLA lists them.
        takes_tuples: whether the first operand (or, of a source, the result) may be a
            tuple.
        keeps: which values of the (first) operand the result consists of.
        is_variadic_in_xla: whether XLA has it with more operands as well.
        on_cpu: what the emulator's rewrites have to prevent.

    Attributes:
        arity: the number of operands where only one is possible, else -1.
        required: the attributes that each instruction has.
        callees: the names of those that hold computations.
        fields: the fields of ``HloInstructionProto`` that hold attributes.
        checked_dtypes: `dtypes`; None if any will do and there is an operand, which
            has been checked.
        public: attributes by the names that nkipy's clients have for them, if those
            are others than their own.

    Raises:
        HLORecordError: a part is missing or contradicts another.
    """

    __slots__ = (
        "name",
        "operands",
        "rule",
        "cost",
        "compiled",
        "dtypes",
        "attributes",
        "takes_tuples",
        "keeps",
        "arity",
        "required",
        "callees",
        "fields",
        "checked_dtypes",
        "public",
        "is_variadic_in_xla",
        "on_cpu",
    )

    def __init__(
        self,
        name: str,
        *,
        operands: int | tuple[int, int | None] | None = None,
        rule: Rule | None = None,
        cost: CostClass | None = None,
        compiled: Compiled | None = None,
        dtypes: frozenset[np.dtype] = ALL,
        attributes: Sequence[Attribute] = (),
        takes_tuples: bool = False,
        keeps: Keeps = Keeps.NOTHING,
        is_variadic_in_xla: bool = False,
        on_cpu: OnCpu = OnCpu.AS_IT_SAYS,
    ) -> None:
        if operands is None:
            raise _without(name, "operands")
        if rule is None:
            raise _without(name, "rule")
        if cost is None:
            raise _without(name, "cost")
        if compiled is None:
            raise _without(name, "compiled")
        count = (operands, operands) if isinstance(operands, int) else operands
        self.name = name
        self.operands: tuple[int, int | None] = count
        self.rule = rule
        self.cost = cost
        self.compiled = compiled
        self.dtypes = dtypes
        self.attributes: Mapping[str, Attribute] = _by_name(name, attributes)
        self.takes_tuples = takes_tuples
        self.keeps = keeps
        self.is_variadic_in_xla = is_variadic_in_xla
        self.on_cpu = on_cpu
        self.arity = count[0] if count[0] == count[1] else -1
        self.required = {a.name: a for a in attributes if a.required}
        self.callees = tuple(a.name for a in attributes if a.kind.calls)
        paths = [path for a in attributes for path in a.wire.paths]
        self.fields = frozenset(path.partition(".")[0] for path in paths)
        self.checked_dtypes = None if dtypes == ALL and count[0] else dtypes
        self.public = {p.name: (a, p) for a in attributes for p in a.public}

    def taken(self, given: Mapping[str, Any], result: Shape) -> dict[str, Any]:
        """A client's attributes by their own names, for an instruction of this result.

        Lists become tuples and NumPy's integers Python's. What has no such name stays
        as it is: the verifier says so.
        """
        made: dict[str, Any] = {}
        for name, value in given.items():
            if name in self.attributes or name not in self.public:
                made[name] = _plain(value)
                continue
            attribute, public = self.public[name]
            so_far = made.get(attribute.name)
            made[attribute.name] = public.take(_plain(value), so_far, result)
        for attribute, public in self.public.values():
            if attribute.name not in made and public.absent is not None:
                made[attribute.name] = public.absent(result)
        return made

    def shown(self, values: Mapping[str, Any], name: str) -> Any:
        """The attribute that clients call `name`. Raises KeyError if there is none."""
        attribute, public = self.public[name]
        return public.show(values[attribute.name])

    def encode(self, values: Mapping[str, Any]) -> Fields:
        """The fields that hold attributes, but for callees and literals.

        Raises:
            HLOVerificationError: there is an attribute that the opcode has not, or one
                is missing.
        """
        unknown = values.keys() - self.attributes.keys()
        if unknown:
            raise HLOVerificationError(
                f"{self.name} has no attribute {min(unknown)!r}, which would be lost"
            )
        fields: Fields = {}
        for name, attribute in self.attributes.items():
            value = values.get(name, attribute.default)
            if value is not None:
                attribute.wire.put(fields, value)
            elif attribute.required:
                raise HLOVerificationError(f"{self.name} without attribute {name!r}")
        return fields

    def decode(self, fields: Fields, reader: Reader) -> dict[str, Any]:
        """The attributes in an instruction's fields, but for callees and literals.

        Raises:
            HLOProtoError: a field has a value that we do not know.
        """
        out = {}
        for name, attribute in self.attributes.items():
            value = attribute.wire.get(fields, reader)
            if value is None:
                value = attribute.default
            if value is not None:
                out[name] = value
        return out

    def texts(self, inst: HLOInstruction, name_of: NameOf) -> list[str]:
        """Each attribute of an instruction as ``name=value``, in HLO's text form."""
        values = inst.attributes
        texts = [
            attribute.text(values[name], inst, name_of)
            for name, attribute in self.attributes.items()
            if values.get(name) is not None
        ]
        return [text for text in texts if text]

    def __repr__(self) -> str:
        return f"<Opcode {self.name}>"


def _without(opcode: str, part: str) -> HLORecordError:
    return HLORecordError(f"the record of opcode {opcode!r} has no {part}")


def _plain(value: Any) -> Any:
    """`value` with tuples for its lists, and Python's integers for NumPy's."""
    if type(value) in (list, tuple):
        return tuple(map(_plain, value))
    return int(value) if isinstance(value, np.integer) else value


def _by_name(opcode: str, attributes: Sequence[Attribute]) -> dict[str, Attribute]:
    """The attributes by name; no two have one name, or are written in one place."""
    for attribute in attributes:
        for problem in attribute.problems:
            raise HLORecordError(
                f"attribute {attribute.name!r} of opcode {opcode!r} has {problem}"
            )
    names = [a.name for a in attributes]
    paths = [p for a in attributes if a.wire is not CALLED_WIRE for p in a.wire.paths]
    for what, values in (("attributes called", names), ("attributes in field", paths)):
        twice = {v for v in values if values.count(v) > 1}
        if twice:
            raise HLORecordError(
                f"the record of opcode {opcode!r} has two {what} {min(twice)!r}"
            )
    return dict(zip(names, attributes))


#: All records, by name.
OPCODES: dict[str, Opcode] = {}


def define(names: str, **parts: Any) -> None:
    """Add a record for each of `names`, which differ in nothing else.

    Args:
        names: opcodes, separated by spaces.
        parts: see :class:`Opcode`.

    Raises:
        HLORecordError: a part is missing, or an opcode has a record already.
    """
    for name in names.split():
        if name in OPCODES:
            raise HLORecordError(f"opcode {name!r} has two records")
        OPCODES[name] = Opcode(name, **parts)
        SHOWN_ATTRIBUTES[name] = OPCODES[name].shown
