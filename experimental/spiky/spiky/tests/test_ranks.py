"""Who a process is, and which core it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spiky.ranks import Place, find_place
from spiky.torch import init_nkipy_backend

VARIABLES = (
    *("LOCAL_RANK", "RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    *("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("PMI_RANK", "SLURM_PROCID"),
)


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher has started this process."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, Place(0, 1, 0)),
        ({"RANK": "3", "WORLD_SIZE": "4"}, Place(3, 4, 3)),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Place(1, 4, 1)),
        ({"RANK": "", "LOCAL_RANK": "2"}, Place(2, 1, 2)),
        (
            {
                "OMPI_COMM_WORLD_RANK": "5",
                "OMPI_COMM_WORLD_SIZE": "8",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "RANK": "5",
                "WORLD_SIZE": "8",
            },
            Place(1, 8, 1),
        ),
    ],
)
def test_the_environment_tells(
    variables: dict[str, str], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_place(None, None) == place


def test_what_is_given_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert find_place(9, 16) == Place(9, 16, 1)
    monkeypatch.delenv("LOCAL_RANK")
    assert find_place(9, 16) == Place(9, 16, 9)


def test_torch_distributed_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "7")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert find_place(None, None) == Place(0, 1, 1)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", ["LOCAL_RANK", "RANK", "WORLD_SIZE"])
def test_a_variable_that_is_no_number_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "-1")
    with pytest.raises(ValueError, match=f"{name}='-1' is no number"):
        init_nkipy_backend()


def test_what_is_no_list_of_cores_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "all")
    with pytest.raises(ValueError, match="VISIBLE_CORES is not a list of cores: 'all'"):
        init_nkipy_backend()


def test_a_core_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime is open, on the cores of this worker."""
    torch.ones(1, device="nkipy")
    count = torch.nkipy.device_count()
    monkeypatch.setenv(
        "NEURON_RT_VISIBLE_CORES", ",".join(map(str, range(50, 51 + count)))
    )
    with pytest.raises(RuntimeError, match="call init_nkipy_backend.. before"):
        init_nkipy_backend(core_offset=count)


CORES = """
import os, sys, torch
from spiky.torch import init_nkipy_backend, get_nkipy_backend_config
init_nkipy_backend(core_offset=int(sys.argv[1]))
x = torch.ones(2, device="nkipy")
config = get_nkipy_backend_config()
print(os.environ["NEURON_RT_VISIBLE_CORES"], torch.nkipy.device_count(), x.device,
      torch.nkipy.current_device(), config.rank, config.world_size)
"""


def run(code: str, *arguments: str, **variables: str) -> str:
    """A fresh process's output, which has the launchers' variables that are given."""
    left_out = {*VARIABLES, "NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"}
    env = {name: v for name, v in os.environ.items() if name not in left_out}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**env, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("offset", "variables", "said"),
    [
        (
            "2",
            {"LOCAL_RANK": "1", "RANK": "9", "WORLD_SIZE": "16"},
            "3 1 nkipy:0 0 1 16",
        ),
        pytest.param(
            "1",
            {"NEURON_RT_VISIBLE_CORES": "2,3"},
            "2,3 2 nkipy:1 1 0 1",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_core_is_the_local_rank_and_the_offset(
    offset: str, variables: dict[str, str], said: str, tmp_path: Path
) -> None:
    locks = tmp_path / "locks"  # cores of this test's own
    locks.mkdir(mode=0o700)
    assert run(CORES, offset, NKIPY_EMULATOR_LOCK_DIR=str(locks), **variables) == said


@pytest.mark.slow
def test_ranks_that_see_several_cores_take_one_each(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir(mode=0o700)
    variables = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "NEURON_RT_VISIBLE_CORES": "4-7"}
    said = run(CORES, "0", NKIPY_EMULATOR_LOCK_DIR=str(locks), **variables)
    assert said == "5 1 nkipy:0 0 1 2"


DISTRIBUTED = """
import os
import torch
import torch.distributed as dist
import torch.nn as nn
from spiky.torch import get_nkipy_backend_config, init_nkipy_backend

dist.init_process_group("gloo")
init_nkipy_backend()

model = nn.Linear(32, 64, bias=False)
compiled = torch.compile(model, backend="nkipy", fullgraph=True)

with torch.no_grad():
    x = torch.randn(1, 32)
    torch.testing.assert_close(compiled(x), model(x))
config = get_nkipy_backend_config()
with open(f"said-{config.rank}", "w") as file:
    print(config.world_size, os.environ["NEURON_RT_VISIBLE_CORES"], file=file)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_the_distributed_example_runs(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir(mode=0o700)
    (tmp_path / "example.py").write_text(DISTRIBUTED)
    launch = (
        "import os, sys; from torch.distributed.run import main; "
        "os.chdir(sys.argv[1]); sys.argv[1:] = sys.argv[2:]; main()"
    )
    options = ["--standalone", "--nproc-per-node=2", "example.py"]
    run(launch, str(tmp_path), *options, NKIPY_EMULATOR_LOCK_DIR=str(locks))
    said = [(tmp_path / f"said-{rank}").read_text() for rank in range(2)]
    assert said == ["2 0\n", "2 1\n"]
