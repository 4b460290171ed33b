"""How often torch.compile compiles a function before it gives up."""

from __future__ import annotations

import warnings

import torch._dynamo
from torch._guards import CompileContext


def warn_of_limit() -> None:
    """Warn if the graph that is being compiled is the last that torch has compiled."""
    context = CompileContext.try_get()
    identity = context.compile_id if context is not None else None
    number = identity.frame_compile_id if identity is not None else None
    limit = torch._dynamo.config.recompile_limit
    if number is not None and number + 1 >= limit:
        warnings.warn(
            f"torch.compile has compiled a function {limit} times, for other arguments "
            "each time, and runs it eagerly from the next on: mark sizes that differ "
            "by torch._dynamo.mark_dynamic, give dynamic=True, or raise "
            "torch._dynamo.config.recompile_limit",
            stacklevel=2,
        )
