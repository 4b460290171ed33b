"""Makes the emulated libnrt fail."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def injected(rules: str) -> Iterator[None]:
    """A block in which the emulated libnrt fails, by rules: ``nrt_execute=1201@3``."""
    from nkipy_emulator.libnrt import library_path

    inject = ctypes.CDLL(str(library_path())).nkipy_emulator_inject
    inject.argtypes = [ctypes.c_char_p]
    status = inject(rules.encode())
    if status != 0:
        raise ValueError(f"the emulator refuses the rules {rules!r}: {status}")
    try:
        yield
    finally:
        inject(None)
