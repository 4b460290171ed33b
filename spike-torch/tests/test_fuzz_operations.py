"""Random programs of operations, as fuzz_operations.py makes them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from . import fuzz_operations

SECONDS = os.environ.get("NKIPY_FUZZ_SECONDS", "20")
SEED = os.environ.get("NKIPY_FUZZ_SEED", "0")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def filled() -> Iterator[None]:
    """Memory that nobody has written to is the same everywhere."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def test_a_few(filled: None, reach: None) -> None:
    for case in range(20):
        fuzz_operations.Program(f"0:{case}").run()


@pytest.mark.slow
@pytest.mark.timeout(float(SECONDS) + 120)
@pytest.mark.parametrize("options", [[], ["--transfers"]])
def test_many(options: list[str], tmp_path: Path) -> None:
    """For ``NKIPY_FUZZ_SECONDS``, or 20, both ways together."""
    script = Path(__file__).with_name("fuzz_operations.py")
    command = [sys.executable, str(script), "--seconds", str(float(SECONDS) / 2)]
    tmp_path.chmod(0o700)
    env = {**os.environ, "NKIPY_EMULATOR_LOCK_DIR": str(tmp_path)}  # cores of its own
    command += ["--seed", SEED, *options]
    done = subprocess.run(command, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-5000:]


def test_what_differs_is_told() -> None:
    program = fuzz_operations.Program("0:0")
    program.there[0] = program.there[0].new_zeros(7)
    with pytest.raises(fuzz_operations.Differs, match="geometry of 0"):
        program._compare()
