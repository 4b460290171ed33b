"""The module of a part of a graph, and what its parameters and results are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx

from nkipy.execution.device_module import device_module
from nkipy.hlo.ir import HLOModule
from spike_torch import programs
from spike_torch.lowered.calls import size_of
from spike_torch.lowering import Array, Dim, NeedsExactSize, Size, Unsupported
from spike_torch.lowering.graph import SIZES
from spike_torch.lowering.random_bits import SEED
from spiky.compiling.expressions import program_expression
from spiky.compiling.layout import inverse, memory_order
from spiky.compiling.walk import Lowered, is_copy_to_input, number_of, value_of

#: The sizes of each factor of each dimension of tensors, by the name of their node.
Layouts = Mapping[str, Sequence[Sequence[Size]]]


class Interface(NamedTuple):
    """What a graph takes and returns.

    Attributes:
        placeholders: what it takes.
        outputs: what it returns: nodes, None, numbers.
        symbols: the sizes that differ, in the order in which programs have them.
        exact: those of them that are compiled at their exact sizes.
        padded: names of nodes that are returned in their bucket's sizes.
        pads_all: whether all are of which metadata can tell what counts, but `cut`.
        cut: names of nodes that are returned in their own sizes all the same.
    """

    placeholders: Sequence[fx.Node]
    outputs: Sequence[Any]
    symbols: Sequence[Any]
    exact: Collection[Any]
    padded: Collection[str]
    pads_all: bool
    cut: Collection[str] = ()

    def is_padded(self, node: fx.Node, array: Array) -> bool:
        """Whether the result of a node, which is an array, is returned padded."""
        if node.name in self.padded:
            return True
        if not self.pads_all or node.name in self.cut:
            return False
        # Metadata tells of the end of one dimension.
        padded = [d for d in array.dims if d.is_padded]
        return len(padded) < 2 and all(d.is_prefix for d in padded)


class Module:
    """A module with its results, and what they are.

    Args:
        interface: what the graph takes and returns.
        lowered: its module, without results as yet.
    """

    def __init__(self, interface: Interface, lowered: Lowered) -> None:
        self.interface = interface
        self.lowered = lowered
        self._results: list[tuple[Array, fx.Node]] = []
        self._places: dict[fx.Node, int] = {}
        self._orders: dict[fx.Node, tuple[int, ...]] = {}
        for node in interface.outputs:
            if isinstance(node, fx.Node) and node not in self._places:
                self._add_result(node)
        self._written = [n for n in interface.placeholders if n.name in lowered.written]
        arrays = [array for array, _ in self._results]
        arrays += [lowered.written[n.name] for n in self._written]
        self.module.set_results([array.value for array in arrays])
        for i, node in enumerate(self._written, len(self._results)):
            place = self._input_place(node)
            self.module.alias(i, place, is_user_returned=False)

    @property
    def module(self) -> HLOModule:
        return self.lowered.graph.module

    def program(self) -> HLOModule:
        """What the core computes: without arrays that have no elements.

        Raises:
            Unsupported: that is nothing.
        """
        found = device_module(self.module).module
        if found is None:
            raise Unsupported("computes nothing that has elements")
        return found

    def describe(self) -> None:
        """Find out what it takes and returns.

        Raises:
            NeedsExactSize: that cannot be said of buckets.
        """
        self.inputs(), self.results(), self.returns()

    def _add_result(self, node: fx.Node) -> None:
        array = self.lowered.values[node]
        if not isinstance(array, Array) or _argument_of(node) is not None:
            return
        order = memory_order(value_of(node))
        self._places[node] = len(self._results)
        self._orders[node] = order
        self._results.append((self.lowered.graph.transpose(array, order), node))

    def _input_place(self, node: fx.Node) -> int:
        return list(self.lowered.inputs).index(node.name)

    def _shape(self, tensor: torch.Tensor, dims: Sequence[Dim], order: Any) -> Any:
        sizes = [size_of(tensor.shape[d]) for d in order]
        return [self._dimension(s, d) for s, d in zip(sizes, dims, strict=True)]

    def _dimension(self, size: Any, dim: Dim) -> programs.Dimension:
        places = {s: programs.Size(i) for i, s in enumerate(self.interface.symbols)}
        if len(dim.factors) < 2:
            return program_expression(size, places)
        if not size.free_symbols.isdisjoint(self.interface.exact):
            raise NeedsExactSize("returns a size that is partly exact", size)
        return [program_expression(f.size, places) for f in dim.factors]

    def inputs(self) -> list[programs.Input]:
        found = []
        for i, node in enumerate(self.interface.placeholders):
            array = self.lowered.inputs.get(node.name)
            if array is not None:
                tensor = value_of(node)
                order = self.lowered.orders[node.name]
                shape = self._shape(tensor, array.dims, order)
                is_written = node.name in self.lowered.written
                found.append(programs.Input(i, array.dtype, shape, is_written, order))
        for spec in self.module.inputs[len(found) :]:  # in the order of first use
            if spec.name == SIZES:
                found.append(programs.Input(None))
            else:
                place = len(self.interface.placeholders)
                found.append(programs.Input(place, torch.uint32, spec.shape))
        return found

    @property
    def draws(self) -> bool:
        """Whether it has the input of a seed."""
        return any(spec.name == SEED for spec in self.module.inputs)

    def results(self) -> list[programs.Result]:
        found = []
        for array, node in self._results:
            shape = self._shape(value_of(node), array.dims, self._orders[node])
            found.append(programs.Result(array.dtype, shape))
        for node in self._written:
            array = self.lowered.written[node.name]
            shape = self._shape(value_of(node), array.dims, range(array.ndim))
            place = self._input_place(node)
            found.append(programs.Result(array.dtype, shape, place))
        return found

    def returns(self) -> list[programs.Return]:
        return [self._returned(node) for node in self.interface.outputs]

    def _returned(self, node: Any) -> programs.Return:
        if not isinstance(node, fx.Node):
            return None if node is None else programs.ReturnedNumber(node)
        argument = _argument_of(node)
        if argument is not None:
            return programs.ReturnedArgument(
                self.interface.placeholders.index(argument)
            )
        if node in self._places:
            place, order = self._places[node], self._orders[node]
            padded = self.interface.is_padded(node, self._results[place][0])
            return programs.Returned(place, inverse(order), padded)
        places = {s: programs.Size(i) for i, s in enumerate(self.interface.symbols)}
        number = number_of(value_of(node))
        return programs.ReturnedNumber(program_expression(number, places))

    def layouts(self) -> Layouts:
        found: dict[str, list[list[Size]]] = {}
        for _, node in self._results:
            if node.name in self.interface.padded:
                sizes = [size_of(n) for n in value_of(node).shape]
                found[node.name] = [
                    [s] if len(d.factors) < 2 else [f.size for f in d.factors]
                    for s, d in zip(sizes, self.lowered.values[node].dims)
                ]
        return found

    def padded_shapes(self) -> tuple[list[Any], list[Any]]:
        """Of the program's inputs, and of its results."""
        inputs = [_padded(a.dims) for a in self.lowered.inputs.values()]
        for spec in self.module.inputs[len(inputs) :]:
            inputs.append(list(spec.shape))
        results = [_padded(array.dims) for array, _ in self._results]
        results += [
            _padded(self.lowered.written[node.name].dims) for node in self._written
        ]
        return inputs, results


def _argument_of(node: fx.Node) -> fx.Node | None:
    """The placeholder that a node returned is, if it is one."""
    if node.op == "placeholder":
        return node
    if is_copy_to_input(node):
        assert isinstance(node.args[0], fx.Node)
        return node.args[0]
    return None


def _padded(dims: Sequence[Dim]) -> list[programs.PaddedDimension]:
    return [
        d.padded if len(d.factors) < 2 else [f.padded for f in d.factors] for d in dims
    ]
