"""What the CPU returns for a call: dtypes, sizes and strides of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from spike_torch.eager_operators import arguments_of, with_tensors
from spike_torch.lowered.calls import tensors_of
from spike_torch.lowering.errors import Unsupported


def results_on_cpu(op: Any, functional: Any, given: Sequence[Any]) -> list[Any]:
    """What the CPU returns for zeros in place of all numbers: dtypes, sizes, strides.

    Raises:
        Unsupported: it refuses the call, or returns what a program does not.
    """
    made: dict[int, torch.Tensor] = {}

    def zeros(x: torch.Tensor) -> torch.Tensor:
        if id(x) not in made:
            made[id(x)] = torch.empty_strided(
                x.shape, x.stride(), dtype=x.dtype, device="cpu"
            ).zero_()
        return made[id(x)]

    host = [
        torch.device("cpu")
        if str(a.real_type).startswith(("Device", "Optional[Dev")) and v is not None
        else v
        for a, v in zip(op._schema.arguments, with_tensors(given, zeros), strict=True)
    ]
    try:
        args, kwargs = arguments_of(op._schema, host, False)
        results = tensors_of(functional(*args, **kwargs))
        if op is not functional:
            args, kwargs = arguments_of(op._schema, host, True)
            op(*args, **kwargs)
    except Exception as error:  # the CPU says it again, to who has called
        raise Unsupported(f"is refused: {error}") from error
    taken = {x.untyped_storage().data_ptr() for x in made.values()}
    for result in results:
        if result is not None:
            _require_own_memory(result, taken)
            taken.add(result.untyped_storage().data_ptr())
    return results


def _require_own_memory(result: torch.Tensor, taken: set[int]) -> None:
    if result.layout != torch.strided or not result.device.type == "cpu":
        raise Unsupported(f"returns a tensor of layout {result.layout}")
    if not result.numel() or result.untyped_storage().data_ptr() in taken:
        raise Unsupported("returns a view, or a tensor without elements")
    if result.storage_offset():
        raise Unsupported(f"returns a tensor at {result.storage_offset()} of another")
