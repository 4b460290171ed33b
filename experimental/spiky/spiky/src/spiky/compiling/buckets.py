"""Which buckets the sizes of a graph lie in, as options say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import fx

from spike_torch import programs
from spike_torch.lowered.calls import size_of
from spiky.compiling.symbols import shape_env_of
from spiky.compiling.walk import value_of
from spiky.options import CompileOptions

#: The smallest bucket that is chosen by itself.
SMALLEST = 8
#: Between buckets of the strategy "linear".
STEP = 64
#: What no size reaches: a limit from here on is none.
LARGEST = 1 << 31


def bucket_rules(
    options: CompileOptions, placeholders: Sequence[fx.Node], symbols: Sequence[Any]
) -> dict[Any, programs.Buckets]:
    """The rule of each symbol's buckets.

    Args:
        options: of the function.
        placeholders: what the graph is given.
        symbols: the sizes that differ.
    """
    dimensions = _dimensions(placeholders)
    limits = _limits(placeholders, symbols)
    return {s: _rule(options, dimensions.get(s), limits.get(s)) for s in symbols}


def listed(rules: Mapping[Any, programs.Buckets]) -> Iterator[tuple[int, ...]]:
    """All that there are programs for where nothing may be compiled later.

    Raises:
        ValueError: a symbol has buckets without end.
    """
    sizes: list[tuple[int, ...]] = []
    for symbol, rule in rules.items():
        if isinstance(rule, programs.OneBucket):
            sizes.append((0,))
            continue
        if not isinstance(rule, programs.Listed):
            raise ValueError(
                f"option 'jit' is False, and {symbol} has no buckets that could be "
                f"compiled before: {rule}"
            )
        sizes.append(rule.buckets)
    return product(*sizes)


def _dimensions(placeholders: Sequence[fx.Node]) -> dict[Any, int]:
    """Which dimension a symbol is, of the first tensor that has it."""
    found: dict[Any, int] = {}
    for node in placeholders:
        value = value_of(node)
        if isinstance(value, torch.Tensor):
            for d, size in enumerate(map(size_of, value.shape)):
                if not isinstance(size, int) and size.is_Symbol:
                    found.setdefault(size, d)
    return found


def _limits(placeholders: Sequence[fx.Node], symbols: Sequence[Any]) -> dict[Any, int]:
    """The largest value of each symbol that has one, as ``mark_dynamic(max=)`` says."""
    env = shape_env_of(value_of(node) for node in placeholders)
    if env is None:
        return {}
    ranges = {symbol: env.var_to_range.get(symbol) for symbol in symbols}
    return {
        symbol: int(known.upper)
        for symbol, known in ranges.items()
        if known is not None and known.upper < LARGEST
    }


def _rule(
    options: CompileOptions, dimension: int | None, limit: int | None
) -> programs.Buckets:
    if options.buckets is not None:
        sizes = options.buckets.of(-1 if dimension is None else dimension)
        if sizes:
            return programs.Listed(sizes)
    if options.bucket_strategy == "exact":
        return programs.Exact()
    if options.bucket_strategy == "linear":
        return programs.Linear(STEP // 2, STEP, options.max_bucket_size, limit)
    return programs.PowersOfTwo(SMALLEST, options.max_bucket_size, limit)
