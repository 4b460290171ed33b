"""Where the emulated ``libnrt.so.1`` lies, for who loads it or links with it.

This module loads nothing. A C program is built with
``cc -I$(python -m nkipy_emulator.libnrt --include) … -L$(… --lib) -lnrt``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nkipy.command_line import run_command
from nkipy_emulator import __version__

__all__ = ["include_dir", "library_dir", "library_path"]

_PACKAGE = Path(__file__).resolve().parent
_LIBRARY = "libnrt.so.1"
_NAME = "python -m nkipy_emulator.libnrt"


def library_path() -> Path:
    """Return the absolute path of ``libnrt.so.1``.

    Raises:
        FileNotFoundError: if the package was not built, but is run from its sources.
    """
    path = _PACKAGE / "lib" / _LIBRARY
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: nkipy-emulator is not built; install it first"
        )
    return path


def library_dir() -> Path:
    """Return the directory that ``-L`` needs: it has ``libnrt.so`` as well."""
    return library_path().parent


def include_dir() -> Path:
    """Return the directory that ``-I`` needs: headers are ``nrt/nrt.h`` and so on.

    Raises:
        FileNotFoundError: if the headers are neither installed nor in the sources.
    """
    candidates = (_PACKAGE / "include", _PACKAGE.parent / "libnrt" / "include")
    for directory in candidates:
        if (directory / "nrt" / "nrt.h").is_file():
            return directory
    raise FileNotFoundError(
        f"no nrt/nrt.h in {candidates[0]}: reinstall nkipy-emulator"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one of the paths, for use in a build."""
    parser = argparse.ArgumentParser(
        prog=_NAME, description="Print the path of the emulated libnrt.so.1."
    )
    version = f"nkipy-emulator {__version__}"
    told = "print the emulator's version"
    parser.add_argument("--version", action="version", version=version, help=told)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--include", action="store_true", help="directory for -I")
    which.add_argument("--lib", action="store_true", help="directory for -L")
    options = parser.parse_args(arguments)
    find = include_dir if options.include else library_path
    try:
        path = library_dir() if options.lib else find()
    except FileNotFoundError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, _NAME))
