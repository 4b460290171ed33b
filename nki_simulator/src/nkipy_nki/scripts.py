"""Runs a script, and tells what was found in all kernels that it ran."""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nkipy_nki.child_processes import noting_processes
from nkipy_nki.errors import NkiError
from nkipy_nki.findings import JSON_VERSION, Finding, collecting, finding_of
from nkipy_nki.running import line_of

__all__ = ["FAILED", "FOUND", "MISUSE", "Checked", "check"]

#: Exit statuses, beside 0: an error was found; the command is not understood; the
#: script failed by itself, or ran no kernel.
FOUND, MISUSE, FAILED = 1, 2, 3


@dataclass(frozen=True)
class Checked:
    """What was found in a script's kernels.

    Attributes:
        script: the script, or the module.
        kernels: the names of the kernels that were run, each once, in order.
        findings: what was found, each once, in order.
        failure: the exception that ended the script, in a line; "" if none did.
        strict: whether warnings count as errors.
        processes: what the script started, of which the kernels are not seen: names of
            programs, ``"fork"``, ``"multiprocessing"``.
    """

    script: str
    kernels: tuple[str, ...]
    findings: tuple[Finding, ...]
    failure: str = ""
    strict: bool = False
    processes: tuple[str, ...] = ()

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(found.level == "error" for found in self.findings)

    @property
    def warnings(self) -> int:
        """How many are none."""
        return len(self.findings) - self.errors

    @property
    def status(self) -> int:
        """The exit status."""
        if self.errors or (self.strict and self.findings):
            return FOUND
        return FAILED if self.failure or not self.kernels else 0

    def as_json(self) -> str:
        """Its fields as JSON."""
        fields = {
            "version": JSON_VERSION,
            "script": self.script,
            "status": self.status,
            "kernels": list(self.kernels),
            "errors": self.errors,
            "warnings": self.warnings,
            "failure": self.failure or None,
            "processes": list(self.processes),
            "findings": [found.as_json() for found in self.findings],
        }
        return json.dumps(fields, indent=2)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for found in self.findings:
            what = f"{found.instruction}: " if found.instruction else ""
            yield (
                f"{found.file}:{found.line}: {found.level}: {what}"
                f"{found.message} [{found.kind}]"
            )
            for at in found.calls:
                yield f"  called at {at['file']}:{at['line']} in {at['function']}"
        if self.failure:
            yield f"the script was ended by {self.failure}"
        if self.processes:
            yield (
                f"note: the script started processes ({', '.join(self.processes)}); "
                "kernels that those ran were not checked"
            )
        if not self.kernels:
            yield "no kernel was run"
            return
        names = ", ".join(self.kernels)
        errors, warnings = (
            _count(self.errors, "error"),
            _count(self.warnings, "warning"),
        )
        yield f"{errors}, {warnings} in kernels: {names}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def check(arguments: Sequence[str], *, is_module: bool, strict: bool) -> Checked:
    """Run a script as Python does, and keep what is found in its kernels.

    Args:
        arguments: the script, or the module's name, and what it is given.
        is_module: whether it is a module.
        strict: whether warnings count as errors.
    """
    failure = ""
    refused: tuple[Finding, ...] = ()
    with collecting() as collector, noting_processes() as processes:
        try:
            _run(arguments, is_module)
        except SystemExit as error:
            if error.code:
                failure = f"SystemExit: {error.code}"
        except NkiError as error:
            failure = _in_a_line(error)
            if getattr(error, "finding", None) is None:
                refused = (finding_of(error, line_of(error.__traceback__)),)
        except Exception as error:  # the script's own, whatever it is
            failure = _in_a_line(error)
            traceback.print_exc()
    names = dict.fromkeys(run.kernel for run in collector.runs if run.kernel)
    found = (*collector.found, *refused)
    return Checked(arguments[0], tuple(names), found, failure, strict, tuple(processes))


def _run(arguments: Sequence[str], is_module: bool) -> None:
    sys.argv[:] = arguments
    if is_module:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    script = arguments[0]
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        del sys.path[0]  # where this was started
        if not (os.path.isdir(script) or zipfile.is_zipfile(script)):
            sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    runpy.run_path(script, run_name="__main__")


def _in_a_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


@contextmanager
def standard_output_apart() -> Iterator[Any]:
    """Let what is written to standard output meanwhile go to standard error.

    Yields:
        A file that is written to standard output.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(kept, "w", closefd=False) as file:
            yield file
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
