"""Which NeuronCore this test process uses, and giving it to a child process."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

VISIBLE_CORES = "NEURON_RT_VISIBLE_CORES"
NUM_CORES = "NEURON_RT_NUM_CORES"


def parse_cores(text: str) -> list[int]:
    """The cores that a value of ``NEURON_RT_VISIBLE_CORES`` names: ``0-3,8``."""
    cores: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores.extend(range(int(first), int(last or first) + 1))
    return cores


def machine_cores(environment: Mapping[str, str] = os.environ) -> list[int]:
    """The cores that tests may use: those of the environment, else all there are.

    Initialises nothing. Empty if no runtime library can be asked.
    """
    named = environment.get(VISIBLE_CORES)
    if named:
        return parse_cores(named)
    try:
        from spike._spike import Spike

        count = Spike.get_visible_neuron_core_count()
    except Exception:
        return []
    return list(range(count))


def core_of_worker(worker: str, cores: list[int]) -> int | None:
    """The core of xdist worker ``gw3``: the third after the first; None: no core left.

    What is no worker is the only process, and takes the first core.
    """
    number = int(worker.removeprefix("gw")) if worker.startswith("gw") else 0
    return cores[number] if number < len(cores) else None


@contextmanager
def core_released() -> Iterator[None]:
    """A block in which this process owns no core, so that a child can take it."""
    import spike

    gc.collect()
    if "spike" in sys.modules and getattr(spike, "reset", None) is not None:
        import warnings

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


@contextmanager
def injected(rules: str) -> Iterator[None]:
    """A block in which the emulated libnrt fails, by rules: ``nrt_execute=1201@3``."""
    from nkipy_emulator.libnrt import library_path

    inject = ctypes.CDLL(str(library_path())).nkipy_emulator_inject
    inject.argtypes = [ctypes.c_char_p]
    status = inject(rules.encode())
    if status != 0:
        raise ValueError(f"the emulator refuses the rules {rules!r}: {status}")
    try:
        yield
    finally:
        inject(None)


def fail_without_core(item: Any, core: int | None, worker: str, count: int) -> None:
    """End a test that needs a core in a process that has none."""
    import pytest

    if core is None and item.get_closest_marker("device") is not None:
        pytest.fail(
            f"{worker} has no NeuronCore of its own: there are {count}, and each "
            f"process owns its core; run at most -n {count}",
            pytrace=False,
        )
