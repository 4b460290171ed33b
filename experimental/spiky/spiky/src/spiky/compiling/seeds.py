"""Seeds of programs that draw random numbers, drawn by torch's own generators."""

from __future__ import annotations

import torch
from torch import fx

from spiky.compiling.walk import value_of


def generator_device(gm: fx.GraphModule) -> str:
    """The device whose generator a graph draws by."""
    for node in gm.graph.nodes:
        value = value_of(node)
        if isinstance(value, torch.Tensor) and value.device.type == "nkipy":
            return str(value.device)
    return "cpu"


def new_seed(device: str) -> torch.Tensor:
    """The next seed, u32[2], by the default generator of a device."""
    bits = torch.randint(-(1 << 31), 1 << 31, (2,), dtype=torch.int32, device=device)
    return bits.view(torch.uint32)


def is_random(node: fx.Node) -> bool:
    """Whether an operator draws random numbers."""
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags
