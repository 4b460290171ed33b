"""Options of one compiled function: python examples/torch_compile/options.py

Results stay on the core, as large as their bucket, and go into the next layer so.
"""

import argparse

import torch
import torch.nn as nn

import spiky
from spiky.torch import init_nkipy_backend

argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
init_nkipy_backend()

model = nn.Linear(32, 64, bias=False)
compiled = torch.compile(
    model,
    backend="nkipy",
    options={
        "pipelined": True,
        "pad_on_device": True,
        "output_layout": "padded",
        "input_layout": "padded",
        "keep_outputs_on_device": True,
    },
)

x = torch.randn(5, 32)
with torch.no_grad():
    out = compiled(x)  # no dimension is dynamic: layouts change nothing
    print(f"{tuple(out.shape)} on {out.device}")
    torch.testing.assert_close(out.cpu(), model(x))

    # With a dynamic one, inputs tell how much of them counts, and outputs do so too.
    compiled = torch.compile(
        model,
        backend="nkipy",
        dynamic=True,
        options={"input_layout": "padded", "output_layout": "padded"},
    )
    (padded,) = spiky.pad_inputs([x], padded_size=8)
    out = compiled(padded)
    rows = spiky.unpad_outputs(out)
    print(f"{tuple(out.shape)}, of which {tuple(rows.shape)} count")
    torch.testing.assert_close(rows.cpu(), model(x))
