"""Has a module make results whose axes lie in memory in another order.

HLO's arrays lie in C order. Where NumPy's result lies otherwise, ``x.T * 2`` for one, a
module that makes its transpose moves nothing, and the caller turns the axes back. So
the transpose of a result is what is computed, of transposes of what it is computed of,
down to a value that is transposed already.
"""

from __future__ import annotations

from collections.abc import Mapping

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule, callees
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code

Value = HLOInstruction
#: For each axis of the result, that of the operand, as in ``np.transpose(x, axes)``.
Axes = tuple[int, ...]

#: Through how many instructions in a row a transpose is carried.
_MOST_IN_A_ROW = 100


def turn_results(module: HLOModule, orders: Mapping[int, Axes]) -> HLOModule:
    """A copy of `module` with ``np.transpose(result, orders[i])`` for result i.

    It is itself if there are none. Results that are aliases have to stay.
    """
    if not orders:
        return module
    made = HLOModule(module.name)
    made.entry.parameters = list(module.parameters)
    made.entry.instructions = list(module.entry.instructions)
    turning = _Turning(HLOBuilder(made.entry))
    results = list(module.results)
    for i, axes in orders.items():
        results[i] = turning.turned(results[i], axes)
        if results[i].is_parameter:
            results[i] = turning.b.unary("copy", results[i])
    made.set_results(results, module.output_names)
    made.aliases = list(module.aliases)
    eliminate_dead_code(made)
    return made


class _Turning:
    """Transposes of values, each made once."""

    def __init__(self, b: HLOBuilder) -> None:
        self.b = b
        self._made: dict[tuple[Value, Axes], Value] = {}

    def turned(self, value: Value, axes: Axes, depth: int = 0) -> Value:
        """``np.transpose(value, axes)``."""
        if axes == tuple(range(len(axes))):
            return value
        key = value, axes
        if key not in self._made:
            self._made[key] = self._turn(value, axes, depth + 1)
        return self._made[key]

    def _turn(self, value: Value, axes: Axes, depth: int) -> Value:
        b = self.b
        b.current_source_location = value.source_location
        if value.opcode == "transpose":
            before = value.attributes["dimensions"]
            (operand,) = value.operands
            return self.turned(operand, tuple([before[i] for i in axes]), depth)
        shape = tuple([value.shape[i] for i in axes])
        if value.opcode == "broadcast":
            (operand,) = value.operands
            places = [axes.index(d) for d in value.attributes["dimensions"]]
            if places == sorted(places):
                return b.broadcast_in_dim(operand, shape, tuple(places))
        elif depth < _MOST_IN_A_ROW and _is_elementwise(value):
            operands = [
                self.turned(o, axes, depth) if o.shape == value.shape else o
                for o in value.operands
            ]
            b.current_source_location = value.source_location
            return b.emit(
                *(value.opcode, tuple(operands), shape, value.dtype, value.attributes)
            )
        return b.transpose(value, axes)


def _is_elementwise(value: Value) -> bool:
    if not value.operands or callees(value) or value.tuple_shapes is not None:
        return False
    if OPCODES[value.opcode].cost.kind is not CostKind.ELEMENTWISE:
        return value.opcode in ("copy", "bitcast-convert")
    return all(o.shape in (value.shape, ()) for o in value.operands)
