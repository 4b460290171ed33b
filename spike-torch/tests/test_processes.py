"""Processes: forked, spawned, interrupted, killed, and as they end."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import spike_torch

from . import programs

STRESS = Path(__file__).with_name("stress.py")


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of processes with an emulated machine of their own."""
    return programs.machine(
        tmp_path, NEURON_RT_VISIBLE_CORES="0", NEURON_RT_LOG_LEVEL="QUIET"
    )


def start(code: str, machine: dict[str, str]) -> subprocess.Popen[str]:
    return programs.start("import torch\n" + code, machine)


def run(code: str, machine: dict[str, str]) -> tuple[int, str, str]:
    done = programs.run("import torch\n" + code, machine)
    return done.returncode, done.stdout, done.stderr


# ---- Forked children -----------------------------------------------------------------


def _said_by(use: Callable[[], object]) -> str:
    try:
        return f"no error: {use()}"
    except RuntimeError as error:
        return str(error)


def _in_child(use: Callable[[], object]) -> str:
    """What a use says in a forked child, which has 30 seconds for it."""
    context = multiprocessing.get_context("fork")
    mine, childs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: childs.send(_said_by(use)))
    process.start()
    try:
        assert mine.poll(30), "the child hangs"
        return str(mine.recv())
    finally:
        process.kill()
        process.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_never_waits_for_a_lock_of_its_parents_threads() -> None:
    """They may have had the pool's when it was forked."""
    there = torch.ones(3, device="nkipy")
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            torch.empty(100, device="nkipy")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for use in (
            there.cpu,
            lambda: torch.empty(3, device="nkipy"),
            torch.nkipy.mem_get_info,
            spike_torch.trim_cache,
            lambda: spike_torch.set_memory_limit(1),
            lambda: spike_torch.get_nrt_tensor(there),
        ):
            assert "must use the 'spawn' start method" in _in_child(use)
        # The child has no memory of its own.
        for use in (spike_torch.get_cached_blocks, torch.nkipy.memory_allocated):
            assert _in_child(use) == "no error: 0"
        for use in (torch.nkipy.empty_cache, torch.nkipy.synchronize):
            assert _in_child(use) == "no error: None"
    finally:
        ended.set()
        for thread in threads:
            thread.join()


# ---- Tensors for other processes -----------------------------------------------------


class Numbers(Dataset[torch.Tensor]):
    def __init__(self, device: str) -> None:
        self.device = device

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((2,), float(index), device=self.device)


def load(device: str, context: str, pin: bool = False) -> list[torch.Tensor]:
    return list(
        DataLoader(
            Numbers(device),
            batch_size=2,
            num_workers=2,
            multiprocessing_context=context,
            pin_memory=pin,
        )
    )


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("pin", [False, True])
def test_workers_that_are_forked_return_tensors_of_the_cpu(pin: bool) -> None:
    torch.ones(1, device="nkipy")
    batches = load("cpu", "fork", pin)
    assert [batch.tolist() for batch in batches] == [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]
    assert all(batch.is_pinned() is pin for batch in batches)
    assert batches[1].to("nkipy", non_blocking=True).sum().item() == 10


@pytest.mark.slow  # torch waits 5 s for each worker that has failed
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_that_are_forked_are_told_to_spawn() -> None:
    torch.ones(1, device="nkipy")
    with pytest.raises(RuntimeError, match="must use the 'spawn' start method"):
        load("nkipy", "fork")


def test_a_tensor_does_not_go_to_another_process() -> None:
    there = torch.ones(3, device="nkipy")
    context = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    for sent in (there, there[:0], torch.nn.Parameter(there), there.untyped_storage()):
        with pytest.raises(RuntimeError, match="nkipy:0 cannot go to another process"):
            queue.put(sent)
    queue.put(there.cpu())
    assert queue.get().tolist() == [1, 1, 1]
    # A queue's own thread pickles: who waits for it is told, and waits no longer.
    other = context.Queue()
    other.put(there)
    with pytest.raises(RuntimeError, match=r"send tensor\.cpu\(\)"):
        other.get(timeout=30)


SPAWNED = """
import sys
from torch.utils.data import DataLoader
from {module} import Numbers
if __name__ == "__main__":
    loaded = DataLoader(Numbers({device!r}), num_workers=2, pin_memory={pin},
                        multiprocessing_context="spawn")
    print([batch.sum().item() for batch in loaded])
"""


@pytest.mark.slow
@pytest.mark.parametrize("pin", [False, True])
@pytest.mark.parametrize("device", ["cpu", "nkipy"])
def test_workers_that_are_spawned(
    device: str, pin: bool, machine: dict[str, str], tmp_path: Path
) -> None:
    """Those on the device open a core that the parent has not opened."""
    dataset = tmp_path / "numbers_dataset.py"
    dataset.write_text(
        "import torch\n"
        "class Numbers:\n"
        "    def __init__(self, device): self.device = device\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, i):\n"
        "        return torch.full((2,), float(i), device=self.device)\n"
    )
    code = SPAWNED.format(module=dataset.stem, device=device, pin=pin)
    path = {"PYTHONPATH": str(tmp_path)}
    # The second worker finds no core, or is told what the first one is.
    returncode, out, err = run(code, {**machine, **path})
    if device == "cpu":
        assert (returncode, out) == (0, "[0.0, 2.0, 4.0, 6.0]\n"), err
    else:
        assert returncode == 1
        assert "cannot go to another process" in err or "not available" in err


@pytest.mark.slow
def test_workers_take_no_core_by_importing_what_their_parent_imports(
    machine: dict[str, str], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import spike_torch\n"  # before torch, so that it opens the runtime
        "import torch\n"
        "from torch.utils.data import DataLoader\n"
        "if __name__ == '__main__':\n"
        "    assert torch.nkipy.is_initialized()\n"
        "    loaded = DataLoader(torch.ones(4, 2), num_workers=1,\n"
        "                        multiprocessing_context='spawn')\n"
        "    print(sum(x.to('nkipy').sum().item() for x in loaded))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)],
        env=machine,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "8.0\n"), done.stderr


# ---- Interrupted, killed, ended ------------------------------------------------------

INTERRUPTED = {
    "operations": "x = (x @ x).clamp(-1, 1)",
    "copies to the device": "host.to('nkipy')",
    "copies to the cpu": "there.cpu()",
    "allocations": "torch.empty(1000, device='nkipy')",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", INTERRUPTED)
def test_an_interrupt_leaves_the_device_usable(
    what: str, machine: dict[str, str]
) -> None:
    code = (
        "x = torch.ones(500, 500, device='nkipy')\n"
        "host = torch.ones(1 << 24)\n"
        "there = host.to('nkipy')\n"
        "try:\n"
        "    print('here', flush=True)\n"
        f"    while True: {INTERRUPTED[what]}\n"
        "except KeyboardInterrupt:\n"
        "    print(torch.ones(3, device='nkipy').sum().item(), there.sum().item())\n"
    )
    process = start(code, machine)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"3.0 {float(1 << 24)}\n"), err


@pytest.mark.slow
def test_a_core_is_one_processes_and_free_when_that_was_killed(
    machine: dict[str, str],
) -> None:
    code = (
        "x = torch.ones(1 << 20, device='nkipy')\nprint(x.sum().item(), flush=True)\n"
    )
    process = start(code + "import time; time.sleep(300)", machine)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{float(1 << 20)}\n"
    returncode, _, err = run(code, machine)
    assert returncode == 1 and f"taken by process {process.pid}" in err
    process.kill()
    process.communicate(timeout=60)
    returncode, out, err = run(code, machine)
    assert (returncode, out) == (0, f"{float(1 << 20)}\n"), err


ENDS = {
    "tensors are alive": "",
    "a handler that was there before uses one": (
        "import atexit\natexit.register(lambda: print(kept.sum().item()))\n"
    ),
    "a cycle holds one": (
        "class Cycle: pass\n"
        "cycle = Cycle(); cycle.itself = cycle; cycle.kept = kept; del cycle, kept\n"
    ),
    "a graph of autograd holds one": (
        "w = kept.clone().requires_grad_()\nw.sum().backward()\ny = (w * w).sum()\n"
    ),
    "another thread's own holds one": (
        "import threading\n"
        "own = threading.local()\n"
        "def work(): own.kept = torch.ones(9, device='nkipy')\n"
        "t = threading.Thread(target=work); t.start(); t.join()\n"
    ),
    "a child was forked": (
        "import os\n"
        "pid = os.fork()\n"
        "if pid == 0: raise SystemExit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    ),
    "the runtime was reset": "import spike_torch; spike_torch.reset()\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("how", ENDS)
def test_a_process_ends_in_peace_where(how: str, machine: dict[str, str]) -> None:
    code = (
        "kept = torch.ones(1 << 20, device='nkipy')\n"
        + ENDS[how]
        + "print('done', flush=True)\n"
    )
    returncode, out, err = run(code, machine)
    assert returncode == 0 and out.startswith("done\n"), err
    if how.startswith("a handler"):
        assert out == f"done\n{float(1 << 20)}\n", err


@pytest.mark.slow
def test_a_process_ends_also_where_threads_compute(machine: dict[str, str]) -> None:
    """As on the CPU: a thread in torch's code that wants Python's lock, while Python
    ends, is ended by Python, which C++ answers with std::terminate (until Python 3.14),
    or Python with an error of its own where the thread was in Python called from C++.
    """
    code = (
        "import threading, time\n"
        "def work():\n"
        "    while True: torch.ones(99, 99, device='nkipy').sum().item()\n"
        "for _ in range(3): threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.3)\n"
        "print('done', flush=True)\n"
    )
    returncode, out, err = run(code, machine)
    assert out == "done\n", err
    if returncode != 0:
        assert returncode == -signal.SIGABRT, err
        told = ("terminate called without an active", "Python error: PyGILState_Rel")
        assert any(text in err for text in told)


# ---- Threads -------------------------------------------------------------------------


@pytest.mark.slow
def test_threads_use_four_devices_in_all_ways_at_once(machine: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(STRESS), "--threads", "8", "--seconds", "5"],
        env={**machine, "NEURON_RT_VISIBLE_CORES": "0-3"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " on 4\n" in done.stdout


RESETS = """
import threading, time, warnings
import spike_torch
warnings.simplefilter("ignore")
end = time.monotonic() + 4
wrong, said = [], set()
def difference(k):
    there = torch.full((20_000 * k,), float(k), device="nkipy", requires_grad=True)
    (there * there).sum().backward()
    return torch.arange(70_000, device="nkipy").sum().item() - 2_449_965_000 or (
        (there.grad.cpu() - 2 * k).abs().sum().item()
    )
def work(k):
    while time.monotonic() < end:
        try:
            if difference(k): wrong.append(k)
        except RuntimeError as error:
            said.add(str(error))
threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 6)]
for thread in threads: thread.start()
while time.monotonic() < end:
    time.sleep(0.02)
    try: spike_torch.reset()
    except RuntimeError as error: said.add(str(error))
for thread in threads: thread.join()
print(wrong, torch.ones(3, device="nkipy").sum().item())
for text in said:
    if "closed" not in text and "freed" not in text: print(text)
"""


@pytest.mark.slow
def test_a_reset_beside_threads_waits_for_them_and_they_not_for_it(
    machine: dict[str, str],
) -> None:
    """What is computed is right, or an error says that the runtime was closed."""
    returncode, out, err = run(RESETS, machine)
    assert (returncode, out) == (0, "[] 3.0\n"), err
