"""Calls of a whole graph, as options want them: padded before, or profiled."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Any

import torch
from torch import fx

from spiky.compiling.graph_ends import dynamic_sizes
from spiky.compiling.part import Part
from spiky.compiling.walk import is_number, number_of, value_of
from spiky.options import CompileOptions
from spiky.padding import PaddingMetadata, attach_metadata, get_metadata, is_any_padded


def called(
    part: Part, options: CompileOptions, rank: int, declared: Collection[Any]
) -> Callable[[list[Any]], list[Any]]:
    """What runs a part that is all of a graph, with a list of the graph's inputs.

    Args:
        part: the graph.
        options: of the function.
        rank: of this process, of which the first alone writes profiles.
        declared: the symbols that the user has said to be dynamic; without those that
            come to backward, which nobody pads.
    """
    run = profiled(part, options, rank)
    if part.symbols and part.name == "backward":
        run = _ToGiven(part, run, not options.unpad_outputs)
    elif part.symbols and not options.unpad_outputs:
        run = _ToPadded(part, run)
    if part.symbols:
        run = _FromPadded(part, run, required(options, declared))

    if run is part:
        run = part.runner()
    run._boxed_call = True  # type: ignore[attr-defined]
    return run


def required(options: CompileOptions, declared: Collection[Any]) -> Collection[Any]:
    """The symbols of sizes that have to come with PaddingMetadata."""
    return declared if options.input_layout == "padded" else ()


def profiled(
    part: Part, options: CompileOptions, rank: int
) -> Callable[..., list[Any]]:
    """What runs a part, and writes a profile if that is wanted."""
    is_wanted = options.save_ntff and rank == 0
    return _Profiled(part, options) if is_wanted else part


class _Profiled:
    """Writes a profile of each execution, or of some."""

    def __init__(self, part: Part, options: CompileOptions) -> None:
        self._part = part
        self._directory = options.save_ntff_dir
        self._wanted = frozenset(options.save_ntff_exe_idx)
        self._count = count()

    def __call__(self, arguments: list[Any], sizes: Any = None) -> list[Any]:
        number = next(self._count)
        if self._wanted and number not in self._wanted:
            return self._part(arguments, sizes)
        neff, key = self._part.neff_for(arguments, sizes)
        folder = self._directory / f"kernel_{key[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / neff.name
        if not copy.exists():
            shutil.copyfile(neff, copy)
        return self._part(arguments, sizes, str(folder / f"{number}.ntff"))


class _PaddedSize(int):
    """The size of a padded argument, as forward keeps it for backward.

    Attributes:
        count: how much of it counts.
    """

    count: int


def _padded_size(size: int, count: int) -> _PaddedSize:
    made = _PaddedSize(size)
    made.count = count
    return made


class _Padding:
    """Tells how much of padded arguments counts."""

    def __init__(
        self, placeholders: Sequence[fx.Node], required: Collection[Any]
    ) -> None:
        self._required = required
        self._dynamic = [
            (place, dimension, size)
            for place, node in enumerate(placeholders)
            for dimension, size in dynamic_sizes(node)
            if size.is_Symbol
        ]
        self.numbers = [
            (place, number_of(value_of(node)))
            for place, node in enumerate(placeholders)
            if isinstance(value_of(node), torch.SymInt)
        ]

    def sizes_of(self, arguments: Sequence[Any]) -> dict[Any, int]:
        """By symbol, of those that metadata tells.

        Raises:
            ValueError: a tensor that must have some has none; or two say different
                things.
        """
        found: dict[Any, int] = {}
        for place, symbol in self.numbers:
            if type(arguments[place]) is _PaddedSize:
                found[symbol] = arguments[place].count
        if not self._required and not is_any_padded():
            return found
        for place, dimension, symbol in self._dynamic:
            metadata = get_metadata(arguments[place])
            if metadata is not None and metadata.pad_dim == dimension:
                size = metadata.original_size
                if found.setdefault(symbol, size) != size:
                    raise ValueError(
                        f"argument {place} has {size} along dimension {dimension} by "
                        f"its PaddingMetadata, and another of that size {found[symbol]}"
                    )
        self._check(found)
        return found

    def _check(self, found: Collection[Any]) -> None:
        """Of an argument, metadata tells one dimension; others are not padded."""
        told = {place for place, _, symbol in self._dynamic if symbol in found}
        for place, dimension, symbol in self._dynamic:
            if symbol in self._required and place not in told:
                raise ValueError(
                    f"option 'input_layout' is \"padded\", and argument {place}, whose "
                    f"dimension {dimension} is dynamic, has no PaddingMetadata: make "
                    "it by spiky.pad_inputs"
                )


class _FromPadded:
    """Takes inputs that are as large as a bucket already, and say how much counts."""

    def __init__(
        self, part: Part, run: Callable[..., list[Any]], required: Collection[Any]
    ) -> None:
        self._part = part
        self._run = run
        self._padding = _Padding(part.placeholders, required)
        self._several = [
            place
            for place, node in enumerate(part.placeholders)
            if len(dynamic_sizes(node)) > 1 and node.name not in part.layouts
        ]

    def __call__(self, arguments: list[Any]) -> list[Any]:
        found = self._padding.sizes_of(arguments)
        if not found:
            return self._run(arguments)
        values = self._part.values_of(arguments)
        sizes = [found.get(s, n) for s, n in zip(self._part.symbols, values)]
        for place, symbol in self._padding.numbers:
            if symbol in found:
                arguments[place] = _padded_size(arguments[place], found[symbol])
        for place in self._several:  # which are padded along one of them only
            node = self._part.placeholders[place]
            arguments[place] = _cut(node, arguments[place], found)
        return self._run(arguments, sizes)


def cut_before(
    run: Callable[..., Any],
    placeholders: Sequence[fx.Node],
    required: Collection[Any],
) -> Callable[..., Any]:
    """What runs a graph of several parts, which takes inputs cut to what counts."""
    padding = _Padding(placeholders, required)

    def call(*arguments: Any) -> Any:
        found = padding.sizes_of(arguments)
        if found:
            arguments = tuple(
                _cut(node, argument, found)
                for node, argument in zip(placeholders, arguments, strict=True)
            )
        return run(*arguments)

    return call


def _cut(node: fx.Node, argument: Any, sizes: dict[Any, int]) -> Any:
    value = value_of(node)
    if isinstance(argument, torch.Tensor):
        for dimension, size in dynamic_sizes(node):
            if size.free_symbols <= sizes.keys():
                actual = int(size.xreplace(sizes))
                argument = argument.narrow(dimension, 0, actual)
        return argument
    size = number_of(value) if is_number(value) else None
    is_told = bool(getattr(size, "free_symbols", ())) and (
        size.free_symbols <= sizes.keys()  # type: ignore[union-attr]
    )
    return int(size.xreplace(sizes)) if is_told else argument  # type: ignore[union-attr]


class _ToPadded:
    """Returns results as large as their bucket, with how much of them counts.

    Of several dynamic dimensions one is padded, if any.
    """

    def __init__(self, part: Part, run: Callable[..., list[Any]]) -> None:
        self._part = part
        self._run = run
        self._dynamic = part.dynamic_results()

    def __call__(self, arguments: list[Any], sizes: Any = None) -> list[Any]:
        results = self._run(arguments, sizes)
        values = self._part.values_of(arguments) if sizes is None else sizes
        by_symbol = dict(zip(self._part.symbols, values, strict=True))
        for place, sizes_of in self._dynamic:
            tensor = results[place]
            found = [(d, int(size.xreplace(by_symbol))) for d, size in sizes_of]
            padded = ((d, n) for d, n in found if tensor.shape[d] != n)
            dimension, actual = next(padded, found[0])
            size = tensor.shape[dimension]
            attach_metadata(tensor, PaddingMetadata(actual, size, dimension))
        return results


class _ToGiven:
    """Returns gradients as large as what they are of, which may have been padded."""

    def __init__(
        self, part: Part, run: Callable[..., list[Any]], are_padded: bool
    ) -> None:
        self._part = part
        self._run = run
        self._are_padded = are_padded
        self._dynamic = part.dynamic_results()

    def __call__(self, arguments: list[Any], sizes: Any = None) -> list[Any]:
        if sizes is None and not self._are_padded:
            return self._run(arguments)
        values = self._part.values_of(arguments)
        results = self._run(arguments, sizes)
        by_symbol = dict(zip(self._part.symbols, values, strict=True))
        for place, sizes_of in self._dynamic:
            for dimension, size in sizes_of:
                count = int(size.xreplace(by_symbol))
                results[place] = _fitted(results[place], dimension, count)
        return results


def _fitted(tensor: torch.Tensor, dimension: int, size: int) -> torch.Tensor:
    """A tensor of another size along a dimension: cut, or with zeros after it."""
    own = tensor.shape[dimension]
    if own >= size:
        return tensor if own == size else tensor.narrow(dimension, 0, size)
    rest = list(tensor.shape)
    rest[dimension] = size - own
    return torch.cat([tensor, tensor.new_zeros(rest)], dimension)
