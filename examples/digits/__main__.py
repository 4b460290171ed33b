"""Trains on handwritten digits under NumPy and simulated, and compares.

python -m examples.digits [--mode numpy|simulate|compare] [--epochs N] [--plot FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from examples.digits import model, train
from nkipy.runtime import simulate_jit


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.digits")
    parser.add_argument(
        "--mode", choices=("numpy", "simulate", "compare"), default="compare"
    )
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--plot", type=Path, default=Path("digits_loss.png"))
    return parser.parse_args()


def main() -> None:
    args = parse()
    data = train.load()
    modes = ["numpy", "simulate"] if args.mode == "compare" else [args.mode]
    wrap = {"numpy": lambda kernel: kernel, "simulate": simulate_jit}
    curves: dict[str, np.ndarray] = {}
    for mode in modes:
        step = wrap[mode](model.train_step)
        predict = wrap[mode](model.logits)
        params, curves[mode] = train.train(mode, step, data, epochs=args.epochs)
        score = train.accuracy(predict, params, data)
        print(f"{mode:>8}: loss {curves[mode][-1]:.4f}, test accuracy {score:.2%}")
        if args.epochs >= 25 and score <= 0.95:
            raise SystemExit(f"{mode}: test accuracy {score:.2%} is not above 95 %")
    if len(curves) == 2:
        difference = np.max(np.abs(curves["numpy"] - curves["simulate"]))
        print(f"largest difference between the loss curves: {difference:.1e}")
        np.testing.assert_allclose(curves["simulate"], curves["numpy"], atol=1e-3)
    train.plot(curves, args.plot)
    print(f"loss curve: {args.plot}")


if __name__ == "__main__":
    main()
