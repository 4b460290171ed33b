"""Tensors that programs print, as events of libnrt's debug stream have them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from neff.output_file import write_atomically

__all__ = ["DebugTensor"]

# As libnrt's headers have it: prefix, core, pipe, dtype, shape and size; then the data.
_TENSOR = struct.Struct("=512sII16s8QQ416x")
_LONGEST_NAME = 200


@dataclass(frozen=True)
class DebugTensor:
    """A tensor that a program on a core printed.

    Attributes:
        prefix: the text that stands before it.
        core: the logical core.
        is_error: whether it goes to standard error.
        array: the tensor; its bytes, if its dtype is none that NumPy knows.
    """

    prefix: str
    core: int
    is_error: bool
    array: npt.NDArray[Any]

    @classmethod
    def from_payload(cls, payload: bytes) -> DebugTensor:
        """The tensor of an event.

        Raises:
            struct.error: the payload is too short.
        """
        prefix, core, pipe, dtype, *shape, size = _TENSOR.unpack_from(payload)
        data = payload[_TENSOR.size : _TENSOR.size + size]
        array = _array(data, _text(dtype), shape)
        return cls(_text(prefix), core, bool(pipe), array)

    def __str__(self) -> str:
        return f"core {self.core}: {self.prefix} {self.array}\n"

    def save(self, directory: str) -> None:
        """Write it to files in ``<directory>/<prefix>/core_<id>/<n>/``, the next `n`.

        They are ``metadata.txt``, ``tensor_data.bin`` and ``formatted_tensor.txt``.

        Raises:
            OSError: they cannot be written.
        """
        # A name that a program chose leads nowhere else.
        name = quote(self.prefix, safe=" ")[:_LONGEST_NAME]
        if not name.strip("."):
            name = "_" * (len(name) or 1)
        place = _next_directory(Path(directory, name, f"core_{self.core}"))
        dtype, shape = self.array.dtype, list(self.array.shape)
        told = f"prefix: {self.prefix}\ndtype: {dtype}\nshape: {shape}\n"
        write_atomically(place / "metadata.txt", told.encode())
        write_atomically(place / "tensor_data.bin", self.array.tobytes())
        write_atomically(place / "formatted_tensor.txt", f"{self.array}\n".encode())


def _text(padded: bytes) -> str:
    return padded.partition(b"\0")[0].decode(errors="replace")


def _array(data: bytes, dtype: str, shape: list[int]) -> npt.NDArray[Any]:
    rank = shape.index(0) if 0 in shape else len(shape)
    try:
        return np.frombuffer(data, dtype).reshape(shape[:rank])
    except (TypeError, ValueError):
        return np.frombuffer(data, np.uint8)


def _next_directory(parent: Path) -> Path:
    """A new directory, whose name is the first number that is free."""
    parent.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in parent.iterdir())
    while True:
        try:
            (parent / str(number)).mkdir()
            return parent / str(number)
        except FileExistsError:
            number += 1
