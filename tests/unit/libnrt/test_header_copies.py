"""spike's copies of libnrt's headers are those of the emulated libnrt, and say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import libnrt

TOOL = "tools/generate_libnrt_headers.py"
SOURCE = "emulator/src/libnrt/include/nrt"
COPIES = "spike/libnrt/nrt"


def run(root: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-I", str(root / TOOL), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_copies_are_current() -> None:
    assert run(libnrt.ROOT, "--check") == (0, "", "")


def test_they_say_from_what_they_are_made() -> None:
    for path in (libnrt.ROOT / COPIES).glob("*.h"):
        head = path.read_text()[:200]
        assert f"{SOURCE}/{path.name}" in head and TOOL in head


def test_a_function_that_is_added_is_found_missing_and_written(tmp_path: Path) -> None:
    paths = [TOOL, "tools/generated_files.py"]
    for folder in (SOURCE, COPIES):
        paths += [f"{folder}/{p.name}" for p in (libnrt.ROOT / folder).glob("*.h")]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((libnrt.ROOT / path).read_text())
    with open(tmp_path / SOURCE / "nrt_async.h", "a") as header:
        header.write("int nrta_added(void);\n")
    stale = f"{COPIES}/nrt_async.h is not current\n"
    assert run(tmp_path, "--check") == (1, stale, "")
    assert run(tmp_path)[0] == 0 and run(tmp_path, "--check")[0] == 0
    copy = (tmp_path / COPIES / "nrt_async.h").read_text()
    assert copy.endswith("int nrta_added(void);\n")
