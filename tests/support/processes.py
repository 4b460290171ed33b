"""Runs a Python program as several ranks, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spike.rank_processes import free_ports

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port of this machine that nobody uses at the moment."""
    return free_ports(1)[0]


def start(
    program: str, ranks: int, directory: Path, **variables: str
) -> list[subprocess.Popen[str]]:
    """Start `program` for each rank, with one core and the environment of torchrun.

    Args:
        program: Python source.
        ranks: how many.
        directory: for locks and kept code, which all of them share.
        variables: more of the environment.
    """
    meeting = {"NEURON_RT_ROOT_COMM_ID": f"127.0.0.1:{free_port()}", **variables}
    return [
        start_rank(program, rank, ranks, directory, **meeting) for rank in range(ranks)
    ]


def start_rank(
    program: str, rank: int, ranks: int, directory: Path, **variables: str
) -> subprocess.Popen[str]:
    """One rank of :func:`start`, which meets others where `variables` say."""
    locks = directory / "locks"
    locks.mkdir(mode=0o700, exist_ok=True)
    own = {
        "NKIPY_EMULATOR_LOCK_DIR": str(locks),
        "NKIPY_CACHE_DIR": str(directory / "cache"),
        "WORLD_SIZE": str(ranks),
        "PYTHONPATH": str(ROOT),
        "RANK": str(rank),
        "NEURON_RT_VISIBLE_CORES": str(rank),
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **own},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(
    processes: Sequence[subprocess.Popen[str]], seconds: float = 120
) -> list[tuple[int, str, str]]:
    """Status, output and errors of each, in order of ranks. None goes on for longer."""
    try:
        texts = [p.communicate(timeout=seconds) for p in processes]
        return [(p.returncode, *text) for p, text in zip(processes, texts)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
