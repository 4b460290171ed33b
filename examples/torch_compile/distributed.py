"""A model on each of several cores, one process for each.

    torchrun --nproc-per-node 2 examples/torch_compile/distributed.py

The model has no collective: each rank computes with numbers of its own.
"""

import argparse

import torch
import torch.distributed as dist
import torch.nn as nn

from spiky.torch import get_nkipy_backend_config, init_nkipy_backend

argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
dist.init_process_group("gloo")
init_nkipy_backend()  # rank, world_size auto-detected from dist

model = nn.Linear(32, 64, bias=False)
compiled = torch.compile(model, backend="nkipy", fullgraph=True)

with torch.no_grad():
    x = torch.randn(1, 32)
    out = compiled(x)

torch.testing.assert_close(out, model(x))
config = get_nkipy_backend_config()
print(f"rank {config.rank} of {config.world_size}: {tuple(out.shape)}", flush=True)
dist.destroy_process_group()
