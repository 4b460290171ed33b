"""What torch.compile calls for ``backend="nkipy"``: found by its entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._dynamo import trace_rules

from spiky.compiling import compile_graph
from spiky.configuration import get_nkipy_backend_config
from spiky.errors import OptionError
from spiky.options import read_options

# What torch's own functions call of the device, such as its random numbers' state, is
# no code of the user's, and is not captured.
trace_rules.add("spike_torch")


def nkipy(
    gm: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Callable[..., Any]:
    """Compile a graph that torch.compile has captured.

    Args:
        gm: the graph.
        example_inputs: fake tensors, and symbolic sizes, in the order of its inputs.
        options: those of ``torch.compile(..., options=)``; see
            :class:`spiky.CompileOptions`.
        mode: none is taken: modes are those of torch's own compiler.

    Raises:
        RuntimeError: the backend is not initialized.
        OptionError: an option is unknown, or cannot have that value; a ValueError.
    """
    config = get_nkipy_backend_config()
    if mode is not None:
        raise OptionError(
            f'backend "nkipy" has no mode {mode!r}: modes are those of "inductor"; '
            "give options instead"
        )
    return compile_graph(gm, example_inputs, config, read_options(options, config))
