"""Runs a command as several ranks, each a process with a core of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nkipy.testing.cores import LOCKS, NUM_CORES, VISIBLE_CORES
from spike.rank_processes import (
    RankResult,
    failures,
    free_ports,
    run_processes,
)

__all__ = ["RankResult", "failures", "rank_environment", "run_ranks"]


def rank_environment(
    ranks: int, cores: Sequence[int] | None = None
) -> list[dict[str, str]]:
    """The variables of each rank on this machine: those of torchrun, and libnrt's.

    Args:
        ranks: how many.
        cores: of each; by default the first ones.
    """
    meeting, torchs = free_ports(2)
    return [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(torchs),
            "NEURON_RT_ROOT_COMM_ID": f"127.0.0.1:{meeting}",
            VISIBLE_CORES: str(rank if cores is None else cores[rank]),
        }
        for rank in range(ranks)
    ]


def run_ranks(
    command: Sequence[str],
    ranks: int,
    *,
    timeout: float = 120,
    cores: Sequence[int] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
) -> list[RankResult]:
    """Run `command` once for each rank, side by side, and wait for all.

    They have an emulated machine of their own, so that they share no core with anybody
    else. When one has failed, the others have a little time to see it; then they are
    killed, as they are after the timeout, with all that they have started.

    Args:
        command: program and arguments.
        ranks: how many.
        timeout: in seconds.
        cores: of each rank; by default the first ones.
        env: variables besides this process's own, and those of ranks.
        cwd: where they run.

    Returns:
        what became of each, in the order of ranks.

    Raises:
        ValueError: there are not as many cores as ranks.
        OSError: the program cannot be started.
    """
    if ranks < 1 or (cores is not None and len(cores) < ranks):
        raise ValueError(f"{ranks} ranks, for the cores {cores}")
    left_out = (NUM_CORES, "NKIPY_LAUNCHER")
    own = {name: os.environ[name] for name in os.environ if name not in left_out}
    with tempfile.TemporaryDirectory(prefix="nkipy-ranks-") as locks:
        common = {**own, LOCKS: locks, **(env or {})}
        environments = [common | each for each in rank_environment(ranks, cores)]
        return run_processes([command] * ranks, environments, timeout=timeout, cwd=cwd)
