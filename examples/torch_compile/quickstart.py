"""A linear layer, compiled for a core: python examples/torch_compile/quickstart.py"""

import argparse

import torch
import torch.nn as nn

from spiky.torch import init_nkipy_backend

argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
init_nkipy_backend(nkipy_cache="./nkipy_cache")

model = nn.Linear(32, 64, bias=False)
compiled = torch.compile(model, backend="nkipy")

with torch.no_grad():
    x = torch.randn(1, 32)
    out = compiled(x)

torch.testing.assert_close(out, model(x))
print(f"{tuple(out.shape)} on {out.device}: as eager says")
