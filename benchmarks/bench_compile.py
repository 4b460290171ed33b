"""First calls of programs of more and more steps, next to jax.jit's.

What is to be seen is how the time grows: ten times as many steps may take about ten
times as long, whatever the steps read. Both are in a process that has imported and
compiled before; processor time counts, of all threads.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.timing import Row, print_table
from nkipy.runtime import simulate_jit

Step = Callable[[Any, Any], Any]
SQUARE, VECTOR = (64, 64), (256,)

#: Name, step, shape, and how many steps.
KINDS: list[tuple[str, Step, tuple[int, ...], tuple[int, ...]]] = [
    ("tanh(x) * x + x", lambda xp, x: xp.tanh(x) * x + x, VECTOR, (10, 100, 1000)),
    ("x + 0.1", lambda xp, x: x + 0.1, VECTOR, (50, 500, 5000)),
    (
        "roll",
        lambda xp, x: x + 0.1 * (xp.roll(x, 1) - 2 * x + xp.roll(x, -1)),
        VECTOR,
        (10, 100),
    ),
    ("reverse", lambda xp, x: x * 0.5 + x[::-1] * 0.25, VECTOR, (10, 100)),
    ("transpose", lambda xp, x: x * 0.5 + x.T * 0.25, SQUARE, (10, 100)),
    ("pad", lambda xp, x: x * 0.5 + xp.pad(x[1:], (0, 1)) * 0.25, VECTOR, (10, 100)),
]
#: What jax.jit is not waited for with.
_SLOW_IN_JAX = frozenset({("roll", 100), ("tanh(x) * x + x", 1000), ("x + 0.1", 5000)})


def repeated(xp: Any, step: Step, times: int) -> Callable[[Any], Any]:
    """A kernel of so many steps."""

    def kernel(x: Any) -> Any:
        for _ in range(times):
            x = step(xp, x)
        return x

    return kernel


def reduceat(length: int) -> Callable[[Any], Any]:
    """Sums of two elements each."""
    return lambda x: np.add.reduceat(x, np.arange(0, length, 2))


def percentiles(number: int) -> Callable[[Any], Any]:
    """So many percentiles at once."""
    return lambda x: np.percentile(x, np.linspace(0, 100, number))


def _seconds(function: Callable[[Any], Any], x: np.ndarray) -> float:
    start = time.process_time()
    np.asarray(function(x))
    return time.process_time() - start


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"


def main() -> None:
    import jax
    import jax.numpy as jnp

    warm = np.ones(3, np.float32)
    simulate_jit(repeated(np, KINDS[0][1], 1))(warm)
    np.asarray(jax.jit(repeated(jnp, KINDS[0][1], 1))(warm))
    rows = []
    for name, step, shape, sizes in KINDS:
        x = np.ones(shape, np.float32)
        for times in sizes:
            own = _seconds(simulate_jit(repeated(np, step, times)), x)
            peer = ratio = ""
            if (name, times) not in _SLOW_IN_JAX:
                took = _seconds(jax.jit(repeated(jnp, step, times)), x)
                peer, ratio = _milliseconds(took), f"{own / took:.2f}"
            rows.append(Row(f"{name}, {times}", _milliseconds(own), peer, ratio, ""))
    for name, make in (("reduceat", reduceat), ("percentile", percentiles)):
        for size in (20, 200, 2000):
            x = np.ones(size if make is reduceat else 10_000, np.float32)
            own = _seconds(simulate_jit(make(size)), x)
            rows.append(Row(f"{name}, {size}", _milliseconds(own), "", "", ""))
    print_table("First call by number of steps, CPU time (peer: jax.jit)", rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        os.environ["NKIPY_CACHE_DIR"] = directory
        os.environ["NKIPY_EMULATOR_CODE_CACHE"] = "off"
        main()
