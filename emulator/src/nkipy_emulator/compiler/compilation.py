"""From a file with HLO to a NEFF."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from neff.output_file import is_same_file
from nkipy.hlo.errors import HLOProtoError, HLOVerificationError
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.proto_reader import MAX_MODULE_BYTES
from nkipy.hlo.written import read_written
from nkipy_emulator.compiler.checks import check_module
from nkipy_emulator.compiler.console import Console
from nkipy_emulator.compiler.diagnostics import (
    CompilationError,
    Diagnostic,
    UsageError,
)
from nkipy_emulator.compiler.identity import compiler_version
from nkipy_emulator.compiler.options import CompileOptions
from nkipy_emulator.neff_writer import ProgramDescription, write_neff

_MAX_FILE_NAME = 255
_CHUNK = 1 << 24  # bytes
#: Other files that end up here, by how they start.
_OTHER_KINDS = {
    b"ML\xefR": "MLIR bytecode (StableHLO)",
    b"HloModule": "HLO in text form",
    b"module @": "MLIR in text form",
    b"\x1f\x8b": "a gzip file",
}


def compile_file(options: CompileOptions, cwd: Path, console: Console) -> Path:
    """Compile, and return the path of the NEFF.

    Raises:
        UsageError: the file cannot be read, or the NEFF not written.
        CompilationError: the program is malformed, or not one for the target.
    """
    for note in options.notes:
        console.message(logging.INFO, note)
    if "tensorize" in options.pipeline:
        raise UsageError(
            "pipeline tensorize lowers to NKI source, which only the vendor's "
            "neuronx-cc can do"
        )
    output = cwd / options.output
    if is_same_file(output, cwd / options.model):
        raise UsageError(
            f"--output={options.output} is the HLO file {options.model} itself, which "
            "would be lost; name another file"
        )
    raw = _read(cwd / options.model)
    try:
        module = _parse(raw, to_look_at=True)
    except CompilationError as e:  # of what is no module at all, the name says most
        told = [_of_file(options.model, d) for d in e.diagnostics]
        raise CompilationError(told) from None
    if check_module(module, options):  # which is then told with the file's own names
        module = _parse(raw)
        _report(check_module(module, options), console)
    _write(output, module, options, raw)
    console.message(
        logging.INFO, f"wrote {output.name} for {options.target.name}: {module!r}"
    )
    return output


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            if stat.S_ISCHR(found.st_mode):  # some never end
                raise UsageError(f"{path} is a device; expected a file")
            raw = b"" if found.st_size > MAX_MODULE_BYTES else _read_all(file)
        size = max(found.st_size, len(raw))
        if size > MAX_MODULE_BYTES:
            raise UsageError(f"{path} has {size} bytes; {MAX_MODULE_BYTES} is most")
    except OSError as e:
        raise UsageError(f"the HLO file cannot be read: {e}") from None
    for start, kind in _OTHER_KINDS.items():
        if raw.startswith(start):
            raise UsageError(f"{path} is {kind}; expected a serialised HloModuleProto")
    return raw


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting for somebody who writes to a pipe: one without is empty."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def _read_all(file: BinaryIO) -> bytes:
    """All of a file; of a pipe that does not end, more than a module may have."""
    parts, size = [], 0
    while size <= MAX_MODULE_BYTES and (part := file.read(_CHUNK)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _parse(raw: bytes, *, to_look_at: bool = False) -> HLOModule:
    try:
        return read_written(raw, to_look_at=to_look_at)
    except HLOProtoError as e:
        # Imported late: a module that can be read does not need it.
        from nkipy_emulator.compiler.refusals import explain_refusal

        raise CompilationError([explain_refusal(raw, e)]) from None
    except HLOVerificationError as e:
        message = f"HLO verification failed: {e}"
        raise CompilationError([Diagnostic("NCC_EVRF064", message)]) from None


def _of_file(name: str, diagnostic: Diagnostic) -> Diagnostic:
    return replace(diagnostic, message=f"{name}: {diagnostic.message}")


def _report(found: list[Diagnostic], console: Console) -> None:
    """Show warnings; raise for errors."""
    for diagnostic in found:
        if diagnostic.is_warning:
            console.message(logging.WARNING, str(diagnostic))
    errors = [d for d in found if not d.is_warning]
    if errors:
        raise CompilationError(errors)


def _write(
    output: Path, module: HLOModule, options: CompileOptions, raw: bytes
) -> None:
    try:
        write_neff(output, module, _describe(output, options), raw)
    except ValueError as e:
        raise CompilationError([Diagnostic("NCC_EVRF064", str(e))]) from None
    except OSError as e:
        raise UsageError(f"the NEFF cannot be written: {e}") from None


def _describe(output: Path, options: CompileOptions) -> ProgramDescription:
    numerics: dict[str, Any] = {
        "auto_cast": options.auto_cast,
        "auto_cast_type": options.auto_cast_type,
        # -O1 asks for less time in the compiler.
        "fast_compile": options.optlevel == 1,
    }
    name = output.name.encode(errors="replace")[:_MAX_FILE_NAME]
    return ProgramDescription(
        name=name.decode(errors="ignore"),
        target=options.target.name,
        lnc=options.lnc,
        compiler_version=compiler_version(),
        numerics=numerics,
        options=options.recorded,
        compress=options.compress,
    )
