"""Writes spike's copies of the emulated libnrt's public headers.

    uv run tools/generate_libnrt_headers.py            # write the files anew
    uv run tools/generate_libnrt_headers.py --check    # exit code 1 if one is stale

spike takes the types of libnrt's functions from them. The copies are in git, since
spike is built without the emulator. Only the standard library is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from generated_files import main  # noqa: E402

TOOL = "tools/generate_libnrt_headers.py"
SOURCE = "emulator/src/libnrt/include/nrt"
NAMES = "nrt nrt_async nrt_profile nrt_status nrt_sys_trace nrt_version".split()


def copy_of(name: str) -> Callable[[], str]:
    """What makes the copy of a header."""
    source = f"{SOURCE}/{name}.h"
    note = f"// Made from {source}\n// by {TOOL}; not to be edited.\n\n"
    return lambda: note + (ROOT / source).read_text()


GENERATED = {f"spike/libnrt/nrt/{name}.h": copy_of(name) for name in NAMES}


if __name__ == "__main__":
    sys.exit(main(__doc__, GENERATED))
