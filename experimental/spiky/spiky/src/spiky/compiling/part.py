"""A part of a graph that is programs of its own: one for each bucket of its sizes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import fx

from nkipy.compiler.build import BuildOptions, build
from nkipy.execution import load
from nkipy.execution.device_module import device_module
from nkipy.hlo.ir import HLOModule
from spike_torch import programs
from spike_torch.lowered.calls import size_of
from spike_torch.lowering import (
    Array,
    Dim,
    Factor,
    NeedsExactSize,
    Size,
    Sizes,
    Unsupported,
)
from spike_torch.lowering.dims import dim_of
from spike_torch.lowering.graph import SIZES
from spike_torch.lowering.random_bits import SEED
from spike_torch.lowering.sizes import symbols_of
from spiky.compiling import symbols as sym
from spiky.compiling.buckets import listed
from spiky.compiling.expressions import program_expression
from spiky.compiling.layout import inverse, memory_order
from spiky.compiling.seeds import generator_device, new_seed
from spiky.compiling.sources import told
from spiky.compiling.telling import tell_buckets, tell_exact, tell_masks
from spiky.compiling.walk import (
    Lowered,
    is_copy_to_input,
    lower_graph,
    number_of,
    value_of,
)
from spiky.report import GraphReport

logger = logging.getLogger(__name__)


class Settings(NamedTuple):
    """How parts are compiled, and what their calls do.

    Attributes:
        core: the core that programs are on.
        build: how they are built.
        buckets: the rules of symbols' buckets, by placeholders and symbols.
        may_compile: whether a call may.
        pads_on_device: as :class:`spike_torch.programs.Function` has it.
        keeps_outputs_on_device: the same.
        pads_results: whether results keep their buckets' sizes.
    """

    core: int
    build: BuildOptions
    buckets: Callable[..., Mapping[Any, programs.Buckets]]
    may_compile: bool = True
    pads_on_device: bool = True
    keeps_outputs_on_device: bool = False
    pads_results: bool = False


#: The sizes of each factor of each dimension of tensors, by the name of their node.
Layouts = Mapping[str, Sequence[Sequence[Size]]]


class Part:
    """A graph as a function of torch tensors, which is compiled when it is called.

    Args:
        gm: the graph; all of its nodes have lowerings.
        name: what people call it.
        settings: how it is compiled.
        padded: names of nodes that are returned in their bucket's sizes.
        layouts: tensors that come in their bucket's sizes, as another part has made
            them.
        exact: symbols whose sizes are exact from the beginning, and why.
        report: what is told of the graph.

    Raises:
        Unsupported: a node has no lowering after all; or no argument tells a symbol.
        NeedsExactSize: what comes in a bucket's sizes would have to have its own.

    Attributes:
        exact: why symbols are compiled at their exact sizes, by symbol.
    """

    exact: dict[Any, NeedsExactSize]

    def __init__(
        self,
        gm: fx.GraphModule,
        name: str,
        settings: Settings,
        padded: Collection[str] = (),
        layouts: Layouts = MappingProxyType({}),
        exact: Mapping[Any, NeedsExactSize] = MappingProxyType({}),
        report: GraphReport | None = None,
    ) -> None:
        self.gm = gm
        self.name = name
        self.settings = settings
        self.padded = padded
        self.layouts = layouts
        self.placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"]
        self.outputs = outputs_of(gm)
        self.sources = sym.find_symbols(self.placeholders, layouts)
        self.symbols = list(self.sources)
        self.hints = sym.hints(gm, self.symbols)
        self.exact = {s: why for s, why in exact.items() if s in self.sources}
        self.report = report
        self._results_go = _Devices(self.outputs, settings)
        self._lock = threading.Lock()
        self._draws_by: str | None = None
        self._first: tuple[tuple[int, ...], _Module] | None = None
        self._function = self._make_function()

    def __call__(
        self,
        arguments: list[Any],
        sizes: Sequence[int] | None = None,
        profile: str | None = None,
    ) -> list[Any]:
        """What the graph returns.

        Args:
            arguments: what it is given.
            sizes: the symbols' values, where arguments are padded already.
            profile: a file for a profile of this execution.
        """
        while True:
            function = self._function
            try:
                results = function(
                    self._with_seed(arguments), sizes, self._results_go.to_cpu, profile
                )
                return self._results_go.moved(results)
            except _NotInBucket as error:
                with self._lock:
                    if self._function is function:
                        self._make_exact(error.cause)
                        self._function = self._make_function()

    def runner(self) -> Callable[[list[Any]], list[Any]]:
        """The same with arguments alone, in the shortest way."""
        goes = self._results_go
        if self.symbols or self._draws_by is not None or goes.is_mixed:
            return lambda arguments: self(arguments)
        return lambda arguments: self._function(arguments, None, goes.to_cpu)

    def _with_seed(self, arguments: list[Any]) -> list[Any]:
        if self._draws_by is None:
            return arguments
        return [*arguments, new_seed(self._draws_by)]

    def close(self) -> None:
        """Unload its programs; a call loads them again."""
        function = self._function
        for buckets in function.compiled():
            function.variant(buckets).resident.unload()

    # -- what is told of calls -------------------------------------------------------
    def values_of(self, arguments: list[Any]) -> list[int]:
        """The symbols' values, as arguments have them."""
        return list(self._function.sizes_of(self._with_seed(arguments)))

    def dynamic_results(self) -> list[tuple[int, int, Any]]:
        """For each result that may be padded: its place, its first such dimension, and
        the size of that, an expression."""
        return [
            (place, *dynamic_sizes(node)[0])
            for place, node in enumerate(self.outputs)
            if isinstance(node, fx.Node) and dynamic_sizes(node)
        ]

    def neff_for(
        self, arguments: list[Any], sizes: Sequence[int] | None = None
    ) -> tuple[Path, str]:
        """The file of the program that a call runs, and its key."""
        values = self.values_of(arguments) if sizes is None else sizes
        variant = self._function.variant(self._function.buckets_of(list(values)))
        return variant.resident.neff, variant.resident.neff.parent.name

    # -- modules ---------------------------------------------------------------------
    def _module(self, buckets: Sequence[int]) -> _Module:
        """The module for buckets; of what is exact, for that size."""
        by_symbol = dict(zip(self.symbols, buckets))
        sizes = Sizes(
            {s: n for s, n in by_symbol.items() if s not in self.exact},
            {s: n for s, n in by_symbol.items() if s in self.exact},
            self.symbols,
        )
        layouts = {
            name: tuple(_dim(sizes, factors) for factors in dims)
            for name, dims in self.layouts.items()
        }
        return _Module(self, lower_graph(self.gm, self.name, sizes, layouts))

    def _first_module(self) -> _Module:
        """One that tells how all are: of sizes like those that torch has seen."""
        while True:
            buckets = tuple(
                self.hints[s] if s in self.exact else _power_above(self.hints[s])
                for s in self.symbols
            )
            try:
                made = self._module(buckets)
            except NeedsExactSize as error:
                self._make_exact(error)
                continue
            made.program()
            self._first = buckets, made
            tell_masks(self.report, made.lowered.masks)
            return made

    def _make_exact(self, cause: NeedsExactSize) -> None:
        new = [s for s in self.symbols if s in cause.symbols and s not in self.exact]
        if not new:
            raise Unsupported(f"needs sizes that are exact already: {cause}")
        if any(cause.symbols & _symbols_in(dims) for dims in self.layouts.values()):
            raise cause
        logger.info("%s: %s are exact, as %s", self.name, new, told(cause))
        self.exact |= dict.fromkeys(new, cause)
        tell_exact(self.report, new, cause)

    def cut_results(self) -> None:
        """Return all results in their own sizes from here on."""
        with self._lock:
            self.padded = ()
            self._function = self._make_function()

    def result_layouts(self) -> Layouts:
        """Of results that are returned in their bucket's sizes, by their names."""
        _, first = self._first or ((), self._first_module())
        return first.layouts()

    # -- the function ----------------------------------------------------------------
    def _make_function(self) -> programs.Function:
        first = self._first_module()
        self._draws_by = generator_device(self.gm) if first.draws else None
        names = [n.name for n in self.placeholders] + [SEED] * first.draws
        rules = dict(self.settings.buckets(self.placeholders, self.symbols))
        rules |= dict.fromkeys(self.exact, programs.Exact())
        function = programs.Function(
            self.name,
            names,
            [
                programs.Symbol(
                    str(symbol),
                    *self.sources[symbol],
                    rules[symbol],
                )
                for symbol in self.symbols
            ],
            first.inputs(),
            first.results(),
            first.returns(),
            self._compile,
            core=self.settings.core,
            may_compile=self.settings.may_compile,
            pads_on_device=self.settings.pads_on_device,
            keeps_outputs_on_device=self.settings.keeps_outputs_on_device,
        )
        if not self.settings.may_compile:
            for buckets in listed(rules):
                function.variant(buckets)
        return function

    def _compile(self, buckets: tuple[int, ...]) -> programs.Variant:
        first, self._first = self._first, None
        tell_buckets(self.report, self.symbols, buckets)
        try:
            if first is not None and first[0] == tuple(buckets):
                made = first[1]
            else:
                made = self._module(buckets)
        except NeedsExactSize as error:
            raise _NotInBucket(error) from error
        artifact = build(made.program(), self._build_options(made), self.name)
        program = load(artifact, self.settings.core)
        return programs.Variant.of(program, *made.padded_shapes())

    def _build_options(self, made: _Module) -> BuildOptions:
        """The settings', and what operations want the compiler to be told."""
        options = self.settings.build
        args = dict.fromkeys(made.lowered.graph.compiler_args)
        if not args:
            return options
        told = " ".join([options.additional_compiler_args, *args]).strip()
        return replace(options, additional_compiler_args=told)


class _Devices:
    """Where results go: to the devices that torch says, or all stay on the core."""

    def __init__(self, outputs: Sequence[Any], settings: Settings) -> None:
        devices = [_device_of(output) for output in outputs]
        is_on_cpu = [device == "cpu" for device in devices]
        stay = settings.keeps_outputs_on_device
        #: All of them go to the CPU.
        self.to_cpu = not stay and set(devices) <= {"cpu", None}
        self._moved = [] if stay or self.to_cpu else is_on_cpu

    @property
    def is_mixed(self) -> bool:
        """Whether some go to the CPU, and some do not."""
        return any(self._moved)

    def moved(self, results: list[Any]) -> list[Any]:
        """Some go there, and some do not."""
        for place, is_moved in enumerate(self._moved):
            if is_moved:
                results[place] = results[place].cpu()
        return results


def _device_of(output: Any) -> str | None:
    """Of a tensor that is returned, as torch has it; None of what is no tensor."""
    value = value_of(output) if isinstance(output, fx.Node) else None
    return value.device.type if isinstance(value, torch.Tensor) else None


class _Module:
    """A module with its results, and what they are."""

    def __init__(self, part: Part, lowered: Lowered) -> None:
        self.part = part
        self.lowered = lowered
        self._results: list[tuple[Array, fx.Node]] = []
        self._places: dict[fx.Node, int] = {}
        self._orders: dict[fx.Node, tuple[int, ...]] = {}
        for node in part.outputs:
            if isinstance(node, fx.Node) and node not in self._places:
                self._add_result(node)
        self._written = [n for n in part.placeholders if n.name in lowered.written]
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

    def _add_result(self, node: fx.Node) -> None:
        array = self.lowered.values[node]
        if not isinstance(array, Array) or _argument_of(node) is not None:
            return
        is_padded = node.name in self.part.padded
        order = range(array.ndim) if is_padded else memory_order(value_of(node))
        order = tuple(order)
        self._places[node] = len(self._results)
        self._orders[node] = order
        self._results.append((self.lowered.graph.transpose(array, order), node))

    def _input_place(self, node: fx.Node) -> int:
        return list(self.lowered.inputs).index(node.name)

    def _shape(self, tensor: torch.Tensor, dims: Sequence[Dim], order: Any) -> Any:
        sizes = [size_of(tensor.shape[d]) for d in order]
        return [self._dimension(s, d) for s, d in zip(sizes, dims, strict=True)]

    def _dimension(self, size: Any, dim: Dim) -> programs.Dimension:
        places = {s: programs.Size(i) for i, s in enumerate(self.part.symbols)}
        if len(dim.factors) < 2:
            return program_expression(size, places)
        if not self.part.exact.keys().isdisjoint(size.free_symbols):
            raise NeedsExactSize("returns a size that is partly exact", size)
        return [program_expression(f.size, places) for f in dim.factors]

    def inputs(self) -> list[programs.Input]:
        found = []
        for i, node in enumerate(self.part.placeholders):
            array = self.lowered.inputs.get(node.name)
            if array is not None:
                tensor = value_of(node)
                shape = self._shape(tensor, array.dims, range(array.ndim))
                is_written = node.name in self.lowered.written
                found.append(programs.Input(i, array.dtype, shape, is_written))
        for spec in self.module.inputs[len(found) :]:  # in the order of first use
            if spec.name == SIZES:
                found.append(programs.Input(None))
            else:
                place = len(self.part.placeholders)
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
        return [self._returned(node) for node in self.part.outputs]

    def _returned(self, node: Any) -> programs.Return:
        if not isinstance(node, fx.Node):
            return None if node is None else programs.ReturnedNumber(node)
        argument = _argument_of(node)
        if argument is not None:
            return programs.ReturnedArgument(self.part.placeholders.index(argument))
        if node in self._places:
            place, order = self._places[node], self._orders[node]
            padded = self.part.settings.pads_results or node.name in self.part.padded
            return programs.Returned(place, inverse(order), padded)
        places = {s: programs.Size(i) for i, s in enumerate(self.part.symbols)}
        number = number_of(value_of(node))
        return programs.ReturnedNumber(program_expression(number, places))

    def layouts(self) -> Layouts:
        found: dict[str, list[list[Size]]] = {}
        for array, node in self._results:
            if node.name in self.part.padded:
                sizes = [size_of(n) for n in value_of(node).shape]
                found[node.name] = [
                    [s] if len(d.factors) < 2 else [f.size for f in d.factors]
                    for s, d in zip(sizes, array.dims)
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


class _NotInBucket(Exception):
    """A program for a bucket that is larger than the sizes cannot be made after all."""

    def __init__(self, cause: NeedsExactSize) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _dim(sizes: Sizes, factors: Sequence[Size]) -> Dim:
    own = [sizes.of(size) for size in factors]
    return dim_of(Factor(sizes.padded(size), size) for size in own)


def _symbols_in(dims: Sequence[Sequence[Size]]) -> frozenset[Any]:
    return frozenset(s for dim in dims for size in dim for s in symbols_of(size))


def dynamic_sizes(node: fx.Node) -> list[tuple[int, Any]]:
    """The dimensions of a tensor that differ from call to call, and their sizes."""
    value = value_of(node)
    sizes = map(size_of, value.shape) if isinstance(value, torch.Tensor) else ()
    return [(d, size) for d, size in enumerate(sizes) if not isinstance(size, int)]


def outputs_of(gm: fx.GraphModule) -> list[Any]:
    """What a graph returns: nodes, None, numbers."""
    (output,) = (n for n in gm.graph.nodes if n.op == "output")
    found = output.args[0]
    return list(found) if isinstance(found, (tuple, list)) else [found]


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


def _power_above(size: int) -> int:
    return 1 << max(size - 1, 0).bit_length()
