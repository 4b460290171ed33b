"""Variables by which launchers tell processes of a job who they are: the one table.

Sources: PyTorch's documentation of ``torchrun`` ("Environment Variables"), Slurm's of
``srun`` ("OUTPUT ENVIRONMENT VARIABLES"), Open MPI's FAQ ("what environment variables
are set"), MPICH's wiki of Hydra.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Chooses a launcher by its name where several could be meant, or none.
LAUNCHER = "NKIPY_LAUNCHER"
NO_LAUNCHER = "none"
#: Where the process of rank 0 is, and where torch listens there.
ADDRESS, PORT = "MASTER_ADDR", "MASTER_PORT"

#: What names a job where no port does, by whoever may have started it.
JOB_NAMES = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID", "SLURM_JOB_ID")
STEP = "SLURM_STEP_ID"
#: All that is the same in processes of one job, and may differ in those of another.
_IDENTITY = ("TORCHELASTIC_RUN_ID", PORT, *JOB_NAMES, STEP)


@dataclass(frozen=True)
class Launcher:
    """How one launcher tells a process who it is.

    Attributes:
        name: what it is called.
        rank, world_size: variables that only it sets, and all its processes have.
        local_rank, local_world_size: the same among the processes of a machine.
    """

    name: str
    rank: str
    world_size: str
    local_rank: str
    local_world_size: str

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of all four."""
        return self.rank, self.world_size, self.local_rank, self.local_world_size


#: The first that is there counts: mpirun and torchrun may run in steps of Slurm's.
LAUNCHERS = (
    Launcher("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    Launcher(
        "openmpi",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    Launcher("mpich", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    # Of a step, which srun starts. The script of a job has SLURM_NTASKS, too, and is
    # one process.
    Launcher(
        "slurm",
        "SLURM_PROCID",
        "SLURM_STEP_NUM_TASKS",
        "SLURM_LOCALID",
        "SLURM_STEP_TASKS_PER_NODE",
    ),
)


def job_name(environment: Mapping[str, str]) -> str:
    """What names the job of this process where no port does; empty if nothing."""
    named = (environment[name] for name in JOB_NAMES if environment.get(name))
    return next(named, "") or _started_by_hydra(environment)


def _started_by_hydra(environment: Mapping[str, str]) -> str:
    """The process that has started all ranks of a job, if it is MPICH's or Intel's.

    Their launcher, Hydra, gives a job no name. On each machine it has one process that
    starts all ranks there; so this is for jobs on one machine.
    """
    size = environment.get("PMI_SIZE")
    if not size or size != environment.get("MPI_LOCALNRANKS"):
        return ""
    process = os.getppid()
    while process > 1:
        try:
            stat = Path(f"/proc/{process}/stat").read_text(errors="replace")
        except OSError:
            return ""
        name, _, rest = stat.partition("(")[2].rpartition(") ")
        fields = rest.split()
        if name.startswith("hydra_"):
            return f"{name} {process} {fields[19]}"  # and when it was started
        process = int(fields[1])
    return ""


def job_identity(environment: Mapping[str, str]) -> str:
    """What a launcher has set in all processes of a job, and otherwise in others'.

    Empty where none has set anything.
    """
    given = [(name, environment.get(name, "")) for name in _IDENTITY]
    given.append(("Hydra", _started_by_hydra(environment)))
    return " ".join(f"{name}={value[:64]}" for name, value in given if value)


def variables_read(environment: Mapping[str, str]) -> str:
    """What tells a process who it is and whom it waits for, ``NAME=value, ...``."""
    names = [name for launcher in LAUNCHERS for name in launcher.variables]
    names += [ADDRESS, PORT]
    return ", ".join(f"{n}={environment[n][:64]}" for n in names if environment.get(n))
