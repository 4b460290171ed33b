"""The command: subcommands, exit codes, and the same thing in process."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO

from nkipy_emulator.compiler.compilation import compile_file
from nkipy_emulator.compiler.console import DEFAULT_LOG, Console
from nkipy_emulator.compiler.diagnostics import CompilationError, UsageError
from nkipy_emulator.compiler.identity import (
    DISTRIBUTION,
    compiler_version,
    operators_text,
    usage_text,
    version_text,
)
from nkipy_emulator.compiler.options import Words, read_options, take_apart
from nkipy_emulator.compiler.targets import emulated_target

#: The program was refused; and: everything else that can go wrong.
EXIT_COMPILATION_FAILED = 70
EXIT_FAILURE = 1


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
    out, err = out or sys.stdout, err or sys.stderr
    directory = Path(cwd) if cwd is not None else Path.cwd()
    with Console(err) as console:
        try:
            return _run(sys.argv[1:] if argv is None else argv, directory, console, out)
        except CompilationError as e:
            for diagnostic in e.diagnostics:
                console.message(logging.ERROR, str(diagnostic))
            return EXIT_COMPILATION_FAILED
        except UsageError as e:
            console.message(logging.ERROR, str(e))
            return EXIT_FAILURE


def console_main() -> int:
    """Entry point of the console script."""
    return main()


def _run(argv: Sequence[str], cwd: Path, console: Console, out: IO[str]) -> int:
    words = take_apart(argv)
    if "--version" in words.flags:
        out.write(version_text())
        return 0
    if words.flags & {"--help", "-h"}:
        out.write(usage_text())
        return 0
    subcommand = words.positional[0] if words.positional else None
    if subcommand == "list-operators":
        out.write(operators_text())
        return 0
    if subcommand != "compile":
        raise UsageError(
            f"expected compile or list-operators; got {subcommand or 'no subcommand'}"
        )
    _compile(argv, words, cwd, console)
    return 0


def _compile(argv: Sequence[str], words: Words, cwd: Path, console: Console) -> None:
    console.open_log(cwd / words.values.get("--logfile", DEFAULT_LOG))
    console.message(logging.INFO, f"{DISTRIBUTION} {compiler_version()}")
    console.message(logging.INFO, f"arguments: {' '.join(argv)}")
    options = read_options(words)
    console.level = options.level
    compile_file(options, cwd, console)


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
    return CompletedProcess(
        list(argv), code, out.getvalue().encode(), err.getvalue().encode()
    )


class EmulatorCompiler:
    """What the entry point group ``nkipy.compilers`` asks for.

    Attributes:
        name: of the compiler.
        version: of the compiler; output may change with it.
        command: starts the compiler in a process of its own.
    """

    name = DISTRIBUTION
    command = (sys.executable, "-m", "nkipy_emulator.compiler")

    @property
    def version(self) -> str:
        return compiler_version()

    def run(
        self, argv: Sequence[str], cwd: str | os.PathLike[str]
    ) -> CompletedProcess[bytes]:
        """See :func:`compile_in_process`."""
        return compile_in_process(argv, cwd)

    def default_target(self) -> str:
        """The chip to compile for where no Neuron device is present."""
        return emulated_target()
