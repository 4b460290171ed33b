"""Computes numbers that cores lack on the host, before the rest of a graph runs.

torch takes Python's floats that may differ from call to call as tensors of float64
without dimensions. What is computed of them alone is little, and comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import fx

from spiky.compiling.walk import is_number, value_of


def split_prelude(
    gm: fx.GraphModule, refused: Collection[fx.Node]
) -> tuple[Callable[..., Any], fx.GraphModule] | None:
    """What is computed of numbers alone, apart from the rest of a graph.

    Args:
        gm: the graph; it is not changed.
        refused: its nodes that have no lowering.

    Returns:
        A function of the graph's arguments, and the rest, which takes what that returns
        as more arguments; None if nodes without lowering are left in it.
    """
    if not refused or not _are_of_numbers(gm, refused):
        return None
    used = [n for n in gm.graph.nodes if n in refused and set(n.users) - set(refused)]
    first, rest = fx.Graph(), fx.Graph()
    own: dict[fx.Node, fx.Node] = {}
    others: dict[fx.Node, fx.Node] = {}
    for node in gm.graph.nodes:
        if node.op == "placeholder":
            own[node] = first.node_copy(node)
            others[node] = rest.node_copy(node)
    for node in used:
        others[node] = rest.placeholder(node.name)
        others[node].meta = dict(node.meta)
    for node in gm.graph.nodes:
        if node.op == "placeholder":
            continue
        if _is_for_the_host(node, own):
            own[node] = first.node_copy(node, own.__getitem__)
        if node not in refused:
            others[node] = rest.node_copy(node, others.__getitem__)
    first.output(tuple(own[n] for n in used))
    first.eliminate_dead_code()
    return fx.GraphModule(gm, first).forward, fx.GraphModule(gm, rest)


def _are_of_numbers(gm: fx.GraphModule, refused: Collection[fx.Node]) -> bool:
    """Whether nodes compute numbers of the graph's arguments, and of nothing else."""
    known: set[fx.Node] = set()
    for node in gm.graph.nodes:
        if node.op == "placeholder" or _is_for_the_host(node, known):
            known.add(node)
    return known.issuperset(refused)


def _is_for_the_host(node: fx.Node, known: Collection[fx.Node]) -> bool:
    return _is_computed_number(node, known) or _is_of_numbers(node, known)


def _is_of_numbers(node: fx.Node, known: Collection[fx.Node]) -> bool:
    """Whether a node has no dimensions, and is computed of what has none.

    A node that draws or writes is none of these.
    """
    target, given = node.target, node.all_input_nodes
    if not isinstance(target, torch._ops.OpOverload) or target._schema.is_mutable:
        return False
    if torch.Tag.nondeterministic_seeded in target.tags:
        return False
    return all(map(_has_no_dimensions, (node, *given))) and set(given) <= set(known)


def _has_no_dimensions(node: fx.Node) -> bool:
    value = value_of(node)
    if is_number(value):
        return True
    is_tensor = isinstance(value, torch.Tensor)
    return is_tensor and value.dim() == 0 and value.device.type == "cpu"


def _is_computed_number(node: fx.Node, known: Collection[fx.Node]) -> bool:
    """Whether a node computes a number of sizes, and of other numbers."""
    is_computed = node.op == "call_function" and is_number(value_of(node))
    return is_computed and set(node.all_input_nodes) <= set(known)
