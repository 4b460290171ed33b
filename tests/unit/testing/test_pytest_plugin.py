"""Each process that runs tests has a NeuronCore of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nkipy.testing.cores import (
    NUM_CORES,
    VISIBLE_CORES,
    core_of_worker,
    machine_cores,
    parse_cores,
)

pytest_plugins = ["pytester"]

LOCKS = "NKIPY_EMULATOR_LOCK_DIR"


def test_ranges_of_cores_are_read():
    assert parse_cores("3") == [3]
    assert parse_cores("0-3,8,10-11") == [0, 1, 2, 3, 8, 10, 11]


def test_the_environment_names_the_cores():
    assert machine_cores({"NEURON_RT_VISIBLE_CORES": "4-6"}) == [4, 5, 6]


def test_another_environment_is_asked_for_in_a_child():
    environment = {**os.environ, "NKIPY_EMULATOR_INSTANCE": "trn1.2xlarge"}
    environment.pop(VISIBLE_CORES, None)
    assert machine_cores(environment) == [0, 1]


def test_workers_share_the_cores_out():
    cores = [4, 5, 6]
    assert [core_of_worker(f"gw{i}", cores) for i in range(4)] == [4, 5, 6, None]
    assert core_of_worker("this process", cores) == 4
    assert core_of_worker("gw0", []) is None
    assert core_of_worker("gw9", None) == 9


def test_this_worker_has_one_core():
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert len(parse_cores(os.environ[VISIBLE_CORES])) == 1
        assert NUM_CORES not in os.environ


def test_what_pytest_loads_at_its_start_is_small():
    """Into sessions of projects that have nothing to do with kernels."""
    code = "import sys, nkipy.testing.pytest_plugin; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert not roots & {"numpy", "ml_dtypes", "google", "spike", "jaxlib"}
    layers = {name.split(".")[1] for name in done.stdout.split() if "nkipy." in name}
    light = {"_release", "installed", "lazy", "testing"}
    assert layers <= light and "nkipy.testing.kernels" not in done.stdout.split()


#: The tests of a project of somebody else's, which has no conftest.py.
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
    """Runs tests with the plugin, in processes of their own: what pytest says."""

    def run(cores: str | None, *arguments: str, tests: str = TESTS) -> str:
        pytester.makepyfile(test_it=tests)
        monkeypatch.delenv(VISIBLE_CORES, raising=False)
        if cores is not None:
            monkeypatch.setenv(VISIBLE_CORES, cores)
        for name in (
            "PYTEST_XDIST_WORKER",
            "PYTEST_ADDOPTS",
            "NKIPY_EMULATOR_LOCK_DIR",
        ):
            monkeypatch.delenv(name, raising=False)
        result = pytester.runpytest_subprocess("-rA", *arguments)
        return result.stdout.str()

    return run


@pytest.mark.parametrize("arguments", [(), ("-p", "no:xdist")])
def test_a_single_process_sees_the_cores_that_it_was_given(run_tests, arguments):
    text = run_tests("5-6", *arguments)
    assert "7 passed" in text
    assert text.count("core 5-6") == 6


def test_workers_take_a_core_each(run_tests):
    text = run_tests("5-6", "-n", "2", "--dist", "each")
    assert "14 passed" in text
    assert text.count("core 5") == 6 and text.count("core 6") == 6


def test_workers_share_the_machine_where_no_core_is_named(run_tests):
    text = run_tests(None, "-n", "2", "--dist", "each")
    assert "14 passed" in text
    assert text.count("core 0") == 6 and text.count("core 1") == 6


def test_a_worker_without_a_core_says_so(run_tests):
    text = run_tests("5", "-n", "2", "--dist", "each")
    assert "8 passed, 6 errors" in text
    assert "gw1 has no NeuronCore of its own: there are 1" in text
    assert "run at most -n 1" in text


def test_a_runtime_that_does_not_open_says_what_to_set(run_tests):
    """In a test that nothing marks."""
    tests = """
    def test_open():
        import spike
        spike.get_spike_singleton()
    """
    text = run_tests("5", "-n", "2", "--dist", "each", tests=tests)
    assert "1 failed, 1 passed" in text
    assert "run at most -n 1" in text and f"{VISIBLE_CORES}, set before" in text


def test_a_worker_in_place_of_a_crashed_one_has_its_core(run_tests):
    tests = """
    import os, pytest

    @pytest.mark.parametrize("i", range(3))
    def test_core(i, neuron_core):
        print("core", neuron_core, os.environ["PYTEST_XDIST_WORKER"])
        if i == 0:
            os._exit(1)
    """
    text = run_tests("5", "-n", "1", tests=tests)
    assert "1 failed, 2 passed" in text
    assert text.count("core 5 gw1") == 2


@pytest.mark.slow
def test_a_malformed_name_of_cores_is_libnrts_to_refuse(run_tests):
    text = run_tests("five", "-n", "1")
    assert "1 passed, 6 errors" in text
    assert f"{VISIBLE_CORES}=five names no cores" in text


def test_auto_starts_no_worker_without_a_core_if_asked_to(run_tests, pytester):
    """And that a project names the plugin itself is no mistake."""
    pytester.makeconftest('pytest_plugins = ["nkipy.testing.pytest_plugin"]')
    pytester.makeini("[pytest]\nneuron_auto_workers = true")
    text = run_tests("5", "-n", "auto", "-p", "nkipy.testing.pytest_plugin")
    assert "7 passed" in text and "1 worker" in text


def test_the_fixtures_say_which_cores_there_are(run_tests):
    tests = """
    import os, sys

    def test_fixtures(neuron_core, neuron_cores, child_python):
        assert neuron_core == 5 and neuron_cores == [5, 6]
        code = "import os; print(os.environ['NEURON_RT_VISIBLE_CORES'])"
        assert child_python("-c", code).stdout == "5\\n"

    def test_nobody_has_taken_a_core_or_imported_xla():
        assert not {"jaxlib", "numpy", "spike"} & sys.modules.keys()
        assert not os.listdir(os.environ["NKIPY_EMULATOR_LOCK_DIR"])
    """
    assert "2 passed" in run_tests("5-6", "-n", "1", tests=tests)


@pytest.mark.slow
def test_device_kernels_run_in_more_workers_than_one(run_tests):
    tests = """
    import numpy as np, pytest
    from nkipy.runtime import baremetal_jit

    @pytest.mark.parametrize("n", range(8))
    def test_kernel(n):
        x = np.arange(6, dtype=np.float32)
        np.testing.assert_array_equal(baremetal_jit(lambda x: x * 2 + n)(x), x * 2 + n)
    """
    assert "8 passed" in run_tests(None, "-n", "4", tests=tests)


RANKED = """
import os, signal, time
import pytest

rank = os.environ.get("RANK")

@pytest.mark.ranks(2)
def test_met(tmp_path):
    assert os.environ["WORLD_SIZE"] == "2"
    assert os.environ["NEURON_RT_VISIBLE_CORES"] == str(5 + int(rank))
    from nkipy.distributed import barrier
    barrier()

@pytest.mark.ranks(2, timeout=30)
def test_fails():
    print("said by", rank)
    assert rank != "1", "of rank one"

@pytest.mark.ranks(2)
def test_dies():
    if rank == "1":
        os.write(1, b"last words")
        os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.ranks(2)
def test_quits():
    if rank == "1":
        os.write(1, b"last words")
        os._exit(0)

@pytest.mark.ranks(2, timeout=4)
def test_hangs():
    if rank == "0":
        time.sleep(600)

@pytest.mark.ranks(2)
def test_skips():
    pytest.skip("no reason")

@pytest.mark.ranks(3)
def test_of_too_many():
    pass
"""


def test_a_rank_that_dies_is_named_with_what_it_has_said(run_tests):
    text = run_tests("5-6", "-k", "test_dies", tests=RANKED)
    assert "1 failed" in text and "rank 1 was killed by SIGKILL" in text
    assert "last words" in text and "rank 0 ended with status 0" in text


def test_a_rank_that_quits_before_the_end_has_not_passed(run_tests):
    text = run_tests("5-6", "-k", "quits", tests=RANKED)
    assert "1 failed" in text and "last words" in text
    assert "rank 1 has not come to the end of the test" in text
    assert "rank 0 has not" not in text


@pytest.mark.slow
def test_a_mark_that_cannot_be_is_named_and_starts_nothing(run_tests):
    marks = ("", "0", "'2'", "2.5", "2, timeout=-1", "2, timeout='x'", "2, time=3")
    tests = "import pytest\n" + "".join(
        f"@pytest.mark.ranks({mark})\ndef test_{i}():\n    pass\n"
        for i, mark in enumerate(marks)
    )
    text = run_tests("5-6", tests=tests)
    assert f"{len(marks)} failed" in text
    for mark in marks:
        assert f"pytest.mark.ranks({mark}): expected how many ranks" in text


@pytest.mark.slow
def test_ranks_of_a_test_are_processes(run_tests):
    text = run_tests("5-6", "-k", "not dies and not quits", tests=RANKED)
    assert "3 failed, 1 passed, 1 skipped" in text
    assert "rank 1 ended with status 1" in text and "of rank one" in text
    assert "said by 1" in text and "said by 0" not in text
    assert "rank 0 was still running, and was killed" in text
    assert "SKIPPED [1]" in text and "no reason" in text
    assert "3 ranks need as many NeuronCores" in text
