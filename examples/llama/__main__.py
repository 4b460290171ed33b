"""Generates hidden states step by step, under NumPy and simulated, and compares.

python -m examples.llama [--mode numpy|simulate|compare] [--steps N]
"""

from __future__ import annotations

import argparse

import numpy as np

from examples.llama.decoder import (
    Cache,
    Config,
    decoder_layer,
    init_cache,
    init_weights,
    rotary_table,
)
from nkipy.runtime import simulate_jit


def generate(
    layer, config: Config, steps: int, batch: int = 2
) -> tuple[np.ndarray, Cache]:
    """Feed the layer its own output for `steps` positions.

    Returns:
        Hidden states (steps, batch, model), and the cache that was filled.
    """
    weights, cache = init_weights(config), init_cache(config, batch)
    angles = rotary_table(config)
    x = (
        np.random.default_rng(1)
        .standard_normal((batch, config.model))
        .astype(np.float32)
    )
    states = []
    for position in range(steps):
        x = layer(x, weights, cache, angles, np.array(position, np.int32), config)
        states.append(x)
    return np.stack(states), cache


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.llama")
    parser.add_argument(
        "--mode", choices=("numpy", "simulate", "compare"), default="compare"
    )
    parser.add_argument("--steps", type=int, default=16)
    args = parser.parse_args()
    config = Config()
    if not 1 <= args.steps <= config.context:
        parser.error(f"--steps must be between 1 and {config.context}")

    simulated = simulate_jit(decoder_layer)
    layers = {"numpy": decoder_layer, "simulate": simulated}
    modes = list(layers) if args.mode == "compare" else [args.mode]
    results = {mode: generate(layers[mode], config, args.steps) for mode in modes}
    for mode, (states, _) in results.items():
        print(
            f"{mode:>8}: norm of the last hidden state {np.linalg.norm(states[-1]):.5f}"
        )
    if "simulate" in results:
        print(f"programs compiled for {args.steps} steps: {simulated.cache_size()}")
    if args.mode == "compare":
        (ours, our_cache), (theirs, their_cache) = results["simulate"], results["numpy"]
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(our_cache.k, their_cache.k, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(our_cache.v, their_cache.v, rtol=1e-3, atol=1e-4)
        print(f"largest difference: {np.max(np.abs(ours - theirs)):.1e}")


if __name__ == "__main__":
    main()
