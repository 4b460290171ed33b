"""The command: its subcommands and exit codes."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from neff.output_file import is_same_file
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
from nkipy_emulator.compiler.options import (
    DEFAULT_OUTPUT,
    Words,
    read_options,
    take_apart,
)

#: The program was refused; and: everything else that can go wrong.
EXIT_COMPILATION_FAILED = 70
EXIT_FAILURE = 1


def run(
    argv: Sequence[str], cwd: str | os.PathLike[str], out: IO[str], err: IO[str]
) -> int:
    """Run the command, and return its exit code: see :func:`.main`."""
    with Console(err) as console:
        try:
            _run(argv, Path(cwd), console, out)
        except CompilationError as e:
            for diagnostic in e.diagnostics:
                console.message(logging.ERROR, str(diagnostic))
            return EXIT_COMPILATION_FAILED
        except UsageError as e:
            console.message(logging.ERROR, str(e))
            return EXIT_FAILURE
    return 0


def _run(argv: Sequence[str], cwd: Path, console: Console, out: IO[str]) -> None:
    words = take_apart(argv)
    subcommand = words.positional[0] if words.positional else None
    if "--version" in words.flags:
        out.write(version_text())
    elif words.flags & {"--help", "-h"}:
        out.write(usage_text())
    elif subcommand == "list-operators":
        out.write(operators_text())
    elif subcommand == "compile":
        _compile(argv, words, cwd, console)
    else:
        raise UsageError(
            f"expected compile or list-operators; got {subcommand or 'no subcommand'}"
        )


def _compile(argv: Sequence[str], words: Words, cwd: Path, console: Console) -> None:
    console.open_log(_log_file(words, cwd))
    console.message(logging.INFO, f"{DISTRIBUTION} {compiler_version()}")
    console.message(logging.INFO, f"arguments: {' '.join(argv)}")
    options = read_options(words)
    console.level = options.level
    compile_file(options, cwd, console)


def _log_file(words: Words, cwd: Path) -> Path:
    """Where the log goes, which is emptied first.

    Raises:
        UsageError: there is the HLO file, or there is to be the NEFF.
    """
    log = words.values.get("--logfile", DEFAULT_LOG)
    output = words.values.get("--output", DEFAULT_OUTPUT)
    for other in (*words.positional[1:], output):
        if is_same_file(cwd / log, cwd / other):
            raise UsageError(
                f"the log file {log} is {other} itself, which would be lost; "
                "--logfile names another file"
            )
    return cwd / log
