"""torch's expressions of sizes, as spike-torch's programs evaluate them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, TypeAlias

from spike_torch.lowering import Size, Unsupported
from spike_torch.programs import Expression, expression


def program_expression(
    size: Size, places: Mapping[Any, Expression]
) -> Expression | int:
    """The expression of a size.

    Args:
        size: a number, or an expression of sympy's.
        places: what stands for each symbol.

    Raises:
        Unsupported: there is a function in it that programs do not evaluate.
    """
    if isinstance(size, int):
        return size
    if size.is_Integer:
        return int(size)
    if size.is_Symbol:
        if size not in places:
            raise Unsupported(f"depends on {size}, which no argument tells")
        return places[size]
    make = _FUNCTIONS.get(type(size).__name__)
    if make is None:
        raise Unsupported(f"has a size {size}, which programs do not evaluate")
    return make(*(program_expression(arg, places) for arg in size.args))


_Part: TypeAlias = "Expression | int"


def _folded(join: Callable[[Expression, _Part], Expression]) -> Callable[..., _Part]:
    def make(first: _Part, *others: _Part) -> _Part:
        return reduce(lambda one, other: join(expression(one), other), others, first)

    return make


def _power(base: _Part, exponent: _Part) -> _Part:
    if not isinstance(exponent, int) or exponent < 1:
        raise Unsupported("has a size that is a power of another")
    return _FUNCTIONS["Mul"](*[base] * exponent)


_FUNCTIONS: dict[str, Callable[..., _Part]] = {
    "Add": _folded(lambda one, other: one + other),
    "Mul": _folded(lambda one, other: one * other),
    "FloorDiv": _folded(lambda one, other: one // other),
    "CleanDiv": _folded(lambda one, other: one // other),
    "Mod": _folded(lambda one, other: one % other),
    "PythonMod": _folded(lambda one, other: one % other),
    "Min": _folded(lambda one, other: one.minimum(other)),
    "Max": _folded(lambda one, other: one.maximum(other)),
    "Pow": _power,
}
