"""What is made from the table of chips is current, and says what it is made from."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from neff.code_names import CODE_NAMES
from nkipy.chips import CHIPS

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools/generate_chips.py"
FILES = ("emulator/src/libnrt/instances.h", "spike/src/neff/code_names.py")


def test_the_files_are_current() -> None:
    # -I: the tool finds the table by itself, without nkipy installed.
    command = [sys.executable, "-I", str(TOOL), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("path", FILES)
def test_they_say_from_what_they_are_made(path: str) -> None:
    head = (ROOT / path).read_text()[:300]
    assert "nkipy/src/nkipy/chips" in head and "tools/generate_chips.py" in head


def test_names_in_genuine_neffs() -> None:
    assert CODE_NAMES == {c.code_name: c.name for c in CHIPS if c.code_name}


def test_a_file_that_is_not_current_is_found_and_mended(tmp_path: Path) -> None:
    for path in (*FILES, "tools/generate_chips.py", "tools/generated_files.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text())
    chips = tmp_path / "nkipy/src/nkipy/chips"
    chips.mkdir(parents=True)
    (chips.parent / "__init__.py").touch()
    for file in (ROOT / "nkipy/src/nkipy/chips").glob("*.py"):
        (chips / file.name).write_text(file.read_text())
    record = chips / "trn2.py"
    record.write_text(record.read_text().replace("96 << 30", "112 << 30"))

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-I", tmp_path / "tools/generate_chips.py"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout

    assert run("--check") == (1, f"{FILES[0]} is not current\n")
    assert run() == (0, f"wrote {FILES[0]}\n")
    assert run("--check") == (0, "")
    assert re.search(r'"trn2\.48xlarge".* 112,', (tmp_path / FILES[0]).read_text())


def test_the_page_has_all_chips_facts_and_instances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(TOOL.parent))
    import generate_chips

    page = generate_chips.markdown()
    assert f"| fact | {' | '.join(c.name for c in CHIPS)} | source |" in page
    assert "| HBM (`hbm_bytes`) | 32 GiB | 32 GiB | 96 GiB | 144 GiB | chip |" in page
    assert "(`fp8_factor`) | 1.0 | 1.0 | 0.5 | 0.5 | estimate, from " in page
    assert "| `trn2.48xlarge` | 16 Trainium2 | 128 | 1536 GiB | 64 × 2 |" in page
    assert all(f"| `{i.name}` |" in page for c in CHIPS for i in c.instances)
