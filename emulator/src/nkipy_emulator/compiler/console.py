"""What the command prints, and its log file."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import IO

DEFAULT_LOG = "log-neuron-cc.txt"


class Console:
    """Writes messages to a stream, from a level on, and all of them to a log file.

    Args:
        err: the stream.
        level: the least level that the stream gets, as of :mod:`logging`.
    """

    def __init__(self, err: IO[str], level: int = logging.WARNING) -> None:
        self.err = err
        self.level = level
        self.log: IO[str] | None = None

    def open_log(self, path: Path) -> None:
        """Start the log file. Without one, compilation goes on with a warning."""
        try:
            self.log = open(
                path,
                "w",
                encoding="utf-8",
                errors="backslashreplace",
                opener=_open_at_once,
            )
        except OSError as e:
            self.message(logging.WARNING, f"no log file: {e}")

    def message(self, level: int, text: str) -> None:
        """Write a message of one or more lines."""
        name = logging.getLevelName(level)
        text = _displayable(text)
        if level >= self.level:
            self.err.write(f"[{name}] {text}\n")
        if self.log is not None:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._write_log(f"{stamp} {name} {os.getpid()} [nkipy-emulator]: {text}\n")

    def _write_log(self, line: str) -> None:
        assert self.log is not None
        try:
            self.log.write(line)
            self.log.flush()
        except OSError as e:
            self.log = None
            self.message(logging.WARNING, f"the log file cannot be written: {e}")

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.log is not None:
            self.log.close()
            self.log = None


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting for a reader, if it is a pipe: that is an error."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def _displayable(text: str) -> str:
    """`text` without what a file's names may hold and a terminal would obey."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode()
        for c in text
    )
