"""A pytest plugin: a NeuronCore for each process that runs tests.

A project asks for it, in its outermost ``conftest.py``::

    pytest_plugins = ["nkipy.testing.pytest_plugin"]

or by ``-p nkipy.testing.pytest_plugin``. It is no entry point: pytest would load that
into every session of everybody who has nkipy installed.

* Each process sees one core, and pytest-xdist's worker ``gw3`` the fourth of the
  visible ones. ``-n auto`` starts no more workers than there are cores.
* Tests marked ``device`` fail in a process that has no core, and say so.
* A run has an emulated machine of its own, so that two runs at once share no cores,
  unless ``NKIPY_EMULATOR_LOCK_DIR`` names one. Cores of silicon are not isolated so.

It opens no runtime and imports no XLA: only a test that uses the core takes it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import pytest

from nkipy.testing.cores import core_of_worker, machine_cores, run_python, take_core

LOCKS = "NKIPY_EMULATOR_LOCK_DIR"
_cores = pytest.StashKey[list[int]]()
_locks = pytest.StashKey[str]()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """``-n auto``: a worker for each processor, if each can have a core."""
    processors = len(os.sched_getaffinity(0))
    return max(1, min(processors, len(machine_cores()) or processors))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker, which sees only the one it has, which cores there are."""
    node.workerinput["neuron_cores"] = node.config.stash[_cores]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "device: needs a NeuronCore, of silicon or emulated"
    )
    workerinput = getattr(config, "workerinput", None)
    cores: list[int] = workerinput["neuron_cores"] if workerinput else machine_cores()
    config.stash[_cores] = cores
    if workerinput or not getattr(config.option, "numprocesses", None):
        take_core(_worker(config), cores)
    if workerinput is None and LOCKS not in os.environ:  # children inherit it
        config.stash[_locks] = os.environ[LOCKS] = tempfile.mkdtemp(prefix="nkipy-")


def pytest_unconfigure(config: pytest.Config) -> None:
    directory = config.stash.get(_locks, None)
    if directory is not None:
        del os.environ[LOCKS]
        shutil.rmtree(directory, ignore_errors=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("device") is not None:
        _core(item.config)


def _worker(config: pytest.Config) -> str:
    """The name of this worker of pytest-xdist's."""
    workerinput = getattr(config, "workerinput", None)
    return workerinput["workerid"] if workerinput else "this process"


def _core(config: pytest.Config) -> int:
    cores = config.stash[_cores]
    core = core_of_worker(_worker(config), cores)
    if core is None:
        pytest.fail(
            f"{_worker(config)} has no NeuronCore of its own: there are {len(cores)}, "
            f"and each process owns its core; run at most -n {len(cores)}",
            pytrace=False,
        )
    return core


@pytest.fixture(scope="session")
def neuron_cores(pytestconfig: pytest.Config) -> list[int]:
    """The cores that this run of tests has, of which each process takes one."""
    cores = pytestconfig.stash[_cores]
    return list(cores)


@pytest.fixture
def neuron_core(pytestconfig: pytest.Config) -> int:
    """The core of this process; the test fails if there is none.

    It is this process's ``core_id`` 0, being the only one that it sees.
    """
    return _core(pytestconfig)


@pytest.fixture
def child_python(neuron_core: int) -> Callable[..., CompletedProcess[str]]:
    """:func:`nkipy.testing.run_python`: a child process that may take the core."""
    return run_python
