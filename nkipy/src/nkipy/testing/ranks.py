"""Runs a command as several ranks, each a process with a core of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nkipy.testing.cores import NUM_CORES, VISIBLE_CORES

__all__ = ["RankResult", "rank_environment", "run_ranks"]

#: Of processes that are about to see that another one has ended.
_GRACE_SECONDS = 15.0
_LOOK_EVERY = 0.02
LOCKS = "NKIPY_EMULATOR_LOCK_DIR"


@dataclass(frozen=True)
class RankResult:
    """What became of one rank.

    Attributes:
        rank: which one.
        status: its exit status, negative for a signal; None: it had not ended in time,
            and was killed.
        output: what it has written, errors included.
        place: how many had ended before it.
    """

    rank: int
    status: int | None
    output: str
    place: int

    def __str__(self) -> str:
        if self.status is None:
            return f"rank {self.rank} was still running, and was killed"
        if self.status < 0:
            return f"rank {self.rank} was killed by {_signal(-self.status)}"
        return f"rank {self.rank} ended with status {self.status}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def rank_environment(
    ranks: int, cores: Sequence[int] | None = None
) -> list[dict[str, str]]:
    """The variables of each rank on this machine: those of torchrun, and libnrt's.

    Args:
        ranks: how many.
        cores: of each; by default the first ones.
    """
    meeting, torchs = _free_ports(2)
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


def _free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses at the moment."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


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
    own = {
        k: v for k, v in os.environ.items() if k not in (NUM_CORES, "NKIPY_LAUNCHER")
    }
    with tempfile.TemporaryDirectory(prefix="nkipy-ranks-") as directory:
        common = {**own, LOCKS: directory, **(env or {})}
        files = [Path(directory) / f"rank_{rank}.txt" for rank in range(ranks)]
        environments = rank_environment(ranks, cores)
        with _started(command, files, [common | e for e in environments], cwd) as them:
            ended = _wait(them, timeout)
        texts = [file.read_text(errors="replace") for file in files]
    order = {rank: place for place, rank in enumerate(ended)}
    return [
        RankResult(
            *(rank, them[rank].returncode if rank in order else None),
            *(texts[rank], order.get(rank, ranks)),
        )
        for rank in range(ranks)
    ]


@contextmanager
def _started(
    command: Sequence[str],
    files: Sequence[Path],
    environments: Sequence[Mapping[str, str]],
    cwd: str | Path | None,
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are gone after the block, with whatever they have started."""
    them: list[subprocess.Popen[bytes]] = []
    try:
        for file, environment in zip(files, environments):
            with file.open("wb") as output:
                them.append(
                    subprocess.Popen(
                        list(command),
                        env=dict(environment),
                        cwd=cwd,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        yield them
    finally:
        for process in them:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # all of them have ended
            process.wait()


def _wait(them: Sequence[subprocess.Popen[bytes]], timeout: float) -> list[int]:
    """The ranks that have ended by themselves, in the order in which they did."""
    ended: list[int] = []
    deadline = time.monotonic() + timeout
    is_failing = False
    while len(ended) < len(them) and time.monotonic() < deadline:
        for rank, process in enumerate(them):
            if rank in ended or process.poll() is None:
                continue
            ended.append(rank)
            if process.returncode != 0 and not is_failing:
                is_failing = True
                deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
        time.sleep(_LOOK_EVERY)
    return ended
