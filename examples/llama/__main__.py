"""Generates hidden states step by step, under NumPy, simulated and on a NeuronCore.

    python -m examples.llama [--mode numpy|simulate|baremetal|compare] [--steps N]

On the device, weights and cache stay there: each step writes its key and value into the
cache in place.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from examples.llama.decoder import (
    Cache,
    Config,
    decoder_layer,
    init_cache,
    init_weights,
    rotary_table,
)
from examples.modes import MODES, add_mode, chosen, on_host, resident
from nkipy.command_line import run_command


def generate(
    layer: Callable[..., np.ndarray],
    config: Config,
    steps: int,
    batch: int = 2,
    mode: str = "numpy",
) -> tuple[np.ndarray, Cache]:
    """Feed the layer its own output for `steps` positions.

    Returns:
        Hidden states (steps, batch, model), and the cache that was filled.
    """
    weights = resident(init_weights(config), mode)
    cache = resident(init_cache(config, batch), mode)
    angles = resident(rotary_table(config), mode)
    x = (
        np.random.default_rng(1)
        .standard_normal((batch, config.model))
        .astype(np.float32)
    )
    states = []
    for position in range(steps):
        x = layer(x, weights, cache, angles, np.array(position, np.int32), config)
        states.append(x)
    return np.stack(states), on_host(cache)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.llama")
    add_mode(parser)
    parser.add_argument("--steps", type=int, default=16)
    args = parser.parse_args()
    config = Config()
    if not 1 <= args.steps <= config.context:
        parser.error(f"--steps must be between 1 and {config.context}")

    results = {}
    for mode in chosen(args.mode):
        layer = MODES[mode](decoder_layer)
        states, cache = generate(layer, config, args.steps, mode=mode)
        results[mode] = states, cache
        print(
            f"{mode:>9}: norm of the last hidden state {np.linalg.norm(states[-1]):.5f}"
        )
        if mode != "numpy":
            print(f"{'':>9}  programs for {args.steps} steps: {layer.cache_size()}")
    if args.mode == "compare":
        theirs, their_cache = results.pop("numpy")
        for mode, (ours, our_cache) in results.items():
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(our_cache.k, their_cache.k, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(our_cache.v, their_cache.v, rtol=1e-3, atol=1e-4)
            print(f"largest difference, {mode}: {np.max(np.abs(ours - theirs)):.1e}")


if __name__ == "__main__":
    raise SystemExit(run_command(main, "examples.llama"))
