"""Python programs in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def machine(locks: Path, **variables: str) -> dict[str, str]:
    """The environment of programs that share an emulated machine of their own."""
    locks.chmod(0o700)
    return {**os.environ, "NKIPY_EMULATOR_LOCK_DIR": str(locks), **variables}


def start(code: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a program; what it says is to be read from pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
