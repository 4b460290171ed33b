"""The emulated libnrt's statuses are those of the one list, and say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOL = "tools/generate_statuses.py"
SOURCE = "spike/src/neff/status.py"
FILES = (
    "emulator/src/libnrt/include/nrt/nrt_status.h",
    "emulator/src/libnrt/status_names.h",
)


def run(root: Path, *arguments: str) -> tuple[int, str, str]:
    # -I: the tool finds the list by itself, without spike installed.
    command = [sys.executable, "-I", str(root / TOOL), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_files_are_current() -> None:
    assert run(ROOT, "--check") == (0, "", "")


@pytest.mark.parametrize("path", FILES)
def test_they_say_from_what_they_are_made(path: str) -> None:
    head = (ROOT / path).read_text()[:300]
    assert SOURCE in head and TOOL in head


def test_a_status_that_is_added_is_found_missing_and_written(tmp_path: Path) -> None:
    for path in (*FILES, SOURCE, TOOL, "tools/generated_files.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text())
    source = tmp_path / SOURCE
    added = "    QUEUE_EMPTY = 15\n    EXAMPLE = 99\n"
    source.write_text(source.read_text().replace("    QUEUE_EMPTY = 15\n", added))
    stale = "".join(f"{path} is not current\n" for path in FILES)
    assert run(tmp_path, "--check") == (1, stale, "")
    assert run(tmp_path)[0] == 0 and run(tmp_path, "--check")[0] == 0
    assert "  NRT_EXAMPLE = 99,\n" in (tmp_path / FILES[0]).read_text()
    assert "  X(NRT_EXAMPLE) \\\n" in (tmp_path / FILES[1]).read_text()
