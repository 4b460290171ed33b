"""Many threads over several cores: random work, and ranks that execute together."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nkipy.hlo.ir import HLOComputation
from tests.support import libnrt, nrt_client
from tests.support.libnrt import TIMEOUT
from tests.support.nrt_client import NOT_ENOUGH_NC, Nrt, NrtFailure, make_neff

THREADS, CORES = 8, 4
X = np.arange(8, dtype=np.float32)


@pytest.fixture
def nrt(tmp_path):
    with nrt_client.session(tmp_path, cores=CORES) as nrt:
        yield nrt


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run ``work(0)``, ``work(1)``, … at once; the first exception is raised."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Worker:
    """One thread's random choices among load, unload, allocate, free and execute."""

    def __init__(self, nrt: Nrt, neffs: list[tuple[bytes, int]], seed: int) -> None:
        self.nrt, self.neffs, self.random = nrt, neffs, random.Random(seed)
        self.models: list[tuple] = []  # handle, core, size
        self.executions = 0

    def step(self) -> None:
        choice = self.random.random()
        if not self.models or choice < 0.05 and len(self.models) < 6:
            neff, size = self.random.choice(self.neffs)
            core = self.random.randrange(CORES)
            self.models.append((self.nrt.load(neff, core), core, size))
        elif choice < 0.1:
            model = self.models.pop(self.random.randrange(len(self.models)))
            self.nrt.unload(model[0])
        else:
            self.execute(*self.random.choice(self.models))

    def execute(self, model, core: int, size: int) -> None:
        nrt, scale = self.nrt, float(self.random.randrange(100))
        values = np.full(size, scale, np.float32)
        x = nrt.tensor(values, core)
        out = x if self.random.random() < 0.5 else nrt.empty(values.nbytes, core)
        inputs, outputs = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
        times = 1
        if self.random.random() < 0.3:
            nrt.schedule(model, inputs, outputs)
        else:
            times = self.random.choice([1, 1, 3])
            nrt.execute(model, inputs, outputs, repeat=times)
        result = nrt.read(out, values.shape, values.dtype)
        np.testing.assert_array_equal(result, values + times)
        for tensor in {x.value: x, out.value: out}.values():
            nrt.free(tensor)
        nrt.destroy(inputs, outputs)
        self.executions += 1


def random_work(nrt: Nrt, seconds: float) -> int:
    """How many executions, all correct, were made."""
    neffs = [
        (make_neff(lambda b, x: b.add(x, b.full_like(x, 1)), np.zeros(n, "f4")), n)
        for n in (1, 1000, 1 << 17)
    ]
    nrt.unload(nrt.load(neffs[0][0]))  # starts the engine
    workers = [Worker(nrt, neffs, seed) for seed in range(THREADS)]
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        worker = workers[number]
        while time.monotonic() < end or worker.executions < 2:
            worker.step()

    in_threads(THREADS, work)
    return sum(w.executions for w in workers)


def test_random_work_on_all_cores(nrt):
    assert random_work(nrt, 1.5) > THREADS


@pytest.mark.slow
def test_random_work_on_all_cores_for_a_minute(nrt):
    seconds = float(os.environ.get("NKIPY_TEST_SECONDS", 60))
    assert random_work(nrt, seconds) > 16 * seconds


def test_random_work_in_a_child(tmp_path):
    variables = {"NKIPY_EMULATOR_ENGINE": "child"}
    with nrt_client.session(tmp_path, cores=CORES, **variables) as nrt:
        assert random_work(nrt, 1.5) > THREADS


def test_one_model_is_executed_from_many_threads(nrt):
    model = nrt.load(make_neff(lambda b, x: b.add(x, x), X))

    def work(number: int) -> None:
        x, out = nrt.tensor(X + number), nrt.empty(X.nbytes)
        inputs, outputs = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
        for _ in range(100):
            nrt.execute(model, inputs, outputs)
            result = nrt.read(out, X.shape, X.dtype)
            np.testing.assert_array_equal(result, 2 * (X + number))

    in_threads(THREADS, work)


@pytest.mark.slow
def test_stress_without_python_in_the_process(tmp_path):
    """``NKIPY_TEST_SANITIZE`` names the sanitizer of ``NKIPY_TEST_LIBNRT``, if any."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    library, program = libnrt.library_path(), tmp_path / "stress"
    sanitizer = os.environ.get("NKIPY_TEST_SANITIZE")
    flags = [f"-fsanitize={sanitizer}"] if sanitizer else []
    subprocess.run(
        [
            *(compiler, "-std=c++17", "-O1", "-g", "-Wall", "-Wextra", *flags),
            *(str(Path(__file__).with_name("stress.cpp")), "-o", str(program)),
            *("-I", str(libnrt.include_dir()), f"-Wl,-rpath,{library.parent}"),
            *("-L", str(library.parent), f"-l:{library.name}", "-lpthread"),
        ],
        check=True,
    )
    neff = tmp_path / "program.neff"
    neff.write_bytes(make_neff(lambda b, x: b.add(x, b.full_like(x, 1)), X))
    variables = libnrt.environment(
        NKIPY_EMULATOR_LOCK_DIR=str(tmp_path),
        NKIPY_EMULATOR_PYTHON=sys.executable,
        NEURON_RT_VISIBLE_CORES=f"0-{CORES - 1}",
    )
    seconds = os.environ.get("NKIPY_TEST_SECONDS", "60")
    done = subprocess.run(
        [str(program), str(neff), str(THREADS), seconds],
        env=variables,
        capture_output=True,
        text=True,
        timeout=float(seconds) + 120,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING: ThreadSanitizer" not in done.stderr


# --------------------------------------------------------------------------- ranks


def sum_of(dtype: np.dtype) -> HLOComputation:
    from nkipy.hlo.builder import HLOBuilder

    computation = HLOComputation("sum")
    x, y = (computation.add_parameter((), dtype) for _ in range(2))
    computation.root = HLOBuilder(computation).add(x, y)
    return computation


def all_reduce(ranks: int) -> bytes:
    """Sums x0 over the ranks, and adds the number of the rank."""

    def body(b, x):
        attributes = {
            "replica_groups": (tuple(range(ranks)),),
            "to_apply": sum_of(x.dtype),
        }
        total = b.emit("all-reduce", (x,), x.shape, x.dtype, attributes)
        rank = b.emit("replica-id", (), (), np.dtype(np.uint32))
        return b.add(total, b.broadcast_to(b.convert(rank, x.dtype), x.shape))

    return make_neff(body, X)


class Rank:
    """One rank of a collective program: a model on the core of that number."""

    def __init__(self, nrt: Nrt, neff: bytes, rank: int, ranks: int, core=None) -> None:
        core = rank if core is None else core
        self.nrt, self.rank = nrt, rank
        self.model = nrt.load(neff, core, rank, ranks)
        self.x, self.out = nrt.tensor(X + rank, core), nrt.empty(X.nbytes, core)
        self.inputs = nrt.tensor_set({"x0": self.x})
        self.outputs = nrt.tensor_set({"output0": self.out})

    def execute(self) -> np.ndarray:
        self.nrt.execute(self.model, self.inputs, self.outputs)
        return self.nrt.read(self.out, X.shape, X.dtype)


@pytest.mark.parametrize("engine", ["inprocess", "child"])
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_that_are_threads_execute_together(tmp_path, ranks, engine):
    neff = all_reduce(ranks)
    expected = X * ranks + sum(range(ranks))
    variables = {"NKIPY_EMULATOR_ENGINE": engine}
    with nrt_client.session(tmp_path, cores=CORES, **variables) as nrt:

        def work(number: int) -> None:
            rank = Rank(nrt, neff, number, ranks)
            for _ in range(10):
                np.testing.assert_array_equal(rank.execute(), expected + number)

        in_threads(ranks, work)


def test_ranks_may_be_loaded_by_one_thread_and_results_go_into_inputs(nrt):
    neff = all_reduce(2)
    ranks = [Rank(nrt, neff, n, 2) for n in (1, 0)]
    for rank in ranks:
        rank.outputs = nrt.tensor_set({"output0": rank.x})
    in_threads(2, lambda n: _run(ranks[n]))
    for rank in ranks:
        result = nrt.read(rank.x, X.shape, X.dtype)
        np.testing.assert_array_equal(result, 2 * X + 1 + rank.rank)


def _run(rank: Rank) -> None:
    rank.nrt.execute(rank.model, rank.inputs, rank.outputs)


def test_ranks_may_be_executed_asynchronously(nrt):
    ranks = [Rank(nrt, all_reduce(2), n, 2) for n in range(2)]
    for rank in ranks:
        for _ in range(5):
            nrt.schedule(rank.model, rank.inputs, rank.outputs)
    nrt.call("async_drain_queued_execs", -1)
    for rank in ranks:
        result = nrt.read(rank.out, X.shape, X.dtype)
        np.testing.assert_array_equal(result, 2 * X + 1 + rank.rank)


def test_two_groups_of_one_program_stay_apart(nrt):
    neff = all_reduce(2)
    first = [Rank(nrt, neff, n, 2, core=n) for n in range(2)]
    second = [Rank(nrt, neff, n, 2, core=2 + n) for n in range(2)]
    for rank in second:
        nrt.write(rank.x, X * 100)

    def work(number: int) -> None:
        for _ in range(20):
            rank = (first + second)[number]
            expected = 2 * X + 1 if rank in first else 200 * X
            np.testing.assert_array_equal(rank.execute(), expected + rank.rank)

    in_threads(4, work)


def test_a_rank_that_stays_alone_times_out_and_can_execute_later(tmp_path, capfd):
    variables = {"NEURON_RT_EXEC_TIMEOUT": "1"}
    with nrt_client.session(tmp_path, cores=2, **variables) as nrt:
        ranks = [Rank(nrt, all_reduce(2), n, 2) for n in range(2)]
        with pytest.raises(NrtFailure) as failure:
            ranks[0].execute()
        assert failure.value.status == TIMEOUT
        assert "rank 0 waited for 1 of 2 ranks" in capfd.readouterr().err
        in_threads(2, lambda n: _run(ranks[n]))
        result = nrt.read(ranks[1].out, X.shape, X.dtype)
        np.testing.assert_array_equal(result, 2 * X + 2)


def test_closing_ends_a_rank_that_waits(tmp_path):
    with nrt_client.session(tmp_path, cores=2) as nrt:
        rank = Rank(nrt, all_reduce(2), 0, 2)
        failures = []

        def wait() -> None:
            try:
                _run(rank)
            except NrtFailure as e:
                failures.append(e.status)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        nrt.close()
        thread.join(10)
        assert failures == [1200]


def test_one_rank_of_one_is_an_ordinary_model(nrt):
    rank = Rank(nrt, all_reduce(1), 0, 1)
    np.testing.assert_array_equal(rank.execute(), X)


def test_collectives_over_more_ranks_than_cores_are_refused(nrt, capfd):
    with pytest.raises(NrtFailure) as failure:
        nrt.load(all_reduce(CORES + 1), 0, 1, CORES + 1)
    assert failure.value.status == NOT_ENOUGH_NC
    assert "set NEURON_RT_ROOT_COMM_ID to host:port" in capfd.readouterr().err


@pytest.mark.parametrize("ranks", [2, 64, 128])
def test_ranks_that_exchange_nothing_run_alone(nrt, ranks):
    """Wherever the others are; each knows its number."""

    def body(b, x):
        rank = b.emit("replica-id", (), (), np.dtype(np.uint32))
        return b.add(x, b.broadcast_to(b.convert(rank, x.dtype), x.shape))

    neff = make_neff(body, X)
    for number in (0, ranks - 1):
        rank = Rank(nrt, neff, number, ranks, core=1)
        # Its input is X + number.
        np.testing.assert_array_equal(rank.execute(), X + 2 * number)
