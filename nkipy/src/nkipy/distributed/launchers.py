"""Which job a process is in, by the variables of what has started it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from nkipy.core.errors import NKIPyValueError
from nkipy.launcher_variables import (
    ADDRESS,
    LAUNCHER,
    LAUNCHERS,
    NO_LAUNCHER,
    PORT,
    STEP,
    Launcher,
    job_name,
)

#: Where ranks meet: ports that systems give to no connection on their own.
_FIRST_PORT, _PORTS = 10_000, 22_768
_HOST_LISTS = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")


@dataclass(frozen=True)
class Job:
    """Processes that a launcher has started, and which of them this one is.

    Attributes:
        launcher: its record.
        rank: this process, from 0.
        world_size: how many there are.
        local_rank: this process among those of its machine; None if nobody says.
        local_world_size: how many of them are on its machine; None if nobody says.
    """

    launcher: Launcher
    rank: int
    world_size: int
    local_rank: int | None
    local_world_size: int | None

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.world_size} ({self.launcher.name})"


def find_job(environment: Mapping[str, str]) -> Job | None:
    """The job that a process with these variables is in; None: it is alone.

    Raises:
        NKIPyValueError: a variable is no number, or the rank none of that many.
    """
    chosen = environment.get(LAUNCHER) or None
    if chosen == NO_LAUNCHER:
        return None
    known = {launcher.name: launcher for launcher in LAUNCHERS}
    if chosen is not None and chosen not in known:
        raise NKIPyValueError(
            f"{LAUNCHER}={chosen!r} is no launcher: {', '.join(known)} and "
            f"{NO_LAUNCHER} are"
        )
    given = {name: value for name, value in environment.items() if value}
    for launcher in LAUNCHERS if chosen is None else (known[chosen],):
        if launcher.rank in given and launcher.world_size in given:
            job = _job(launcher, given)
            return job if job.local_rank is not None else _placed(job, given)
    if chosen is not None:
        record = known[chosen]
        raise NKIPyValueError(
            f"{LAUNCHER}={chosen}, but {record.rank} and {record.world_size} are not "
            "set: start the processes with it"
        )
    return None


def _job(launcher: Launcher, environment: Mapping[str, str]) -> Job:
    rank, world_size, *local = (
        _number(environment, name)
        for name in (
            *(launcher.rank, launcher.world_size),
            *(launcher.local_rank, launcher.local_world_size),
        )
    )
    if rank is None or world_size is None or not rank < world_size:
        raise NKIPyValueError(
            f"{launcher.rank}={environment[launcher.rank]} is no rank of "
            f"{launcher.world_size}={environment[launcher.world_size]}: ranks go from "
            f"0 up, and each process has another ({launcher.name})"
        )
    local_rank, local_world_size = local
    if (
        local_rank is not None
        and local_world_size is not None
        and not local_rank < local_world_size
    ):
        raise NKIPyValueError(
            f"{launcher.local_rank}={local_rank} is no rank of "
            f"{launcher.local_world_size}={local_world_size}: processes of a machine "
            f"are counted from 0 up; if {launcher.name} has not started this process, "
            f"unset them, or set {LAUNCHER}={NO_LAUNCHER}"
        )
    return Job(launcher, rank, world_size, *local)


def _placed(job: Job, environment: Mapping[str, str]) -> Job:
    """`job` as another launcher tells it that knows the rank on the machine, too.

    Tasks that ``srun --mpi=pmi2`` starts have MPICH's rank and size, and Slurm's place.
    """
    for other in LAUNCHERS:
        if environment.keys() >= {other.rank, other.world_size, other.local_rank}:
            found = _job(other, environment)
            if (found.rank, found.world_size) == (job.rank, job.world_size):
                return found
    return job


def _number(environment: Mapping[str, str], name: str) -> int | None:
    """The value of a variable; None if it is not set, or differs between machines.

    Slurm writes ``2(x3),1`` for two on each of three machines, and one on another.
    """
    text = environment.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}(\(x\d+\))?(,\d{1,9}(\(x\d+\))?)*", text, re.ASCII):
        raise NKIPyValueError(
            f"{name}={text!r} is no number from 0 up: a launcher sets it; if none has "
            f"started this process, unset it, or set {LAUNCHER}={NO_LAUNCHER}"
        )
    counts = {part.partition("(")[0] for part in text.split(",")}
    return int(counts.pop()) if len(counts) == 1 else None


def root_address(job: Job | None, environment: Mapping[str, str]) -> str:
    """``host:port`` where the process of rank 0 may listen, the same for all.

    `job` is None where no launcher tells it, and torch's variables may.

    The port is another one than ``MASTER_PORT``, where torch listens, and neighbours'
    are neighbours: two jobs of a machine do not meet.

    Raises:
        NKIPyValueError: nothing says on which machine rank 0 is, or names the job.
    """
    return f"{_host(job, environment)}:{_port(job, environment)}"


def _host(job: Job | None, environment: Mapping[str, str]) -> str:
    if environment.get(ADDRESS):
        return environment[ADDRESS]
    if job is not None and job.local_world_size == job.world_size:
        return "127.0.0.1"
    for name in _HOST_LISTS:
        if environment.get(name):
            return first_host(environment[name])
    raise NKIPyValueError(
        f"{_who(job)} does not know on which machine rank 0 is: set {ADDRESS} to its "
        "name, the same for all"
    )


def _who(job: Job | None) -> str:
    return "this process" if job is None else str(job)


def _port(job: Job | None, environment: Mapping[str, str]) -> int:
    text = environment.get(PORT)
    if text:
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
            raise NKIPyValueError(f"{PORT}={text!r} is no port")
        number = int(text)
    else:
        named = job_name(environment)
        if not named:
            raise NKIPyValueError(
                f"{_who(job)} does not know where ranks meet: set {PORT} to a port, "
                "the same for all and another one for each job"
            )
        step = environment.get(STEP, "")
        number = zlib.crc32(f"{named} {step}".encode())
    return _FIRST_PORT + number % _PORTS


def first_host(hosts: str) -> str:
    """The first of a list as Slurm writes it: ``trn[07-09,12],head``."""
    match = re.match(r"([^,\[]*)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", hosts)
    prefix, number, suffix = match.groups("") if match else ("", "", "")
    if not prefix + number:
        raise NKIPyValueError(f"{hosts!r} is no list of machines")
    return prefix + number + suffix
