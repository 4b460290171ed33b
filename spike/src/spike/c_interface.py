"""Where other extension modules find spike's C interface."""

from __future__ import annotations

from pathlib import Path

from spike import _spike


def get_include() -> str:
    """The folder of ``spike_c.h``, for the compiler of a module that includes it."""
    return str(Path(_spike.__file__).with_name("include"))
