"""How operators are lowered that compute element by element.

Floats narrower than float32 are computed in float32 and rounded once, as the CPU does;
integers become floats first where torch's result is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch

from nkipy.hlo import dtypes as dt
from spike_torch.aten.examples import given
from spike_torch.aten.record import lowering
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dtypes import accumulating, hlo_dtype
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Graph, Number

#: Makes the result's value of the operands', which have one dtype and one shape.
Make = Callable[..., "Value"]


def computed(
    g: Graph,
    make: Make,
    *operands: Array | Number,
    dtype: torch.dtype | None = None,
    returns: torch.dtype | None = None,
) -> Array:
    """What `make` makes of operands, in the dtype that the CPU computes in.

    Args:
        g: the graph.
        make: makes the value, in the operands' dtype or in bool.
        operands: arrays, and numbers, which are not rounded to a narrow dtype.
        dtype: to which the arrays are converted first; the result's by default.
        returns: the result's dtype; what torch says that the operator returns.
    """
    returns = returns or g.result.dtype
    dtype = dtype or returns
    wide = accumulating(dtype)
    arrays = [
        g.number(x, wide) if is_number(x) else g.convert(g.operand(x, dtype), wide)
        for x in operands
    ]
    return g.convert(g.elementwise(make, *arrays), returns)


def is_single(x: Any) -> bool:
    """Whether an argument is one number."""
    return is_number(x) or not x.dims


def scaled(g: Graph, make: Make, x: Array, y: Array | Number) -> Array:
    """As :func:`computed`, of an array and a factor that is not rounded if single."""
    dtype = g.result.dtype
    wide = accumulating(dtype)
    is_kept = isinstance(y, Array) and not y.dims and x.dims and wide != dtype
    if not isinstance(y, Array) or not is_kept:
        return computed(g, make, x, y)
    array = g.convert(g.convert(x, dtype), wide)
    return g.convert(g.elementwise(make, array, g.convert(y, wide)), dtype)


def is_number(x: Any) -> bool:
    """Whether an argument is no array."""
    return not isinstance(x, Array)


def promoted(*operands: Array | Number) -> torch.dtype:
    """The dtype in which torch combines operands, by its rules of promotion."""
    return reduce(torch.promote_types, _kinds(operands))


def _kinds(operands: tuple[Any, ...]) -> list[torch.dtype]:
    first, *others = (_stand_in(x) for x in operands)
    return [torch.result_type(first, other) for other in others or [first]]


def _stand_in(x: Any) -> Any:
    """What has the operand's dtype, and is a tensor, a scalar or a number as it is."""
    if isinstance(x, (bool, int, float)):
        return x
    if is_number(x):  # an expression of sizes
        return 1 if x.is_integer else 1.0
    return torch.empty((1,) * min(x.ndim, 1), dtype=x.dtype, device="meta")


def exact(g: Graph, x: Array | Number, dtype: torch.dtype) -> Array:
    """An operand in a dtype, which has to have the number, where it is one.

    Raises:
        Unsupported: it has not, and torch refuses it.
    """
    if isinstance(x, (int, float)) and not isinstance(x, bool):
        limits = hlo_dtype(dtype)
        if dt.is_integer(limits):
            least, greatest = int(dt.lowest(limits)), int(dt.highest(limits))
            if not least <= x <= greatest:
                raise Unsupported(f"has the number {x}, which {dtype} has not")
    return g.operand(x, dtype)


def composed(*opcodes: str) -> Make:
    """The opcodes one after the other, of one operand."""

    def make(b: HLOBuilder, x: Value) -> Value:
        for opcode in opcodes:
            x = b.unary(opcode, x)
        return x

    return make


def combined(opcode: str) -> Make:
    """An opcode of two operands."""

    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        return b.binary(opcode, x, y)

    return make


def record_unary(table: Mapping[str, Make | str], samples: str = "x") -> None:
    """Records of operators of one tensor: what makes them, or an opcode."""
    for name, make in table.items():
        makes = composed(make) if isinstance(make, str) else make
        lowering(name, samples=given(samples))(_unary(makes))


def _unary(make: Make) -> Callable[[Graph, Array], Array]:
    def lower(g: Graph, self: Array) -> Array:
        return computed(g, make, self)

    return lower


def record_binary(
    table: Mapping[str, Make | str], first: Any = "x", second: Any = "y"
) -> None:
    """Records of operators of two operands, of which one may be a number."""
    for name, make in table.items():
        makes = combined(make) if isinstance(make, str) else make
        lowering(name, samples=given(first, second))(_binary(makes))


def _binary(make: Make) -> Callable[..., Array]:
    def lower(g: Graph, self: Array | Number, other: Array | Number) -> Array:
        return computed(g, make, self, other)

    return lower


def of_floats(g: Graph, make: Make, *operands: Array | Number) -> Array:
    """As :func:`computed`, of what torch has for floats alone.

    Raises:
        Unsupported: the result is no float.
    """
    if not g.result.dtype.is_floating_point:
        raise Unsupported(f"takes floats, not {g.result.dtype}")
    return computed(g, make, *operands)


# -- parts -----------------------------------------------------------------------------
def like(b: HLOBuilder, x: Value, number: float) -> Value:
    """A number in the shape and dtype of `x`."""
    return b.full_like(x, number)


def compare(b: HLOBuilder, x: Value, direction: str, number: float) -> Value:
    """Booleans: how `x` compares with a number."""
    return b.compare(x, b.full_like(x, number), direction)


def is_signed(x: Value) -> bool:
    """Whether an integer has a sign."""
    return x.dtype is not None and x.dtype.kind == "i"


def is_nan(b: HLOBuilder, x: Value) -> Value:
    return b.compare(x, x, "NE")


def times(b: HLOBuilder, x: Value, number: float) -> Value:
    return b.multiply(x, b.full_like(x, number))


def plus(b: HLOBuilder, x: Value, number: float) -> Value:
    return b.add(x, b.full_like(x, number))


def one_minus(b: HLOBuilder, x: Value) -> Value:
    return b.subtract(b.full_like(x, 1), x)


def reciprocal(b: HLOBuilder, x: Value) -> Value:
    return b.divide(b.full_like(x, 1), x)


def logistic(b: HLOBuilder, x: Value) -> Value:
    """``1 / (1 + exp(-x))``, no digit of which cancels."""
    return reciprocal(b, plus(b, b.unary("exponential", b.negate(x)), 1))


def truncated(b: HLOBuilder, x: Value) -> Value:
    """Without what is behind the point; the sign of zero is kept."""
    below = compare(b, x, "LT", 0)
    return b.select(below, b.unary("ceil", x), b.unary("floor", x))
