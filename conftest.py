"""Settings that every test shares.

Hypothesis runs the same few examples each time by default, so that a run says
something about the change and not about luck. ``HYPOTHESIS_PROFILE=ci`` looks further,
still repeatably; ``explore`` looks at random.

Each process that runs tests owns one NeuronCore, as on hardware, where a core belongs
to one process: worker ``gw3`` the fourth of the visible ones. Each run of tests has an
emulated machine of its own, and a directory for compiled kernels.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib import import_module
from typing import Any

import pytest
from hypothesis import settings

from tests.support import device
from tools import workspace

# Before any test is collected: pytest names spike/tests/test_x.py "spike.tests.test_x",
# and would make an empty module "spike" for it if the package were not there yet.
for member in workspace.members():
    if member.folder in member.packages:
        import_module(member.folder)

# No deadline: a first call compiles, later ones do not.
settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=25, database=None
)
settings.register_profile("ci", settings.get_profile("default"), max_examples=100)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "this process")
_run_dir = pytest.StashKey[str]()
_cores = pytest.StashKey[list[int]]()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """``-n auto``: a worker for each processor, if each can have a core."""
    processors = len(os.sched_getaffinity(0))
    return max(1, min(processors, len(device.machine_cores()) or processors))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker, which sees only the one it has, which cores there are."""
    node.workerinput["neuron_cores"] = node.config.stash[_cores]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "device: needs a NeuronCore, of silicon or emulated"
    )
    workerinput = getattr(config, "workerinput", None)
    cores = workerinput["neuron_cores"] if workerinput else device.machine_cores()
    config.stash[_cores] = cores
    if workerinput or not getattr(config.option, "numprocesses", None):
        _take_core(cores)
    if workerinput is None:
        _use_own_directories(config)


def _use_own_directories(config: pytest.Config) -> None:
    """Child processes inherit them, workers among these."""
    directory = config.stash[_run_dir] = tempfile.mkdtemp(prefix="nkipy-tests-")
    for variable in (
        "NKIPY_CACHE_DIR",
        "NKIPY_EMULATOR_CODE_CACHE",
        "NKIPY_EMULATOR_LOCK_DIR",
    ):
        os.environ.setdefault(variable, os.path.join(directory, variable.lower()))


def _take_core(cores: list[int]) -> None:
    """Before anything initialises the runtime, which reads the variables once."""
    core = device.core_of_worker(WORKER, cores)
    os.environ.pop(device.NUM_CORES, None)
    if core is None:  # one that there is not: never another process's
        core = max(cores, default=-1) + 1
    os.environ[device.VISIBLE_CORES] = str(core)


def pytest_unconfigure(config: pytest.Config) -> None:
    directory = config.stash.get(_run_dir, None)
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    cores = item.config.stash[_cores]
    core = device.core_of_worker(WORKER, cores)
    device.fail_without_core(item, core, WORKER, len(cores))
