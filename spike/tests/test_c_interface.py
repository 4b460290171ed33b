"""A second extension module shares spike's runtime, by the C interface."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sysconfig
import threading
import time
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import spike
from spike import NrtStatus, SpikeModel, SpikeTensor
from spike._spike import Spike

SOURCE = Path(__file__).parent / "second_extension" / "second.c"
CLOSED, OPEN = 0, 1


@pytest.fixture(scope="session")
def library(c_compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("second") / "second.so"
    headers = ["-I", spike.get_include(), "-I", sysconfig.get_path("include")]
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    sanitizer = os.environ.get("SPIKE_TEST_CFLAGS", "").split()
    command = [c_compiler, *flags, *sanitizer, *headers, str(SOURCE), "-o", str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def second(fake, library: Path) -> ModuleType:
    spec = spec_from_file_location("second", library)
    assert spec is not None and isinstance(spec.loader, ExtensionFileLoader)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def matrix(value: int = 0, core_id: int = 0) -> SpikeTensor:
    return SpikeTensor.from_numpy(np.full(64, value, np.uint8), core_id=core_id)


def model(fake) -> SpikeModel:
    return SpikeModel.load_from_neff(fake.neff())


def test_the_header_is_installed_and_is_of_this_spike(second):
    assert Path(spike.get_include(), "spike_c.h").is_file()
    assert second.about() == (1, 0, "NRT_RESOURCE")


def test_it_opens_the_runtime_that_python_uses(fake, second):
    assert second.state() == CLOSED
    tensor = second.allocate(64, 1)
    assert second.state() == OPEN
    assert (tensor.size, tensor.core_id, tensor.name) == (64, 1, "second")
    assert isinstance(spike.get_spike_singleton(), Spike)
    assert fake.calls().count("nrt_init") == 1
    second.close()
    assert (second.state(), tensor.is_freed) == (CLOSED, True)
    second.open()
    assert second.state() == OPEN and not spike.get_spike_singleton().is_closed


def test_it_uses_the_runtime_that_is_open(fake, second):
    runtime = Spike()
    second.run(str(fake.neff()), "012345")
    assert fake.calls().count("nrt_init") == 1
    del runtime
    assert second.state() == CLOSED


def test_what_lives_keeps_the_runtime_open(fake, second):
    runtime = Spike()
    tensor = second.allocate(64, 0)
    del runtime
    assert second.state() == OPEN
    tensor.write(bytes(64))
    del tensor
    assert second.state() == CLOSED


def test_release_in_every_order(fake, second):
    for order in itertools.permutations("012345"):
        second.run(str(fake.neff()), "".join(order))
        fake.reset()  # what it notes of calls is not endless


def test_everything_is_freed(fake, second):
    second.run(str(fake.neff()), "304152")
    calls = fake.calls()
    for made, gone in (
        ("nrt_tensor_allocate", "nrt_tensor_free"),
        ("nrt_load", "nrt_unload"),
        ("nrt_allocate_tensor_set", "nrt_destroy_tensor_set"),
    ):
        assert calls.count(made) == calls.count(gone) > 0


def test_threads_without_the_gil(fake, second):
    fake._library.fake_record(False)
    second.open()
    neff = fake.neff()
    with PythonThreads(neff):
        second.run_in_threads(str(neff), 4)


def test_threads_open_the_runtime_together(fake, second):
    fake._library.fake_record(False)
    second.run_in_threads(str(fake.neff()), 8)
    assert second.state() == OPEN


class PythonThreads:
    """Threads of Python's that do the same meanwhile."""

    def __init__(self, neff: Path) -> None:
        self.neff, self.over = neff, threading.Event()
        self.threads = [threading.Thread(target=self.work) for _ in range(2)]

    def work(self) -> None:
        loaded, x, out = SpikeModel.load_from_neff(self.neff), matrix(1), matrix()
        while not self.over.is_set():
            loaded.model_ref.prepare(
                {"x": x.tensor_ref, "y": x.tensor_ref}, {"sum": out.tensor_ref}
            ).execute()

    def __enter__(self) -> None:
        for thread in self.threads:
            thread.start()

    def __exit__(self, *error: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_slices_and_addresses(fake, second):
    ref = matrix().tensor_ref
    assert second.describe_slice(ref, 16, 8) == (8, 0, 0, ref.va + 16)
    assert second.describe_slice(ref, 16, 0) == (48, 0, 0, ref.va + 16)
    assert second.describe_slice(ref, 0, 0) == (64, 0, 0, ref.va)
    with pytest.raises(RuntimeError, match="-1 .*exceeds the tensor bound"):
        second.describe_slice(ref, 60, 8)
    with pytest.raises(RuntimeError, match="-1 .*nothing after offset 64"):
        second.describe_slice(ref, 64, 0)
    ref.free()
    with pytest.raises(RuntimeError, match="-1 .*is no more"):
        second.describe_slice(ref, 0, 0)
    with pytest.raises(RuntimeError, match="expected an object of spike's, got .*int"):
        second.describe_slice(3, 0, 0)


@pytest.mark.parametrize("core", [0, 1])
def test_copies_within_a_core_and_between(fake, second, core):
    source, target = matrix(7), matrix(0, core)
    second.copy(source.tensor_ref, 0, target.tensor_ref, 32, 16)
    assert target.numpy().tolist() == [0] * 32 + [7] * 16 + [0] * 16
    assert ("nrt_tensor_copy" in fake.calls()) == (core == 0)
    with pytest.raises(RuntimeError, match="exceeds the tensor bound"):
        second.copy(source.tensor_ref, 0, target.tensor_ref, 32, 64)


def test_statuses_of_libnrt(fake, second):
    fake.inject("nrt_tensor_allocate", NrtStatus.RESOURCE)
    with pytest.raises(RuntimeError, match=r"^4 NRT Error NRT_RESOURCE\(4\): Failed"):
        second.allocate(64, 0)
    with pytest.raises(RuntimeError, match="has no function nrt_get_vnc_memory_stats"):
        second.memory_stats(0)


def test_names_of_statuses(second):
    names = [second.status_name(status) for status in (-3, -2, -1, 0, 4, 4711, -4)]
    assert names == [
        *("SPIKE_INTERRUPTED", "SPIKE_NOT_DONE", "SPIKE_ERROR"),
        *("NRT_SUCCESS", "NRT_RESOURCE", "UNKNOWN STATUS", "UNKNOWN STATUS"),
    ]


def test_what_can_be_known_before_a_call_is(fake, second):
    loaded, x, out = model(fake).model_ref, matrix().tensor_ref, matrix().tensor_ref
    second.prepare(loaded, x, out)
    elsewhere = matrix(core_id=1).tensor_ref
    text = "^-1 Tensor sum is on core 1: expected one on core 0, where the model is"
    with pytest.raises(RuntimeError, match=text):
        second.prepare(loaded, x, elsewhere)
    with pytest.raises(ValueError, match="Tensor x is on core 1: expected one on co"):
        loaded.prepare({"x": elsewhere, "y": x}, {"sum": out})
    x.free()
    with pytest.raises(RuntimeError, match="^-1 .*Unable to prepare a call: .*no more"):
        second.prepare(loaded, x, out)
    loaded.unload()
    with pytest.raises(RuntimeError, match="^-1 .*Unable to execute an unloaded mode"):
        second.prepare(loaded, out, out)
    assert "nrt_execute" not in fake.calls()


def test_a_rank_that_is_none_of_the_worlds(fake, second):
    second.load_as_rank(str(fake.neff()), 3, 4)
    with pytest.raises(RuntimeError, match="^-1 .*, rank 4 of 4: ranks count from 0"):
        second.load_as_rank(str(fake.neff()), 4, 4)
    assert fake.calls().count("nrt_load_collectives") == 1


def test_waiting(fake, second):
    loaded, x, out = model(fake), matrix(4), matrix()
    arguments = loaded.model_ref, x.tensor_ref, out.tensor_ref
    assert second.submit_and_wait(*arguments, -1) is None
    assert out.numpy()[0] == 5
    fake.inject("nrt_execute", NrtStatus.EXEC_OOB)
    with pytest.raises(RuntimeError, match=r"^1006 .*Asynchronous model execution"):
        second.submit_and_wait(*arguments, -1)
    fake.delay(0.2)
    assert second.submit_and_wait(*arguments, 0) == "the execution is not done yet"
    assert second.submit_and_wait(*arguments, 20) == "the execution is not done yet"
    assert second.submit_and_wait(*arguments, 60_000) is None


def test_waiting_can_be_interrupted(fake, second):
    loaded, x, out = model(fake), matrix(), matrix()
    fake.delay(1)

    def interrupt() -> None:
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        second.submit_and_wait(loaded.model_ref, x.tensor_ref, out.tensor_ref, -1)
    thread.join()


def test_misuse_is_refused(fake, second):
    status, text, is_freed, address = second.misuse(str(fake.neff()))
    assert (status, is_freed, address) == (-1, 1, 0)
    assert text.endswith("the runtime is closed.")


def importing(library: Path) -> str:
    """Code that imports the second extension."""
    return f"""
import importlib.util, os
spec = importlib.util.spec_from_file_location("second", {str(library)!r})
second = importlib.util.module_from_spec(spec)
spec.loader.exec_module(second)
"""


def test_the_end_of_the_interpreter_meets_threads_of_c(fake, library):
    """They come without its lock, and some open the runtime that it has closed."""
    result = fake.run(
        f"""
{importing(library)}
import sys, time

class Last:  # which ends after the interpreter has begun to take no more threads
    def __del__(self, sleep=time.sleep):
        sleep(0.2)

sys.modules["last"] = Last()
second.call_for_ever()
time.sleep(0.1)
"""
    )
    assert result.returncode == 0, result.stderr


def test_a_forked_child_is_told(fake, second, library):
    result = fake.run(
        f"""
{importing(library)}
second.open()
if os.fork() == 0:
    try:
        second.allocate(64, 0)
    except RuntimeError as error:
        print(second.state(), error, flush=True)
    os._exit(0)
os.wait()
print(second.state())
"""
    )
    assert result.returncode == 0, result.stderr
    child, parent = result.stdout.splitlines()
    assert parent == "1" and child.startswith("2 -1 "), result.stderr
    assert "does not survive a fork" in child


def test_who_is_in_a_tensors_memory_keeps_the_runtime_open(fake, second):
    is_host, closed_early, before, after, why = second.enter_memory()
    assert (is_host, closed_early, before, after) == (0, 0, 0, -1)
    assert "the runtime is closed" in why
