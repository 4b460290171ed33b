"""Each process that runs tests has a NeuronCore of its own."""

from __future__ import annotations

import os

import pytest

from tests.support import device
from tests.support.device import core_of_worker, machine_cores, parse_cores

pytest_plugins = ["pytester"]


def test_ranges_of_cores_are_read():
    assert parse_cores("3") == [3]
    assert parse_cores("0-3,8,10-11") == [0, 1, 2, 3, 8, 10, 11]


def test_the_environment_names_the_cores():
    assert machine_cores({"NEURON_RT_VISIBLE_CORES": "4-6"}) == [4, 5, 6]


def test_workers_share_the_cores_out():
    cores = [4, 5, 6]
    assert [core_of_worker(f"gw{i}", cores) for i in range(4)] == [4, 5, 6, None]
    assert core_of_worker("this process", cores) == 4
    assert core_of_worker("gw0", []) is None


def test_this_process_has_one_core():
    assert len(parse_cores(os.environ[device.VISIBLE_CORES])) == 1
    assert device.NUM_CORES not in os.environ


TESTS = """
import os
import pytest

@pytest.mark.device
@pytest.mark.parametrize("i", range(6))
def test_core(i):
    print("core", os.environ["NEURON_RT_VISIBLE_CORES"])

def test_without_a_device():
    pass
"""


@pytest.fixture
def run_tests(pytester, monkeypatch, request):
    """Runs the tests above with our conftest, in processes of their own."""

    def run(cores: str, *arguments: str) -> str:
        conftest = request.config.rootpath / "conftest.py"
        pytester.makeconftest(conftest.read_text())
        pytester.makepyfile(test_it=TESTS)
        monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
        monkeypatch.setenv(device.VISIBLE_CORES, cores)
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
            monkeypatch.delenv(name, raising=False)
        result = pytester.runpytest_subprocess("-rA", *arguments)
        return result.stdout.str()

    return run


def test_a_single_process_takes_the_first_core(run_tests):
    text = run_tests("5-6")
    assert "7 passed" in text
    assert text.count("core 5") == 6


def test_workers_take_a_core_each(run_tests):
    text = run_tests("5-6", "-n", "2", "--dist", "each")
    assert "14 passed" in text
    assert text.count("core 5") == 6 and text.count("core 6") == 6


def test_a_worker_without_a_core_says_so(run_tests):
    text = run_tests("5", "-n", "2", "--dist", "each")
    assert "8 passed, 6 errors" in text
    assert "gw1 has no NeuronCore of its own: there are 1" in text
    assert "run at most -n 1" in text


def test_auto_starts_no_worker_without_a_core(run_tests):
    text = run_tests("5", "-n", "auto")
    assert "7 passed" in text and "1 worker" in text
