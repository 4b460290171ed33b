"""A BERT-like encoder that learns to tell handwritten digits: compiled, and eager.

    python examples/torch_compile/fine_tuning.py [--steps N]

An image is a text of 16 words, each of which says how dark a part of it is. Forward and
backward are compiled; losses are eager's. The weights are random at first.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # started as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.torch_programs import at_least, need_spiky
from nkipy.command_line import run_command

if TYPE_CHECKING:
    import torch

COMMAND = "fine_tuning"
BATCH = 32
#: From as many steps on, the loss must have become less than half.
ENOUGH_STEPS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=at_least(2), default=ENOUGH_STEPS, metavar="N")
    steps = parser.parse_args().steps
    need_spiky(COMMAND)
    import torch

    from examples.torch_compile.models import TIMES

    torch.set_num_threads(1)  # of which networks as small as this have most
    texts, labels = digits()
    ours, rate = train(texts, labels, steps, compiled=True)
    theirs, other_rate = train(texts, labels, steps, compiled=False)
    difference = max(abs(a - b) for a, b in zip(ours, theirs))
    print(f"loss {ours[0]:.4f}, after {steps} steps {ours[-1]:.4f}")
    print(f"largest difference of the loss from eager's: {difference:.1e}")
    print(f"compiled: {rate:.0f} texts/s; eager, on the CPU: {other_rate:.0f} texts/s")
    print(TIMES)
    if difference > 1e-3 * steps:
        raise SystemExit(f"{COMMAND}: the losses are not eager's")
    if steps >= ENOUGH_STEPS and ours[-1] > ours[0] / 2:
        raise SystemExit(f"{COMMAND}: the loss {ours[-1]:.3f} is not small")


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Texts (n, 16) of words from 0 to 16, and their digits (n,), both int64."""
    import torch
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().images).float()
    parts = torch.nn.functional.avg_pool2d(images[:, None], 2)
    return parts.flatten(1).round().long(), torch.from_numpy(load_digits().target)


def train(
    texts: torch.Tensor, labels: torch.Tensor, steps: int, *, compiled: bool
) -> tuple[list[float], float]:
    """The loss of each step, and texts in a second from the second step on."""
    import torch

    from examples.torch_compile.models import bert

    device = "nkipy" if compiled else "cpu"
    model = bert(words=17, length=16, labels=10).to(device).train()
    step = torch.compile(model, backend="nkipy") if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    losses, start = [], 0.0
    for i in range(steps):
        chosen = torch.randint(len(texts), (BATCH,), generator=generator)
        text, label = texts[chosen].to(device), labels[chosen].to(device)
        optimizer.zero_grad()
        loss = step(input_ids=text, labels=label).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if i == 0:
            start = time.perf_counter()  # the first step compiles
    return losses, BATCH * (steps - 1) / (time.perf_counter() - start)


if __name__ == "__main__":
    raise SystemExit(run_command(main, COMMAND))
