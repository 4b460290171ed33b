"""Tracing a 12-layer transformer, against ``jax.jit(...).lower`` of the same one."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks import models
from benchmarks.timing import Row, best, micros, print_table
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
    instructions = len(trace_function(kernel, args, {}).module.entry.instructions)

    def ours() -> None:
        module = trace_function(kernel, args, {}).module
        module.serialize()
        module.content_hash("")

    rows = [_row("trace + verify + serialise + hash", best(ours), instructions)]
    rows += _parts(kernel, args, instructions)
    rows.append(_against_jax(args, best(ours)))
    print_table(
        f"Trace of a {LAYERS}-layer transformer ({instructions} instructions)", rows
    )


def _row(what: str, seconds: float, count: int, aim: str = "< 6 us") -> Row:
    return Row(what, micros(seconds), "", f"{seconds / count * 1e6:.2f} us/instr", aim)


def _parts(kernel: object, args: tuple, count: int) -> list[Row]:
    traced = trace_function(kernel, args, {}).module  # type: ignore[arg-type]
    return [
        _row("  of it: verify", best(traced.verify, 0.5), count, ""),
        _row("  of it: serialise", best(traced.serialize, 0.5), count, ""),
        _row("  of it: hash", best(lambda: traced.content_hash(""), 0.5), count, ""),
    ]


def _against_jax(args: tuple, ours: float) -> Row:
    import jax
    import jax.numpy as jnp

    kernel = functools.partial(models.transformer, jnp, heads=HEADS)

    def lower() -> None:
        jax.clear_caches()
        jax.jit(kernel).lower(*args)

    peer = best(lower, 3.0, least=3)
    ratio = f"{peer / ours:.1f} times faster"
    return Row(
        "against jax.jit(f).lower", micros(ours), micros(peer), ratio, "> 20 times"
    )


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
