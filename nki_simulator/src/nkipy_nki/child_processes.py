"""Which processes a script starts: the kernels that those run are not seen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["noting_processes"]

#: The lists that are being filled. A hook cannot be taken back: it looks here.
_filled: list[list[str]] = []
_is_hooked = False

#: Events of Python's of processes that are copies of this one.
_FORKS = frozenset({"os.fork", "os.forkpty"})
#: Of those that run a program: the first argument is its path.
_PROGRAMS = frozenset({"os.exec", "os.posix_spawn", "os.startfile"})
#: multiprocessing starts processes without an event, from modules that it then imports.
_MULTIPROCESSING = "multiprocessing.popen_"


@contextmanager
def noting_processes() -> Iterator[list[str]]:
    """Note the processes that are started meanwhile.

    Yields:
        What each is, in the order in which the first of its kind was started: the
        program's name, ``"fork"``, or ``"multiprocessing"``.
    """
    global _is_hooked
    if not _is_hooked:
        sys.addaudithook(_note)
        _is_hooked = True
    found: list[str] = []
    _filled.append(found)
    try:
        yield found
    finally:
        _filled.remove(found)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _filled:
        return
    name = _started(event, arguments)
    for found in _filled if name else ():
        if name not in found:
            found.append(name)


def _started(event: str, arguments: tuple[Any, ...]) -> str:
    """What is started, if anything."""
    if event in _FORKS:
        return "fork"
    if event == "os.system":
        return _name(arguments[0])
    if event == "import":
        is_start = str(arguments[0]).startswith(_MULTIPROCESSING)
        return "multiprocessing" if is_start else ""
    if event == "subprocess.Popen":
        executable, given = arguments[:2]
        if executable is None:
            executable = given if isinstance(given, (str, bytes)) else next(iter(given))
        return _name(executable)
    if event == "os.spawn":
        return _name(arguments[1])
    return _name(arguments[0]) if event in _PROGRAMS else ""


def _name(command: Any) -> str:
    """A program's, without its folder and arguments."""
    words = os.fsdecode(command).split()
    return os.path.basename(words[0]) if words else "a program"
