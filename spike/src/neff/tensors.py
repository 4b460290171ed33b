"""What a NEFF says of its inputs and outputs, checked."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from neff.errors import NeffError
from neff.tar import Buffer

#: Bytes of an element, by the names that NumPy and ml_dtypes give to the types.
ITEM_SIZES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "float8_e3m4": 1,
    "float8_e4m3": 1,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}
#: Other spellings, as vendor files and NumPy's ``dtype.str`` have them.
_SPELLINGS = {
    "float8e3": "float8_e3m4",
    "float8e4": "float8_e4m3",
    "float8e5": "float8_e5m2",
    "fp32r": "float32",
    "float32r": "float32",
    "float": "float32",
    "half": "float16",
}
UNKNOWN_DTYPE = "unknown"

_MAX_RANK = 64
_MAX_BYTES = 1 << 50
#: The longest name that libnrt's tensor info can hold.
MAX_NAME = 255
_MAX_JSON_BYTES = 1 << 25


@dataclass(frozen=True)
class TensorInfo:
    """An input or output.

    Attributes:
        name: as in the tensor sets that execution takes.
        dtype: NumPy's or ml_dtypes' name of the element type, or "unknown".
        shape: dimensions.
        nbytes: size in memory; 0 if the element type is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @classmethod
    def make(cls, name: Any, dtype: Any, shape: Any) -> TensorInfo:
        """From values of any type, as they stand in a file.

        Raises:
            NeffError: they are not what a tensor can have.
        """
        if not is_text(name) or not 0 < len(name.encode()) <= MAX_NAME:
            raise NeffError(
                f"a tensor is called {name!r:.80}; expected 1 to {MAX_NAME} bytes"
            )
        dims = _checked_shape(name, shape)
        known = _SPELLINGS.get(str(dtype), str(dtype))
        item_size = ITEM_SIZES.get(known)
        if item_size is None:
            return cls(name, UNKNOWN_DTYPE, dims, 0)
        nbytes = math.prod(dims) * item_size
        if nbytes > _MAX_BYTES:
            raise NeffError(f"tensor {name!r} of shape {dims} has {nbytes} bytes")
        return cls(name, known, dims, nbytes)


@dataclass(frozen=True)
class Alias:
    """Output `output` is written into the memory of input `input`: their indices."""

    output: int
    input: int


def _checked_shape(name: str, shape: Any) -> tuple[int, ...]:
    is_list = isinstance(shape, (list, tuple)) and len(shape) <= _MAX_RANK
    if not is_list or any(type(d) is not int or not 0 <= d < 1 << 48 for d in shape):
        raise NeffError(f"tensor {name!r} has shape {shape!r:.80}")
    return tuple(shape)


def check_unique(what: str, tensors: Sequence[TensorInfo]) -> None:
    """Refuse two tensors of one name. Raises NeffError."""
    for name, count in Counter(t.name for t in tensors).most_common(1):
        if count > 1:
            raise NeffError(f"two {what} are called {name!r}")


def parse_json(members: Mapping[str, Buffer], name: str) -> Any:
    """The value of a JSON member; None where there is no such member.

    Raises:
        NeffError: it is no JSON, or too large or too deep to be a description.
    """
    raw = members.get(name)
    if raw is None:
        return None
    if len(raw) > _MAX_JSON_BYTES:
        raise NeffError(f"{name} has {len(raw)} bytes; {_MAX_JSON_BYTES} is most")
    try:
        return json.loads(bytes(raw), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as e:
        raise NeffError(f"{name} is no valid JSON: {e}") from None


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def is_text(value: Any) -> TypeGuard[str]:
    """Whether `value` is a string that can be shown, and so encoded too."""
    return isinstance(value, str) and value.isprintable()


def expect_object(value: Any, what: str) -> dict[str, Any]:
    """`value`, which has to be a JSON object. Raises NeffError."""
    if not isinstance(value, dict):
        raise NeffError(f"{what} is {_kind(value)}, not an object")
    return value


def check_format(
    fields: Mapping[str, Any], member: str, name: str, *versions: int
) -> None:
    """Refuse a member of another format, or of none of the versions, of which the
    first is the newest. Raises NeffError."""
    found = fields.get("format"), fields.get("version")
    if found not in [(name, version) for version in versions]:
        raise NeffError(
            f"{member} has format {found[0]!r:.80}, version {found[1]!r:.80}; "
            f"expected {name!r}, version {versions[0]}"
        )


def expect_list(value: Any, what: str) -> list[Any]:
    """`value`, which has to be a JSON list. Raises NeffError."""
    if not isinstance(value, list):
        raise NeffError(f"{what} is {_kind(value)}, not a list")
    return value


def _kind(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"
