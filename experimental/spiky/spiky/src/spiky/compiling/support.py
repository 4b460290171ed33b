"""Which nodes of a graph become HLO, and which run eagerly."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from nkipy.hlo.ir import HLOModule
from spike_torch.lowered.calls import lower_call, result_of, unlowered
from spike_torch.lowering import (
    Array,
    Graph,
    NeedsExactSize,
    Sizes,
    UnknownSize,
    Unsupported,
)
from spike_torch.lowering.dtypes import hlo_dtype
from spiky.compiling import symbols as sym
from spiky.compiling.functionalized import is_functionalized, lower_functionalized
from spiky.compiling.sources import location_of
from spiky.compiling.walk import is_copy_to_input, is_number, number_of, value_of

#: Why what takes or returns a size runs eagerly that only data tells.
OF_DATA = "has a size that depends on data"
#: Nodes that run eagerly, and why.
Refused = Mapping[fx.Node, str]
#: The devices that programs take tensors of.
DEVICES = ("cpu", "nkipy")


def refusal_of(node: fx.Node, sizes: Sizes) -> str | None:
    """Why a node is left to run eagerly; None if it has a lowering.

    It is lowered by itself, which costs little, and is right by construction.
    """
    if node.op in ("placeholder", "output"):
        return None
    if node.op == "get_attr":
        return None if _is_plain(value_of(node)) else f"takes {node.target}"
    if isinstance(node.target, torch._ops.OpOverload):
        why = unlowered(node.target)
        if why:
            return why
    if is_number(value_of(node)):
        return None
    if node.target is operator.getitem:
        return None  # with what it takes from
    if is_copy_to_input(node):
        return None
    if not is_functionalized(node):
        if not isinstance(node.target, torch._ops.OpOverload):
            return "is no operator of torch's"
        if node.target._schema.is_mutable:
            return "writes to its arguments"
    try:
        lower_alone(node, sizes)
    except NeedsExactSize:
        pass
    except UnknownSize:
        return OF_DATA
    except Unsupported as error:
        return str(error)
    return None


def lower_alone(node: fx.Node, sizes: Sizes) -> HLOModule:
    """The module of one operation, of whose arguments each is a parameter.

    Raises:
        Unsupported, NeedsExactSize: as of lower_call.
    """
    g = Graph("one", sizes, seeded=True)
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: _argument(g, n))
    with g.b.at(location_of(node)):
        if is_functionalized(node):
            made = lower_functionalized(g, args, kwargs, value_of(node))
        else:
            made = lower_call(g, node.target, args, kwargs, value_of(node))
    arrays = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Array)]
    g.module.set_results([array.value for array in arrays])
    return g.module


def _argument(g: Graph, node: fx.Node) -> Any:
    return _as_argument(g, value_of(node))


def _as_argument(g: Graph, value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_as_argument(g, part) for part in value]
    if not isinstance(value, torch.Tensor):
        return number_of(value)
    if not _is_plain(value):
        raise Unsupported(f"takes a tensor of {value.layout} on {value.device}")
    result = result_of(value)
    dims = g.dims([g.sizes.of(size) for size in result.sizes])
    shape = [d.padded for d in dims]
    return Array(g.module.add_parameter(shape, hlo_dtype(result.dtype)), dims)


def _is_plain(value: Any) -> bool:
    is_tensor = isinstance(value, torch.Tensor)
    return is_tensor and value.layout == torch.strided and value.device.type in DEVICES


def refusals(gm: fx.GraphModule) -> Refused:
    """Nodes that have no lowering, and why."""
    sizes = trial_sizes(gm)
    found: dict[fx.Node, str] = {}
    for node in gm.graph.nodes:
        why = refusal_of(node, sizes)
        source = node.args[0] if node.target is operator.getitem else None
        if why is None and isinstance(source, fx.Node) and source in found:
            why = found[source]
        if why is not None:
            found[node] = why
    return found


def trial_sizes(gm: fx.GraphModule) -> Sizes:
    """Buckets of the sizes that torch has seen, to try lowerings with."""
    placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"]
    symbols = sym.symbols_of(placeholders)
    return Sizes({s: 2 * n for s, n in sym.hints(gm, symbols).items()})
