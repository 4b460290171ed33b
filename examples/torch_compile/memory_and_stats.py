"""What compiled functions did, and the memory that they took.

python examples/torch_compile/memory_and_stats.py
"""

import argparse

import torch
import torch.nn as nn

import spiky
from spiky.torch import init_nkipy_backend

argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
init_nkipy_backend()
compiled = torch.compile(nn.Linear(32, 64).nkipy(), backend="nkipy", dynamic=True)
with torch.no_grad():
    for size in (4, 16, 3):
        compiled(torch.randn(size, 32, device="nkipy"))

stats = spiky.get_stats()
print(stats.total_executions, stats.bucket_hits)

mem = spiky.get_memory_stats()
print(f"Used: {mem['used_bytes']}, Cached: {mem['cached_bytes']}")

spiky.trim_memory_pool(target_bytes=0)
spiky.reset_stats()
