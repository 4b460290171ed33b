"""Fresh processes, as a user starts them: with compiled bytecode."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


class Fresh:
    """Runs code in new processes, whose bytecode lies below a directory."""

    def __init__(self, directory: str) -> None:
        self.environment = os.environ | {"PYTHONPYCACHEPREFIX": directory}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(self, code: str) -> str:
        """What the code writes. Raises CalledProcessError if it fails."""
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, check=True, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        return done.stdout


@contextmanager
def processes() -> Iterator[Fresh]:
    """Processes that share their bytecode, which is removed at the end."""
    with tempfile.TemporaryDirectory() as directory:
        yield Fresh(directory)
