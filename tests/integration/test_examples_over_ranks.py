"""The examples of several processes do what one does."""

from __future__ import annotations

import re
import sys

import pytest

from nkipy.testing.ranks import run_ranks
from tests.support.processes import ROOT

SLOW = pytest.mark.slow


def differences(results):
    """What each rank says."""
    found = []
    for result in results:
        assert result.status == 0, f"{result}: {result.output}"
        said = re.fullmatch(
            r"rank (\d) of (\d): largest difference, \w+: (\S+)\n", result.output
        )
        assert said is not None, result.output
        assert (int(said[1]), int(said[2])) == (result.rank, len(results))
        found.append(float(said[3]))
    return found


@pytest.mark.parametrize(
    ("example", "mode", "ranks"),
    [
        ("tensor_parallel", "baremetal", 2),
        ("expert_parallel", "simulate", 2),
        pytest.param("tensor_parallel", "simulate", 4, marks=SLOW),
        pytest.param("expert_parallel", "baremetal", 4, marks=SLOW),
    ],
)
def test_several_processes_compute_what_one_does(example, mode, ranks):
    command = [sys.executable, "-m", f"examples.distributed.{example}", "--mode", mode]
    assert max(differences(run_ranks(command, ranks, cwd=ROOT))) < 1e-4


#: As srun would start what rank_environment() describes.
SRUN = """
export SLURM_PROCID=$RANK SLURM_LOCALID=$RANK SLURM_STEP_NUM_TASKS=$WORLD_SIZE
export SLURM_STEP_TASKS_PER_NODE=$WORLD_SIZE SLURM_STEP_NODELIST=localhost
export SLURM_JOB_ID=$MASTER_PORT SLURM_STEP_ID=0
unset RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT
unset NEURON_RT_ROOT_COMM_ID
exec "$@"
"""


@SLOW
def test_slurms_variables_are_enough():
    program = [sys.executable, "-m", "examples.distributed.tensor_parallel"]
    results = run_ranks(["sh", "-c", SRUN, "sh", *program], 2, cwd=ROOT)
    assert max(differences(results)) < 1e-4
