"""Element types: what is stored, and how numbers get there and back.

Engines compute in float32. :func:`widen` gives them an operand's values, and
:func:`narrow` rounds what they computed to the destination's type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.errors import NkiValidationError
from nkipy_nki.rounding import (
    as_float32,
    cast,
    from_byte,
    same,
    to_bool,
    to_byte,
    to_integer,
    to_tfloat32,
)

__all__ = [
    "DTYPES",
    "DType",
    "DTypeRecord",
    "as_outside",
    "convert",
    "find_dtype",
    "narrow",
    "pack",
    "tensor_dtype",
    "unpack",
    "widen",
]

_FLOAT32 = np.dtype(np.float32)
_BOOL = np.dtype(np.bool_)
#: How many elements one of a packed type holds.
PACKED = 4


class DType(str):
    """An element type, by its name: ``nl.float32`` is the text ``"float32"``."""

    __slots__ = ()


@dataclass(frozen=True, eq=False, repr=False)
class DTypeRecord(DType):
    """An element type with what is known of it; as a text it is its name.

    So a tensor's ``dtype`` is a record here, and ``"float32"`` to a kernel, which
    compares it with ``nl.float32`` and gives it to ``nl.ndarray``. There is one record
    of each, so `is` compares them here.

    Attributes:
        name: that of the language.
        element: what is stored, as NumPy has it.
        kind: ``"float"``, ``"integer"``, ``"bool"`` or ``"packed"``.
        lowest, highest: the least and the greatest finite value; 0 of a packed type.
        rounding: makes elements of any numbers that NumPy has.
        widening: makes float32 of elements.
        device_itemsize: bytes of an element on the device. It differs from `itemsize`
            if values are kept in float32 only.
        packs: the type of the elements that one of a packed type holds.
        is_scalar_only: whether no tensor of it has more than one element.
        since: the first generation of cores that has it.
        until: the last one, if any.
    """

    name: DType
    element: np.dtype
    kind: str
    lowest: float
    highest: float
    rounding: Callable[[np.ndarray], np.ndarray]
    widening: Callable[[np.ndarray], np.ndarray]
    device_itemsize: int
    packs: DTypeRecord | None = None
    is_scalar_only: bool = False
    since: int = 2
    until: int | None = None

    def __eq__(self, other: object) -> bool:
        """Whether `other` is its name; or NumPy's or ml_dtypes' type of that name."""
        if isinstance(other, str) or not isinstance(other, (type, np.dtype)):
            return str.__eq__(self, other)
        try:
            return str.__eq__(self, find_dtype(other, is_scalar=True))
        except NkiValidationError:
            return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (str(self.name), self.is_kept_in_float32)

    def __new__(cls, name: str, *others: Any, **more: Any) -> DTypeRecord:
        return super().__new__(cls, name)

    @property
    def itemsize(self) -> int:
        """Bytes of an element as it is stored here."""
        return self.element.itemsize

    @property
    def outside(self) -> np.dtype:
        """That of a caller's arrays: NumPy's bool of ``bool_``, which stores bytes."""
        return _BOOL if self.kind == "bool" else self.element

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        """Whether it is of whole numbers; ``bool_`` is not."""
        return self.kind == "integer"

    @property
    def is_packed(self) -> bool:
        return self.packs is not None

    def is_of(self, generation: int) -> bool:
        """Whether a generation of cores has it."""
        return self.since <= generation <= (self.until or generation)

    @property
    def is_kept_in_float32(self) -> bool:
        """Whether values are stored unrounded, though the device would round them."""
        return self.itemsize != self.device_itemsize


# -- packed types ----------------------------------------------------------------------
def _refused(name: str) -> Callable[[np.ndarray], np.ndarray]:
    def refuse(elements: np.ndarray) -> np.ndarray:
        raise NkiValidationError(
            f"{name} holds {PACKED} numbers in an element, and no engine computes with "
            "it: quantize_mx makes it, nc_matmul_mx reads it, dma_copy moves it"
        )

    return refuse


# -- the records -----------------------------------------------------------------------
#: The first and the last generation that has a type which not all have. Sources: the
#: compiler's error codes EVRF051 (float8_e4m3fn: not of trn1 and trn2) and EVRF052
#: (float8_e4m3: not of what is newer than trn3), and the pages of the packed types
#: (NeuronCore-v4). Of float8_e8m0fnu, the type of their scales, no page says it.
_GENERATIONS: dict[str, tuple[int, int | None]] = {
    "float8_e4m3": (2, 4),
    "float8_e4m3fn": (4, None),
    "float8_e8m0fnu": (4, None),
}


def _float(name: str) -> DTypeRecord:
    element = np.dtype(getattr(ml_dtypes, name, name))
    limits = ml_dtypes.finfo(element)
    since, until = _GENERATIONS.get(name, (2, None))
    by_itemsize = {
        1: (to_byte(element), from_byte(element)),
        2: (cast(element), as_float32),
        4: (as_float32, same),
    }
    return DTypeRecord(
        DType(name),
        element,
        "float",
        float(limits.min),
        float(limits.max),
        *by_itemsize[element.itemsize],
        device_itemsize=element.itemsize,
        since=since,
        until=until,
    )


def _tfloat32() -> DTypeRecord:
    highest = float(np.uint32(0x7F7FE000).view(np.float32))
    return DTypeRecord(
        DType("tfloat32"),
        _FLOAT32,
        "float",
        -highest,
        highest,
        to_tfloat32,
        same,
        device_itemsize=4,
    )


def _integer(name: str) -> DTypeRecord:
    element = np.dtype(name)
    limits = np.iinfo(element)
    return DTypeRecord(
        DType(name),
        element,
        "integer",
        limits.min,
        limits.max,
        to_integer(element),
        as_float32,
        device_itemsize=element.itemsize,
        is_scalar_only=element.itemsize == 8,
    )


def _bool() -> DTypeRecord:
    element = np.dtype(np.uint8)
    return DTypeRecord(
        DType("bool_"), element, "bool", 0, 1, to_bool, as_float32, device_itemsize=1
    )


def _packed(packs: DTypeRecord, storage: str) -> DTypeRecord:
    name = f"{packs.name}_x{PACKED}"
    element, refuse = np.dtype(storage), _refused(name)
    return DTypeRecord(
        DType(name),
        element,
        "packed",
        0,
        0,
        refuse,
        refuse,
        device_itemsize=element.itemsize,
        packs=packs,
        since=4,
    )


def _records() -> dict[str, DTypeRecord]:
    floats = "float16 bfloat16 float32 float8_e4m3 float8_e4m3fn float8_e5m2"
    whole = "int8 int16 int32 int64 uint8 uint16 uint32"
    records = [
        _bool(),
        *map(_integer, whole.split()),
        *map(_float, floats.split()),
        _float("float8_e8m0fnu"),
        _tfloat32(),
        _packed(_float("float8_e5m2"), "uint32"),
        _packed(_float("float8_e4m3fn"), "uint32"),
        _packed(_float("float4_e2m1fn"), "uint16"),
    ]
    return {record.name: record for record in records}


#: Every type, by name.
DTYPES = _records()
#: Other names that NumPy or kernels have for them.
_ALIASES = {"bool": "bool_"}


@lru_cache(maxsize=64)
def _kept_in_float32(name: str) -> DTypeRecord:
    """The record of a float of fewer bits whose values are stored unrounded."""
    record = DTYPES[name]
    return DTypeRecord(
        record.name,
        _FLOAT32,
        record.kind,
        record.lowest,
        record.highest,
        as_float32,
        same,
        device_itemsize=record.device_itemsize,
        since=record.since,
        until=record.until,
    )


def _named(name: str, kept: bool) -> DTypeRecord:
    return _kept_in_float32(name) if kept else DTYPES[name]


def on_device(record: DTypeRecord) -> DTypeRecord:
    """The record of the type as the device stores it."""
    return DTYPES[record.name]


# -- what others call ------------------------------------------------------------------
def find_dtype(
    dtype: Any, *, precise: bool = True, is_scalar: bool = False
) -> DTypeRecord:
    """The record of a type.

    Args:
        dtype: a record, a name of the language, one of NumPy's or ml_dtypes' dtypes or
            scalar types, or Python's ``bool``.
        precise: if false, tensors of floats of fewer than 32 bits keep their values in
            float32, as ``NKI_PRECISE_FP=0`` asks for. Scales (``float8_e8m0fnu``) and
            packed types stay as they are, since kernels make their bits.
        is_scalar: whether it is of one number, which may be an int64 as well.

    Raises:
        NkiValidationError: there is none, or none of tensors.
    """
    record = dtype if isinstance(dtype, DTypeRecord) else _find(dtype)
    if record.is_scalar_only and not is_scalar:
        raise NkiValidationError(
            f"{record.name} is a type of scalars only, which tensors of one element "
            "hold: take int32"
        )
    if precise or not record.is_float or record.name == "float8_e8m0fnu":
        return record
    return record if record.itemsize == 4 else _kept_in_float32(str(record.name))


def tensor_dtype(
    dtype: Any, shape: Sequence[int], *, precise: bool = True
) -> DTypeRecord:
    """The record of a tensor's type, which is int64 only for a tensor of one element.

    Args:
        dtype: as :func:`find_dtype` takes it.
        shape: the tensor's.
        precise: the same.

    Raises:
        NkiValidationError: there is none, or none of such a tensor.
    """
    return find_dtype(dtype, precise=precise, is_scalar=math.prod(shape) == 1)


def _find(dtype: Any) -> DTypeRecord:
    name = dtype if isinstance(dtype, str) else _numpy_name(dtype)
    found = DTYPES.get(_ALIASES.get(name, name))
    if found is None:
        raise NkiValidationError(
            f"{dtype!r} is no element type of the language, which has "
            f"{', '.join(DTYPES)}"
        )
    return found


def _numpy_name(dtype: Any) -> str:
    """The name of what NumPy takes for a dtype; "" if it takes it for none."""
    try:
        found = None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):
        return ""
    return found.name if found is not None and found.isnative else ""


def _on_array(
    function: Callable[[np.ndarray], np.ndarray], array: np.ndarray
) -> np.ndarray:
    """What a function makes of an array. NumPy makes scalars of those without axes."""
    if array.ndim:
        return function(array)
    return function(array.reshape(1)).reshape(())


def widen(array: np.ndarray, dtype: DTypeRecord) -> np.ndarray:
    """Elements as float32, in which engines compute. It may be `array` itself.

    A whole number of more than 24 bits is rounded, as it is on the device.

    Raises:
        NkiValidationError: the type is packed; :func:`unpack` gives its numbers.
    """
    return _on_array(dtype.widening, array)


def narrow(values: np.ndarray, dtype: DTypeRecord) -> np.ndarray:
    """Numbers as elements of a type. It may be `values` itself.

    Floats are float32 first, as an engine hands them over, and round to nearest even.
    To whole numbers they round half to even and saturate, and NaN becomes 0. Whole
    numbers become others exactly, or the limit. What is too great for fp8 becomes
    infinity, or NaN where the type has no infinity (``float8_e4m3fn``), as ml_dtypes
    has it; the documents do not say. ``bool_`` is 1 where a number is not 0.

    Args:
        values: of any dtype that NumPy or ml_dtypes has numbers of.
        dtype: what to make of them.

    Raises:
        NkiValidationError: the type is packed; :func:`pack` makes its elements.
    """
    return _on_array(dtype.rounding, values)


def convert(
    array: np.ndarray, source: DTypeRecord, dtype: DTypeRecord, *, exact: bool = False
) -> np.ndarray:
    """Elements of one type as those of another, as copies and transfers make them.

    Equal types keep every bit. Otherwise values pass through float32.

    Args:
        array: elements of `source`.
        source: their type.
        dtype: the type to make.
        exact: whether whole numbers become others without float32 in between.

    Raises:
        NkiValidationError: one of the types is packed and the other is not the same.
    """
    if source is dtype:
        return array
    if exact and not source.is_float and not dtype.is_float:
        return narrow(array, dtype)
    return narrow(widen(array, source), dtype)


def as_outside(elements: np.ndarray, dtype: DTypeRecord) -> np.ndarray:
    """Elements as a caller's arrays have them. They may be `elements` themselves.

    A ``bool_`` that a kernel made of other bits is True where any of them is 1.
    """
    return elements != 0 if dtype.outside == _BOOL else elements


def unpack(array: np.ndarray, dtype: DTypeRecord) -> np.ndarray:
    """The numbers in elements of a packed type.

    Args:
        array: elements, of shape (..., n).
        dtype: their type. The first number lies in the lowest bits.

    Returns:
        Float32, of shape (..., 4 * n).

    Raises:
        NkiValidationError: the type is not packed.
    """
    inner = _inner(dtype)
    parts = np.ascontiguousarray(array).view(np.uint8)
    if dtype.itemsize < PACKED:  # two to a byte
        parts = np.stack([parts & 15, parts >> 4], -1).reshape(*parts.shape[:-1], -1)
    return widen(parts.view(inner.element), inner)


def pack(values: np.ndarray, dtype: DTypeRecord) -> np.ndarray:
    """Elements of a packed type: numbers rounded to what it packs, four in each.

    Args:
        values: of shape (..., 4 * n).
        dtype: a packed type. The first number goes into the lowest bits.

    Returns:
        Elements, of shape (..., n).

    Raises:
        NkiValidationError: the type is not packed, or the last axis has other than
            multiples of four.
    """
    inner = _inner(dtype)
    if not values.ndim or values.shape[-1] % PACKED:
        raise NkiValidationError(
            f"{dtype.name} takes {PACKED} numbers for an element, and the last axis of "
            f"{list(values.shape)} is no multiple of that"
        )
    parts = np.ascontiguousarray(narrow(values, inner)).view(np.uint8)
    if dtype.itemsize < PACKED:
        parts = np.bitwise_or(parts[..., 0::2], parts[..., 1::2] << np.uint8(4))
    return np.ascontiguousarray(parts).view(dtype.element)


def _inner(dtype: DTypeRecord) -> DTypeRecord:
    if dtype.packs is None:
        raise NkiValidationError(f"{dtype.name} is no packed type")
    return dtype.packs
