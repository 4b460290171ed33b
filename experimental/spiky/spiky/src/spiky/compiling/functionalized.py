"""Operators that write to their arguments, as AOT autograd has them in a graph.

``auto_functionalized_v2(op, ..., _x_base_index=0, _all_bases=[base])`` returns what the
operator does (None, if that is nothing), and then what each of the bases holds after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from spike_torch.lowered.calls import lower_call
from spike_torch.lowering import Graph, Unsupported

_BASES = "_all_bases"


def is_functionalized(node: fx.Node) -> bool:
    """Whether a node is the call of an operator that writes to arguments."""
    return node.target is torch.ops.higher_order.auto_functionalized_v2


def operator_of(node: fx.Node) -> str:
    """The operator that a node calls, as people know it."""
    return str(node.args[0] if is_functionalized(node) else node.target)


def lower_functionalized(
    g: Graph, args: Sequence[Any], kwargs: Mapping[str, Any], returned: Sequence[Any]
) -> tuple[Any, ...]:
    """Build what such a call computes.

    The operator's lowering returns its results, and then what each argument that it
    writes to holds after, in their order.

    Args:
        g: the module under construction.
        args: the operator.
        kwargs: its arguments, and which bases those are that it writes to.
        returned: what torch returns: tensors, which may be fake.

    Raises:
        Unsupported: as of lower_call; or it writes to a part of a tensor.
    """
    (op,) = args
    bases = list(kwargs[_BASES])
    given = {k: v for k, v in kwargs.items() if not k.startswith("_")}
    written: list[int] = []
    for argument in op._schema.arguments:
        if argument.is_write:
            number = _base_of(argument.name, kwargs)
            given[argument.name] = None if number is None else bases[number]
            if number is not None:
                written.append(number)
    if len(set(written)) != len(written):
        raise Unsupported("writes to two arguments that share memory")
    count = len(op._schema.returns)
    start = max(count, 1)
    wanted = [*returned[:count], *(returned[start + number] for number in written)]
    made = lower_call(g, op, [], given, wanted)
    for number, value in zip(written, made[count:], strict=True):
        bases[number] = value
    return *(made[:count] or (None,)), *bases


def _base_of(name: str, kwargs: Mapping[str, Any]) -> int | None:
    """Which base an argument is; None if it is None."""
    prefix = f"_{name}_"
    told = {k.removeprefix(prefix) for k in kwargs if k.startswith(prefix)}
    if not told <= {"base_index", "alias"} or "base_index" not in told:
        raise Unsupported(f"writes to {name}, which is a part of a tensor, or several")
    number: int | None = kwargs[f"{prefix}base_index"]
    return number
