"""GPT-2 with texts of growing lengths, and writing by what it kept of them.

    python examples/torch_compile/gpt2.py [--longest N] [--words N] [--plot FILE]

Lengths share the programs of a few buckets. Then words are written, each the likeliest,
with keys and values in a cache of a fixed size and in one that grows: the same words as
eager's. The weights are random, and nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

if not __package__:  # started as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.torch_programs import at_least, need_spiky
from nkipy.command_line import run_command

COMMAND = "gpt2"
#: Of a text that words are written after.
BEGINNING = [3, 9, 5]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for option, usual, text in (
        ("--longest", 20, "the most words of a text"),
        ("--words", 6, "that are written"),
    ):
        parser.add_argument(
            option, type=at_least(3), default=usual, metavar="N", help=text
        )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw times, a PNG")
    args = parser.parse_args()
    need_spiky(COMMAND)
    import torch

    torch.set_num_threads(1)  # of which networks as small as this have most
    # Not all versions of transformers know the new name of `past_key_values`.
    warnings.simplefilter("ignore", FutureWarning)
    measured = by_length(args.longest)
    if args.plot:
        plot(measured, args.plot)
        print(f"times by length: {args.plot}")
    write(args.words)


def by_length(longest: int) -> dict[int, tuple[int, float, float]]:
    """For each length: its bucket, and seconds of a compiled and of an eager call."""
    import torch

    import spiky
    from examples.torch_compile.models import TIMES, WORDS, gpt2, seconds

    eager, model = gpt2(positions=longest), gpt2(positions=longest).nkipy()
    compiled = torch.compile(model, backend="nkipy")
    measured = {}
    print("length  bucket  compiled     eager")
    for length in range(2, longest + 1):
        words = torch.randint(WORDS, (1, length))
        there = words.to("nkipy")
        torch._dynamo.mark_dynamic(there, 1)
        with torch.no_grad():
            spiky.reset_stats()
            found = compiled(there).logits.cpu()
            (bucket,) = spiky.get_stats().bucket_hits
            torch.testing.assert_close(found, eager(words).logits, rtol=1e-4, atol=1e-4)
            ours = seconds(lambda there=there: compiled(there))
            theirs = seconds(lambda words=words: eager(words))
        measured[length] = (bucket, ours, theirs)
        print(f"{length:6} {bucket:7} {ours * 1e3:6.2f} ms {theirs * 1e3:6.2f} ms")
    print(f"{len({bucket for bucket, *_ in measured.values()})} programs. {TIMES}")
    return measured


def plot(measured: dict[int, tuple[int, float, float]], path: Path) -> None:
    """Save the times by length as a PNG: all lengths of a bucket take about as long."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for i, name in ((1, "compiled"), (2, "eager, on the CPU")):
        times = [1e3 * row[i] for row in measured.values()]
        axes.plot(list(measured), times, "o-", label=name)
    buckets = sorted({bucket for bucket, *_ in measured.values()})
    for bucket in buckets[:-1]:
        axes.axvline(bucket + 0.5, color="grey", linestyle=":")
    axes.set(xlabel="words", ylabel="ms", ylim=(0, None))
    axes.set_title(f"GPT-2 on this machine, buckets of {', '.join(map(str, buckets))}")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
    plt.close(figure)


def write(count: int) -> None:
    """Write words by both kinds of caches, and compare them with eager's."""
    import torch
    from transformers import DynamicCache, StaticCache

    import spiky
    from examples.torch_compile.models import gpt2

    size = len(BEGINNING) + count
    eager, model = gpt2(positions=size), gpt2(positions=size).nkipy()
    wanted = written(eager, DynamicCache(config=eager.config), count, "cpu")
    caches = {
        "of a fixed size": (StaticCache(config=eager.config, max_cache_len=size), None),
        "that grows": (DynamicCache(config=eager.config), True),
    }
    for name, (cache, dynamic) in caches.items():
        torch._dynamo.reset()
        spiky.reset_stats()
        compiled = torch.compile(model, backend="nkipy", dynamic=dynamic)
        if written(compiled, cache, count, "nkipy") != wanted:
            raise SystemExit(f"{COMMAND}: other words with a cache {name}")
        programs = spiky.get_stats().total_compile_count
        print(f"cache {name}: {count} words as eager's, by {programs} programs")


def written(model: Any, cache: Any, count: int, device: str) -> list[int]:
    """The words that follow, each the likeliest."""
    import torch

    words, position, found = torch.tensor([BEGINNING], device=device), 0, []
    with torch.no_grad():
        for _ in range(count):
            stop = position + words.shape[1]
            out = model(
                input_ids=words,
                past_key_values=cache,
                position_ids=torch.arange(position, stop, device=device)[None],
            )
            words, position = out.logits[:, -1:].argmax(-1), stop
            found.append(int(words))
    return found


if __name__ == "__main__":
    raise SystemExit(run_command(main, COMMAND))
