"""A compiler with neuronx-cc's command line, for the emulator.

``nkipy-neuronx-cc compile module.pb --framework XLA --target trn2`` as a command,
``python -m nkipy_emulator.compiler``, or :func:`compile_in_process`.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from subprocess import CompletedProcess
from typing import IO

# Little is imported here: whoever finds a program compiled already asks this module
# for the compiler's version, and no more.
from nkipy_emulator.compiler.identity import DISTRIBUTION, compiler_version
from nkipy_emulator.compiler.targets import emulated_target

__all__ = ["EmulatorCompiler", "compile_in_process", "console_main", "main"]


def main(
    argv: Sequence[str] | None = None,
    *,
    cwd: str | os.PathLike[str] | None = None,
    out: IO[str] | None = None,
    err: IO[str] | None = None,
) -> int:
    """Run the command.

    Args:
        argv: its arguments; those of this process by default.
        cwd: what relative paths are relative to.
        out, err: its standard streams.

    Returns:
        The exit code: 0, 70 if a program cannot be compiled, 1 if anything else fails.
    """
    from nkipy_emulator.compiler.command import run

    argv = sys.argv[1:] if argv is None else argv
    out, err = out or sys.stdout, err or sys.stderr
    try:
        cwd = cwd or os.getcwd()
    except FileNotFoundError:
        err.write("[ERROR] the working directory was deleted; change to another one\n")
        return 1
    return run(argv, cwd, out, err)


def console_main() -> int:
    """Entry point of the console script: what it prints may have no reader."""
    from nkipy.command_line import run_command

    return run_command(main, "nkipy-neuronx-cc")


def compile_in_process(
    argv: Sequence[str], cwd: str | os.PathLike[str]
) -> CompletedProcess[bytes]:
    """Run the command in this process, as :func:`subprocess.run` would in another.

    Neither the working directory nor any other state of the process is changed.

    Args:
        argv: the arguments, without the command's name.
        cwd: what relative paths are relative to.
    """
    out, err = io.StringIO(), io.StringIO()
    code = main(argv, cwd=cwd, out=out, err=err)
    texts = (s.getvalue().encode(errors="backslashreplace") for s in (out, err))
    return CompletedProcess(list(argv), code, *texts)


class EmulatorCompiler:
    """What the entry point group ``nkipy.compilers`` asks for.

    Attributes:
        name: of the compiler.
        command: starts the compiler in a process of its own.
    """

    name = DISTRIBUTION
    command = (sys.executable, "-m", "nkipy_emulator.compiler")

    @property
    def version(self) -> str:
        """The compiler's version; its output may change with it."""
        return compiler_version()

    def run(
        self, argv: Sequence[str], cwd: str | os.PathLike[str]
    ) -> CompletedProcess[bytes]:
        """See :func:`compile_in_process`."""
        return compile_in_process(argv, cwd)

    def default_target(self) -> str:
        """The chip to compile for where no Neuron device is present."""
        return emulated_target()
