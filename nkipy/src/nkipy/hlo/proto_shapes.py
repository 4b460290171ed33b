"""Shapes as ``ShapeProto``, written and read."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.errors import HLOProtoError, HLOUnsupportedError
from nkipy.hlo.instruction import Shape
from nkipy.hlo.wire import delimited, encode, schema_of
from nkipy.hlo.wire_reader import Reader
from nkipy.third_party.xla.wire_fields import ENUMS

_SHAPE = schema_of("ShapeProto")
_PRIMITIVE_TYPES = ENUMS["PrimitiveType"]
_TUPLE = _PRIMITIVE_TYPES["TUPLE"]

#: Element types of XLA's protos.
ELEMENT_TYPES: dict[np.dtype, int] = {
    dtype: _PRIMITIVE_TYPES[name.upper()] for dtype, name in dt.HLO_NAMES.items()
}
DTYPES: dict[int, np.dtype] = {number: dtype for dtype, number in ELEMENT_TYPES.items()}


AnyShape = Shape | tuple[Shape, ...]


@lru_cache(maxsize=4096)
def shape_bytes(dtype: np.dtype, dims: tuple[int, ...]) -> bytes:
    """The message of an array's shape, with a row-major layout."""
    fields: dict[str, Any] = {"element_type": ELEMENT_TYPES[dtype]}
    if dims:
        fields["dimensions"] = dims
        fields["is_dynamic_dimension"] = (0,) * len(dims)
    fields["layout"] = {
        "minor_to_major": tuple(range(len(dims)))[::-1],
        "tail_padding_alignment_in_elements": 1,
    }
    return encode(_SHAPE, fields)


def tuple_shape_bytes(shapes: tuple[Shape, ...]) -> bytes:
    """The message of a tuple's shape, its elements with their layouts."""
    key = _SHAPE.by_name["tuple_shapes"].tag
    elements = [delimited(key, shape_bytes(*s)) for s in shapes]
    return encode(_SHAPE, {"element_type": _TUPLE}) + b"".join(elements)


def read_shape(reader: Reader, fields: dict[str, Any]) -> AnyShape:
    """The shape of a decoded ``ShapeProto``, or the shapes of a tuple's elements.

    Raises:
        HLOProtoError: a tuple in a tuple, an element type that we do not have, a
            dynamic or negative dimension, or a layout that is not row-major.
    """
    number = fields.get("element_type", 0)
    if number == _TUPLE:
        if fields.get("dimensions") or "layout" in fields:
            raise HLOProtoError("a tuple with dimensions or a layout")
        elements = fields.get("tuple_shapes", ())
        return tuple(_read_array(reader, element) for element in elements)
    return _read_array(reader, fields)


def _read_array(reader: Reader, fields: dict[str, Any]) -> Shape:
    number = fields.get("element_type", 0)
    dtype = DTYPES.get(number)
    if dtype is None:
        # 0 is what stands where nothing was said.
        refusal = HLOUnsupportedError if number else HLOProtoError
        raise refusal(f"{_type_name(number)} is no element type that we have")
    if None in fields or fields.get("tuple_shapes"):
        raise HLOUnsupportedError("an array's shape has fields that are not supported")
    dims = reader.ints(fields, "dimensions", limit=_MAX_RANK)
    dynamic = reader.ints(fields, "is_dynamic_dimension", limit=_MAX_RANK)
    if len(dynamic) not in (0, len(dims)):
        raise HLOProtoError(f"{len(dynamic)} dynamic dimensions of {len(dims)}")
    if any(dynamic):
        raise HLOUnsupportedError("a dynamic dimension")
    if any(d < 0 for d in dims):
        raise HLOProtoError(f"negative dimensions {list(dims)}")
    if "layout" in fields:
        _check_layout(reader, fields["layout"], len(dims), dtype)
    return Shape(dtype, dims)


_MAX_RANK = 64


def _type_name(number: int) -> str:
    names = {value: name for name, value in _PRIMITIVE_TYPES.items()}
    return names.get(number, f"element type {number}")


def _check_layout(
    reader: Reader, layout: dict[str, Any], rank: int, dtype: np.dtype
) -> None:
    order = reader.ints(layout, "minor_to_major", limit=_MAX_RANK)
    if order and order != tuple(range(rank))[::-1]:
        raise HLOUnsupportedError(f"layout {list(order)} is not row-major")
    bits = layout.get("element_size_in_bits", 0)
    padding = layout.get("tail_padding_alignment_in_elements", 1)
    if (
        None in layout
        or layout.get("tiles")
        or layout.get("memory_space")
        or bits not in (0, dtype.itemsize * 8)
        or padding not in (0, 1)
    ):
        raise HLOUnsupportedError("a layout that is not plain row-major")
