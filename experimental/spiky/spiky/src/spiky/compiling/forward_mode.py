"""Gradients of torch's forward mode, which programs do not compute."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch.autograd import forward_ad

from spiky.warned import is_new


def forward_mode_apart(
    run: Callable[[list[Any]], Any], gm: fx.GraphModule
) -> Callable[[list[Any]], Any]:
    """What runs a graph, eagerly if an argument has a tangent, which would be lost.

    torch refuses that itself of what is compiled with a backward graph.

    Args:
        run: runs the graph, with a list of its arguments.
        gm: the graph.
    """

    def call(arguments: list[Any]) -> Any:
        if forward_ad._current_level >= 0 and _has_tangent(arguments):
            _warn()
            return list(gm.forward(*arguments))
        return run(arguments)

    call._boxed_call = True  # type: ignore[attr-defined]
    return call


def _has_tangent(arguments: Sequence[Any]) -> bool:
    tensors = (t for t in arguments if isinstance(t, torch.Tensor))
    return any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)


def _warn() -> None:
    if is_new("forward mode"):
        warnings.warn(
            "gradients of torch.autograd.forward_ad are not compiled, and the function "
            "runs eagerly: use torch.func.jvp inside of what is compiled",
            stacklevel=2,
        )
