"""Lowers one call of an operator, and checks what its lowering made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from spike_torch.aten import OPERATORS, Operator
from spike_torch.aten.record import find
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.errors import LoweringError, NeedsExactSize, Unsupported
from spike_torch.lowering.graph import Graph, Result
from spike_torch.lowering.sizes import Size, plain, symbols_of


def size_of(size: int | torch.SymInt) -> Size:
    """torch's size as ours, in the simplest form that its shape environment knows."""
    if not isinstance(size, torch.SymInt):
        return int(size)
    node = size.node
    expr = node.shape_env.simplify(node.shape_env.replace(node.expr))
    if not expr.is_Symbol:
        expr = expr.xreplace(_found_by_guards(node.shape_env))
        expr = expr.xreplace(_found_by_ranges(node.shape_env, expr))
    found = plain(expr)
    if isinstance(found, int) or found.is_Symbol:
        return found
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    # A guard that it is 1 replaces no symbol; what torch makes of it has 1 then.
    return 1 if statically_known_true(size == 1) else found


def _found_by_guards(shape_env: Any) -> dict[Any, Any]:
    """Expressions of which a guard says that they are a number."""
    found = [guard.expr for guard in shape_env.guards if guard.expr.is_Relational]
    return {e.lhs: e.rhs for e in found if e.rel_op == "==" and e.rhs.is_Integer}


def _found_by_ranges(shape_env: Any, expr: Any) -> dict[Any, int]:
    """Quotients in an expression that are one number, as their symbols' ranges say."""
    from torch.utils._sympy.functions import FloorDiv

    found = {}
    for quotient in expr.atoms(FloorDiv):
        bounds = shape_env.bound_sympy(quotient)
        if bounds.is_singleton():
            found[quotient] = bounds.lower
    return found


def result_of(tensor: torch.Tensor) -> Result:
    """Of a tensor of torch's, which may be fake."""
    return Result(tensor.dtype, tuple(size_of(n) for n in tensor.shape))


def tensors_of(value: Any) -> list[torch.Tensor | None]:
    """What an operator returned, as one list; None for what it left out."""
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in tensors_of(part)]
    return [value if isinstance(value, torch.Tensor) else None]


def name_of(op: Any) -> str:
    """``"aten::add.Tensor"``; of an overload called default, ``"aten::relu"``."""
    return str(op.name())


def record_of(op: Any) -> Operator:
    """The record of an operator that has a lowering.

    Raises:
        Unsupported: it has none.
    """
    name = name_of(op)
    record = OPERATORS.get(name) or find(name)
    if record is None or record.lower is None:
        raise Unsupported(unlowered(op) or "has no lowering")
    return record


def unlowered(op: Any) -> str:
    """Why there can be no lowering of an operator; empty if nothing says so."""
    record = OPERATORS.get(name_of(op))
    return "" if record is None else record.unlowered


def lower_call(
    g: Graph, op: Any, args: Sequence[Any], kwargs: Mapping[str, Any], returned: Any
) -> Any:
    """Build what a call computes.

    Args:
        g: the module under construction.
        op: torch's operator, with its overload.
        args: as the operator takes them, with an Array in place of each tensor.
        kwargs: the same.
        returned: what torch returns for it: tensors, which may be fake.

    Returns:
        An Array, or a tuple of them as torch's operator returns, None where that does.

    Raises:
        Unsupported: there is no lowering, or not of these arguments.
        NeedsExactSize: padding would reach a result.
        LoweringError: the lowering is wrong.
    """
    record = record_of(op)
    assert record.lower is not None
    if record.padding == "exact":
        _refuse_padding([*args, *kwargs.values()])
    tensors = tensors_of(returned)
    results = _results(g, tensors)
    with g.lowering(results):
        made = record.lower(g, *args, **kwargs)
    arrays = list(_arrays(made)) if isinstance(made, (tuple, list)) else [made]
    if _has_mask(op):  # torch's fake tensors are there also for what is not asked for
        asked = [array is not None for array in arrays]
        tensors = [t if a else None for t, a in zip(tensors, asked, strict=True)]
        results = _results(g, tensors)
    _check(record.name, arrays, tensors, results)
    return made


def _results(g: Graph, tensors: Sequence[torch.Tensor | None]) -> list[Result]:
    """Of tensors that there are, in this program's sizes."""
    found = [result_of(t) for t in tensors if t is not None]
    return [Result(r.dtype, tuple(map(g.sizes.of, r.sizes))) for r in found]


def _has_mask(op: Any) -> bool:
    """Whether an operator leaves out results that it is not asked for."""
    return any(argument.name == "output_mask" for argument in op._schema.arguments)


def _arrays(value: Any) -> Iterator[Array | None]:
    for part in value:
        if isinstance(part, (tuple, list)):
            yield from _arrays(part)
        else:
            yield part


def _refuse_padding(args: Sequence[Any]) -> None:
    for arg in _arrays(args):
        if isinstance(arg, Array) and arg.is_padded:
            sizes = [d.size for d in arg.dims if d.is_padded]
            raise NeedsExactSize("has no rule for padding", *sizes)


def _check(
    name: str,
    made: Sequence[Array | None],
    tensors: Sequence[torch.Tensor | None],
    results: Sequence[Result],
) -> None:
    kept = [array for array, tensor in zip(made, tensors) if tensor is not None]
    if len(made) != len(tensors) or any(array is None for array in kept):
        raise LoweringError(f"{name}: made {len(made)} results, not {len(tensors)}")
    for array, result in zip(kept, results):
        assert array is not None
        if not isinstance(array, Array) or array.dtype != result.dtype:
            raise LoweringError(f"{name}: made {array!r}, not {result.dtype}")
        shape = tuple(d.padded for d in array.dims)
        if shape != array.value.shape or not _same(array.sizes, result.sizes):
            raise LoweringError(
                f"{name}: made sizes {array.sizes} in {array.value.shape_text()}, not "
                f"{result.sizes}"
            )


def _same(one: Sequence[Size], other: Sequence[Size]) -> bool:
    """Whether sizes are the same, as far as a few numbers tell."""
    if len(one) != len(other):
        return False
    return all(a == b or _equal(a, b) for a, b in zip(one, other))


def _equal(one: Size, other: Size) -> bool:
    symbols = sorted(symbols_of(one) | symbols_of(other), key=str)
    if not symbols:
        return bool(one == other)
    import sympy

    for start in (64, 144, 1020):
        values = {s: sympy.Integer(start + 12 * i) for i, s in enumerate(symbols)}
        if sympy.sympify(one).xreplace(values) != sympy.sympify(other).xreplace(values):
            return False
    return True
