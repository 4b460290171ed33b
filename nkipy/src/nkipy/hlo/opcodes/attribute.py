"""Attributes: what a value may be, how it stands in a proto and in text.

A :class:`Kind` is what attributes of many opcodes have in common (an int, a tuple of
ints, a computation). An :class:`Attribute` is one attribute of an opcode: its kind, and
where it is written. None can be forgotten by the writer, the reader or the printer: an
attribute that lacks a part says so, and no record takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from nkipy.hlo.instruction import HLOComputation, HLOInstruction, Shape
from nkipy.hlo.wire import Schema, schema_of

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader

#: A message's fields by name, sub-messages being the same.
Fields = dict[str, Any]
#: The name of a computation in the text.
NameOf = Callable[[HLOComputation], str]
#: An attribute's text, ``name=value``, from its value and the instruction; "" if the
#: value is what the text form takes for granted, or stands elsewhere.
Text = Callable[[Any, HLOInstruction, NameOf], str]

#: A value from a message's fields and the name of one.
Decode = Callable[[Fields, str, "Reader"], Any]


class Kind(NamedTuple):
    """What a value has to be, and how such values are written.

    Attributes:
        name: for error messages: ``"a tuple of ints"``.
        check: whether a value is of this kind.
        encode: from a value to that of a field, as :func:`wire.encode` takes it.
        decode: from a message's fields and the name of one to a value; None if the
            field is not there and its absence means nothing.
        text: the value in HLO's text form.
        calls: whether values are computations that the instruction calls.
    """

    name: str
    check: Callable[[Any], bool]
    encode: Callable[[Any], Any] | None = None
    decode: Decode | None = None
    text: Callable[[Any], str] | None = None
    calls: bool = False


class Wire(NamedTuple):
    """How an attribute is written into an instruction's fields, and read from them.

    Attributes:
        put: adds the value to fields, which may have other attributes' already.
        get: the value, or None if the fields have none.
        paths: the fields that hold it, ``"dot_dimension_numbers.lhs_batch_dimensions"``
            being one in a sub-message. Others are refused by the reader.
    """

    put: Callable[[Fields, Any], None]
    get: Callable[[Fields, Reader], Any]
    paths: tuple[str, ...]


class PublicName(NamedTuple):
    """A name by which nkipy's clients know an attribute, or a part of one.

    Attributes:
        name: the name.
        take: the attribute's value, from a client's, what the attribute has been given
            so far under other names (None: nothing), and the instruction's result.
        show: the client's value, from the attribute's.
        absent: the attribute's value where a client says nothing, from the
            instruction's result; None: it has to be said.
    """

    name: str
    take: Callable[[Any, Any, Shape], Any] = lambda value, so_far, result: value
    show: Callable[[Any], Any] = lambda value: value
    absent: Callable[[Shape], Any] | None = None


def one_dimension(name: str) -> PublicName:
    """The name of an attribute whose value is a tuple of one int: that int."""
    return PublicName(
        name, lambda value, so_far, result: (value,), lambda value: value[0]
    )


class Attribute:
    """One attribute of an opcode.

    Args:
        name: its key in :attr:`HLOInstruction.attributes`.
        kind: what values are.
        field: the field that holds it, as a path (see :class:`Wire`); by default, that
            of the attribute's name.
        wire: how it is written, if not as its kind is into one field.
        text: its text, if not ``name=value`` in the kind's form.
        required: whether each instruction has it.
        default: what the proto holds, and is read as, where the attribute is not
            given. None: nothing.
        public: other names by which clients of nkipy give and see it.

    Attributes:
        problems: what is wrong with it: a part that it lacks, a field that there is
            not. A record of an opcode takes no attribute that has any.
    """

    __slots__ = (
        "name",
        "kind",
        "wire",
        "text",
        "required",
        "default",
        "public",
        "problems",
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        *,
        field: str = "",
        wire: Wire | None = None,
        text: Text | None = None,
        required: bool = True,
        default: Any = None,
        public: tuple[PublicName, ...] = (),
    ) -> None:
        self.name = name
        self.public = public
        self.kind = kind
        self.problems: list[str] = []
        self.wire = wire or self._own_wire(field or name)
        self.text = text or self._own_text()
        self.required = required
        self.default = default
        if not kind.calls:
            self.problems += [p for p in map(_problem_of, self.wire.paths) if p]

    def _own_wire(self, path: str) -> Wire:
        kind = self.kind
        if kind.calls:
            return CALLED_WIRE
        if kind.encode is None or kind.decode is None:
            missing = "encode" if kind.encode is None else "decode"
            self.problems.append(
                f"no wire form: its kind, {kind.name}, has no {missing}"
            )
            return CALLED_WIRE
        return field_of(path, kind.encode, kind.decode)

    def _own_text(self) -> Text:
        text, name = self.kind.text, self.name
        if self.kind.calls:
            return lambda value, inst, name_of: f"{name}=%{name_of(value)}"
        if text is None:
            self.problems.append(f"no text form: its kind, {self.kind.name}, has none")
            return printed_elsewhere
        return lambda value, inst, name_of: f"{name}={text(value)}"


def _problem_of(path: str) -> str:
    """What is wrong with a path of fields; "" if nothing is."""
    schema: Schema | None = schema_of("HloInstructionProto")
    for part in path.split("."):
        field = schema.by_name.get(part) if schema is not None else None
        if field is None:
            return f"a field {path!r}, which HloInstructionProto has not"
        schema = schema_of(field.message) if field.message else None
    return ""


def optional(name: str, kind: Kind, **parts: Any) -> Attribute:
    """An :class:`Attribute` that instructions may have or not."""
    return Attribute(name, kind, required=False, **parts)


# -- wire forms ------------------------------------------------------------------------
def field_of(
    path: str,
    encode: Callable[[Any], Any],
    decode: Decode,
) -> Wire:
    """A value in a field of its own, perhaps of a sub-message."""
    *parents, name = path.split(".")

    def put(fields: Fields, value: Any) -> None:
        for parent in parents:
            fields = fields.setdefault(parent, {})
        fields[name] = encode(value)

    def get(fields: Fields, reader: Reader) -> Any:
        for parent in parents:
            fields = fields.get(parent, {})
        return decode(fields, name, reader)

    return Wire(put, get, (path,))


def column(message: str, name: str) -> Wire:
    """A number of each of the sub-messages in a repeated field."""

    def put(fields: Fields, value: tuple[int, ...]) -> None:
        rows = fields.setdefault(message, [{} for _ in value])
        for row, number in zip(rows, value, strict=True):
            row[name] = number

    def get(fields: Fields, reader: Reader) -> tuple[int, ...]:
        return tuple(row.get(name, 0) for row in fields.get(message, ()))

    return Wire(put, get, (f"{message}.{name}",))


def _put_nothing(fields: Fields, value: Any) -> None:
    pass


def _get_nothing(fields: Fields, reader: Reader) -> None:
    return None


#: The literal of a constant, which the writer does not copy and the reader has to
#: compare with the result's shape.
LITERAL_WIRE = Wire(_put_nothing, _get_nothing, ("literal",))
#: Called computations, in the order of the record. The module numbers them: its writer
#: and its reader know the numbers.
CALLED_WIRE = Wire(_put_nothing, _get_nothing, ("called_computation_ids",))


# -- texts -----------------------------------------------------------------------------
def printed_elsewhere(value: Any, inst: HLOInstruction, name_of: NameOf) -> str:
    """The text of what stands among the operands, or in another attribute's text."""
    return ""


def if_true(key: str) -> Text:
    """The text of a flag."""
    return lambda value, inst, name_of: f"{key}=true" if value else ""
