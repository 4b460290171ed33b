"""Batches of any size, by a few programs.

    python examples/torch_compile/dynamic_shapes.py

Each size runs the program of its bucket, a power of two. What a bucket has beyond the
batch does not reach the result.
"""

import argparse

import torch
import torch.nn as nn

import spiky
from spiky.torch import init_nkipy_backend

argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
init_nkipy_backend()

model = nn.Linear(32, 64, bias=False)
compiled = torch.compile(model, backend="nkipy", dynamic=True)

x = torch.randn(4, 32)
torch._dynamo.maybe_mark_dynamic(x, 0)  # mark batch dim as dynamic

with torch.no_grad():
    out1 = compiled(x)
    out2 = compiled(torch.randn(16, 32))  # different size, bucket auto-selected
    assert (len(out1), len(out2)) == (4, 16)
    for size in (5, 9, 11, 13, 16):
        x = torch.randn(size, 32)
        torch.testing.assert_close(compiled(x), model(x))

stats = spiky.get_stats()
print(f"{stats.total_executions} calls, {stats.total_compile_count} programs")
print("calls by bucket:", dict(stats.bucket_hits))
