"""Tracing a transformer: the first time in a process, and again."""

from __future__ import annotations

import functools
import hashlib
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks import models
from benchmarks.fresh import processes
from benchmarks.timing import Row, best, interleaved, micros, print_table
from nkipy.core.trace import trace_function

LAYERS, MODEL, HEADS, SEQ = 12, 64, 4, 32
_FIRST = """
from nkipy.runtime import simulate_jit
from benchmarks import bench_trace
bench_trace.first({layers})
"""


def transformer_arguments(
    layers: int = LAYERS,
) -> tuple[np.ndarray, list[models.Params], object, object]:
    """Input, layers, cosines and sines of the traced transformer."""
    x = np.ones((1, SEQ, MODEL), np.float32)
    params = [models.block_params(MODEL, seed) for seed in range(layers)]
    return x, params, *models.rotary(SEQ, MODEL // HEADS)


def first(layers: int) -> None:
    """Write the seconds of a trace, its hash and its bytes, and how many instructions.

    In a fresh process, all that is imported for them counts.
    """
    args = transformer_arguments(layers)
    kernel = functools.partial(models.transformer, np, heads=HEADS)
    start = time.perf_counter()
    module = trace_function(kernel, args, {}).module
    module.content_hash("")
    module.serialize()
    seconds = time.perf_counter() - start
    sys.stdout.write(f"{seconds} {len(module.entry.instructions)}")


def first_traces() -> None:
    """First traces in fresh processes: for each instruction, and how that grows."""
    readings: dict[int, list[float]] = {LAYERS: [], 10: [], 100: []}
    counts: dict[int, int] = {}
    with processes() as fresh:
        for _ in range(8):
            for layers, seconds in readings.items():
                took, count = fresh.run(_FIRST.format(layers=layers)).split()
                seconds.append(float(took))
                counts[layers] = int(count)
    least = {layers: min(seconds[1:]) for layers, seconds in readings.items()}
    each = least[LAYERS] / counts[LAYERS]
    growth = f"{least[100] / least[10]:.1f} times"
    rows = [
        Row(
            f"{LAYERS} layers, {counts[LAYERS]} instructions",
            micros(least[LAYERS]),
            "",
            f"{each * 1e6:.1f} us/instr",
            "< 35 us/instr",
        ),
        Row(
            "100 layers (peer: 10)",
            micros(least[100]),
            micros(least[10]),
            growth,
            "< 11",
        ),
    ]
    print_table("First trace + verify + hash + serialise in a fresh process", rows)


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
        _row("trace + verify + serialise + hash", whole, count),
        _row("  of it: verify", best(module.verify, 0.5), count),
        _row("  of it: serialise", best(module.serialize, 0.5), count),
        _against_jax(args, ours),
    ]
    print_table(f"Trace of a {LAYERS}-layer transformer ({count} instructions)", rows)


def _row(what: str, seconds: float, count: int) -> Row:
    return Row(what, micros(seconds), "", f"{seconds / count * 1e6:.2f} us/instr", "")


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
    return Row("against jax.jit(f).lower", *least, ratio, "")


def large_constant() -> None:
    """What 64 MB from outside of the kernel add to its trace, bytes and hash."""
    rng = np.random.default_rng(0)
    large = rng.standard_normal((1 << 24,), dtype=np.float32)
    x = np.ones(large.shape, np.float32)

    def take(captured: np.ndarray) -> None:
        module = trace_function(lambda x: x + captured, (x,), {}).module
        module.serialize()
        module.content_hash("")

    def copy_and_hash() -> None:
        hashlib.sha256(large.copy()).digest()

    times = interleaved(
        {
            "large": functools.partial(take, large),
            "small": functools.partial(take, large[:1].copy()),
            "peer": copy_and_hash,
        },
        3.0,
    )
    added = times.least("large") - times.least("small")
    peer = times.least("peer")
    row = Row(
        "trace + serialise + hash",
        *(micros(added), micros(peer), f"{added / peer:.2f}", "<= 50 ms"),
    )
    print_table("Added by a constant of 64 MB (peer: a copy, and SHA-256)", [row])


def main() -> None:
    first_traces()
    trace_transformer()
    large_constant()


if __name__ == "__main__":
    main()
