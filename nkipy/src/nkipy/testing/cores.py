"""Which NeuronCore a process that runs tests uses, and giving it to a child process.

A core belongs to one process. Where tests run side by side, as pytest-xdist has them,
each worker takes one of the visible cores. Nothing here opens the runtime, or imports
XLA or pytest.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = [
    "LOCKS",
    "NUM_CORES",
    "VISIBLE_CORES",
    "core_of_worker",
    "core_released",
    "machine_cores",
    "parse_cores",
    "run_python",
    "take_core",
]

VISIBLE_CORES = "NEURON_RT_VISIBLE_CORES"
NUM_CORES = "NEURON_RT_NUM_CORES"
#: Where processes of one emulated machine note the cores that they own.
LOCKS = "NKIPY_EMULATOR_LOCK_DIR"
#: A core that no machine has.
NO_CORE = 4095


def parse_cores(text: str) -> list[int]:
    """The cores that a value of ``NEURON_RT_VISIBLE_CORES`` names: ``0-3,8``."""
    cores: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores.extend(range(int(first), int(last or first) + 1))
    return cores


def machine_cores(environment: Mapping[str, str] = os.environ) -> list[int]:
    """The cores that tests may use: those of the environment, else all there are.

    Initialises nothing. Empty if no runtime library can be asked. This process asks it
    for its own environment, a child process for another one.
    """
    named = environment.get(VISIBLE_CORES)
    if named:
        return parse_cores(named)
    own = environment is os.environ
    return list(range(_count() if own else _count_in_child(environment)))


def _count() -> int:
    try:
        from spike._spike import Spike

        return Spike.get_visible_neuron_core_count()
    except Exception:  # spike is not installed, or it finds no runtime library
        return 0


def _count_in_child(environment: Mapping[str, str]) -> int:
    code = f"from {__name__} import _count; print(_count())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=dict(environment),
    )
    return int(done.stdout or 0)


def core_of_worker(worker: str, cores: list[int] | None) -> int | None:
    """The core of xdist worker ``gw3``: the third after the first; None: no core left.

    Where `cores` is None, the machine has not been asked, and that is core 3. What is
    no worker is the only process, and takes the first core.
    """
    number = int(worker.removeprefix("gw")) if worker.startswith("gw") else 0
    if cores is None:
        return number
    return cores[number] if number < len(cores) else None


def take_core(worker: str, cores: list[int] | None) -> None:
    """Make the worker's core the only one that this process and its children see.

    To be called before anything opens the runtime, which reads the variables once. A
    worker for which no core is left sees one that no machine has: never another's.
    """
    core = core_of_worker(worker, cores)
    os.environ.pop(NUM_CORES, None)
    os.environ[VISIBLE_CORES] = str(NO_CORE if core is None else core)


@contextmanager
def core_released() -> Iterator[None]:
    """A block in which this process owns no core, so that a child can take it.

    Tensors and kernels that were on the device are invalid afterwards.
    """
    spike = sys.modules.get("spike")
    if spike is not None:
        gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spike.reset()
    yield


def run_python(
    *command: str, env: Mapping[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run Python in a child process on this process's core.

    Args:
        command: arguments of the interpreter.
        env: variables in addition to this process's own.
        timeout: in seconds.
    """
    with core_released():
        return subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
        )
