"""Writes spike's copy of ``nkipy.command_line``: spike works where nkipy is not.

uv run tools/generate_command_line.py            # write the file anew
uv run tools/generate_command_line.py --check    # exit code 1 if it is not current
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from generated_files import ROOT, main

SOURCE = "nkipy/src/nkipy/command_line.py"
COPY = "spike/src/spike/command_line.py"
_NOTE = f"""

A copy of {SOURCE}, made by
tools/generate_command_line.py; not to be edited."""


def copy() -> str:
    """The module, with a note in its docstring."""
    first, quotes, rest = (ROOT / SOURCE).read_text().partition('"""\n')
    return f"{first}{_NOTE}\n{quotes}{rest}"


if __name__ == "__main__":
    sys.exit(main(str(__doc__), {COPY: copy}))
