"""Images through a residual network, compiled: how many in a second, and eager's.

    python examples/torch_compile/resnet.py [--largest N]

Batches of any size take the programs of a few buckets. The weights are random.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # started as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.torch_programs import at_least, need_spiky
from nkipy.command_line import run_command

COMMAND = "resnet"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--largest", type=at_least(3), default=12, metavar="N", help="batch"
    )
    largest = parser.parse_args().largest
    need_spiky(COMMAND)
    import torch

    import spiky
    from examples.torch_compile.models import TIMES, resnet, seconds

    torch.set_num_threads(1)  # of which networks as small as this have most
    eager, model = resnet(), resnet().nkipy()
    compiled = torch.compile(model, backend="nkipy")
    print("batch  compiled        eager")
    for batch in sorted({3, largest // 2, largest} - {0, 1}):
        images = torch.randn(batch, 3, 32, 32)
        there = images.to("nkipy")
        torch._dynamo.mark_dynamic(there, 0)
        with torch.no_grad():
            found = compiled(there).logits.cpu()
            torch.testing.assert_close(
                found, eager(images).logits, rtol=1e-4, atol=1e-4
            )
            ours = batch / seconds(lambda there=there: compiled(there))
            theirs = batch / seconds(lambda images=images: eager(images))
        print(f"{batch:5} {ours:7.0f} /s {theirs:10.0f} /s")
    stats = spiky.get_stats()
    print(f"calls by bucket: {dict(stats.bucket_hits)}")
    print(f"{stats.total_compile_count} programs. {TIMES}")


if __name__ == "__main__":
    raise SystemExit(run_command(main, COMMAND))
