"""From a graph that torch.compile has captured to what runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

from spiky.configuration import NKIPyBackendConfig
from spiky.options import CompileOptions


def compile_graph(
    gm: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    config: NKIPyBackendConfig,
    options: CompileOptions,
) -> Callable[..., Any]:
    """What runs a graph, forward and backward, with its inputs as arguments."""
    return aot_autograd(fw_compiler=_run_eagerly)(gm, example_inputs)


def _run_eagerly(gm: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
    return make_boxed_func(gm.forward)
