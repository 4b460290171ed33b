"""Each process that runs tests has a NeuronCore of its own."""

from __future__ import annotations

import os

import pytest

from nkipy.testing.cores import (
    NUM_CORES,
    VISIBLE_CORES,
    core_of_worker,
    machine_cores,
    parse_cores,
)

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
    assert len(parse_cores(os.environ[VISIBLE_CORES])) == 1
    assert NUM_CORES not in os.environ


#: All that a project of somebody else's says.
CONFTEST = 'pytest_plugins = ["nkipy.testing.pytest_plugin"]'
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
def run_tests(pytester, monkeypatch):
    """Runs the tests above with the plugin, in processes of their own."""

    def run(cores: str, *arguments: str) -> str:
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(test_it=TESTS)
        monkeypatch.setenv(VISIBLE_CORES, cores)
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


def test_the_fixtures_say_which_cores_there_are(pytester, monkeypatch):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        test_it="""
        import os, sys

        def test_fixtures(neuron_core, neuron_cores, child_python):
            assert neuron_core == 5 and neuron_cores == [5, 6]
            code = "import os; print(os.environ['NEURON_RT_VISIBLE_CORES'])"
            assert child_python("-c", code).stdout == "5\\n"

        def test_nobody_has_taken_a_core_or_imported_xla():
            assert "jaxlib" not in sys.modules
            assert not os.listdir(os.environ["NKIPY_EMULATOR_LOCK_DIR"])
        """
    )
    monkeypatch.setenv(VISIBLE_CORES, "5-6")
    monkeypatch.delenv("NKIPY_EMULATOR_LOCK_DIR", raising=False)
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    result = pytester.runpytest_subprocess()
    assert "2 passed" in result.stdout.str()


def test_a_project_that_does_not_ask_gets_nothing(pytester, monkeypatch):
    pytester.makepyfile(
        test_it="""
        import os, sys

        def test_nothing():
            assert os.environ["NEURON_RT_VISIBLE_CORES"] == "5-6"
            assert not [m for m in sys.modules if m.split(".")[0] == "nkipy"]
        """
    )
    monkeypatch.setenv(VISIBLE_CORES, "5-6")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    assert "1 passed" in pytester.runpytest_subprocess().stdout.str()
