"""A mixture of experts, which are divided among processes.

Each rank has its own tokens, and some of the experts. Tokens go to the rank of the
expert that is chosen for them, and their results come back. Run it by itself, or as
several ranks::

    torchrun --nproc-per-node 4 -m examples.distributed.expert_parallel
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from examples.modes import MODES
from nkipy import distributed

EXPERTS, TOKENS, MODEL, HIDDEN = 8, 12, 16, 32


def weights(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The router (model, experts), and the layers of all experts: (experts, model,
    hidden) and (experts, hidden, model)."""
    rng = np.random.default_rng(seed)
    shapes = (MODEL, EXPERTS), (EXPERTS, MODEL, HIDDEN), (EXPERTS, HIDDEN, MODEL)
    router, up, down = (rng.standard_normal(s).astype(np.float32) / 4 for s in shapes)
    return router, up, down


def tokens(rank: int) -> np.ndarray:
    """Those of a rank, (tokens, model)."""
    rng = np.random.default_rng(100 + rank)
    return rng.standard_normal((TOKENS, MODEL)).astype(np.float32)


def route(x, router):
    """The probability (tokens, 1) of each token's expert, and (tokens, experts) with a
    one for it."""
    scores = x @ router
    odds = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    odds = odds / np.sum(odds, axis=1, keepdims=True)
    best = np.argmax(scores, axis=1)
    chosen = (np.expand_dims(best, 1) == np.arange(EXPERTS)).astype(np.float32)
    return np.max(odds, axis=1, keepdims=True), chosen


def mixture(x, router, up, down):
    """The results (tokens, model) of this rank's tokens.

    Args:
        x: this rank's tokens.
        router: of all experts.
        up, down: the layers of this rank's experts.
    """
    groups = distributed.replica_groups()
    odds, chosen = route(x, router)
    # Each expert has a place for each token of each rank.
    place = np.cumsum(chosen, axis=0) - 1
    places = np.expand_dims(place, 2) == np.arange(TOKENS).astype(np.float32)
    sending = np.expand_dims(chosen, 2) * places.astype(np.float32)
    sent = np.einsum("tec,tm->ecm", sending, x)
    received = distributed.all_to_all(sent, 0, 1, groups)
    hidden = np.maximum(np.einsum("ecm,emh->ech", received, up), 0)
    made = np.einsum("ech,ehm->ecm", hidden, down)
    back = distributed.all_to_all(made, 1, 0, groups)
    return odds * np.einsum("tec,ecm->tm", sending, back)


def in_one(x, router, up, down):
    """The same in NumPy, token by token, with all experts."""
    odds, chosen = route(x, router)
    best = chosen.argmax(axis=1)
    made = [np.maximum(t @ up[e], 0) @ down[e] for t, e in zip(x, best)]
    return odds * np.array(made)


def run(mode: str) -> float:
    """The largest difference between the mixture over all ranks, and NumPy's in one."""
    router, up, down = weights()
    x = tokens(distributed.rank())
    made = MODES[mode](mixture)(
        x, router, distributed.shard(up, 0), distributed.shard(down, 0)
    )
    return float(np.abs(made - in_one(x, router, up, down)).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mode", choices=("simulate", "baremetal"), default="baremetal"
    )
    args = parser.parse_args()
    difference = run(args.mode)
    who = f"rank {distributed.rank()} of {distributed.world_size()}"
    sys.stdout.write(f"{who}: largest difference, {args.mode}: {difference:.1e}\n")


if __name__ == "__main__":
    main()
