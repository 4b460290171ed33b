"""Divides a graph into parts that are compiled, and what runs between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import fx
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import OperatorSupportBase

from spiky.compiling import symbols as sym
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


def copied(gm: fx.GraphModule) -> fx.GraphModule:
    """A graph of nodes of its own, which have the same names."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(gm.graph, {}))
    return fx.GraphModule(gm, graph)


def partitioned(
    gm: fx.GraphModule, refused: Collection[fx.Node], make: MakePart
) -> fx.GraphModule:
    """The graph, with parts of it compiled, each a submodule.

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
        _give_symbols(fused, node, getattr(fused, target))
        graph = getattr(fused, target)
        part = make(number, graph)
        fused.delete_submodule(target)
        setattr(fused, target, CompiledPart(part, graph))
    fused.recompile()
    return fused


def _give_symbols(outer: fx.GraphModule, node: fx.Node, part: fx.GraphModule) -> None:
    """Give a part the sizes that its own arguments do not tell, as more arguments."""
    own = [n for n in part.graph.nodes if n.op == "placeholder"]
    missing = sym.untold(own)
    if not missing:
        return
    given = [n for n in outer.graph.nodes if n.op == "placeholder"]
    sources = sym.find_symbols(given)
    more = []
    for symbol in missing:
        place, dimension = sources[symbol]
        size = given[place]
        if dimension is not None:
            value = value_of(size).shape[dimension]
            with outer.graph.inserting_before(node):
                size = outer.graph.call_function(
                    torch.ops.aten.sym_size.int, (size, dimension)
                )
            size.meta["val"] = value
        more.append(size)
        with part.graph.inserting_after(own[-1]) if own else nullcontext():
            own.append(part.graph.placeholder(f"size_{symbol}"))
        own[-1].meta["val"] = value_of(size)
    node.args = (*node.args, *more)
    part.recompile()


class CompiledPart(torch.nn.Module):
    """A part where the graph looks for it.

    Attributes:
        part: the function that it is.
        nodes: what that computes.
    """

    def __init__(self, part: Callable[..., Any], gm: fx.GraphModule) -> None:
        super().__init__()
        self.part = part
        self.nodes = list(gm.graph.nodes)

    def forward(self, *arguments: Any) -> Any:
        made = self.part(*arguments)
        is_alone = isinstance(made, (list, tuple)) and len(made) == 1
        return made[0] if is_alone else made
