"""A part of a graph that is programs of its own: one for each bucket of its sizes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import fx

from nkipy.compiler.build import BuildOptions, build
from nkipy.execution import load
from spike_torch import programs
from spike_torch.lowering import (
    Dim,
    Factor,
    NeedsExactSize,
    Size,
    Sizes,
    Unsupported,
)
from spike_torch.lowering.dims import dim_of
from spike_torch.lowering.random_bits import SEED
from spike_torch.lowering.sizes import symbols_of
from spiky.compiling import symbols as sym
from spiky.compiling.buckets import listed
from spiky.compiling.devices import Devices
from spiky.compiling.graph_ends import dynamic_sizes, outputs_of, remade_names
from spiky.compiling.module import Interface, Layouts, Module
from spiky.compiling.seeds import generator_device, new_seed
from spiky.compiling.sources import told
from spiky.compiling.telling import tell_buckets, tell_exact, tell_masks, tell_notes
from spiky.compiling.walk import lower_graph
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
        pads_shown = settings.pads_results and name == "forward"
        self._cut = remade_names(gm) if pads_shown else set()
        self.sources = sym.find_symbols(self.placeholders, layouts)
        self.symbols = list(self.sources)
        self.hints = sym.hints(gm, self.symbols)
        self.numbers = sym.numbers_of(gm, self.symbols)
        self._check_hints()
        self.exact = {s: why for s, why in exact.items() if s in self.sources}
        self.report = report
        self._results_go = Devices(self.outputs, settings.keeps_outputs_on_device)
        self._lock = threading.Lock()
        self._draws_by: str | None = None
        self._first: tuple[tuple[int, ...], Module] | None = None
        self._function = self._make_function()

    def _check_hints(self) -> None:
        for symbol in self.symbols:
            if symbol not in self.hints:
                raise Unsupported(f"has a size {symbol} of data or a nested tensor")
            if self.hints[symbol] < 0 and symbol not in self.numbers:
                raise Unsupported(f"makes a size of {symbol}, which is less than 0")

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
                self._leave_bucket(function, error)

    def prepare(self) -> None:
        """Compile the program for the sizes that torch has seen, which come first.

        Raises:
            CompilationError: the compiler refuses it.
        """
        while self.settings.may_compile:
            function = self._function
            sizes = [self.hints[symbol] for symbol in self.symbols]
            try:
                function.variant(function.buckets_of(sizes))
                return
            except _NotInBucket as error:
                self._leave_bucket(function, error)

    def _leave_bucket(self, function: programs.Function, error: _NotInBucket) -> None:
        """Go on with exact sizes, unless another thread has made it so."""
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

    def dynamic_results(self) -> list[tuple[int, list[tuple[int, Any]]]]:
        """For each result that may be padded: its place, and such dimensions with
        their sizes, which are expressions."""
        return [
            (place, dynamic_sizes(node))
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
    def _module(self, buckets: Sequence[int]) -> Module:
        """The module for buckets; of what is exact, for that size."""
        by_symbol = dict(zip(self.symbols, buckets))
        sizes = Sizes(
            {
                s: n
                for s, n in by_symbol.items()
                if s not in self.exact and s not in self.numbers
            },
            {s: n for s, n in by_symbol.items() if s in self.exact},
            self.symbols,
        )
        layouts = {
            name: tuple(_dim(sizes, factors) for factors in dims)
            for name, dims in self.layouts.items()
        }
        interface = Interface(
            self.placeholders,
            self.outputs,
            self.symbols,
            self.exact,
            self.padded,
            self.settings.pads_results,
            self._cut,
        )
        return Module(interface, lower_graph(self.gm, self.name, sizes, layouts))

    def _first_module(self) -> Module:
        """One that tells how all are: of sizes like those that torch has seen."""
        while True:
            buckets = tuple(self._first_bucket(s) for s in self.symbols)
            try:
                made = self._module(buckets)
                made.describe()
            except NeedsExactSize as error:
                self._make_exact(error)
                continue
            made.program()
            self._first = buckets, made
            tell_masks(self.report, made.lowered.masks)
            return made

    def _first_bucket(self, symbol: Any) -> int:
        if symbol in self.exact:
            return self.hints[symbol]
        return 0 if symbol in self.numbers else _power_above(self.hints[symbol])

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
        rules |= dict.fromkeys(self.numbers, programs.OneBucket())
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
        sizes = [(s, n) for s, n in zip(self.symbols, buckets) if s not in self.numbers]
        tell_buckets(self.report, sizes)
        try:
            if first is not None and first[0] == tuple(buckets):
                made = first[1]
            else:
                made = self._module(buckets)
        except NeedsExactSize as error:
            raise _NotInBucket(error) from error
        tell_notes(self.report, made.lowered.graph.notes)
        artifact = build(made.program(), self._build_options(made), self.name)
        program = load(artifact, self.settings.core)
        return programs.Variant.of(program, *made.padded_shapes())

    def _build_options(self, made: Module) -> BuildOptions:
        """The settings', and what operations want the compiler to be told."""
        options = self.settings.build
        args = dict.fromkeys(made.lowered.graph.compiler_args)
        if not args:
            return options
        told = " ".join([options.additional_compiler_args, *args]).strip()
        return replace(options, additional_compiler_args=told)


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


def _power_above(size: int) -> int:
    return 1 << max(size - 1, 0).bit_length()
