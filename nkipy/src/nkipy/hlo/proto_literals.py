"""Constants as ``LiteralProto``, without a Python object for each element."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.errors import HLOProtoError
from nkipy.hlo.proto_shapes import shape_bytes
from nkipy.hlo.wire import (
    Schema,
    delimited,
    packed_array,
    packed_ints,
    schema_of,
    varint,
)
from nkipy.hlo.wire_reader import Reader, unpack_array

LITERAL: Schema = schema_of("LiteralProto")


class Storage(NamedTuple):
    """Where a dtype's elements are kept, and whether as varints."""

    field: str
    tag: bytes
    is_varint: bool


def _storage(dtype: np.dtype, name: str) -> Storage:
    field = "preds" if dtype == dt.bool_ else f"{name}s"
    spec = LITERAL.by_name[field]
    # A bool is a varint too, but always of one byte, which is NumPy's.
    is_varint = spec.kind in ("int32", "int64", "uint32", "uint64")
    return Storage(field, spec.tag, is_varint)


_STORAGE = {dtype: _storage(dtype, name) for dtype, name in dt.HLO_NAMES.items()}
Buffer = Any
_SMALL = 256  # bytes, below which copying is cheaper than a buffer of its own


def literal_parts(literal: np.ndarray) -> list[Buffer]:
    """The literal's message as buffers to be joined; large data is not copied."""
    head, is_varint = _head(literal.dtype, literal.shape)
    if literal.nbytes > _SMALL:
        data = packed_array(literal) if is_varint else raw_bytes(literal)
        return [head + varint(len(data)), data]
    if not literal.size:
        return [head]
    small = packed_ints(literal.ravel().tolist()) if is_varint else literal.tobytes()
    return [head + varint(len(small)) + small]


@lru_cache(maxsize=4096)
def _head(dtype: np.dtype, dims: tuple[int, ...]) -> tuple[bytes, bool]:
    """The literal's shape and the key of its data, and whether these are varints."""
    storage = _STORAGE[dtype]
    head = delimited(LITERAL.by_name["shape"].tag, shape_bytes(dtype, dims))
    return (head if 0 in dims else head + storage.tag), storage.is_varint


def raw_bytes(literal: np.ndarray) -> Buffer:
    """The elements as little-endian bytes, a view if there are many."""
    if literal.nbytes <= _SMALL:
        return literal.tobytes()
    return np.ascontiguousarray(literal).reshape(-1).view(np.uint8)


def read_literal(
    fields: dict[str, Any], dtype: np.dtype, dims: tuple[int, ...], reader: Reader
) -> np.ndarray:
    """The array of a decoded ``LiteralProto``, read-only.

    The product of `dims` has to be checked before: nothing is allocated here before the
    data is known to have that many elements.

    Raises:
        HLOProtoError: the data is that of another shape or dtype.
    """
    storage = _STORAGE[dtype]
    extra = fields.keys() - {"shape", storage.field}
    if extra:
        names = ", ".join(map(str, extra))
        raise HLOProtoError(f"a literal of {dt.HLO_NAMES[dtype]} has data in {names}")
    count = 1
    for d in dims:
        count *= d
    data = fields.get(storage.field, b"" if storage.field.startswith(_BYTES) else [])
    if isinstance(data, list):
        out = _read_numbers(data, dtype, count)
    else:
        out = _from_bytes(data, dtype, count)
    out = out.reshape(dims)
    out.flags.writeable = False
    return out


#: Fields of type bytes, which hold at most one value.
_BYTES = tuple(f.name for f in LITERAL.by_number.values() if f.kind == "bytes")


def _from_bytes(data: Buffer, dtype: np.dtype, count: int) -> np.ndarray:
    if len(data) != count * dtype.itemsize:
        raise HLOProtoError(
            f"a literal of {count} elements of {dt.HLO_NAMES[dtype]} has "
            f"{len(data)} bytes"
        )
    return np.frombuffer(bytes(data), dtype)


def _read_numbers(parts: list, dtype: np.dtype, count: int) -> np.ndarray:
    """Elements of a repeated field: packed runs (views), single ones, or both."""
    if not parts and count == 0:
        return np.empty(0, dtype)
    arrays = [_read_part(part, dtype) for part in parts]
    total = sum(a.size for a in arrays)
    if total != count:
        raise HLOProtoError(
            f"a literal of {count} elements of {dt.HLO_NAMES[dtype]} has {total}"
        )
    return np.concatenate(arrays)


def _read_part(part: Any, dtype: np.dtype) -> np.ndarray:
    if not isinstance(part, memoryview):
        return np.array([part]).astype(dtype)
    if not _STORAGE[dtype].is_varint and dtype != dt.bool_:
        if len(part) % dtype.itemsize:
            raise HLOProtoError("a literal's data ends inside an element")
        return np.frombuffer(part, dtype)
    return unpack_array(np.frombuffer(part, np.uint8), dtype)
