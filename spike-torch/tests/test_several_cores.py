"""Runs the tests that need several cores, where this process has but one.

So has each worker of pytest-xdist. A process of their own gets four cores, of an
emulated machine of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CORES = 4
FIXTURES = {"two_cores", "four_cores"}


@pytest.mark.parametrize(
    "slow", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["quick", "slow"]
)
def test_what_needs_several_cores(
    request: pytest.FixtureRequest, tmp_path: Path, slow: bool
) -> None:
    if torch.nkipy.device_count() >= CORES:
        pytest.skip("this process has them, and runs the tests itself")
    names = [item.nodeid for item in needing_cores(request.session, slow)]
    if not names:
        pytest.skip("none is chosen")
    locks = tmp_path / "locks"
    locks.mkdir(mode=0o700)
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    env |= {"NKIPY_EMULATOR_LOCK_DIR": str(locks)}
    env |= {"NEURON_RT_VISIBLE_CORES": f"0-{CORES - 1}"}
    options = ["-q", "-n0", "-m", "", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *names],
        cwd=request.config.rootpath,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert f"{len(names)} passed" in done.stdout


def needing_cores(session: pytest.Session, slow: bool) -> list[pytest.Function]:
    """The tests of this run that need several, by whether they are slow."""
    return [
        item
        for item in session.items
        if isinstance(item, pytest.Function)
        and FIXTURES & set(item.fixturenames)
        and (item.get_closest_marker("slow") is not None) == slow
        and item.get_closest_marker("exhaustive") is None
    ]
