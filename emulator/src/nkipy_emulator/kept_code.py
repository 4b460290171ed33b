"""What of a compiled program is kept on disk, and the name that it is found by.

The name is made of the program as it was traced, before anything is rewritten for XLA:
so that a process that finds the code rewrites and writes nothing. It therefore names
the rewrites, too, by the text of the modules that they are in.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

import nkipy.hlo
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.proto_writer import digest_module
from nkipy_emulator import _xla

#: What is hashed, and what is known by its size and when it was written: it is large.
_SOURCES, _LIBRARIES = (".py", ".json"), (".so",)


class CodeStore(Protocol):
    """Where compiled code is kept: :class:`nkipy_emulator.code_cache.CodeCache`."""

    def get(self, key: str) -> bytes | None: ...
    def keep(self, key: str, make: Callable[[], bytes], now: bool = False) -> None: ...
    def turn(self, key: str, seconds: float | None) -> AbstractContextManager[bool]: ...


class KeptCode(NamedTuple):
    """An entry.

    Attributes:
        sliced: which parameters are sliced (:mod:`nkipy_emulator.operands`).
        functions: NumPy's, by the names that handlers have to know them by.
        code: XLA's.
    """

    sliced: frozenset[int]
    functions: tuple[str, ...]
    code: bytes

    def to_bytes(self) -> bytes:
        """The entry, to keep."""
        head = {"sliced": sorted(self.sliced), "functions": self.functions}
        return json.dumps(head).encode() + b"\n" + self.code

    @classmethod
    def of(cls, data: bytes | None) -> KeptCode | None:
        """What :meth:`to_bytes` has made; None if it is none of these."""
        head, _, code = (data or b"").partition(b"\n")
        try:
            made = json.loads(head)
            sliced = frozenset(map(int, made["sliced"]))
            return cls(sliced, tuple(map(str, made["functions"])), code)
        except (ValueError, TypeError, LookupError):
            return None


def name_of(module: HLOModule, *choices: object) -> str | None:
    """A name for the code of `module`: 64 hex digits.

    Besides the module, it depends on the packages that make the code and are called by
    it, this CPU and its cores, and XLA's variables in the environment.

    Args:
        module: the program, as it is before it is rewritten.
        choices: how it is compiled. Their representations tell them apart.

    Returns:
        The name. None if the sources of this package cannot be read.
    """
    sources = _digest_of_sources()
    if sources is None:
        return None
    place = (cpu_features(), _xla.cores(), _xla.environment())
    versions = (sources, _xla.VERSION, np.__version__)
    text = repr((digest_module(module), choices, place, versions))
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=1)
def cpu_features() -> str:
    """Identifies what code compiled here needs of a CPU."""
    text = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return text
    flags = next((x for x in lines if x.startswith(("flags", "Features"))), "")
    return f"{text}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"


@lru_cache(maxsize=1)
def _digest_of_sources() -> str | None:
    """Of all that makes XLA's input of a module, and of the handlers that it calls."""
    whole = hashlib.sha256()
    try:
        for path in _sources():
            name = os.path.basename(path)
            if name.endswith(_LIBRARIES):
                status = os.stat(path)
                head, content = (name, status.st_size, status.st_mtime_ns), b""
            else:
                with open(path, "rb", buffering=0) as file:
                    content = file.read()
                head = (name, len(content), 0)
            whole.update(repr(head).encode())
            whole.update(content)
    except OSError:
        return None
    return whole.hexdigest()


def _sources() -> Iterator[str]:
    """The files of this package's own directory, and all below nkipy.hlo's."""
    own = os.path.dirname(__file__)
    below = sorted(d for p in nkipy.hlo.__path__ for d, _, _ in os.walk(p))
    for directory in (own, *below):
        for name in sorted(os.listdir(directory)):
            if name.endswith((*_SOURCES, *_LIBRARIES)):
                yield os.path.join(directory, name)
