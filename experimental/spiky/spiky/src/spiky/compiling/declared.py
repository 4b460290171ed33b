"""Which sizes of a graph the user has said to be dynamic.

That is what ``torch._dynamo.mark_dynamic``, ``dynamic=True`` and the option 'buckets'
say. ``maybe_mark_dynamic`` leaves it to torch, which also makes a size dynamic by
itself when a second one comes: whoever calls then need not know of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from spike_torch.lowered.calls import size_of
from spiky.compiling.symbols import shape_env_of
from spiky.options import CompileOptions


def declared_symbols(inputs: Sequence[Any], options: CompileOptions) -> frozenset[Any]:
    """The symbols of such sizes.

    Args:
        inputs: fake tensors, and symbolic sizes, as torch.compile has captured them.
        options: of the function.
    """
    env = shape_env_of(inputs)
    if env is None:
        return frozenset()
    are_all = not torch._dynamo.config.assume_static_by_default  # dynamic=True
    are_all = are_all or options.buckets is not None
    return frozenset(
        symbol
        for tracked in env.tracked_fakes or ()
        if isinstance(tracked.fake, torch.Tensor)
        for symbol in _symbols(tracked.fake.shape if are_all else _marked(tracked))
    )


def _symbols(sizes: Iterable[Any]) -> set[Any]:
    return {size_of(n) for n in sizes if isinstance(n, torch.SymInt)}


def _marked(tracked: Any) -> list[Any]:
    """Sizes of a tensor that must be dynamic: torch raises where they cannot be."""
    constraints = getattr(tracked.symbolic_context, "constraint_sizes", None) or ()
    return [
        size
        for size, constraint in zip(tracked.fake.shape, constraints)
        if constraint is not None and not constraint.warn_only
    ]
