"""Runs each fuzzer for a while: for ``NKIPY_FUZZ_SECONDS``, or 20."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = os.environ.get("NKIPY_FUZZ_SECONDS", "20")
SEED = os.environ.get("NKIPY_FUZZ_SEED", "0")

#: Those in which XLA runs, here and in the child engine.
RUNNING = ("fuzz_engine", "fuzz_child")
#: Those of which a case is made and tried without anything being compiled.
QUICK = ("fuzz_neff", "fuzz_hlo", "fuzz_handlers")


@pytest.mark.slow
@pytest.mark.timeout(float(SECONDS) + 120)
@pytest.mark.parametrize("name", [*QUICK, "fuzz_programs", *RUNNING])
def test_fuzz(name: str, tmp_path: Path) -> None:
    assert " cases, {" in fuzz(name, tmp_path, SECONDS)


def fuzz(name: str, directory: Path, seconds: str) -> str:
    """What a fuzzer prints that finds nothing."""
    track = directory / "case"
    command = [sys.executable, "-m", f"tests.fuzz.{name}", "--track", str(track)]
    options = ["--seconds", seconds, "--seed", SEED]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True)
    text = done.stderr.decode(errors="replace")[-5000:]
    assert done.returncode == 0, f"in case {track.read_text()}: {text}"
    return done.stdout.decode()


def test_handlers_refuse_or_run_what_does_not_fit(tmp_path: Path) -> None:
    told = fuzz("fuzz_handlers", tmp_path, "2")
    for outcome in ("'refused':", "'refused by a handler':", "'run by handlers':"):
        assert outcome in told


@pytest.mark.parametrize("name", QUICK)
def test_a_case_can_be_run_again(name: str) -> None:
    command = [sys.executable, "-m", f"tests.fuzz.{name}", "--seed", "3", "--case", "5"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0
