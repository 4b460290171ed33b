"""The arrays of a model's tensors, as .npy files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from neff.input_file import open_regular
from neff.output_file import write_atomically

__all__ = ["file_of", "load_array", "save_array"]

_LONGEST_FILE_NAME = 255  # bytes, on Linux's file systems


def load_array(path: str, dtype: str) -> np.ndarray[Any, Any]:
    """The array in a .npy file, of a tensor's dtype unless that is "unknown".

    A file whose dtype NumPy cannot name (bfloat16, fp8) has the tensor's.

    Raises:
        ValueError: it is no such file, or the dtype has not all of its values.
        OSError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
        return array if dtype == "unknown" else _as_dtype(array, dtype)
    # NumPy raises all of these of a header that is no literal of Python's.
    except (ValueError, SyntaxError, RecursionError, TokenError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


def _as_dtype(array: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """The same values. Raises ValueError if the dtype has not all of them."""
    # NumPy knows bfloat16 and fp8 by name, as the module of tensors is loaded.
    if array.dtype.kind == "V" and array.dtype.itemsize == np.dtype(dtype).itemsize:
        return array.view(dtype)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected {dtype}, got {array.dtype}")
    # Such as float32 for bfloat16, which is how outputs of that dtype are saved.
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
        back = cast.astype(array.dtype)
    if not np.array_equal(back, array, equal_nan=array.dtype.kind == "f"):
        raise ValueError(f"not every value of this {array.dtype} is a {dtype}")
    return cast


def file_of(output: str) -> str:
    """The name of the file of an output. Raises ValueError if it cannot be one."""
    file = f"{output}.npy"
    unfit = output in ("", ".", "..") or os.sep in output or not output.isprintable()
    if unfit or len(os.fsencode(file)) > _LONGEST_FILE_NAME:
        raise ValueError(
            f"no file in --output-dir can have the name of output {output!r}"
        )
    return file


def save_array(path: Path, array: np.ndarray[Any, Any]) -> str:
    """Save, and say what was saved. Files cannot name bfloat16 and fp8: every value of
    those is also a float32, so that is what they become."""
    named = array.dtype.kind != "V" and array.dtype.isbuiltin == 1
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()  # to a full disk NumPy's own loses the end of small arrays
    np.save(content, array if named else array.astype(np.float32))
    write_atomically(path, content.getbuffer())
    return f"Saved {path}" + ("" if named else f" ({array.dtype} as float32)")
