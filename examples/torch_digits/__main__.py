"""Trains torch networks on handwritten digits, on the device "nkipy" and on the CPU.

    python -m examples.torch_digits [--model convolutional|transformer] [--steps N]

Model, data and optimizer are on the device. With the same seed the CPU has the same
numbers: the largest difference of the loss is printed. Weights are saved, and loaded
on the CPU and on the device.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # started as "python examples/torch_digits"
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.torch_programs import at_least, need_torch
from nkipy.command_line import run_command

if TYPE_CHECKING:
    from torch import nn

    from examples.torch_digits.train import Data

COMMAND = "examples.torch_digits"
NAMES = ("convolutional", "transformer")
DEVICES = ("cpu", "nkipy")
#: From as many steps on, the test images must be told apart.
ENOUGH_STEPS = 300


def result_file(text: str) -> Path:
    """Where a result goes: a file, or a name that is free."""
    path = Path(text)
    if path.is_dir() or text.endswith("/"):
        raise argparse.ArgumentTypeError(f"{text} is a folder, not a file")
    parent = next(p for p in path.absolute().parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{parent} is no folder to write {text} into")
    return path


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {COMMAND}", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--model", choices=NAMES, help="without it: both")
    for option, least, usual, text in (
        ("--steps", 1, ENOUGH_STEPS, "of the optimizer, on each device"),
        ("--seed", 0, 0, "of weights, batches and dropout"),
    ):
        parser.add_argument(
            option, type=at_least(least), default=usual, metavar="N", help=text
        )
    parser.add_argument(
        "--plot", type=result_file, metavar="FILE", help="draw the losses, as a PNG"
    )
    parser.add_argument(
        "--save", type=result_file, metavar="FILE", help="keep the weights"
    )
    args = parser.parse_args()
    if args.plot and args.save and args.plot.resolve() == args.save.resolve():
        parser.error(f"--plot and --save are one file: {args.plot}")
    return args


def main() -> None:
    args = parse()
    need_torch(COMMAND)
    import torch

    from examples.torch_digits import train

    torch.set_num_threads(1)  # of which networks as small as these have most
    data = {device: train.load(device) for device in DEVICES}
    curves: dict[str, dict] = {}
    models: dict[str, nn.Module] = {}
    for name in [args.model] if args.model else NAMES:
        curves[name] = {}
        for device in DEVICES:
            done = train.train(name, data[device], args.steps, seed=args.seed)
            curves[name][device] = done.losses
        models[name] = done.model
        score = train.accuracy(done.model, data["nkipy"])
        difference = abs(curves[name]["nkipy"] - curves[name]["cpu"]).max()
        print(
            f"{name}: loss {done.losses[-1]:.4f}, test accuracy {score:.2%}, largest "
            f"difference of the loss from the CPU's: {difference:.1e}"
        )
        if args.steps >= ENOUGH_STEPS and score <= 0.95:
            raise SystemExit(f"{name}: test accuracy {score:.2%} is not above 95 %")
    save_and_load(models, data, args.save)
    if args.plot:
        train.plot(curves, args.plot)
        print(f"loss curves: {args.plot}")


def save_and_load(
    models: dict[str, nn.Module], data: dict[str, Data], kept: Path | None
) -> None:
    """Save what was trained, and see that what is loaded predicts the same."""
    import torch

    from examples.torch_digits import train

    with tempfile.TemporaryDirectory() as folder:
        file = kept or Path(folder, "weights.pt")
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({name: model.state_dict() for name, model in models.items()}, file)
        for name, model in models.items():
            wanted = train.predictions(model, data["nkipy"].x_test)
            for device in DEVICES:
                loaded = train.restored(name, file, device)
                found = train.predictions(loaded, data[device].x_test)
                torch.testing.assert_close(found, wanted)
                print(f"{name}, saved and loaded on {device}: the same predictions")
    if kept:
        print(f"weights: {kept}")


if __name__ == "__main__":
    raise SystemExit(run_command(main, COMMAND))
