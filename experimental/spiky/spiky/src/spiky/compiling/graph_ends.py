"""What a graph takes and returns."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch._functorch._aot_autograd.schemas import OutputType
from torch._guards import TracingContext

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


def count_shown(name: str) -> int | None:
    """How many results of a graph the user gets; None: all. Gradients are copies."""
    if name == "inference":
        return None
    return _forward_count() if name == "forward" else 0


def _forward_count() -> int:
    """How many results of the forward graph are not for its backward graph alone."""
    metadata = _forward_metadata()
    return 0 if metadata is None else int(metadata.num_forward)


def _forward_metadata() -> Any:
    """What AOT autograd knows of the forward graph; None where there is no other."""
    context = TracingContext.try_get()
    return context.fw_metadata if context is not None else None


def remade_names(gm: fx.GraphModule) -> set[str]:
    """The names of results of a forward graph that torch makes other tensors of.

    These have the same memory; but what was said of a result is lost.
    """
    metadata = _forward_metadata()
    if metadata is None:
        return set()
    returned = outputs_of(gm)[metadata.num_mutated_inp_runtime_indices :]
    return {
        node.name
        for node, info in zip(returned, metadata.output_info)
        if info.output_type is OutputType.unsafe_view_alias
        and isinstance(node, fx.Node)
    }


def saved_names(gm: fx.GraphModule) -> set[str]:
    """The names of what a forward graph returns for its backward graph alone."""
    count = _forward_count()
    if not count:
        return set()
    returned = outputs_of(gm)
    shown, saved = returned[:count], returned[count:]
    return {n.name for n in saved if isinstance(n, fx.Node) and n not in shown}
