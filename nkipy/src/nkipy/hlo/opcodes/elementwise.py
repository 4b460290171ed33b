"""Opcodes that combine elements at the same place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.hlo.dtypes import bool_
from nkipy.hlo.errors import HLOProtoError, HLOUnsupportedError
from nkipy.hlo.opcodes.attribute import Attribute, Fields, Kind, PublicName, Wire
from nkipy.hlo.opcodes.compiled import AS_IT_IS, ROUNDED, Cast, Compiled, refused
from nkipy.hlo.opcodes.cost import GPSIMD, RENAME, SCALAR, CostClass, elementwise
from nkipy.hlo.opcodes.kinds import INT
from nkipy.hlo.opcodes.record import (
    ALL,
    BITS,
    FLOAT,
    INTEGER,
    NUMERIC,
    OPCODES,
    SIGNED,
    Keeps,
    OnCpu,
    define,
)
from nkipy.hlo.opcodes.rule import (
    Inst,
    Result,
    array,
    arrays,
    element_type,
    fail,
    require,
)

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader


def unary(inst: Inst) -> Result:
    (x,) = inst.operands
    return x.shape, x.dtype


def binary(inst: Inst) -> Result:
    x, y = inst.operands
    if x.shape != y.shape or x.dtype is not y.dtype and _differ(x, y):
        fail("operands differ in shape or element type")
    return x.shape, x.dtype


def _differ(x: Inst, y: Inst) -> bool:
    # NumPy takes None for float64, hence the first comparison.
    return y.dtype is None or x.dtype != y.dtype


def is_finite(inst: Inst) -> Result:
    return array(inst.operands[0]).shape, bool_


def compare(inst: Inst) -> Result:
    binary(inst)
    return inst.operands[0].shape, bool_


def select(inst: Inst) -> Result:
    predicate, x, y = arrays(inst)
    require(predicate.dtype == bool_, "the first operand is not of type pred")
    if predicate.shape != x.shape or x.shape != y.shape or x.dtype != y.dtype:
        fail("operands differ in shape or element type (a scalar pred is not allowed)")
    return x.shape, x.dtype


def clamp(inst: Inst) -> Result:
    low, x, high = arrays(inst)
    for bound in (low, high):
        if bound.dtype != x.dtype or bound.shape not in ((), x.shape):
            fail("a bound is neither a scalar nor of the operand's shape and type")
    return x.shape, x.dtype


def convert(inst: Inst) -> Result:
    return inst.operands[0].shape, element_type(inst)


def bitcast_convert(inst: Inst) -> Result:
    """A wider type takes the last dimension; a narrower one adds one."""
    x = array(inst.operands[0])
    old, new = x.dtype.itemsize, element_type(inst).itemsize
    if (x.dtype == bool_) != (inst.dtype == bool_):
        fail("pred has no bit pattern to reinterpret")
    if old == new:
        return x.shape, inst.dtype
    if old > new:
        return (*x.shape, old // new), inst.dtype
    if x.shape[-1:] != (new // old,):
        fail(f"the operand's last dimension is not {new // old}")
    return x.shape[:-1], inst.dtype


def reduce_precision(inst: Inst) -> Result:
    exponent, mantissa = (
        inst.attributes[k] for k in ("exponent_bits", "mantissa_bits")
    )
    require(1 <= exponent <= 31, f"exponent_bits {exponent} is not in 1..31")
    require(0 <= mantissa <= 63, f"mantissa_bits {mantissa} is not in 0..63")
    return unary(inst)


def barrier(inst: Inst) -> Result:
    """Any value, tuples included, unchanged."""
    (x,) = inst.operands
    return x.tuple_shapes if x.tuple_shapes is not None else (x.shape, x.dtype)


# -- without attributes ----------------------------------------------------------------
def _unary(
    names: str,
    dtypes: frozenset[np.dtype],
    cost: CostClass,
    compiled: Compiled = ROUNDED,
    **record: Any,
) -> None:
    define(
        names,
        operands=1,
        dtypes=dtypes,
        rule=unary,
        cost=cost,
        compiled=compiled,
        **record,
    )


def _binary(
    names: str,
    dtypes: frozenset[np.dtype],
    cost: CostClass,
    compiled: Compiled = ROUNDED,
    **record: Any,
) -> None:
    define(
        names,
        operands=2,
        dtypes=dtypes,
        rule=binary,
        cost=cost,
        compiled=compiled,
        **record,
    )


# The numbers of steps are *ours*, counted from what the instruction set has: no
# division (a reciprocal and a product), no rounding but that of conversions, no sign
# but comparisons. ScalarE has functions by tables, one step where there is such a
# function; GpSimd computes what no other engine can.
_unary("abs", SIGNED, elementwise(), AS_IT_IS)
_unary("sign", SIGNED, elementwise(steps=2), AS_IT_IS)
_unary("negate", NUMERIC, elementwise(), AS_IT_IS)
_unary("exponential log-plus-one sqrt rsqrt", FLOAT, elementwise(SCALAR))
_unary("log", FLOAT, elementwise(SCALAR), on_cpu=OnCpu.READS_SUBNORMALS)
_unary("sine cosine tanh erf logistic", FLOAT, elementwise(SCALAR))
_unary("exponential-minus-one", FLOAT, elementwise(SCALAR, 2))
_unary("cbrt", FLOAT, elementwise(SCALAR, 2), on_cpu=OnCpu.READS_SUBNORMALS)
_unary("tan", FLOAT, elementwise(SCALAR, 3))
_unary("round-nearest-even", FLOAT, elementwise(steps=2))
_unary("floor ceil round-nearest-afz", FLOAT, elementwise(steps=3))
_unary("not", BITS, elementwise())
_unary("popcnt", INTEGER, elementwise(GPSIMD, 5))
_unary(
    "count-leading-zeros",
    INTEGER,
    elementwise(GPSIMD, 5),
    on_cpu=OnCpu.FOLDS_OTHERWISE | OnCpu.COMPUTES_OTHERWISE,
)
define(
    "copy",
    operands=1,
    rule=unary,
    cost=elementwise(),
    compiled=AS_IT_IS,
    keeps=Keeps.ALL,
)

_binary("add", ALL, elementwise(), on_cpu=OnCpu.CONTRACTS)
_binary("multiply", ALL, elementwise())
_binary("maximum minimum", ALL, elementwise(), AS_IT_IS)
_binary("subtract", NUMERIC, elementwise(), on_cpu=OnCpu.CONTRACTS)
_binary("divide", NUMERIC, elementwise(steps=2))
_binary("remainder", NUMERIC, elementwise(steps=4))
_binary(
    "power",
    NUMERIC,
    elementwise(SCALAR, 3),
    refused("NCC_EVRF062", cast=Cast.RESULT),
    on_cpu=OnCpu.FOLDS_OTHERWISE,
)
_binary("atan2", FLOAT, elementwise(SCALAR, 3), on_cpu=OnCpu.COMPUTES_OTHERWISE)
_binary("and or xor", BITS, elementwise())
_binary("shift-left shift-right-logical", INTEGER, elementwise())
_binary("shift-right-arithmetic", INTEGER, elementwise(), refused("NCC_EVRF022"))

#: Element types of the opcodes whose result has the operands' shape and element type.
UNARY = {name: op.dtypes for name, op in OPCODES.items() if op.rule is unary}
BINARY = {name: op.dtypes for name, op in OPCODES.items() if op.rule is binary}

define(
    "is-finite",
    operands=1,
    dtypes=FLOAT,
    rule=is_finite,
    cost=elementwise(),
    compiled=AS_IT_IS,
)
define("select", operands=3, rule=select, cost=elementwise(), compiled=AS_IT_IS)
define(
    "clamp",
    operands=3,
    rule=clamp,
    cost=elementwise(steps=2),
    compiled=AS_IT_IS,
    on_cpu=OnCpu.FOLDS_OTHERWISE,
)
define(
    "convert",
    operands=1,
    rule=convert,
    cost=elementwise(),
    compiled=ROUNDED,
    keeps=Keeps.ALL,
)
define(
    "bitcast-convert", operands=1, rule=bitcast_convert, cost=RENAME, compiled=AS_IT_IS
)
define(
    "opt-barrier",
    operands=1,
    rule=barrier,
    cost=RENAME,
    compiled=AS_IT_IS,
    takes_tuples=True,
    keeps=Keeps.ALL,
)

# -- with attributes -------------------------------------------------------------------
DIRECTIONS = ("EQ", "NE", "LT", "LE", "GT", "GE")


def _put_direction(fields: Fields, value: Any) -> None:
    fields["comparison_direction"] = value


def _get_direction(fields: Fields, reader: Reader) -> str:
    if fields.get("comparison_type") == "TOTALORDER":
        raise HLOUnsupportedError("comparison_type TOTALORDER is not supported")
    direction = fields.get("comparison_direction", "")
    if direction not in DIRECTIONS:
        raise HLOProtoError(f"unknown comparison_direction {direction!r}")
    return direction


_DIRECTION = Kind(
    f"one of {', '.join(DIRECTIONS)}", lambda value: value in DIRECTIONS, text=str
)
_COMPARISON = Wire(
    _put_direction, _get_direction, ("comparison_direction", "comparison_type")
)
define(
    "compare",
    operands=2,
    rule=compare,
    cost=elementwise(),
    compiled=AS_IT_IS,
    attributes=(
        Attribute(
            "direction",
            _DIRECTION,
            wire=_COMPARISON,
            public=(PublicName("comparison_direction"),),
        ),
    ),
)
define(
    "reduce-precision",
    operands=1,
    dtypes=FLOAT,
    rule=reduce_precision,
    cost=elementwise(steps=2),
    compiled=AS_IT_IS,
    attributes=(Attribute("exponent_bits", INT), Attribute("mantissa_bits", INT)),
)
