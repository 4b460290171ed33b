"""How commands end: quietly if nobody reads on, in one line if something fails.

A copy of nkipy/src/nkipy/command_line.py, made by
tools/generate_command_line.py; not to be edited.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO

#: What a shell says of a program that a closed pipe has ended, or Ctrl-C.
CLOSED_PIPE = 128 + 13
INTERRUPTED = 128 + 2
#: What writing fails with, where it is not about a file that has a name.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


def run_command(main: Callable[[], int | None], name: str) -> int:
    """Run a command until all that it has printed is written.

    Characters that the terminal's encoding lacks are printed as escapes.

    Args:
        main: the command; returns its exit status, or raises SystemExit.
        name: how it is called, for errors.

    Returns:
        The exit status: that of `main`; 141 if a reader of its output has gone; 130
        after Ctrl-C; 1 if the output cannot be written, which an error says.
    """
    _prepare_streams()
    try:
        status = _status(main)
    except BrokenPipeError:
        status = CLOSED_PIPE
    except KeyboardInterrupt:
        status = INTERRUPTED
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        status = _say(error, name)
    return _write_out(status, name)


def _prepare_streams() -> None:
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # it was closed before we began
            setattr(sys, stream, open(os.devnull, "w"))
        with suppress(AttributeError, ValueError):
            getattr(sys, stream).reconfigure(errors="backslashreplace")


def _status(main: Callable[[], int | None]) -> int:
    try:
        return main() or 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1


def _write_out(status: int, name: str) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = CLOSED_PIPE
    except OSError as error:
        status = status or _say(error, name)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _discard(stream)
    return status


def _say(error: OSError, name: str) -> int:
    with suppress(OSError):
        text = f"the output cannot be written: {error.strerror}"
        sys.stderr.write(f"{name}: error: {text}\n")
    return 1


def _discard(stream: IO[str]) -> None:
    """Send what cannot be written to nowhere, or Python would try again at its end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
