"""The device path, on the emulated device, against simulate_jit in the same process."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.timing import Row, best, interleaved, micros, print_table
from nkipy.runtime import DeviceKernel, DeviceTensor, baremetal_jit, simulate_jit


def cases() -> list[tuple[str, Callable[..., Any], tuple[Any, ...], str, int]]:
    """Name, kernel, arguments, the ratio aimed at, calls per reading."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 128)).astype(np.float32)
    h = rng.standard_normal((1, 128, 512)).astype(np.float32)
    softmax = functools.partial(models.softmax, np)
    block = functools.partial(models.block, np, heads=8)
    args = (h, models.block_params(512), *models.rotary(128, 64))
    return [
        ("softmax (2, 128)", softmax, (x,), "< 2.0", 100),
        ("block (1, 128, 512)", block, args, "< 1.1", 1),
    ]


def _resident(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _resident(leaf) for name, leaf in tree.items()}
    return DeviceTensor.from_numpy(tree)


def warm_calls() -> list[Row]:
    """baremetal_jit against simulate_jit, NumPy in and out, and with tensors there."""
    rows = []
    for name, kernel, args, aim, calls in cases():
        ours, theirs = baremetal_jit(kernel), simulate_jit(kernel)
        np.testing.assert_allclose(ours(*args), theirs(*args), rtol=1e-4, atol=1e-5)
        resident = [_resident(arg) for arg in args]
        took = interleaved(
            {
                "ours": functools.partial(ours, *args),
                "simulate": functools.partial(theirs, *args),
                "resident": functools.partial(ours, *resident),
            },
            seconds=6.0,
            calls=calls,
        )
        peer = micros(took["simulate"])
        for what, key, wanted in (
            (name, "ours", aim),
            ("  arguments on the device", "resident", ""),
        ):
            ratio = f"{took[key] / took['simulate']:.2f}"
            rows.append(Row(what, micros(took[key]), peer, ratio, wanted))
    return rows


def warm_load() -> Row:
    """A hit of compile_and_load, with large arguments."""
    x = DeviceTensor.zeros((2048, 2048))

    def product(a: Any, b: Any) -> Any:
        return a @ b

    def load() -> Any:
        return DeviceKernel.compile_and_load(product, x, x)

    return Row("compile_and_load, warm", micros(best(load, 1.0)), "", "", "< 100 us")


_COLD = """
import time, sys
start = time.perf_counter()
import numpy as np
from nkipy.runtime import baremetal_jit

@baremetal_jit
def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)

softmax(np.ones((2, 128), np.float32))
sys.stdout.write(str(time.perf_counter() - start))
assert "jax" not in sys.modules
"""


def _first_call(directory: str, cache: str) -> float:
    """Seconds until a fresh process has its first result, as in an installation."""
    ours = {
        "NKIPY_CACHE_DIR": f"{directory}/{cache}",
        "PYTHONPYCACHEPREFIX": f"{directory}/pyc",
    }
    environment = os.environ | ours
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", _COLD]
    done = subprocess.run(command, env=environment, capture_output=True)
    done.check_returncode()
    return float(done.stdout)


def cold_call() -> list[Row]:
    """The first call in a fresh process, imports included: empty cache, full cache."""
    import spike

    spike.reset()  # the child needs the core
    with tempfile.TemporaryDirectory() as directory:
        _first_call(directory, "other")  # compiles the Python sources
        cold = _first_call(directory, "cache")
        warm = min(_first_call(directory, "cache") for _ in range(5))
    return [
        Row("first call, nothing compiled", micros(cold), "", "", ""),
        Row("first call, artifact on disk", micros(warm), "", "", "< 500 ms"),
    ]


def main() -> None:
    rows = [*warm_calls(), warm_load(), *cold_call()]
    print_table("Device path, emulated (peer: simulate_jit)", rows)


if __name__ == "__main__":
    main()
