"""Programs of single operations, for calls on the device: what C++ asks for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch.utils import _pytree as pytree

from nkipy.compiler.build import build
from nkipy.execution import load
from nkipy.hlo.ir import HLOModule
from spike_torch import programs
from spike_torch.eager_operators import (
    ON_DEVICES,
    arguments_of,
    functional_of,
    places_of_results,
    record_of,
    value_of,
    with_tensors,
)
from spike_torch.eager_results import results_on_cpu
from spike_torch.lowered.calls import lower_call, name_of
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dtypes import hlo_dtype
from spike_torch.lowering.errors import NeedsExactSize, Unsupported
from spike_torch.lowering.graph import Graph

logger = logging.getLogger(__name__)


#: What there is no program for: any call of the operator; such arguments; or, for now,
#: these, as the CPU writes the results as well without a program.
Without = Literal["operator", "arguments", "gain"]


def compile_call(
    name: str, overload: str, given: Sequence[Any], core: int, in_any_case: bool
) -> programs.Function | Without:
    """The program of a call.

    Args:
        name: torch's operator, as ``"aten::add"``.
        overload: which of its overloads.
        given: all arguments, in the order of its schema. Layouts and memory formats are
            numbers.
        core: the core that its tensors are on.
        in_any_case: whether there is to be one also if it gains nothing.

    Returns:
        A function of the tensors on the core among the arguments, in their order, which
        writes to what the operator writes to, and returns what else it returns; or what
        there is none for.
    """
    if name in ON_DEVICES:
        name, given = ON_DEVICES[name](*given)
    packet = getattr(torch.ops.aten, name.removeprefix("aten::"))
    op = getattr(packet, overload or "default")
    functional = functional_of(op)
    if functional is None or record_of(functional) is None:
        return "operator"
    try:
        with torch._C.DisableTorchFunction():
            return _function(op, functional, given, core, in_any_case)
    except (Unsupported, NeedsExactSize, torch.OutOfMemoryError) as error:
        logger.debug("%s.%s runs on the CPU: it %s", name, overload, error)
    except Exception:  # the CPU can compute it in any case
        logger.warning("no program could be made of %s", op, exc_info=True)
    return "arguments"


class _Parameter(NamedTuple):
    """A tensor as a program takes it: its dimensions in the order of its memory."""

    tensor: torch.Tensor
    place: int
    order: tuple[int, ...]

    @property
    def shape(self) -> list[int]:
        return [self.tensor.shape[d] for d in self.order]


def _order(x: torch.Tensor) -> tuple[int, ...]:
    """The dimensions in the order of the memory."""
    strides = x.stride()
    return tuple(sorted(range(x.ndim), key=lambda d: (-strides[d], d)))


def _row_major(shape: Sequence[int]) -> tuple[int, ...]:
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= size
    return tuple(strides)


def _strides(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Of a tensor without gaps whose dimensions lie in this order."""
    by_dimension = dict(zip(order, _row_major([shape[d] for d in order])))
    return tuple(by_dimension[d] for d in range(len(shape)))


def _require_dense(x: torch.Tensor) -> None:
    """
    Raises:
        Unsupported: there are gaps between its elements, or several at one place.
    """
    for size, wanted, stride in zip(x.shape, _strides(x.shape, _order(x)), x.stride()):
        if size != 1 and stride != wanted:
            raise Unsupported(f"writes to strides {x.stride()} of {tuple(x.shape)}")


def _transposed(g: Graph, array: Array, order: Sequence[int]) -> Array:
    return array if _is_in_order(order) else g.transpose(array, order)


def _is_in_order(order: Sequence[int]) -> bool:
    return tuple(order) == tuple(range(len(order)))


def _inverse(order: Sequence[int]) -> list[int]:
    return [order.index(d) for d in range(len(order))]


def _function(
    op: Any, functional: Any, given: Sequence[Any], core: int, in_any_case: bool
) -> programs.Function | Without:
    schema = op._schema
    given = [value_of(a, v) for a, v in zip(schema.arguments, given, strict=True)]
    places = places_of_results(schema)
    returned = results_on_cpu(op, functional, given)
    written = [None if p is None else given[p] for p in places]
    if len(written) != len(returned):
        raise Unsupported("returns other results than its functional overload")
    for target, result in zip(written, returned):
        if target is not None:
            _require_same(target, result)

    g = Graph(name_of(op).replace("::", ".").replace(".", "_"))
    tensors = _tensors(given)
    parameters, arrays = _parameters(g, tensors, written)
    by_place = iter(arrays)
    args, kwargs = arguments_of(
        schema, with_tensors(given, lambda _: next(by_place)), False
    )
    made = lower_call(g, functional, args, kwargs, _as_returned(returned))
    orders = _orders(returned, written)
    results = _results(g, made, returned, orders)
    g.module.set_results([array.value for array in results if array is not None])
    if not in_any_case and not _depends_on_values(g.module):
        return "gain"
    return _built(g, op, core, len(tensors), parameters, results, orders, written)


def _depends_on_values(module: HLOModule) -> bool:
    """Whether an element of a parameter may make a difference to a result."""
    needed = set(module.results)
    for instruction in reversed(module.entry.instructions):
        if instruction in needed:
            needed.update(instruction.operands)
    return not needed.isdisjoint(module.parameters)


def _tensors(given: Any) -> list[torch.Tensor]:
    return [t for t in pytree.tree_leaves(given) if isinstance(t, torch.Tensor)]


def _parameters(
    g: Graph, tensors: Sequence[torch.Tensor], written: Sequence[torch.Tensor | None]
) -> tuple[list[_Parameter], list[Array]]:
    """What the program takes, and each tensor's array.

    Two that are one tensor in this call are two in another, but for what is written to:
    calls are told apart by what is that.
    """
    parameters: list[_Parameter] = []
    arrays: list[Array] = []
    targets: dict[int, Array] = {}
    for place, x in enumerate(tensors):
        is_target = any(x is target for target in written)
        if is_target and id(x) in targets:
            arrays.append(targets[id(x)])
            continue
        parameter = _Parameter(x, place, _order(x))
        arrays.append(_array(g, parameter, f"input{len(parameters)}"))
        parameters.append(parameter)
        if is_target:
            targets[id(x)] = arrays[-1]
    return parameters, arrays


def _require_same(target: torch.Tensor, result: torch.Tensor | None) -> None:
    if result is None or (target.dtype, target.shape) != (result.dtype, result.shape):
        raise Unsupported("writes to a tensor of another dtype, or of other sizes")
    _require_dense(target)


def _array(g: Graph, parameter: _Parameter, name: str) -> Array:
    dtype = hlo_dtype(parameter.tensor.dtype)
    value = g.module.add_parameter(parameter.shape, dtype, name)
    array = Array(value, g.dims(parameter.shape))
    return _transposed(g, array, _inverse(parameter.order))


def _as_returned(returned: Sequence[torch.Tensor | None]) -> Any:
    return returned[0] if len(returned) == 1 else tuple(returned)


def _orders(
    returned: Sequence[torch.Tensor | None], written: Sequence[torch.Tensor | None]
) -> list[tuple[int, ...]]:
    """In which order each result's dimensions lie in memory: as the CPU's, or as those
    of the tensor that it is written to.

    Raises:
        Unsupported: there are gaps between elements of the CPU's.
    """
    orders: list[tuple[int, ...]] = []
    for result, target in zip(returned, written, strict=True):
        if result is None:
            orders.append(())
            continue
        orders.append(_order(result if target is None else target))
        if target is None and _strides(result.shape, orders[-1]) != result.stride():
            shape = tuple(result.shape)
            raise Unsupported(f"returns strides {result.stride()} of {shape}")
    return orders


def _results(
    g: Graph,
    made: Any,
    returned: Sequence[torch.Tensor | None],
    orders: Sequence[tuple[int, ...]],
) -> list[Array | None]:
    found = list(made) if isinstance(made, (tuple, list)) else [made]
    return [
        None if result is None else _transposed(g, array, order)
        for array, result, order in zip(found, returned, orders, strict=True)
    ]


def _built(
    g: Graph,
    op: Any,
    core: int,
    count: int,
    parameters: Sequence[_Parameter],
    results: Sequence[Array | None],
    orders: Sequence[tuple[int, ...]],
    written: Sequence[torch.Tensor | None],
) -> programs.Function:
    places = {id(p.tensor): i for i, p in enumerate(parameters)}
    shapes: list[tuple[int, ...]] = []
    specs: list[programs.Result] = []
    returns: list[programs.Return] = []
    for array, order, target in zip(results, orders, written, strict=True):
        if array is None:
            returns.append(None)
            continue
        shape = tuple(d.padded for d in array.dims)
        into = None if target is None else places[id(target)]
        if into is None:
            permutation = () if _is_in_order(order) else _inverse(order)
            returns.append(programs.Returned(len(specs), permutation))
        else:
            g.module.alias(len(specs), into, is_user_returned=False)
        specs.append(programs.Result(array.dtype, shape, into))
        shapes.append(shape)
    targets = {spec.input for spec in specs}
    inputs = [
        programs.Input(p.place, p.tensor.dtype, p.shape, i in targets, _permutation(p))
        for i, p in enumerate(parameters)
    ]
    loaded = load(build(g.module), core)
    variant = programs.Variant.of(loaded, [p.shape for p in parameters], shapes)
    return programs.Function(
        name_of(op),
        [""] * count,
        [],
        inputs,
        specs,
        returns,
        lambda _: variant,
        core=core,
        keeps_outputs_on_device=True,
        is_counted=False,
    )


def _permutation(parameter: _Parameter) -> tuple[int, ...]:
    return () if _is_in_order(parameter.order) else parameter.order
