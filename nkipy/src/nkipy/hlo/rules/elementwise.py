"""Opcodes that combine elements at the same place."""

from __future__ import annotations

from nkipy.hlo.dtypes import bool_
from nkipy.hlo.opcodes import BINARY, UNARY
from nkipy.hlo.rules.base import (
    Inst,
    Result,
    Rule,
    array,
    arrays,
    element_type,
    fail,
    require,
)


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
    exponent, mantissa = (inst.attributes[k] for k in _PRECISION)
    require(1 <= exponent <= 31, f"exponent_bits {exponent} is not in 1..31")
    require(0 <= mantissa <= 63, f"mantissa_bits {mantissa} is not in 0..63")
    return unary(inst)


_PRECISION = ("exponent_bits", "mantissa_bits")


def barrier(inst: Inst) -> Result:
    """Any value, tuples included, unchanged."""
    (x,) = inst.operands
    return x.tuple_shapes if x.tuple_shapes is not None else (x.shape, x.dtype)


RULES: dict[str, Rule] = {
    **{name: unary for names in UNARY for name in names.split()},
    **{name: binary for names in BINARY for name in names.split()},
    "is-finite": is_finite,
    "compare": compare,
    "select": select,
    "clamp": clamp,
    "convert": convert,
    "bitcast-convert": bitcast_convert,
    "reduce-precision": reduce_precision,
    "opt-barrier": barrier,
}
