"""Protobuf's wire format: what messages consist of, and how they are written.

Building protobuf's own Python messages costs several microseconds per instruction and a
copy of every constant, importing it half of what tracing a first program takes, and
parsing into its messages gives no bound on memory; hence this. The .proto files stay
the only place where a field number is written down: the build makes a table of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from nkipy.third_party.xla.wire_fields import MESSAGES

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_MASK64 = (1 << 64) - 1


class Field(NamedTuple):
    """How one field is encoded: `kind` is int64, int32, uint32, bool, bytes, ..."""

    name: str
    number: int
    kind: str
    repeated: bool
    tag: bytes
    message: str  # the type of a sub-message, else ""


class Schema(NamedTuple):
    """The fields of a message type, by name and by number."""

    name: str
    by_name: dict[str, Field]
    by_number: dict[int, Field]


#: The wire type of each kind of field; enumerations are of kind int32.
WIRE_TYPES = {
    **dict.fromkeys(("int64", "int32", "uint64", "uint32", "bool"), VARINT),
    "float": FIXED32,
    "double": FIXED64,
    **dict.fromkeys(("string", "bytes", "message"), LENGTH),
}


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


#: The varints of 0, 1, 2, ..., which is what most lengths are.
VARINTS = [
    *[bytes((i,)) for i in range(0x80)],
    *[bytes((i & 0x7F | 0x80, i >> 7)) for i in range(0x80, 2048)],
]


def varint(value: int) -> bytes:
    """`value` as a varint; a negative one as its 64-bit two's complement."""
    return VARINTS[value] if 0 <= value < 2048 else _varint(value & _MASK64)


def tag(number: int, wire_type: int) -> bytes:
    """The key that precedes a field's value."""
    return varint(number << 3 | wire_type)


@cache
def schema_of(message: str) -> Schema:
    """The schema of a message, by its name in the .proto files without the package.

    Raises:
        KeyError: there is no such message.
    """
    fields = [_field_of(*row) for row in MESSAGES[message]]
    return Schema(message, {f.name: f for f in fields}, {f.number: f for f in fields})


def _field_of(
    name: str, number: int, type_name: str, repeated: bool, message: str
) -> Field:
    kind = "int32" if type_name == "enum" else type_name
    wire_type = WIRE_TYPES[kind]
    packed = repeated and wire_type != LENGTH
    key = tag(number, LENGTH if packed else wire_type)
    return Field(name, number, kind, repeated, key, message)


def packed_ints(values: Sequence[int]) -> bytes:
    """Integers as consecutive varints."""
    try:
        out = bytes(values)  # values under 128 are their own varints
        if out.isascii():
            return out
    except ValueError:
        pass
    return b"".join(map(varint, values))


def packed_array(values: np.ndarray) -> np.ndarray:
    """The elements of an integer array as consecutive varints, in a uint8 array."""
    flat = values.reshape(-1)
    chunks = [_pack_chunk(flat[i : i + CHUNK]) for i in range(0, flat.size, CHUNK)]
    return np.concatenate(chunks) if len(chunks) != 1 else chunks[0]


#: Elements at a time; ten bytes of scratch for each stay in the cache.
CHUNK = 1 << 16


def _pack_chunk(chunk: np.ndarray) -> np.ndarray:
    wide = chunk.astype(np.int64) if chunk.dtype.kind == "i" else chunk
    wide = wide.astype(np.uint64)
    length = max(1, -(-int(wide.max()).bit_length() // 7))
    if length == 1:
        return wide.astype(np.uint8)
    groups = np.empty((wide.size, length), np.uint8)
    keep = np.empty((wide.size, length), bool)
    for i in range(length):
        rest = wide >> np.uint64(7)
        more = rest != 0
        groups[:, i] = wide.astype(np.uint8) & 0x7F | more.astype(np.uint8) << 7
        keep[:, i] = wide != 0 if i else True
        wide = rest
    return groups[keep]


def delimited(key: bytes, payload: bytes) -> bytes:
    """A length-delimited field."""
    return key + varint(len(payload)) + payload


def encode(schema: Schema, fields: Mapping[str, Any]) -> bytes:
    """A message's bytes from values by field name, sub-messages being mappings.

    Values equal to the field's default are left out, as in proto3.
    """
    by_name = schema.by_name
    return b"".join([_encode_field(by_name[k], v) for k, v in fields.items()])


def _encode_field(field: Field, value: Any) -> bytes:
    if field.kind == "message":
        schema = schema_of(field.message)
        items = value if field.repeated else (value,)
        return b"".join(delimited(field.tag, encode(schema, v)) for v in items)
    if field.kind in ("string", "bytes"):
        items = value if field.repeated else (value,) if value else ()
        return b"".join(delimited(field.tag, _as_bytes(v)) for v in items)
    if not value:
        return b""
    if field.repeated:
        return delimited(field.tag, packed_ints(value))
    return field.tag + varint(value)


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
