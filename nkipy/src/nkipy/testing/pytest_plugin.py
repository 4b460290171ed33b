"""A pytest plugin: a NeuronCore for each process that runs tests.

pytest loads it wherever nkipy is installed: it is an entry point of ``pytest11``.

* Where pytest-xdist runs tests side by side, each worker sees one core: ``gw3`` the
  fourth of those in ``NEURON_RT_VISIBLE_CORES``, or of the machine. A worker that
  stands in for one that crashed has the core of that one.
* A test in a worker that has no core fails and says how many workers have one.
* A run has an emulated machine of its own, so that two runs at once share no cores,
  unless ``NKIPY_EMULATOR_LOCK_DIR`` names one. Cores of silicon are not isolated so.
* Without pytest-xdist, a test sees the cores that pytest was given.
* ``@pytest.mark.ranks(4)`` runs a test in four processes, each a rank with a core of
  its own, as torchrun would start them; ``timeout=`` is in seconds.

It opens no runtime, and imports neither NumPy nor spike: only a test that uses the core
takes it.
"""

from __future__ import annotations

import operator
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from nkipy.testing.cores import (
    LOCKS,
    VISIBLE_CORES,
    core_of_worker,
    machine_cores,
    parse_cores,
    run_python,
    take_core,
)

#: For ``-n auto``: whether each worker needs a core.
AUTO_WORKERS = "neuron_auto_workers"
_INPUT = "neuron_slot"  # what a worker is told
#: In a process that is a rank of a test: a file for what the other
#: process has to know: why the test is skipped, and that it has come to its end.
_RANK_FILE = "NKIPY_TESTING_RANK_FILE"
#: What stands there before the number of a rank whose test has come to its end.
_ENDED = "ended: rank "
_RANK_SECONDS = 120.0
_MOST_OUTPUT = 20_000  # characters

_environment = pytest.StashKey[dict[str, str]]()  # as it was before a core was taken
_cores = pytest.StashKey[list[int]]()
_slots = pytest.StashKey[dict[str, int]]()  # the place of each worker that runs
_locks = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        AUTO_WORKERS,
        "-n auto starts no more workers than there are NeuronCores",
        type="bool",
        default=False,
    )


@pytest.hookimpl(optionalhook=True, tryfirst=True)  # xdist's own has an answer, too
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """``-n auto``: a worker for each processor, if each can have a core."""
    if not config.getini(AUTO_WORKERS):
        return None  # as without this plugin
    processors = len(os.sched_getaffinity(0))
    return max(1, min(processors, len(machine_cores()) or processors))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Gives a worker that is about to start the first place that is free."""
    slots = node.config.stash.setdefault(_slots, {})
    slot = next(slot for slot in count() if slot not in slots.values())
    slots[node.gateway.id] = node.workerinput[_INPUT] = slot


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_slots].pop(node.gateway.id, None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "device: needs a NeuronCore, of silicon or emulated"
    )
    config.addinivalue_line(
        "markers",
        "ranks(n, timeout=120): runs in n processes, each a rank with a NeuronCore",
    )
    config.stash[_environment] = dict(os.environ)
    if hasattr(config, "workerinput"):
        _take_core(config)
    elif LOCKS not in os.environ:  # workers inherit it
        config.stash[_locks] = os.environ[LOCKS] = tempfile.mkdtemp(prefix="nkipy-")


def pytest_unconfigure(config: pytest.Config) -> None:
    directory = config.stash.get(_locks, None)
    if directory is not None:
        del os.environ[LOCKS]
        shutil.rmtree(directory, ignore_errors=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("device") is not None:
        _core(item.config)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:
    """Says of a test that could not open the runtime which cores there are for it."""
    outcome: Any = yield
    if _RANK_FILE in os.environ:
        _tell(_skipped(outcome.get_result()))
        if call.when == "teardown":
            _tell(f"{_ENDED}{os.environ.get('RANK')}\n")
    if call.excinfo is not None and _says_failed_start(call.excinfo.value):
        report = outcome.get_result()
        report.sections.append(("NeuronCores", _explain(item.config)))


# -- tests of several ranks ------------------------------------------------------------
def _tell(line: str) -> None:
    """Writes a line for the process that has started this one as a rank."""
    with open(os.environ[_RANK_FILE], "a") as file:
        file.write(line)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Has other processes run a test that is marked ``ranks``, as its ranks."""
    mark = pyfuncitem.get_closest_marker("ranks")
    if mark is None or _RANK_FILE in os.environ:
        return None
    ranks, seconds = _marked(mark)
    cores = _all_cores(pyfuncitem.config)
    if len(cores) < ranks:
        pytest.fail(
            f"{ranks} ranks need as many NeuronCores: {_explain(pyfuncitem.config)}",
            pytrace=False,
        )
    _run_as_ranks(pyfuncitem, ranks, seconds, cores)
    return True


def _marked(mark: pytest.Mark) -> tuple[int, float]:
    """How many ranks a test is marked with, and the seconds that they may take."""
    try:
        ranks, seconds = _arguments(*mark.args, **mark.kwargs)
        if ranks >= 1 and seconds > 0 and ranks == operator.index(ranks):
            return ranks, seconds
    except TypeError:
        pass  # other arguments, or no numbers
    received = [repr(value) for value in mark.args]
    received += [f"{name}={value!r}" for name, value in mark.kwargs.items()]
    pytest.fail(
        f"pytest.mark.ranks({', '.join(received)}): expected how many ranks, and "
        "after how many seconds they are killed, as in ranks(4, timeout=60)",
        pytrace=False,
    )


def _arguments(n: int, timeout: float = _RANK_SECONDS) -> tuple[int, float]:
    return n, timeout


def _run_as_ranks(
    item: pytest.Function, ranks: int, seconds: float, cores: list[int]
) -> None:
    """Fails, or skips, as the ranks did."""
    from nkipy.testing.ranks import failures, run_ranks

    with tempfile.TemporaryDirectory(prefix="nkipy-skips-") as directory:
        file = Path(directory) / "told"
        results = run_ranks(
            _command(item),
            ranks,
            timeout=seconds,
            cores=cores,
            env={_RANK_FILE: str(file)},
            cwd=item.config.invocation_params.dir,
        )
        told = file.read_text().splitlines() if file.exists() else []
    # A process that ends itself in the middle of a test may say that all is well.
    early = [r for r in results if r.status == 0 and f"{_ENDED}{r.rank}" not in told]
    if failed := [*failures(results), *early]:
        lines = [f"of {ranks} ranks, in {seconds:g} s at most:", *map(str, results)]
        lines += [f"rank {r.rank} has not come to the end of the test" for r in early]
        for rank in failed:
            lines += [f"\n{rank}:", rank.output[-_MOST_OUTPUT:]]
        pytest.fail("\n".join(lines), pytrace=False)
    if skipped := [line for line in told if not line.startswith(_ENDED)]:
        pytest.skip(skipped[0])


def _command(item: pytest.Function) -> list[str]:
    """What runs the one test, with the configuration of this run."""
    config = item.config
    _, _, name = item.nodeid.partition("::")
    command = [sys.executable, "-m", "pytest", f"{item.path}::{name}", "-q", "-m", ""]
    # What is not captured is there, too, if the process does not come to its end.
    command.append("--capture=no")
    command += ["--rootdir", str(config.rootpath), "--runxfail", "--color=no"]
    if config.inipath is not None:
        command += ["-c", str(config.inipath)]
    for option, values in (
        ("-p", [*config.getoption("plugins"), "no:cacheprovider"]),
        ("-o", config.getoption("override_ini") or ()),
    ):
        command += [word for value in values for word in (option, value)]
    return [*command, "-n0"] if config.pluginmanager.hasplugin("xdist") else command


def _skipped(report: pytest.TestReport) -> str:
    """Why, if so."""
    if not report.skipped:
        return ""
    reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else ""
    return f"{reason}".removeprefix("Skipped: ") + "\n"


# -- cores -----------------------------------------------------------------------------
def _says_failed_start(error: BaseException) -> bool:
    """Whether it is spike's error of a runtime that does not open."""
    return type(error).__name__ == "NrtError" and "initialize" in str(error)


def _take_core(config: pytest.Config) -> None:
    named = os.environ.get(VISIBLE_CORES)
    try:
        cores = parse_cores(named) if named else None
    except ValueError:
        return  # libnrt says what is wrong, if a test opens it
    take_core(_place(config), cores)


def _worker(config: pytest.Config) -> str:
    """The name of this worker of pytest-xdist's."""
    workerinput = getattr(config, "workerinput", None)
    return workerinput["workerid"] if workerinput else "this process"


def _place(config: pytest.Config) -> str:
    """The name of the worker in whose place this process runs tests."""
    workerinput = getattr(config, "workerinput", {})
    return f"gw{workerinput[_INPUT]}" if _INPUT in workerinput else _worker(config)


def _all_cores(config: pytest.Config) -> list[int]:
    """The cores of the run. In a worker, which sees one of them, a child tells."""
    if _cores not in config.stash:
        worker = hasattr(config, "workerinput")
        environment = config.stash[_environment] if worker else os.environ
        try:
            config.stash[_cores] = machine_cores(environment)
        except ValueError:  # the variable is malformed
            config.stash[_cores] = []
    return config.stash[_cores]


def _core(config: pytest.Config) -> int:
    core = core_of_worker(_place(config), _all_cores(config))
    if core is None:
        pytest.fail(_explain(config), pytrace=False)
    return core


def _explain(config: pytest.Config) -> str:
    """Which core this process has, or why none, and what to set."""
    cores = _all_cores(config)
    core = core_of_worker(_place(config), cores)
    text = f"{VISIBLE_CORES}, set before pytest starts, names the cores of the run"
    if not cores:
        if named := config.stash[_environment].get(VISIBLE_CORES):
            return f"{VISIBLE_CORES}={named} names no cores, such as 3 or 0-3"
        return "there are no NeuronCores: `python -m spike` says which libnrt is used"
    if core is None:
        return (
            f"{_worker(config)} has no NeuronCore of its own: there are {len(cores)}, "
            f"and each process owns its core; run at most -n {len(cores)}, or give the "
            f"run more: {text}; NKIPY_EMULATOR_INSTANCE emulates a larger machine"
        )
    if hasattr(config, "workerinput"):
        return f"{_worker(config)} is to have NeuronCore {core} of {cores}; {text}"
    return f"this process is to have NeuronCores {cores}; {text}"


@pytest.fixture(scope="session")
def neuron_cores(pytestconfig: pytest.Config) -> list[int]:
    """The cores that this run of tests has, of which each worker takes one."""
    return list(_all_cores(pytestconfig))


@pytest.fixture
def neuron_core(pytestconfig: pytest.Config) -> int:
    """The core of this process; the test fails if there is none.

    It is this process's ``core_id`` 0, and the only one that a worker sees.
    """
    return _core(pytestconfig)


@pytest.fixture
def child_python(neuron_core: int) -> Callable[..., CompletedProcess[str]]:
    """:func:`nkipy.testing.run_python`: a child process that may take the core."""
    return run_python
