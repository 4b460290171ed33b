"""Executes a NEFF of one input and one output of four floats, with ctypes alone.

Run by a test, with the paths of a libnrt and a NEFF, in a Python without packages.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_void_p

library, neff = ctypes.CDLL(sys.argv[1]), open(sys.argv[2], "rb").read()


def call(name: str, *arguments: object) -> None:
    status = getattr(library, name)(*arguments)
    assert status == 0, f"{name}: {status}"


def tensor_set(name: bytes, values: list[float]) -> tuple[c_void_p, c_void_p]:
    made, held = c_void_p(), c_void_p()
    data = (c_float * 4)(*values)
    size = c_size_t(ctypes.sizeof(data))
    call("nrt_tensor_allocate", 0, 0, size, c_char_p(name), byref(made))
    call("nrt_tensor_write", made, data, c_size_t(0), size)
    call("nrt_allocate_tensor_set", byref(held))
    call("nrt_add_tensor_to_tensor_set", held, c_char_p(name), made)
    return made, held


try:
    import nkipy_emulator  # noqa: F401
except ImportError:
    pass
else:
    raise AssertionError("this Python has the package")
call("nrt_init", c_int(1), b"", b"")
model = c_void_p()
call("nrt_load", neff, c_size_t(len(neff)), c_int(0), c_int(1), byref(model))
_, inputs = tensor_set(b"x0", [0, 1, 2, 3])
result, outputs = tensor_set(b"output0", [9, 9, 9, 9])
call("nrt_execute", model, inputs, outputs)
read = (c_float * 4)()
call("nrt_tensor_read", result, read, c_size_t(0), c_size_t(16))
print(*read)
library.nrt_close()
