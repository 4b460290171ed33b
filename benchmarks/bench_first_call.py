"""The first simulated call in a fresh process, all imports included, against jax.jit.

With nothing compiled, and with the code that another process has left on disk.
"""

from __future__ import annotations

import os

from benchmarks.fresh import Fresh, processes
from benchmarks.timing import Row, micros, print_table

_CALL = """
import time, sys
start = time.perf_counter()
import functools
import numpy as np
{imports}
from benchmarks import models
from benchmarks.bench_trace import HEADS, transformer_arguments

kernel = functools.partial(models.transformer, {np}, heads=HEADS)
np.asarray({jit}(kernel)(*transformer_arguments()))
sys.stdout.write(str(time.perf_counter() - start))
"""
_OURS = _CALL.format(
    imports="from nkipy.runtime import simulate_jit", np="np", jit="simulate_jit"
)
_JAX = _CALL.format(
    imports="import jax; import jax.numpy as jnp", np="jnp", jit="jax.jit"
)
ROUNDS = 6


def _seconds(fresh: Fresh, code: str, cache: str) -> float:
    fresh.environment["NKIPY_EMULATOR_CODE_CACHE"] = cache
    return float(fresh.run(code))


def main() -> None:
    with processes() as fresh:
        directory = fresh.environment["PYTHONPYCACHEPREFIX"]
        for code in (_OURS, _JAX):
            _seconds(fresh, code, "off")  # compiles the Python sources
        rounds = []
        for number in range(ROUNDS):
            cache = os.path.join(directory, f"code{number}")
            rounds.append([_seconds(fresh, c, cache) for c in (_OURS, _OURS, _JAX)])
    first, second, jax = map(min, zip(*rounds))
    rows = [
        Row(what, micros(own), micros(jax), f"{own / jax:.2f}", aim)
        for what, own, aim in (
            ("nothing compiled", first, "<= 0.50"),
            ("code on disk", second, "<= 0.33"),
        )
    ]
    print_table("First call of a transformer, with imports (peer: jax.jit)", rows)


if __name__ == "__main__":
    main()
