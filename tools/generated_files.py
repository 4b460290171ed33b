"""Files in git that a tool makes from a table: written anew, or checked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(
    description: str,
    files: Mapping[str, Callable[[], str]],
    arguments: list[str] | None = None,
) -> int:
    """A tool's command line: writes what is not current, or only says so.

    Args:
        description: the tool's own text, whose first line is its help.
        files: what makes the text of each file, by its path from the root.
        arguments: those of the command line by default.

    Returns:
        The exit code: 1 if a file is not current and none was to be written.
    """
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    stale = [path for path, make in files.items() if _text(ROOT / path) != make()]
    for path in stale:
        said = f"{path} is not current" if check else f"wrote {path}"
        sys.stdout.write(f"{said}\n")
        if not check:
            (ROOT / path).write_text(files[path]())
    return int(check and bool(stale))


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
