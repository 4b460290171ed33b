"""Who a process is, by the variables of what has started it."""

from __future__ import annotations

import shlex
import subprocess
import sys

import numpy as np
import pytest

from nkipy import distributed
from nkipy.core.trace import trace_function
from nkipy.distributed import processes
from nkipy.distributed.launchers import LAUNCHERS, find_job, first_host, root_address
from nkipy.runtime import PerRank, simulate_jit

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "trn1",
    "MASTER_PORT": "29500",
}
OPENMPI = {
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_NAMESPACE": "prterun-host-77@1",
}
MPICH = {
    "PMI_RANK": "1",
    "PMI_SIZE": "2",
    "MPI_LOCALRANKID": "1",
    "MPI_LOCALNRANKS": "2",
}
SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
    "SLURM_STEP_NODELIST": "trn[07-09,12]-a,head",
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
}


@pytest.fixture
def environment(monkeypatch):
    """Sets variables, and none else that tells of a job or of cores."""
    names = {name for known in (TORCHRUN, OPENMPI, MPICH, SLURM) for name in known}
    own = (processes.ROOT, processes.VISIBLE_CORES, processes.NUM_CORES)
    for name in (*names, *own, "NKIPY_LAUNCHER", "SLURM_NTASKS"):
        monkeypatch.setenv(name, "")  # so that it is put back, whoever sets it
        monkeypatch.delenv(name)

    def choose(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return choose


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (TORCHRUN, ("torchrun", 3, 8, 1, 2)),
        (OPENMPI, ("openmpi", 2, 4, 2, 4)),
        (MPICH, ("mpich", 1, 2, 1, 2)),
        (SLURM, ("slurm", 5, 6, 1, 2)),
        # What starts processes inside of a step of Slurm's knows better.
        (SLURM | OPENMPI, ("openmpi", 2, 4, 2, 4)),
        (SLURM | OPENMPI | {"NKIPY_LAUNCHER": "slurm"}, ("slurm", 5, 6, 1, 2)),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2,1(x2)"}, ("slurm", 5, 6, 1, None)),
        # As srun --mpi=pmi2 has it, and a rank that is another's.
        (SLURM | {"PMI_RANK": "5", "PMI_SIZE": "6"}, ("slurm", 5, 6, 1, 2)),
        (SLURM | {"PMI_RANK": "4", "PMI_SIZE": "6"}, ("mpich", 4, 6, None, None)),
        (OPENMPI | {"RANK": "", "WORLD_SIZE": ""}, ("openmpi", 2, 4, 2, 4)),
    ],
)
def test_each_launcher_tells_who_a_process_is(variables, expected):
    job = find_job(variables)
    assert job is not None
    found = job.rank, job.world_size, job.local_rank, job.local_world_size
    assert (job.launcher.name, *found) == expected


def test_who_is_alone():
    assert find_job({}) is find_job({"NKIPY_LAUNCHER": ""}) is None
    assert str(find_job(TORCHRUN | {"NKIPY_LAUNCHER": ""})) == "rank 3 of 8 (torchrun)"
    assert find_job(TORCHRUN | {"NKIPY_LAUNCHER": "none"}) is None
    script = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "1"}
    assert find_job(script) is None  # the script of a job, which is no step


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"RANK": "8"}, "RANK=8 is no rank of WORLD_SIZE=8"),
        ({"RANK": "-1"}, "RANK='-1' is no number from 0 up.*NKIPY_LAUNCHER=none"),
        ({"WORLD_SIZE": "9" * 5000}, "is no number from 0 up"),
        ({"WORLD_SIZE": "0"}, "RANK=3 is no rank of WORLD_SIZE=0"),
        ({"LOCAL_RANK": "one"}, "LOCAL_RANK='one' is no number"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK=2 is no rank of LOCAL_WORLD_SIZE=2"),
        ({"NKIPY_LAUNCHER": "srun"}, "'srun' is no launcher: torchrun, openmpi"),
        ({"NKIPY_LAUNCHER": "mpich"}, "PMI_RANK and PMI_SIZE are not set"),
    ],
)
def test_variables_that_cannot_be_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        find_job(TORCHRUN | changed)


def test_ranks_meet_at_a_port_that_torch_does_not_use():
    def port(variables):
        job = find_job(variables)
        host, _, number = root_address(job, variables).rpartition(":")
        return host, int(number)

    host, first = port(TORCHRUN)
    assert host == "trn1" and 1024 < first < 32768
    ports = {port(TORCHRUN | {"MASTER_PORT": str(p)})[1] for p in range(29500, 29600)}
    assert len(ports) == 100 and not ports & set(range(29500, 29600))
    assert port(OPENMPI)[0] == "127.0.0.1"
    assert port(SLURM)[0] == "trn07-a"
    assert port(SLURM) != port(SLURM | {"SLURM_STEP_ID": "1"})
    same = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert port(SLURM) == port(SLURM | same)
    with pytest.raises(ValueError, match=r"rank 1 of 2 \(mpich\).* set MASTER_PORT"):
        port(MPICH)
    apart = {"MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1", "MASTER_PORT": "1"}
    with pytest.raises(ValueError, match="on which machine rank 0 is: set MASTER_ADDR"):
        port(MPICH | apart)
    with pytest.raises(ValueError, match="MASTER_PORT='x' is no port"):
        port(TORCHRUN | {"MASTER_PORT": "x"})


#: Started as ``hydra_pmi_proxy``, it starts ranks by way of a shell, as a script does.
PROXY = """
import os, subprocess, sys
for rank in "0", "1":
    environment = os.environ | {"PMI_RANK": rank, "MPI_LOCALRANKID": rank}
    subprocess.run(["sh", "-c", sys.argv[1] + "; true"], env=environment, check=True)
"""
TELLS_WHERE = """
import os
from nkipy.distributed.launchers import find_job, root_address
from nkipy.launcher_variables import job_identity
print(root_address(find_job(os.environ), os.environ), job_identity(os.environ))
"""


def test_ranks_of_hydra_meet_at_a_port_made_of_the_process_that_starts_them(
    environment, tmp_path
):
    environment(MPICH)
    proxy = tmp_path / "hydra_pmi_proxy"
    proxy.write_text(f"#!{sys.executable}\n{PROXY}")
    proxy.chmod(0o700)
    program = shlex.join([sys.executable, "-c", TELLS_WHERE])
    ran = [
        subprocess.run([proxy, program], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    first, second = (done.stdout.splitlines() for done in ran)
    assert len(first) == len(second) == 2
    assert first[0] == first[1] and second[0] == second[1]
    assert first[0].startswith("127.0.0.1:") and "hydra_pmi_proxy" in first[0]
    assert first[0] != second[0]


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("a", "a"),
        ("a,b", "a"),
        ("n[3-5]", "n3"),
        ("n[03,7],x", "n03"),
        ("x,n[1-2]", "x"),
    ],
)
def test_the_first_machine_of_a_list(hosts, first):
    assert first_host(hosts) == first


def test_what_libnrt_has_to_know_is_set_unless_the_user_has(environment, monkeypatch):
    # This process's runtime may be open, on fewer cores.
    monkeypatch.setattr(processes, "_check_core", lambda *job_and_core: None)
    environment(TORCHRUN)
    processes.set_cores()
    processes.set_root()
    assert processes.os.environ[processes.VISIBLE_CORES] == "1"
    assert processes.os.environ[processes.ROOT].startswith("trn1:")
    environment({processes.VISIBLE_CORES: "5", processes.ROOT: "here:1"})
    processes.set_cores()
    processes.set_root()
    assert processes.os.environ[processes.VISIBLE_CORES] == "5"
    assert processes.os.environ[processes.ROOT] == "here:1"
    monkeypatch.delenv(processes.VISIBLE_CORES)
    monkeypatch.delenv("LOCAL_RANK")
    with pytest.raises(ValueError, match=r"rank 3 of 8 .* set LOCAL_RANK .* or NEURON"):
        processes.set_cores()


def test_who_has_no_core_is_told_by_which_variable(environment):
    environment(TORCHRUN | {"LOCAL_RANK": "30", "LOCAL_WORLD_SIZE": "32"})
    with pytest.raises(ValueError, match=r"rank 3 of 8 .*LOCAL_RANK=30, and there are"):
        processes.set_cores()
    assert processes.VISIBLE_CORES not in processes.os.environ


def test_ranks_and_groups(environment):
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    distributed.barrier()  # of one: nobody is waited for
    environment(TORCHRUN)
    assert (distributed.rank(), distributed.world_size()) == (3, 8)
    assert distributed.replica_groups() == [list(range(8))]
    assert distributed.replica_groups(4) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert distributed.replica_groups(2, stride=2) == [[0, 2], [1, 3], [4, 6], [5, 7]]
    for wrong in ((3, 1), (4, 4), (0, 1)):
        with pytest.raises(ValueError, match="8 ranks cannot be put into groups"):
            distributed.replica_groups(*wrong)


def test_in_a_kernel_the_rank_is_a_value():
    def kernel(x):
        groups = distributed.replica_groups()
        return distributed.all_reduce(x * distributed.rank(), groups)

    x = np.arange(3, dtype=np.uint32)
    for result in simulate_jit(kernel, world_size=4)(x):
        np.testing.assert_array_equal(result, x * 6)
    with pytest.raises(ValueError, match="is for processes"):
        trace_function(lambda x: distributed.barrier() or x, (x,), {})


def test_arrays_of_numpy_are_refused_where_there_are_other_ranks(environment):
    x = np.ones(2, np.float32)
    assert distributed.all_reduce(x, [[0, 1]])[0] == 2
    environment(TORCHRUN)
    with pytest.raises(ValueError, match="all_reduce of NumPy .* is rank 3 of 8"):
        distributed.all_reduce(x, [[0, 1]])


def test_shards_are_equal_parts():
    x = np.arange(24).reshape(4, 6)
    parts = distributed.shards(x, 1, 3)
    np.testing.assert_array_equal(np.concatenate(parts, 1), x)
    assert all(part.base is not None and part.shape == (4, 2) for part in parts)
    np.testing.assert_array_equal(distributed.shard(x, -2, 1, 2), x[2:])
    assert distributed.shard(x, 0).shape == x.shape  # of this process, which is alone
    for wrong, message in (
        ((x, 0, 0, 3), r"dimension 0 of shape \(4, 6\) does not divide by 3"),
        ((x, 0, 2, 2), "rank 2 is none of 2"),
        ((x, 2, 0, 1), "axis 2 is out of bounds"),
    ):
        with pytest.raises(ValueError, match=message):
            distributed.shard(*wrong)


def test_shards_are_arguments_of_ranks():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    kernel = simulate_jit(
        lambda x: distributed.all_gather(x, 1, distributed.replica_groups()),
        world_size=2,
    )
    for result in kernel(PerRank(distributed.shards(x, 1, 2))):
        np.testing.assert_array_equal(result, x)


def test_no_two_launchers_have_a_variable_in_common():
    names = [v for launcher in LAUNCHERS for v in vars(launcher).values()]
    assert len(set(names)) == len(names) == 5 * len(LAUNCHERS)
