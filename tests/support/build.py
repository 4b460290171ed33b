"""Builds the emulator's libnrt from a copy of its sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def tool(name: str) -> list[str]:
    """A build tool as a command: the machine's own, or one that uv gets."""
    if shutil.which(name):
        return [name]
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, f"neither {name} nor uv is there"
    return [uv, "run", "--no-project", "--with", "cmake", "--with", "ninja", name]


def build_libnrt(source: Path, build: Path) -> Path:
    """The library that the sources in `source` make; it takes minutes."""
    configure = ["-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=None"]
    for arguments in (configure, ["--build", build, "--parallel", "2"]):
        command = [*tool("cmake"), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=800)
    return build / "lib" / "libnrt.so.1"
