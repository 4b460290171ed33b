"""Computes functions of float32 in float64 where XLA's code is not as good as NumPy's.

XLA's polynomials for ``tanh`` and ``expm1``, and what is composed of its functions, are
up to three or four units in the last place away, and further where digits cancel
(``benchmarks.bench_accuracy``). In float64, rounded once, they are exact to half a unit
and a little. What calls of NumPy's loops compute has none left
(:mod:`.function_calls`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from nkipy.hlo import compositions
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code
from nkipy_emulator.function_calls import composed_function

Value = HLOInstruction

#: Opcodes whose code of float32 is further away than NumPy's.
_OPCODES = frozenset({"tanh", "exponential-minus-one", "log-plus-one"})


def _log2(b: HLOBuilder, x: Value) -> Value:
    # What it is off in float64 is lost where it is rounded: powers of two are exact.
    return compositions.scale(b, b.unary("log", x), 1 / math.log(2))


def _log10(b: HLOBuilder, x: Value) -> Value:
    return compositions.scale(b, b.unary("log", x), 1 / math.log(10))


def _hypot(b: HLOBuilder, x: Value, y: Value) -> Value:
    """No square of a float32 is too large or too small for float64."""
    squares = b.add(b.multiply(x, x), b.multiply(y, y))
    infinity = b.full_like(x, math.inf)
    either = b.or_(
        b.compare(b.unary("abs", x), infinity, "EQ"),
        b.compare(b.unary("abs", y), infinity, "EQ"),
    )
    return b.select(either, infinity, b.unary("sqrt", squares))


#: What compositions are in float64, by their names.
_COMPOSED: Mapping[str, Callable[..., Value]] = MappingProxyType(
    {
        "arccos": compositions.arccos,
        "sinh": compositions.sinh,
        "arcsinh": compositions.arcsinh,
        "arccosh": compositions.arccosh,
        "arctanh": compositions.arctanh,
        "log2": _log2,
        "log10": _log10,
        "logaddexp": compositions.logaddexp,
        "logaddexp2": compositions.logaddexp2,
        "hypot": _hypot,
    }
)


def widen_functions(module: HLOModule) -> HLOModule:
    """`module` with such functions in float64; itself if it has none."""
    composed = {}
    covered: set[Value] = set()
    for computation in module.computations():
        for inst in reversed(computation.instructions):
            if inst in covered:
                continue
            found = composed_function(inst)
            if found is not None and found.name in _COMPOSED:
                composed[inst] = found
                covered |= found.inner
    plain = {
        inst
        for computation in module.computations()
        for inst in computation.instructions
        if inst.opcode in _OPCODES and inst.dtype == dt.float32
    } - covered
    if not composed and not plain:
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        b = place.builder
        if inst in plain:
            (x,) = operands
            made = b.unary(inst.opcode, b.convert(x, dt.float64))
        elif inst in composed:
            name, given, _ = composed[inst]
            wide = [b.convert(place.values[x], dt.float64) for x in given]
            made = _COMPOSED[name](b, *wide)
        else:
            return None
        return b.convert(made, dt.float32)

    result = rewrite(module, rule)
    eliminate_dead_code(result)  # parts
    return result
