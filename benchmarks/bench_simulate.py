"""Warm calls of simulate_jit against jax.jit on the same function, NumPy in and out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.timing import Row, best, interleaved, micros, print_table
from nkipy.runtime import simulate_jit


def add(xp: Any, x: Any, y: Any) -> Any:
    return x + y


def cases() -> list[tuple[str, Callable[..., Any], tuple[Any, ...], str, int]]:
    """Name, kernel, arguments, the ratio aimed at, calls per reading."""
    rng = np.random.default_rng(0)
    four = np.arange(4, dtype=np.float32)
    x = rng.standard_normal((2, 128)).astype(np.float32)
    h = rng.standard_normal((1, 128, 512)).astype(np.float32)
    block = functools.partial(models.block, heads=8)
    rotary = models.rotary(128, 64)
    return [
        ("add of 4", add, (four, four), "<= 1.5", 200),
        ("softmax (2, 128)", models.softmax, (x,), "<= 1.0", 100),
        (
            "block (1, 128, 512)",
            block,
            (h, models.block_params(512), *rotary),
            "<= 1.0",
            1,
        ),
    ]


def main() -> None:
    import jax
    import jax.numpy as jnp

    rows = []
    for name, kernel, args, aim, calls in cases():
        ours = simulate_jit(functools.partial(kernel, np))
        peer = jax.jit(functools.partial(kernel, jnp))

        def theirs(peer: Any = peer, args: Any = args) -> Any:
            return np.asarray(peer(*args))

        np.testing.assert_allclose(ours(*args), theirs(), rtol=2e-3, atol=2e-4)
        run = functools.partial(ours, *args)
        took = interleaved({"ours": run, "jax": theirs}, seconds=4.0, calls=calls)
        own, peer_time = micros(took.least("ours")), micros(took.least("jax"))
        rows.append(Row(name, own, peer_time, f"{took.ratio('ours', 'jax'):.2f}", aim))
        # By itself: BLAS's threads go on turning for a while after a call.
        numpy_time = best(functools.partial(kernel, np, *args), 0.5)
        rows.append(Row("  under NumPy", micros(numpy_time), "", "", ""))
    print_table("Warm call, NumPy in and out (peer: jax.jit)", rows)


if __name__ == "__main__":
    main()
