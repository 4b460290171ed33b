"""Divides a graph into parts that are compiled, and what runs between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import fx
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import OperatorSupportBase

from spiky.compiling.walk import is_copy_to_input, is_number, value_of

#: Makes the function of a part, which is the graph's n-th.
MakePart = Callable[[int, fx.GraphModule], Callable[..., Any]]


class _Support(OperatorSupportBase):
    def __init__(self, refused: Collection[fx.Node]) -> None:
        self.refused = refused

    def is_node_supported(
        self, submodules: Mapping[str, torch.nn.Module], node: fx.Node
    ) -> bool:
        if node.op not in ("call_function", "get_attr") or node in self.refused:
            return False
        # Numbers are Python's in between; what is written to is written at the end.
        return not is_number(value_of(node)) and not is_copy_to_input(node)


def partitioned(
    gm: fx.GraphModule, refused: Collection[fx.Node], make: MakePart
) -> Callable[..., Any]:
    """The graph, with parts of it compiled.

    Args:
        gm: the graph; it is changed.
        refused: nodes that run eagerly.
        make: compiles a part.
    """
    partitioner = CapabilityBasedPartitioner(
        gm, _Support(refused), allows_single_node_partition=True
    )
    fused = partitioner.fuse_partitions(partitioner.propose_partitions())
    parts = [n for n in fused.graph.nodes if n.op == "call_module"]
    for number, node in enumerate(parts):
        target = str(node.target)
        part = make(number, getattr(fused, target))
        fused.delete_submodule(target)
        setattr(fused, target, _Called(part))
    fused.recompile()
    return fused.forward


class _Called(torch.nn.Module):
    """A part where the graph looks for it."""

    def __init__(self, part: Callable[..., Any]) -> None:
        super().__init__()
        self.part = part

    def forward(self, *arguments: Any) -> Any:
        made = self.part(*arguments)
        is_alone = isinstance(made, (list, tuple)) and len(made) == 1
        return made[0] if is_alone else made
