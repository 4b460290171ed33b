"""Drives a neuronx-cc compatible compiler: from a module to a file in a directory."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nkipy.compiler.discovery import FoundCompiler, find_compiler, split_words
from nkipy.compiler.targets import CompilationTarget, resolve_target
from nkipy.hlo.arguments import checked, expect
from nkipy.hlo.errors import HLOArgumentError
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.proto_literals import Buffer
from nkipy.hlo.written import written_parts

logger = logging.getLogger("nkipy")

HLO_FILE = "hlo_module.pb"


class UnknownProgramError(HLOArgumentError, RuntimeError):
    """What is to be compiled is no module of HLO."""


class CompilationError(RuntimeError):
    """The compiler refused a program, or failed.

    Attributes:
        returncode: the compiler's exit code.
        stdout, stderr: what it printed.
    """

    def __init__(
        self, problem: str, command: list[str], done: subprocess.CompletedProcess[bytes]
    ) -> None:
        self.returncode = done.returncode
        self.stdout = _text(done.stdout)
        self.stderr = _text(done.stderr)
        lines = [problem, f"Command: {shlex.join(command)}"]
        for name in ("stderr", "stdout"):
            if getattr(self, name):
                lines += [f"{name}:", getattr(self, name)]
        super().__init__("\n".join(lines))


def _text(raw: bytes | str | None) -> str:
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else raw or ""
    return text.rstrip()


@dataclass
class CompilationConfig:
    """What the compiler is asked to do.

    Attributes:
        pipeline: the compiler's pipeline stages.
        target: the chip.
        additional_args: further arguments, as a shell would read them.
        neff_name: file name of the result.
    """

    pipeline: tuple[str, ...] = ("compile", "SaveTemps")
    target: CompilationTarget = CompilationTarget.DEFAULT
    additional_args: str = ""
    neff_name: str = "file.neff"


@dataclass(frozen=True)
class CompilationResult:
    """Where a compilation left its result and its other files."""

    work_dir: Path
    neff_path: Path

    def save_artifacts(self, output_dir: str | Path) -> None:
        """Copy all files of the compilation into `output_dir`, made if missing."""
        shutil.copytree(
            self.work_dir, output_dir, dirs_exist_ok=True, copy_function=_copy
        )


class Compiler:
    """Runs the compiler for a traced program. Safe to use from several threads.

    Args:
        config: target, pipeline and further arguments.
    """

    def __init__(self, config: CompilationConfig | None = None) -> None:
        expect(config, CompilationConfig | None, "Compiler", "config")
        self.config = config or CompilationConfig()

    @checked
    def arguments(self, hlo_file: str | Path, output: str | Path) -> list[str]:
        """The compiler's arguments that make `output` of `hlo_file`.

        Raises:
            ValueError: the additional arguments have an unclosed quote.
        """
        target = resolve_target(self.config.target)
        return [
            "compile",
            "--framework",
            "XLA",
            str(hlo_file),
            "--pipeline",
            *self.config.pipeline,
            "--target",
            target.value,
            f"--output={output}",
            *split_words(self.config.additional_args, "additional_args"),
        ]

    def compile(
        self,
        ir: HLOModule,
        work_dir: str | Path,
        output_file: str | None = None,
        use_neuronx_cc_python_interface: bool = False,
    ) -> Path:
        """Compile `ir` in `work_dir`, which must exist.

        Args:
            ir: the program.
            work_dir: where the HLO, the result and the compiler's other files go.
            output_file: name of the file that is to result; by default the NEFF.
            use_neuronx_cc_python_interface: has no effect: a compiler that can run
                in this process without changing its state does so anyway.

        Returns:
            Path of the result.

        Raises:
            CompilerNotFoundError: no compiler is installed.
            CompilationError: it failed; the text has what it said.
            HLOVerificationError: the program breaks HLO's rules.
            UnknownProgramError: `ir` is no program that it could compile.
        """
        if not isinstance(ir, HLOModule):
            raise UnknownProgramError(
                f"Unknown IR type: {type(ir).__name__}; compile() takes an HLOModule "
                "for 'ir'"
            )
        expect(work_dir, str | Path, "compile", "work_dir")
        expect(output_file, str | None, "compile", "output_file")
        compiler = find_compiler()
        directory = Path(work_dir).resolve()
        hlo_file = directory / HLO_FILE
        parts = written_parts(ir)
        _make_whole(hlo_file, lambda place: _write(place, parts))
        arguments = self.arguments(hlo_file, directory / self.config.neff_name)
        result = Path(work_dir) / (output_file or self.config.neff_name)
        before = _stamp(result)
        command = [*compiler.command, *arguments]
        done = _run(compiler, arguments, directory)
        if done.returncode != 0:
            problem = f"Compilation failed (exit code {done.returncode})."
            raise CompilationError(problem, command, done)
        if _stamp(result) in (None, before):
            problem = f"Compilation failed: {result} expected but not generated."
            raise CompilationError(problem, command, done)
        logger.info("%s:\n%s", shlex.join(command), _text(done.stderr))
        return result

    def compile_in_directory(
        self,
        ir: HLOModule,
        output_dir: str | Path,
        output_file: str | None = None,
        save_artifacts: bool = True,
    ) -> CompilationResult:
        """As :meth:`compile`, making `output_dir` first if it does not exist.

        Args:
            ir: the program.
            output_dir: receives the result; nothing in it is deleted.
            output_file: as of :meth:`compile`.
            save_artifacts: compile there; else elsewhere, and only the result is kept.
        """
        expect(output_dir, str | Path, "compile_in_directory", "output_dir")
        directory = Path(output_dir)
        directory.mkdir(parents=True, exist_ok=True)
        if save_artifacts:
            return CompilationResult(
                directory, self.compile(ir, directory, output_file)
            )
        with tempfile.TemporaryDirectory(prefix="nkipy-build-") as work_dir:
            made = self.compile(ir, work_dir, output_file)
            neff = _copy(made, directory / made.name)
            return CompilationResult(directory, neff)


def _run(
    compiler: FoundCompiler, arguments: list[str], directory: Path
) -> subprocess.CompletedProcess[bytes]:
    if compiler.in_process is not None:
        return compiler.in_process.run(arguments, directory)
    command = [*compiler.command, *arguments]
    return subprocess.run(command, capture_output=True, cwd=directory)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells one file at `path` from the next. An old one is not deleted for that."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _copy(file: str | Path, target: str | Path) -> Path:
    """A copy that appears whole or not at all, with the permissions of `file`."""
    return _make_whole(Path(target), lambda place: shutil.copyfile(file, place), file)


def _write(place: Path, parts: list[Buffer]) -> None:
    with place.open("wb") as file:
        file.writelines(parts)


def _make_whole(
    path: Path, make: Callable[[Path], object], like: str | Path | None = None
) -> Path:
    """Have `make` write a file elsewhere, which then appears at `path` as a whole.

    A link that is there stays, and the file that it leads to is replaced. A device or
    a pipe is written to.

    Args:
        path: the file's path, which is returned.
        make: writes the file whose path it is given.
        like: a file that has its permissions; by default those of any new file.

    Raises:
        OSError: it cannot be written; `path` is the file that the error names. What
            was there is as it was.
    """
    special = path.exists() and not path.is_file()
    place = Path(os.path.realpath(path))
    partial = path if special else place.parent / f".nkipy-{os.urandom(8).hex()}"
    try:
        make(partial)
        if not special:
            if like is not None:
                shutil.copymode(like, partial)
            partial.replace(place)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if not special:
            with suppress(OSError):
                partial.unlink()
    return path
