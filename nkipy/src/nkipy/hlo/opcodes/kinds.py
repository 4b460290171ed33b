"""Kinds of attributes that opcodes of several subjects have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.hlo.errors import HLOProtoError
from nkipy.hlo.instruction import HLOComputation
from nkipy.hlo.opcodes.attribute import Fields, Kind
from nkipy.hlo.opcodes.text import braces

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


def is_int(value: Any) -> bool:
    """An int of at most 64 bits, and no bool."""
    return type(value) is int and _INT64_MIN <= value <= _INT64_MAX


def is_ints(value: Any) -> bool:
    """A tuple of such ints."""
    return type(value) is tuple and (not value or all(map(is_int, value)))


def is_rows(value: Any, length: int | None = None) -> bool:
    """A tuple of tuples of ints, all `length` long if that is given."""
    return type(value) is tuple and all(
        is_ints(row) and length in (None, len(row)) for row in value
    )


def itself(value: Any) -> Any:
    """The encoding of what a field holds as it is."""
    return value


def _is_computations(value: Any) -> bool:
    return type(value) is tuple and all(type(c) is HLOComputation for c in value)


def _number(fields: Fields, name: str, reader: Reader) -> int:
    return fields.get(name, 0)


def _flag(fields: Fields, name: str, reader: Reader) -> bool:
    return fields.get(name, False)


def _string(fields: Fields, name: str, reader: Reader) -> str:
    return fields.get(name, "")


def _bytes(fields: Fields, name: str, reader: Reader) -> bytes | None:
    return bytes(fields[name]) if name in fields else None


def _ints(fields: Fields, name: str, reader: Reader) -> tuple[int, ...]:
    return reader.ints(fields, name)


def _only(fields: Fields, name: str, reader: Reader) -> int:
    values = reader.ints(fields, name)
    if len(values) != 1:
        raise HLOProtoError(f"{name} has {len(values)} elements instead of one")
    return values[0]


INT = Kind("an int", is_int, itself, _number, str)
INTS = Kind("a tuple of ints", is_ints, itself, _ints, braces)
#: A single number in a field of several.
ONE_OF_INTS = Kind("an int", is_int, lambda value: (value,), _only, str)
BOOL = Kind(
    "a bool", lambda v: type(v) is bool, itself, _flag, lambda v: str(v).lower()
)
STR = Kind("a str", lambda v: type(v) is str, itself, _string)
BYTES = Kind("bytes", lambda v: type(v) is bytes, itself, _bytes)
LITERAL = Kind("an ndarray", lambda v: type(v) is np.ndarray)
COMPUTATION = Kind("an HLOComputation", lambda v: type(v) is HLOComputation, calls=True)
COMPUTATIONS = Kind("a tuple of HLOComputations", _is_computations, calls=True)
