"""Which compiler is used: the vendor's, the emulator's, or the one that is asked for.

``NKIPY_COMPILER`` chooses: ``neuronx-cc``, ``emulator``, or a command line. Without it
the vendor's is used if it is on the PATH, and the emulator's otherwise.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from subprocess import CompletedProcess
from typing import Any, Protocol

from nkipy.hlo.entry_points import load_first
from nkipy.hlo.errors import HLOArgumentValueError
from nkipy.installed import how_to_install

VARIABLE = "NKIPY_COMPILER"
VENDOR_COMMAND = "neuronx-cc"
EMULATOR = "emulator"
GROUP = "nkipy.compilers"


class CompilerNotFoundError(RuntimeError):
    """No compiler, or not the one that was asked for, is installed."""


class CompilerInProcess(Protocol):
    """What an entry point of the group ``nkipy.compilers`` makes when it is called.

    Attributes:
        name, version: what it is; programs compiled by another are not reused.
        command: starts it in a process of its own.
    """

    name: str
    command: Sequence[str]

    @property
    def version(self) -> str: ...

    def run(
        self, argv: Sequence[str], cwd: str | os.PathLike[str]
    ) -> CompletedProcess[bytes]:
        """Run it on the arguments `argv`, in this process, as if in directory `cwd`."""

    def default_target(self) -> str:
        """The chip to compile for where no Neuron device is present."""


@dataclass(frozen=True)
class FoundCompiler:
    """A compiler that can be run.

    Attributes:
        identity: name and version. Whatever may change the output changes it.
        command: the command line that starts it.
        in_process: runs it without one; None if it needs one.
        is_vendor: it is (or was said to be) the vendor's.
    """

    identity: str
    command: tuple[str, ...]
    in_process: CompilerInProcess | None = None
    is_vendor: bool = False


def find_compiler() -> FoundCompiler:
    """The compiler to use now. The environment is looked at on every call.

    Raises:
        CompilerNotFoundError: there is none, or not the one that was asked for.
        EntryPointError: the emulator is installed and cannot be loaded.
    """
    return _find(os.environ.get(VARIABLE, "").strip(), os.environ.get("PATH", ""))


def compiler_identity() -> str:
    """Name and version of the compiler to use now, for keys of caches.

    Raises:
        CompilerNotFoundError: as :func:`find_compiler`.
    """
    return find_compiler().identity


def default_target() -> str | None:
    """The chip that the emulator emulates, if it is the compiler to use now."""
    try:
        emulator = find_compiler().in_process
    except CompilerNotFoundError:
        return None
    return emulator.default_target() if emulator is not None else None


@lru_cache(maxsize=32)
def _find(choice: str, path: str) -> FoundCompiler:
    if choice == EMULATOR:
        return _emulator() or _not_found(choice)
    if choice:
        return _of_command(split_words(choice, VARIABLE), path)
    if shutil.which(VENDOR_COMMAND, path=path) is not None:
        return _of_command([VENDOR_COMMAND], path)
    return _emulator() or _not_found(choice)


def split_words(text: str, named: str) -> list[str]:
    """The words of a command, as a shell reads them.

    Args:
        text: the command.
        named: what holds it, for the error.

    Raises:
        HLOArgumentValueError: a quote is not closed, or a backslash is the last.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise HLOArgumentValueError(
            f"{named} is {text!r}, which a shell could not read: {error}"
        ) from None


def _not_found(choice: str) -> Any:
    asked = f"{VARIABLE}={choice} asks for it" if choice else "none is installed"
    raise CompilerNotFoundError(
        f"no compiler: {asked}. The vendor's command '{VENDOR_COMMAND}' comes with the "
        f"AWS Neuron SDK; for emulated NeuronCores, {how_to_install('nkipy-emulator')}"
    )


def _emulator() -> FoundCompiler | None:
    make = load_first(GROUP, EMULATOR)
    if make is None:
        return None
    compiler: CompilerInProcess = make()
    identity = f"{compiler.name} {compiler.version}"
    return FoundCompiler(identity, tuple(compiler.command), compiler)


def _of_command(command: list[str], path: str) -> FoundCompiler:
    program = shutil.which(command[0], path=path) if command else None
    if program is None:
        name = command[0] if command else ""
        raise CompilerNotFoundError(
            f"the compiler command '{name}' is not on the PATH; {VARIABLE} names it"
        )
    is_vendor = os.path.basename(program) == VENDOR_COMMAND
    identity = _identity(command, program, is_vendor)
    return FoundCompiler(identity, (program, *command[1:]), is_vendor=is_vendor)


def _identity(command: list[str], program: str, is_vendor: bool) -> str:
    """By the installed version, and the file itself: asking it takes seconds."""
    status = os.stat(program)
    stamp = f"{os.path.realpath(program)} {status.st_mtime_ns} {status.st_size}"
    release = _vendor_version() if is_vendor else ""
    return " ".join(filter(None, (shlex.join(command), release, stamp)))


def _vendor_version() -> str:
    try:
        return version("neuronx-cc")
    except PackageNotFoundError:  # installed for another Python
        return ""
