"""Protobuf's wire format, read: messages from bytes that nobody vouches for."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import numpy as np

from nkipy.hlo.errors import HLOProtoError, HLOUnsupportedError
from nkipy.hlo.wire import (
    CHUNK,
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    WIRE_TYPES,
    Field,
    Schema,
    schema_of,
)

#: Messages inside messages; an HLO module as we read it needs seven.
MAX_DEPTH = 12
_MASK64 = (1 << 64) - 1


class Reader:
    """Decodes messages within a budget of fields, so that time and memory are bounded.

    Args:
        max_fields: how many fields may be decoded in total.
        repetitive: messages of which a module has many with the same bytes; each is
            decoded once and the result shared.
    """

    def __init__(self, max_fields: int, repetitive: Container[str] = ()) -> None:
        self.fields_left = max_fields
        self._repetitive = repetitive
        self._known: dict[tuple[str, bytes], dict] = {}

    def decode(self, schema: Schema, data: memoryview, depth: int = 0) -> dict:
        """A message as a dict by field name, with only the fields that it has.

        A sub-message is decoded too; bytes stay views of `data`; repeated floating
        fields are lists of views and arrays (see :func:`join_numbers`), and repeated
        varints of literals likewise. Unknown fields that have a value are under the
        key ``None``, a list of their numbers.

        Raises:
            HLOProtoError: the data is not a message of this type.
        """
        if depth > MAX_DEPTH:
            raise HLOProtoError(f"{schema.name}: messages nest deeper than {MAX_DEPTH}")
        out: dict = {}
        pos, end = 0, len(data)
        while pos < end:
            self._spend(schema)
            key, pos = read_varint(data, pos)
            field = schema.by_number.get(key >> 3)
            value, pos = _read_value(schema, data, pos, key & 7)
            if field is None:
                _unknown(schema, out, key >> 3, value)
            else:
                self._store(schema, out, field, key & 7, value, depth)
        return out

    def _spend(self, schema: Schema) -> None:
        self.fields_left -= 1
        if self.fields_left < 0:
            raise HLOUnsupportedError(f"{schema.name}: too many fields in the module")

    def _store(
        self,
        schema: Schema,
        out: dict,
        field: Field,
        wire_type: int,
        value: Any,
        depth: int,
    ) -> None:
        expected = WIRE_TYPES[field.kind]
        if wire_type == LENGTH and field.repeated and expected != LENGTH:
            out.setdefault(field.name, []).append(value)
        elif wire_type != expected:
            raise HLOProtoError(
                f"{schema.name}.{field.name}: wire type {wire_type}, not {expected}"
            )
        elif field.kind == "message":
            self._store_message(out, field, value, depth)
        else:
            item = _scalar(schema, field, value)
            if field.repeated:
                out.setdefault(field.name, []).append(item)
            else:
                out[field.name] = item

    def _store_message(
        self, out: dict, field: Field, data: memoryview, depth: int
    ) -> None:
        schema = schema_of(field.message)
        if schema.name in self._repetitive:
            key = (schema.name, bytes(data))
            item = self._known.get(key)
            if item is None:
                item = self._known[key] = self.decode(schema, data, depth + 1)
        else:
            item = self.decode(schema, data, depth + 1)
        if field.repeated:
            out.setdefault(field.name, []).append(item)
        elif field.name not in out:
            out[field.name] = item
        else:
            # Protobuf merges the two; nothing that writes modules relies on it.
            raise HLOProtoError(f"{field.name} occurs twice in a message")

    def ints(self, fields: dict, name: str, limit: int = 1 << 16) -> tuple[int, ...]:
        """A repeated integer field of a decoded message, packed or not."""
        out: list[int] = []
        for part in fields.get(name, ()):
            if isinstance(part, memoryview):
                out += self._unpack(name, part)
            else:
                out.append(part)
            if len(out) > limit:
                raise HLOProtoError(f"{name}: more than {limit} elements")
        return tuple(out)

    def _unpack(self, name: str, data: memoryview) -> Iterable[int]:
        self.fields_left -= len(data)
        if self.fields_left < 0:
            raise HLOUnsupportedError(f"{name}: too many elements in the module")
        raw = bytes(data)
        if raw.isascii():  # values under 128 are their own varints
            yield from raw
            return
        pos = 0
        while pos < len(data):
            value, pos = read_varint(data, pos)
            yield signed(value)


def signed(value: int) -> int:
    """A 64-bit pattern as a two's complement number."""
    return value - (1 << 64) if value >> 63 else value


def read_varint(data: memoryview, pos: int) -> tuple[int, int]:
    """The varint at `pos` (64 bits at most), and the position after it."""
    if pos < len(data) and data[pos] < 0x80:
        return data[pos], pos + 1
    value = shift = 0
    while True:
        if pos >= len(data):
            raise HLOProtoError("truncated: the data ends inside a number")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK64, pos
        shift += 7
        if shift >= 70:
            raise HLOProtoError("a number has more than ten bytes")


def _read_value(
    schema: Schema, data: memoryview, pos: int, wire_type: int
) -> tuple[Any, int]:
    if wire_type == VARINT:
        return read_varint(data, pos)
    if wire_type == LENGTH:
        size, pos = read_varint(data, pos)
    elif wire_type in (FIXED32, FIXED64):
        size = 4 if wire_type == FIXED32 else 8
    else:
        raise HLOProtoError(f"{schema.name}: wire type {wire_type} is not supported")
    if size > len(data) - pos:
        raise HLOProtoError(f"{schema.name}: truncated: the data ends inside a field")
    return data[pos : pos + size], pos + size


def _unknown(schema: Schema, out: dict, number: int, value: Any) -> None:
    if number == 0:
        raise HLOProtoError(f"{schema.name}: field number 0")
    is_default = value == 0 if isinstance(value, int) else not len(value)
    if not is_default:
        out.setdefault(None, []).append(number)


def _scalar(schema: Schema, field: Field, value: Any) -> Any:
    kind = field.kind
    if kind == "string":
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError as e:
            raise HLOProtoError(f"{schema.name}.{field.name}: not UTF-8") from e
    if kind == "int64":
        return signed(value)
    if kind == "int32":
        value &= 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value
    return bool(value) if kind == "bool" else value


def unpack_array(data: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Consecutive varints in a uint8 array, each reduced to `dtype`'s bits.

    Raises:
        HLOProtoError: the last one is cut off, or one is longer than ten bytes.
    """
    if data.size and data[-1] > 0x7F:
        raise HLOProtoError("truncated: the data ends inside a number")
    parts, pos = [np.empty(0, dtype)], 0
    while pos < data.size:
        window = data[pos : pos + CHUNK]
        ends = np.flatnonzero(window < 0x80)
        if not ends.size:
            raise HLOProtoError("a number has more than ten bytes")
        parts.append(_unpack_window(window, ends).astype(dtype))
        pos += int(ends[-1]) + 1
    return np.concatenate(parts)


def _unpack_window(data: np.ndarray, ends: np.ndarray) -> np.ndarray:
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > 10:
        raise HLOProtoError("a number has more than ten bytes")
    out = np.zeros(ends.size, np.uint64)
    for i in range(longest):
        groups = data[np.minimum(starts + i, ends)].astype(np.uint64) & np.uint64(0x7F)
        out |= np.where(i < lengths, groups << np.uint64(7 * i), np.uint64(0))
    return out
