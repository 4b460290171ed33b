"""What a graph takes and returns."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from spike_torch.lowered.calls import size_of
from spiky.compiling.walk import value_of


def outputs_of(gm: fx.GraphModule) -> list[Any]:
    """What a graph returns: nodes, None, numbers."""
    (output,) = (n for n in gm.graph.nodes if n.op == "output")
    found = output.args[0]
    return list(found) if isinstance(found, (tuple, list)) else [found]


def dynamic_sizes(node: fx.Node) -> list[tuple[int, Any]]:
    """The dimensions of a tensor that differ from call to call, and their sizes."""
    value = value_of(node)
    sizes = map(size_of, value.shape) if isinstance(value, torch.Tensor) else ()
    return [(d, size) for d, size in enumerate(sizes) if not isinstance(size, int)]
