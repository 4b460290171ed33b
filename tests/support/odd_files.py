"""Files that cannot grow, as on a full disk, and devices in their place."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A block in which no file of this process can be longer, in bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def device(directory: Path, name: str) -> Path:
    """``null`` or ``full``; root's own, as the machine's would be lost to a defect."""
    if os.geteuid() != 0:
        return Path("/dev") / name
    path, number = directory / name, os.stat(f"/dev/{name}").st_rdev
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, number)
        open(path, "wb").close()
    except PermissionError:
        pytest.skip("no devices can be made here")
    return path
