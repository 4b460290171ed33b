"""The device path, on the emulated device, against simulate_jit in the same process."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import spike
from benchmarks import models
from benchmarks.timing import Row, interleaved, micros, print_table
from nkipy.core.trace import trace_function
from nkipy.runtime import DeviceKernel, DeviceTensor, baremetal_jit, simulate_jit

_LOAD = "< 100 us"


def cases() -> list[tuple[str, Callable[..., Any], tuple[Any, ...], str, int]]:
    """Name, kernel, arguments, the ratio aimed at, calls per reading."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 128)).astype(np.float32)
    h = rng.standard_normal((1, 128, 512)).astype(np.float32)
    softmax = functools.partial(models.softmax, np)
    block = functools.partial(models.block, np, heads=8)
    args = (h, models.block_params(512), *models.rotary(128, 64))
    return [
        ("softmax (2, 128)", softmax, (x,), "<= 2.0", 100),
        ("block (1, 128, 512)", block, args, "<= 1.1", 1),
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
        peer = micros(took.least("simulate"))
        for what, key, wanted in (
            (name, "ours", aim),
            ("  arguments on the device", "resident", ""),
        ):
            ratio = f"{took.ratio(key, 'simulate'):.2f}"
            rows.append(Row(what, micros(took.least(key)), peer, ratio, wanted))
    return rows


def load_table() -> None:
    """A hit of compile_and_load, with large arguments, against tracing them again."""
    x = DeviceTensor.zeros((2048, 2048))

    def product(a: Any, b: Any) -> Any:
        return a @ b

    def load() -> Any:
        return DeviceKernel.compile_and_load(product, x, x)

    took = interleaved(
        {"ours": load, "trace": lambda: trace_function(product, (x, x), {})}, 2.0, 10
    )
    own, peer = took.least("ours"), took.least("trace")
    row = Row("compile_and_load", micros(own), micros(peer), f"{own / peer:.2f}", _LOAD)
    print_table("Kernel that is loaded already (peer: tracing it)", [row])


_COLD = """
import time, sys
start = time.perf_counter()
import numpy as np
{imports}

def softmax(x):
    e = {np}.exp(x - {np}.max(x, axis=-1, keepdims=True))
    return e / {np}.sum(e, axis=-1, keepdims=True)

np.asarray({jit}(softmax)(np.ones((2, 128), np.float32)))
sys.stdout.write(str(time.perf_counter() - start))
"""
#: As if jax were not installed.
_NO_JAX = """
import sys
class NoJax:
    def find_spec(name, *_):
        if name == "jax":
            raise ModuleNotFoundError("No module named 'jax'", name="jax")
sys.meta_path.insert(0, NoJax)
"""
_OURS = _NO_JAX + _COLD.format(
    imports="from nkipy.runtime import baremetal_jit", np="np", jit="baremetal_jit"
)
_JAX = _COLD.format(
    imports="import jax; import jax.numpy as jnp", np="jnp", jit="jax.jit"
)


_TRANSFORMER = """
import time, sys
start = time.perf_counter()
import functools
import numpy as np
from nkipy.runtime import {jit}
from benchmarks import models
from benchmarks.bench_trace import HEADS, transformer_arguments

{jit}(functools.partial(models.transformer, np, heads=HEADS))(*transformer_arguments())
sys.stdout.write(str(time.perf_counter() - start))
"""


def _first_call(directory: str, cache: str, code: str = _OURS) -> float:
    """Seconds until a fresh process has its first result, as in an installation."""
    ours = {
        "NKIPY_CACHE_DIR": f"{directory}/{cache}",
        "NKIPY_EMULATOR_CODE_CACHE": f"{directory}/{cache}/code",
        "JAX_COMPILATION_CACHE_DIR": f"{directory}/{cache}",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPYCACHEPREFIX": f"{directory}/pyc",
    }
    environment = os.environ | ours
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True)
    done.check_returncode()
    return float(done.stdout)


def transformer_row(directory: str) -> Row:
    """Of a transformer's first call, all caches empty; the peer is simulate_jit."""
    jits = ("baremetal_jit", "simulate_jit")
    codes = [_TRANSFORMER.format(jit=jit) for jit in jits]
    for code in codes:
        _first_call(directory, "other", code)  # compiles the Python sources
    pairs = [
        [_first_call(directory, f"{code is codes[0]}{n}", code) for code in codes]
        for n in range(6)
    ]
    own, peer = map(min, zip(*pairs))
    return _cold_row("transformer (peer: simulate_jit)", own, peer, "<= 1.15")


def cold_table() -> None:
    """The first call in a fresh process, imports included: empty cache, full cache."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tensors of ours, of which none is left
        spike.reset()  # the child needs the core
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for code in (_OURS, _JAX):
            _first_call(directory, "other", code)  # compiles the Python sources
        own, peer = (_first_call(directory, "cache", code) for code in (_OURS, _JAX))
        rows.append(_cold_row("nothing compiled", own, peer, ""))
        pairs = [
            [_first_call(directory, "cache", code) for code in (_OURS, _JAX)]
            for _ in range(6)
        ]
        own, peer = map(min, zip(*pairs))
        rows.append(_cold_row("artifact on disk", own, peer, "< 500 ms"))
        rows.append(transformer_row(directory))
    print_table("First call in a fresh process, with imports (peer: jax.jit)", rows)


def _cold_row(what: str, own: float, peer: float, aim: str) -> Row:
    return Row(what, micros(own), micros(peer), f"{own / peer:.2f}", aim)


def main() -> None:
    title = "Warm call of baremetal_jit, emulated device (peer: simulate_jit)"
    print_table(title, warm_calls())
    load_table()
    cold_table()


if __name__ == "__main__":
    main()
