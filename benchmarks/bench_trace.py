"""Tracing a 12-layer transformer, against ``jax.jit(...).lower`` of the same one."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from benchmarks import models
from benchmarks.timing import Row, best, interleaved, micros, print_table
from nkipy.core.trace import trace_function

LAYERS, MODEL, HEADS, SEQ = 12, 64, 4, 32


def transformer_arguments() -> tuple[np.ndarray, list[models.Params], object, object]:
    """Input, layers, cosines and sines of the traced transformer."""
    x = np.ones((1, SEQ, MODEL), np.float32)
    layers = [models.block_params(MODEL, seed) for seed in range(LAYERS)]
    return x, layers, *models.rotary(SEQ, MODEL // HEADS)


def trace_transformer() -> None:
    args = transformer_arguments()
    kernel = functools.partial(models.transformer, np, heads=HEADS)
    module = trace_function(kernel, args, {}).module
    count = len(module.entry.instructions)

    def ours() -> None:
        module = trace_function(kernel, args, {}).module
        module.serialize()
        module.content_hash("")

    # Ours is much the shorter: alone, it finds moments that nothing else runs in.
    whole = best(ours, 3.0)
    rows = [
        _row("trace + verify + serialise + hash", whole, count, "< 6 us"),
        _row("  of it: verify", best(module.verify, 0.5), count),
        _row("  of it: serialise", best(module.serialize, 0.5), count),
        _against_jax(args, ours),
    ]
    print_table(f"Trace of a {LAYERS}-layer transformer ({count} instructions)", rows)


def _row(what: str, seconds: float, count: int, aim: str = "") -> Row:
    return Row(what, micros(seconds), "", f"{seconds / count * 1e6:.2f} us/instr", aim)


def _against_jax(args: tuple, ours: Callable[[], None]) -> Row:
    import jax
    import jax.numpy as jnp

    kernel = functools.partial(models.transformer, jnp, heads=HEADS)

    def lower() -> None:
        jax.clear_caches()
        jax.jit(kernel).lower(*args)

    times = interleaved({"jax": lower, "ours": ours}, 10.0)
    ratio = f"{times.ratio('jax', 'ours'):.1f} times faster"
    least = micros(times.least("ours")), micros(times.least("jax"))
    return Row("against jax.jit(f).lower", *least, ratio, "> 20 times")


def large_constant() -> None:
    weights = np.random.default_rng(0).standard_normal((4096, 4096)).astype(np.float32)

    def ours() -> None:
        module = trace_function(lambda x: x @ weights, (np.ones((1, 4096), "f4"),), {})
        module.module.serialize()
        module.module.content_hash("")

    copy = best(lambda: bytes(weights.data), 1.0)
    took = best(ours, 2.0)
    row = Row("trace + serialise + hash", micros(took), micros(copy), "", "< 200 ms")
    print_table("A constant of 64 MB (peer: one copy of its bytes)", [row])


def main() -> None:
    trace_transformer()
    large_constant()


if __name__ == "__main__":
    main()
