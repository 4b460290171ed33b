"""Trains on handwritten digits under NumPy, simulated and on a NeuronCore; compares.

    python -m examples.digits [--mode numpy|simulate|baremetal|compare] [--epochs N]

On the device, the weights stay there: each step changes them in place, and only images,
labels and the loss move.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from examples.digits import model, train
from examples.modes import MODES, add_mode, chosen, resident
from nkipy.command_line import run_command


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.digits")
    add_mode(parser)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the loss, as a PNG"
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    data = train.load()
    curves: dict[str, np.ndarray] = {}
    for mode in chosen(args.mode):
        jit = MODES[mode]
        params = resident(model.init(), mode)
        curves[mode] = train.train(
            mode, jit(model.train_step), params, data, epochs=args.epochs
        )
        score = train.accuracy(jit(model.logits), params, data)
        print(f"{mode:>9}: loss {curves[mode][-1]:.4f}, test accuracy {score:.2%}")
        if args.epochs >= 25 and score <= 0.95:
            raise SystemExit(f"{mode}: test accuracy {score:.2%} is not above 95 %")
    if args.mode == "compare":
        for mode in ("simulate", "baremetal"):
            difference = np.max(np.abs(curves["numpy"] - curves[mode]))
            print(f"largest difference of the loss, {mode}: {difference:.1e}")
            np.testing.assert_allclose(curves[mode], curves["numpy"], atol=1e-3)
    if args.plot:
        train.plot(curves, args.plot)
        print(f"loss curve: {args.plot}")


if __name__ == "__main__":
    raise SystemExit(run_command(main, "examples.digits"))
