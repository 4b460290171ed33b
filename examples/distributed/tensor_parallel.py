"""A decoder layer whose heads and hidden units are divided among processes.

Each rank has its part of the weights and of the cache; what the parts contribute is
added up twice a layer. Run it by itself, or as several ranks::

    torchrun --nproc-per-node 4 -m examples.distributed.tensor_parallel
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from examples.llama.decoder import (
    Cache,
    Config,
    Weights,
    decoder_layer,
    init_cache,
    init_weights,
    rotary_table,
)
from examples.modes import MODES
from nkipy import distributed

CONFIG = Config(kv_heads=4)
BATCH = 2


def own_weights(whole: Weights) -> Weights:
    """What this rank has: columns of what comes first, and rows of what follows."""
    return Weights(
        wq=distributed.shard(whole.wq, 1),
        wk=distributed.shard(whole.wk, 1),
        wv=distributed.shard(whole.wv, 1),
        wo=distributed.shard(whole.wo, 0),
        gate=distributed.shard(whole.gate, 1),
        up=distributed.shard(whole.up, 1),
        down=distributed.shard(whole.down, 0),
        attention_norm=whole.attention_norm,
        ffn_norm=whole.ffn_norm,
    )


def own_cache(whole: Cache) -> Cache:
    """The keys and values of this rank's heads."""
    return Cache(*(np.array(distributed.shard(part, 2)) for part in (whole.k, whole.v)))


def layer(x, weights, cache, angles, position):
    """The layer over all ranks; see :func:`decoder_layer`."""

    def total(part):
        return distributed.all_reduce(part, distributed.replica_groups())

    return decoder_layer(x, weights, cache, angles, position, CONFIG, total)


def run(mode: str, steps: int) -> float:
    """The largest difference between the layer over all ranks, and NumPy's in one."""
    weights, cache = init_weights(CONFIG), init_cache(CONFIG, BATCH)
    angles = rotary_table(CONFIG)
    mine, my_cache = own_weights(weights), own_cache(cache)
    kernel = MODES[mode](layer)
    x = np.random.default_rng(1).standard_normal((BATCH, CONFIG.model), np.float32)
    largest = 0.0
    for step in range(steps):
        position = np.array(step, np.int32)
        expected = decoder_layer(x, weights, cache, angles, position, CONFIG)
        x = kernel(x, mine, my_cache, angles, position)
        largest = max(largest, float(np.abs(x - expected).max()))
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mode", choices=("simulate", "baremetal"), default="baremetal"
    )
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    difference = run(args.mode, args.steps)
    who = f"rank {distributed.rank()} of {distributed.world_size()}"
    sys.stdout.write(f"{who}: largest difference, {args.mode}: {difference:.1e}\n")


if __name__ == "__main__":
    main()
