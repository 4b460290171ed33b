"""``python -m nkipy_emulator.cost_model FILE``: print the estimate for a program.

FILE is a NEFF of the emulator's compiler or an ``HloModuleProto``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size

from neff.input_file import open_regular
from nkipy.chips import DEFAULT
from nkipy.command_line import run_command
from nkipy.hlo.entry_points import EntryPointError
from nkipy.hlo.errors import CustomCallError, HLOProtoError, HLOVerificationError
from nkipy.hlo.ir import HLOModule
from nkipy_emulator import __version__
from nkipy_emulator.cost_model.constants import TARGETS
from nkipy_emulator.cost_model.errors import CostModelError
from nkipy_emulator.cost_model.model import estimate
from nkipy_emulator.cost_model.report import estimate_table

_NAME = "python -m nkipy_emulator.cost_model"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        module, target, lnc = read_program(options.file)
        result = estimate(
            module,
            options.target or target or DEFAULT.name,
            lnc=options.lnc or lnc,
            ranks=options.ranks,
            launch_ns=options.launch_ns,
        )
    except (CostModelError, CustomCallError, EntryPointError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    table = estimate_table(result, width=_width())
    sys.stdout.write(result.to_json() + "\n" if options.json else table)
    return 0


def _width() -> int | None:
    """How wide a line may be: as the terminal, anything in a file."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def read_program(path: Path) -> tuple[HLOModule, str | None, int]:
    """The module in a file, and the target and LNC that it was compiled for.

    Raises:
        CostModelError: the file holds no module that we can read.
        OSError: it cannot be read at all.
    """
    with open_regular(path) as file:
        content = file.read()
    try:
        if path.suffix == ".neff":
            return _from_neff(content)
        return HLOModule.from_proto(content), None, 1
    except (HLOProtoError, HLOVerificationError) as error:
        raise CostModelError(f"{path}: {error}") from error


def _from_neff(content: bytes) -> tuple[HLOModule, str | None, int]:
    from neff import NeffError, read_neff

    try:
        neff = read_neff(content)
    except NeffError as error:
        raise HLOProtoError(str(error)) from error
    if not neff.is_emulated:
        raise HLOProtoError("a genuine NEFF holds machine code, not a module")
    return HLOModule.from_proto(bytes(neff.hlo)), neff.target, neff.lnc


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="Estimate the device time of a program. Nothing is measured.",
    )
    parser.add_argument("file", type=Path, help="a NEFF, or an HloModuleProto")
    parser.add_argument(
        "--target",
        help=f"{', '.join(TARGETS)}; by default the NEFF's, or {DEFAULT.name}",
    )
    parser.add_argument("--lnc", type=int, help="physical cores that act as one")
    parser.add_argument(
        "--ranks",
        "--replicas",
        type=int,
        default=1,
        help="cores in collectives (default 1)",
    )
    parser.add_argument("--launch-ns", type=float, help="cost of starting, in ns")
    parser.add_argument("--json", action="store_true", help="JSON, not a table")
    version = f"nkipy-emulator {__version__}"
    told = "print the emulator's version"
    parser.add_argument("--version", action="version", version=version, help=told)
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main, _NAME))
