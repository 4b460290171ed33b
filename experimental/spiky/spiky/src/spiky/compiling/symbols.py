"""The sizes of a graph that differ from call to call, and where arguments tell them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from spike_torch.lowered.calls import size_of
from spike_torch.lowering import Unsupported
from spiky.compiling.walk import value_of

#: An argument's number, and a dimension of it; None of an argument that is the number.
Source = tuple[int, "int | None"]


def find_symbols(
    placeholders: Sequence[fx.Node], padded: Container[str] = ()
) -> dict[Any, Source]:
    """The symbols in the sizes and numbers that a graph is given, and their sources.

    Args:
        placeholders: what the graph is given.
        padded: names of those that come in a bucket's sizes, and tell nothing.

    Raises:
        Unsupported: no argument tells one of them.
    """
    sources: dict[Any, Source] = {}
    for symbol, known in _sources(placeholders, padded).items():
        if known is None:
            raise Unsupported(f"has sizes that depend on {symbol}, which none tells")
        sources[symbol] = known
    return sources


def untold(placeholders: Sequence[fx.Node]) -> list[Any]:
    """The symbols in the sizes that a graph is given that no argument tells."""
    found = _sources(placeholders, ())
    return [symbol for symbol, known in found.items() if known is None]


def _sources(
    placeholders: Sequence[fx.Node], padded: Container[str]
) -> dict[Any, Source | None]:
    found: dict[Any, Source | None] = {}
    for size, source in _sizes(placeholders):
        if isinstance(size, int):
            continue
        for symbol in sorted(size.free_symbols, key=str):
            found.setdefault(symbol, None)
        is_told = source[1] is None or placeholders[source[0]].name not in padded
        if size.is_Symbol and found[size] is None and is_told:
            found[size] = source
    return found


def symbols_of(placeholders: Sequence[fx.Node]) -> list[Any]:
    """The symbols in what a graph is given, whether or not an argument tells them."""
    found: dict[Any, None] = {}
    for size, _ in _sizes(placeholders):
        if not isinstance(size, int):
            found |= dict.fromkeys(sorted(size.free_symbols, key=str))
    return list(found)


def _sizes(placeholders: Sequence[fx.Node]) -> Iterator[tuple[Any, Source]]:
    """Numbers first: reading one takes less."""
    for i, node in enumerate(placeholders):
        value = value_of(node)
        if isinstance(value, torch.SymInt):
            yield size_of(value), (i, None)
    for i, node in enumerate(placeholders):
        value = value_of(node)
        if isinstance(value, torch.Tensor):
            for d, size in enumerate(value.shape):
                yield size_of(size), (i, d)


def hints(gm: fx.GraphModule, symbols: Sequence[Any]) -> Mapping[Any, int]:
    """The sizes that torch has seen, by which a first program is made.

    Those of nested tensors are no numbers, and those that data tells an operator have
    not been seen: neither are among them.
    """
    env = shape_env_of(map(value_of, gm.graph.nodes)) if symbols else None
    if env is None:
        return {}
    seen = {symbol: env.backed_var_to_val.get(symbol) for symbol in symbols}
    return {s: int(n) for s, n in seen.items() if n is not None and n.is_Integer}


def numbers_of(gm: fx.GraphModule, symbols: Sequence[Any]) -> frozenset[Any]:
    """The symbols that are no size of any tensor in a graph, but numbers."""
    if not symbols:
        return frozenset()
    tensors = [
        leaf
        for node in gm.graph.nodes
        for leaf in tree_leaves(value_of(node))
        if isinstance(leaf, torch.Tensor)
    ]
    sizes = [size_of(n) for tensor in tensors for n in tensor.shape]
    return frozenset(symbols).difference(
        *(s.free_symbols for s in sizes if not isinstance(s, int))
    )


def shape_env_of(values: Iterable[Any]) -> Any:
    """The shape environment of the first size that has a symbol; or None."""
    for size in _sizes_of(values):
        return size.node.shape_env
    return None


def _sizes_of(values: Iterable[Any]) -> Iterator[torch.SymInt]:
    for value in values:
        sizes = value.shape if isinstance(value, torch.Tensor) else (value,)
        yield from (size for size in sizes if isinstance(size, torch.SymInt))
