"""From a graph of torch's operators to a module of HLO."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import fx
from torch._subclasses.fake_tensor import unset_fake_temporarily

from spike_torch.lowered.calls import lower_call, size_of
from spike_torch.lowering import (
    Array,
    Dim,
    Graph,
    NeedsExactSize,
    Size,
    Sizes,
    Unsupported,
)
from spike_torch.lowering.arrays import unpadded
from spike_torch.lowering.dtypes import hlo_dtype
from spike_torch.tensors import array_of
from spiky.compiling.functionalized import is_functionalized, lower_functionalized
from spiky.compiling.layout import inverse, memory_order
from spiky.compiling.sources import location_of


class Lowered(NamedTuple):
    """A module without results as yet, and what its values are.

    Attributes:
        graph: the module, under ``graph.module``.
        inputs: for each placeholder that is a tensor, by its name: its Array, whose
            dimensions are in the order of `orders`.
        orders: for each of these, which of the tensor's dimensions they are.
        values: what each node computes: an Array, a number, or a tuple of such.
        written: for each placeholder that the graph copies to, by its name: what.
        masks: nodes that padding would have reached; sizes, and what it is replaced by.
    """

    graph: Graph
    inputs: dict[str, Array]
    orders: dict[str, tuple[int, ...]]
    values: dict[fx.Node, Any]
    written: dict[str, Array]
    masks: list[tuple[fx.Node, Size, Any]]


#: What stands for dimensions of a placeholder that come otherwise than their sizes say.
Layouts = Mapping[str, tuple[Dim, ...]]


def value_of(node: fx.Node) -> Any:
    """What torch has found a node to return: fake tensors, symbolic numbers."""
    return node.meta.get("val")


def lower_graph(
    gm: fx.GraphModule, name: str, sizes: Sizes, layouts: Layouts | None = None
) -> Lowered:
    """The module of a graph, all of whose nodes have lowerings.

    Args:
        gm: the graph, with torch's fake results in each node's ``meta["val"]``.
        name: the module's.
        sizes: the symbols among the placeholders' sizes, and their buckets.
        layouts: dimensions of placeholders, by name.

    Raises:
        Unsupported, NeedsExactSize: a node cannot be lowered; the text begins with the
            operator's name.
    """
    return _Walk(gm, Graph(name, sizes, seeded=True), layouts or {}).run()


class _Walk:
    def __init__(self, gm: fx.GraphModule, g: Graph, layouts: Layouts) -> None:
        self.gm = gm
        self.g = g
        self.values: dict[fx.Node, Any] = {}
        self.layouts = layouts
        self.inputs: dict[str, Array] = {}
        self.orders: dict[str, tuple[int, ...]] = {}
        self.targets = {n.args[0] for n in gm.graph.nodes if is_copy_to_input(n)}
        self.written: dict[str, Array] = {}
        self.masks: list[tuple[fx.Node, Size, Any]] = []

    def run(self) -> Lowered:
        for node in self.gm.graph.nodes:
            if node.op == "placeholder":
                with explained(node):
                    self.values[node] = self._placeholder(node)
        for node in self.gm.graph.nodes:
            if node.op not in ("placeholder", "output"):
                with self.g.b.at(location_of(node)), explained(node):
                    self.values[node] = self._node(node)
                self.masks += ((node, *mask) for mask in self.g.masks)
                self.g.masks.clear()
        return Lowered(
            *(self.g, self.inputs, self.orders, self.values, self.written, self.masks)
        )

    def _placeholder(self, node: fx.Node) -> Any:
        value = value_of(node)
        if not isinstance(value, torch.Tensor):
            return value if value is None else number_of(value)
        if all(user.op == "output" for user in node.users):
            return None  # it is returned itself, if at all, and never read
        dims = self.layouts.get(node.name)
        if dims is None:
            dims = self.g.dims([size_of(n) for n in value.shape])
        # What lies in memory in another order is read in that order. What is written
        # to has the tensor's own: so has what is written.
        own = tuple(range(len(dims)))
        order = own if node in self.targets else memory_order(value)
        dims = tuple(dims[d] for d in order)
        shape = [d.padded for d in dims]
        name = f"input{len(self.inputs)}"  # whatever torch calls it
        made = self.g.module.add_parameter(shape, hlo_dtype(value.dtype), name)
        self.inputs[node.name] = Array(made, dims)
        self.orders[node.name] = order
        return self.g.transpose(self.inputs[node.name], inverse(order))

    def _node(self, node: fx.Node) -> Any:
        if node.op == "get_attr":
            return self._constant(node)
        if node.target is operator.getitem:
            part = self.values[node.args[0]][node.args[1]]  # type: ignore[index]
            if part is None and node.users and value_of(node) is not None:
                raise Unsupported("uses a result that was not asked for")
            return part
        value = value_of(node)
        if is_number(value):
            return number_of(value)
        given = fx.map_arg((node.args, node.kwargs), self.values.__getitem__)
        args, kwargs = cast("tuple[list[Any], dict[str, Any]]", given)
        if is_copy_to_input(node):
            return self._write(node, args[0], args[1])
        if is_functionalized(node):
            return lower_functionalized(self.g, args, kwargs, value)
        return lower_call(self.g, node.target, args, kwargs, value)

    def _write(self, node: fx.Node, target: Array, source: Array) -> Array:
        """A copy to a placeholder: what it holds from here on."""
        copy = torch.ops.aten.copy.default
        made = lower_call(self.g, copy, (target, source), {}, value_of(node))
        placeholder = node.args[0]
        assert isinstance(placeholder, fx.Node)
        self.written[placeholder.name] = self.values[placeholder] = made
        return made

    def _constant(self, node: fx.Node) -> Array:
        value: Any = self.gm
        for part in str(node.target).split("."):
            value = getattr(value, part)
        if not isinstance(value, torch.Tensor):
            raise Unsupported(f"takes {type(value).__name__} {node.target}")
        hlo_dtype(value.dtype)
        with unset_fake_temporarily():
            return unpadded(self.g.b.constant(array_of(value)))


def is_copy_to_input(node: fx.Node) -> bool:
    """Whether a node writes to what the graph is given, as AOT autograd has it."""
    if node.target is not torch.ops.aten.copy_.default:
        return False
    return isinstance(node.args[0], fx.Node) and node.args[0].op == "placeholder"


def is_number(value: Any) -> bool:
    """Whether a node's value is a number, perhaps of symbols."""
    kinds = (torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool)
    return isinstance(value, kinds)


def number_of(value: Any) -> Any:
    """A number, or torch's expression of it: never what it was for the sizes seen."""
    if isinstance(value, torch.SymInt):
        return size_of(value)
    if isinstance(value, (torch.SymFloat, torch.SymBool)):
        return value.node.shape_env.replace(value.node.expr)
    return value


@contextmanager
def explained(node: fx.Node) -> Iterator[None]:
    """Tells what is raised inside of which node it is, unless it knows of another."""
    try:
        yield
    except (Unsupported, NeedsExactSize) as error:
        if not hasattr(error, "node"):
            error.node = node  # type: ignore[union-attr]
        raise
