"""Operators that the device is asked for, and their arguments, as records have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch.utils import _pytree as pytree

from spike_torch.aten import OPERATORS, Operator
from spike_torch.lowered.calls import name_of
from spike_torch.lowering.errors import Unsupported

#: What the schema's enumerations are, which arrive as numbers.
_MEMORY_FORMATS = {
    0: torch.contiguous_format,
    1: torch.preserve_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
}
_LAYOUTS = {0: torch.strided}
#: The CPU's results of what has these are not the arguments' alone.
_UNTOLD = {
    torch.Tag.nondeterministic_seeded,
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
}


def _convolution(*given: Any) -> tuple[str, Sequence[Any]]:
    return "aten::convolution", given


def _convolution_backward(gradient: Any, *given: Any) -> tuple[str, Sequence[Any]]:
    (*_, mask) = given
    bias = [gradient.shape[1]] if mask[2] else None
    return "aten::convolution_backward", (gradient, *given[:2], bias, *given[2:])


#: What torch calls by another name on a device: the name that records have, and its
#: arguments.
ON_DEVICES: Mapping[str, Callable[..., tuple[str, Sequence[Any]]]] = {
    "aten::convolution_overrideable": _convolution,
    "aten::convolution_backward_overrideable": _convolution_backward,
}


def record_of(op: Any) -> Operator | None:
    """The record of an operator that programs may compute."""
    record = OPERATORS.get(name_of(op))
    if record is None or record.lower is None:
        return None
    if record.checks_values or record.writes or _UNTOLD & set(op.tags):
        return None
    return record


def _written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _names(argument: Any) -> Any:
    """What a schema calls the memory of a tensor."""
    return argument.alias_info.before_set if argument.alias_info else None


def _signature(schema: Any) -> list[tuple[str, str]]:
    """Arguments with their types, but those that only take results: what is the same of
    an operator's functional overload and of those that write."""
    return [(a.name, str(a.type)) for a in schema.arguments if not a.is_out]


@cache
def functional_of(op: Any) -> Any:
    """The operator that returns what another writes; itself, if it writes nothing; None
    if there is none."""
    schema = op._schema
    if not any(map(_written, schema.arguments)):
        return op
    name = schema.name.removeprefix("aten::")
    for base in (name, name.removesuffix("_")):
        packet = getattr(torch.ops.aten, base, None)
        for overload in packet.overloads() if packet is not None else ():
            found = getattr(packet, overload)
            if (
                not any(map(_written, found._schema.arguments))
                and _signature(found._schema) == _signature(schema)
                and len(found._schema.returns) == len(schema.returns)
            ):
                return found
    return None


def places_of_results(schema: Any) -> list[int | None]:
    """For each result the argument that it is, which is written to."""
    places: list[int | None] = []
    for result in schema.returns:
        found = None
        for i, argument in enumerate(schema.arguments):
            if _written(argument) and _names(result) == _names(argument):
                found = i
        places.append(found)
    written = [i for i, a in enumerate(schema.arguments) if _written(a)]
    if sorted(p for p in places if p is not None) != written:
        raise Unsupported("writes to what it does not return")
    return places


def value_of(argument: Any, given: Any) -> Any:
    """An argument as Python has it: layouts and memory formats for their numbers.

    Raises:
        Unsupported: there is none for that number.
    """
    kind = str(argument.real_type).removeprefix("Optional[").removesuffix("]")
    if given is None or kind not in ("MemoryFormat", "Layout"):
        return given
    table: Mapping[int, Any] = _LAYOUTS if kind == "Layout" else _MEMORY_FORMATS
    if given not in table:
        raise Unsupported(f"has {argument.name}={given}")
    return table[given]


def _is_default(argument: Any, given: Any) -> bool:
    if isinstance(given, torch.Tensor) or not argument.has_default_value():
        return False
    default = argument.default_value
    return type(default) is type(given) and default == given


def arguments_of(
    schema: Any, given: Sequence[Any], is_results: bool
) -> tuple[list[Any], dict[str, Any]]:
    """By place and by name, without defaults, as torch's graphs have them.

    Args:
        is_results: whether arguments that only take results are among them.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    count = 0
    for argument, value in zip(schema.arguments, given, strict=True):
        if argument.is_out and not is_results:
            continue
        if argument.kwarg_only:
            if not _is_default(argument, value):
                kwargs[argument.name] = value
        else:
            args.append(value)
            if not _is_default(argument, value):
                count = len(args)
    return args[:count], kwargs


def with_tensors(
    given: Sequence[Any], change: Callable[[torch.Tensor], Any]
) -> list[Any]:
    """Arguments, with something else in place of each tensor."""
    made = pytree.tree_map_only(torch.Tensor, change, list(given))
    assert isinstance(made, list)
    return made
