"""Has what takes elements by their places in memory read the tensor that owns it.

Between compiled parts a view is a tensor of its own, without what is around it.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from spiky.compiling.walk import value_of

_as_strided = torch.ops.aten.as_strided.default


def read_owners(gm: fx.GraphModule) -> None:
    """Change a graph so that ``as_strided`` is of no view that the graph makes."""
    for node in gm.graph.find_nodes(op="call_function", target=_as_strided):
        source, size, stride, offset = (*node.args, None)[:4]
        offset = node.kwargs.get("storage_offset", offset)
        owner = owner_of(source)
        if offset is None:
            offset = value_of(source).storage_offset()
        if owner is not source and isinstance(offset, (int, fx.Node)):
            node.args = (owner, size, stride, offset)
            node.kwargs = {}


def owner_of(node: fx.Node) -> fx.Node:
    """The node that a view is of, through other views; a node itself if it is none."""
    storage = _storage(node)
    while node.op == "call_function" and node.args:
        source: Any = node.args[0]
        if node.target is operator.getitem:
            source = source.args[0]
        if not isinstance(source, fx.Node) or _storage(source) != storage:
            break
        node = source
    return node


def _storage(node: fx.Node) -> int | None:
    value = value_of(node)
    if not isinstance(value, torch.Tensor):
        return None
    return value.untyped_storage()._cdata
