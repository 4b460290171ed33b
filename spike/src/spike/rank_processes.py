"""Runs a command as several ranks, each a process, and says what became of them."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

#: For processes that are about to see that another one has failed.
_GRACE_SECONDS = 15.0
_LOOK_EVERY = 0.02


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
        return f"rank {self.rank} {self.end}"

    @property
    def end(self) -> str:
        """How it ended, for people."""
        if self.status is None:
            return "was still running, and was killed"
        if self.status < 0:
            return f"was killed by {_signal(-self.status)}"
        return f"ended with status {self.status}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def failures(results: Sequence[RankResult]) -> list[RankResult]:
    """Those that have failed, in the order in which they ended.

    The first need not be why the others failed: they can be told that it fails, and
    end, before its process is over.
    """
    failed = [result for result in results if result.status != 0]
    return sorted(failed, key=lambda r: (r.place, r.rank))


def told_once(results: Sequence[RankResult]) -> list[str]:
    """What became of each, and what it has written; equal ones are one text."""
    alike: dict[tuple[str, str], list[int]] = {}
    for result in results:
        alike.setdefault((result.end, result.output.strip()), []).append(result.rank)
    return [
        f"{_named(ranks)} {end}" + (f": {output}" if output else "")
        for (end, output), ranks in alike.items()
    ]


def _named(ranks: Sequence[int]) -> str:
    numbers = ", ".join(map(str, sorted(ranks)))
    return f"rank {numbers}" if len(ranks) == 1 else f"ranks {numbers}"


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses at the moment."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def run_processes(
    commands: Sequence[Sequence[str]],
    environments: Sequence[Mapping[str, str]],
    *,
    timeout: float = math.inf,
    cwd: str | Path | None = None,
) -> list[RankResult]:
    """Run commands side by side, one for each rank, and wait for all.

    When one has failed, the others have a little time to see it; then they are killed,
    as they are after the timeout, with all that they have started.

    Args:
        commands: program and arguments of each rank.
        environments: all variables of each.
        timeout: in seconds.
        cwd: where they run.

    Returns:
        what became of each, in the order of ranks.

    Raises:
        OSError: a program cannot be started.
    """
    results = []
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in commands]
        with _started(commands, files, environments, cwd) as them:
            ended = _wait(them, timeout)
        for rank, file in enumerate(files):
            has_ended = rank in ended
            status = them[rank].returncode if has_ended else None
            place = ended.index(rank) if has_ended else len(commands)
            file.seek(0)
            output = file.read().decode(errors="replace")
            results.append(RankResult(rank, status, output, place))
    return results


@contextmanager
def _started(
    commands: Sequence[Sequence[str]],
    files: Sequence[IO[bytes]],
    environments: Sequence[Mapping[str, str]],
    cwd: str | Path | None,
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are gone after the block, with whatever they have started."""
    them: list[subprocess.Popen[bytes]] = []
    try:
        for command, file, environment in zip(commands, files, environments):
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            them.append(process)
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
    while len(ended) < len(them) and time.monotonic() < deadline:
        for rank, process in enumerate(them):
            if rank in ended or process.poll() is None:
                continue
            ended.append(rank)
            if process.returncode != 0:
                deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
        time.sleep(_LOOK_EVERY)
    return ended
