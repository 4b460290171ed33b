"""Keeps a compiler from computing something else than the module says.

Three liberties are left that no option of XLA's on the CPU takes away, nor of others
that generate code by LLVM:

* ``a * b + c`` is contracted to one fused operation that does not round the product, so
  that ``x * y - y * x`` is not zero;
* ``x + 0`` becomes ``x``, which is wrong where x is -0;
* what depends on constants alone is computed while compiling, by other code than what
  would compute it later: the last digit differs, subnormal numbers are not flushed,
  ``atan2(0, 0)`` is NaN, and a signed integer of 32 bits has -32 leading zeros.

A *fence* ends all three: it passes a value's bits through a bitwise or with a zero that
is read from memory at run time. It costs one instruction per element and keeps fusions.
Fences go into the entry computation and into what loops, branches and calls run, which
the zero is lent to. What enters or leaves those is fenced too: a compiler may put them
into the place of the call. Computations that are applied to elements, by a reduction
for example, are left as they are.
"""

from __future__ import annotations

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, OnCpu
from nkipy.hlo.rewrites import lending
from nkipy.hlo.rewrites.base import Place, constant_below, rewrite
from nkipy.hlo.rewrites.folding import keeps, leaves_to_hide

Value = HLOInstruction

# The dtypes in which some CPU multiplies and adds at once: float16 with AVX512-FP16,
# bfloat16 with AVX10.2. In fewer bits none does; XLA widens those, and rounds between.
_BITS: dict[np.dtype, np.dtype] = {
    dt.float64: dt.uint64,
    dt.float32: dt.uint32,
    dt.float16: dt.uint16,
    dt.bfloat16: dt.uint16,
}

# Their elements are, or can be, those of an operand. Where that is known, as it is in
# loops that are unrolled or divided, or beside an infinity, a sum of them is contracted
# with the product.
_OF_SEVERAL = frozenset(
    {
        *("concatenate", "pad", "select", "dynamic-update-slice"),
        *("maximum", "minimum", "clamp", "and", "or", "xor"),
    }
)


def keep_exact(module: HLOModule, zero: Value) -> HLOModule:
    """`module` with fences where they are needed; itself if nowhere.

    Args:
        module: what to copy.
        zero: a parameter of its entry computation, u64[] or u64[n], which in every call
            is zero, or whose last element is.
    """
    hidden = leaves_to_hide(module)
    controlled = lending.controlled(module)
    wanted = [c for c in controlled if _needs_fences(c, hidden)]
    if not wanted and not _needs_fences(module.entry, hidden, is_entry=True):
        return module
    module, lent = lending.lend(module, zero, wanted)
    products: set[Value] = set()
    leaves = leaves_to_hide(module) if wanted else set(hidden)
    for computation in lent:
        is_entry = computation is module.entry
        products |= _products_in_sums(computation, is_entry=is_entry)
        leaves |= _added_zeros(computation)
    fences = {computation: _Fence(value) for computation, value in lent.items()}

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        b, fence = place.builder, fences.get(place.computation)
        if fence is None:
            return None
        if inst in products:
            product = b.emit(inst.opcode, operands, inst.shape, inst.dtype)
            return fence(b, product)
        if inst in leaves:
            leaf = b.emit(inst.opcode, (), inst.shape, inst.dtype, inst.attributes)
            return fence(b, leaf)
        if _is(inst, OnCpu.COMPUTES_OTHERWISE):
            first, *rest = operands
            given = (fence(b, first), *rest)
            return b.emit(inst.opcode, given, inst.shape, inst.dtype)
        return None

    return rewrite(module, rule)


def _needs_fences(
    computation: HLOComputation, hidden: set[Value], *, is_entry: bool = False
) -> bool:
    instructions = computation.instructions
    if any(_is(i, OnCpu.COMPUTES_OTHERWISE) or i in hidden for i in instructions):
        return True
    products = _products_in_sums(computation, is_entry=is_entry)
    return bool(products or _added_zeros(computation))


def _products_in_sums(
    computation: HLOComputation, *, is_entry: bool = False
) -> set[Value]:
    """The products that a sum, here or beyond a call, could be contracted with."""
    products: set[Value] = set()
    seen: set[tuple[Value, np.dtype]] = set()
    # With the dtype of the sum: what is converted may be converted back.
    stack = [
        (operand, operand.dtype)
        for inst in computation.instructions
        if _is(inst, OnCpu.CONTRACTS) or _leaves(inst)
        for operand in inst.operands
        if operand.dtype in _BITS
    ]
    root = computation.root
    if not is_entry and root is not None and root.dtype in _BITS:
        stack.append((root, root.dtype))
    while stack:
        inst, dtype = one = stack.pop()
        if one in seen:
            continue
        seen.add(one)
        if _is_product(inst):
            if inst.dtype == dtype:
                products.add(inst)
        else:
            stack += [(operand, dtype) for operand in _passed_on(inst)]
    return products


def _is_product(inst: Value) -> bool:
    """Whether it is one, or a power that becomes one."""
    if inst.opcode == "power":
        return constant_below(inst.operands[1]) is not None
    return inst.opcode == "multiply"


def _passed_on(inst: Value) -> list[Value]:
    """The operands whose elements a result may have, perhaps negated or converted."""
    if keeps(inst) or inst.opcode == "bitcast-convert":
        return [inst.operands[0]]
    if inst.opcode == "divide" and constant_below(inst.operands[1]) is not None:
        return [inst.operands[0]]
    if inst.opcode in _OF_SEVERAL:
        return [o for o in inst.operands if o.dtype == inst.dtype]
    return []


def _is(inst: Value, kind: OnCpu) -> bool:
    return kind in OPCODES[inst.opcode].on_cpu


def _leaves(inst: Value) -> bool:
    """Whether operands go into another computation, or may do so as part of a tuple."""
    return inst.opcode == "tuple" or lending.is_control(inst)


def _added_zeros(computation: HLOComputation) -> set[Value]:
    """What has the zeros that are added to something, or may be beyond a call.

    A zero may be an element of a constant that is moved or converted. One that is
    subtracted matters where it is negative.
    """
    zeros: set[Value] = set()
    stack: list[Value] = []
    for inst in computation.instructions:
        subtracts = inst.opcode == "subtract"
        if inst.opcode != "add" and not subtracts and not _leaves(inst):
            continue
        for operand in inst.operands:
            constant = constant_below(operand)
            if operand.dtype not in _BITS:
                continue
            if constant is None:
                stack.append(operand)
                continue
            literal = constant.attributes["literal"]
            if not literal.any() and (not subtracts or _signs(literal).any()):
                zeros.add(constant)
    seen: set[Value] = set()
    while stack:
        inst = stack.pop()
        if inst in seen:
            continue
        seen.add(inst)
        stack += _passed_on(inst)
        if _has_zeros(inst):
            zeros.add(inst)
    return zeros


def _signs(literal: np.ndarray) -> np.ndarray:
    return np.signbit(literal.astype(np.float64))


def _has_zeros(leaf: Value) -> bool:
    """Whether it is a constant with a zero, or an iota that is zeros."""
    if leaf.opcode == "iota":
        return leaf.shape[leaf.attributes["iota_dimension"]] == 1
    return leaf.opcode == "constant" and not leaf.attributes["literal"].all()


class _Fence:
    """Passes values through a bitwise or with the run-time zero."""

    def __init__(self, zero: Value) -> None:
        self._source = zero
        self._zeros: dict[np.dtype, Value] = {}

    def __call__(self, b: HLOBuilder, x: Value) -> Value:
        assert x.dtype is not None
        bits = _BITS.get(x.dtype, dt.uint8) if dt.is_float(x.dtype) else x.dtype
        zeros = b.broadcast_to(self._zero(b, bits), x.shape)
        fenced = b.or_(b.bitcast_convert(x, bits), zeros)
        return b.bitcast_convert(fenced, x.dtype)

    def _zero(self, b: HLOBuilder, dtype: np.dtype) -> Value:
        zero = self._zeros.get(dtype)
        if zero is None:
            word = self._source
            if word.shape:
                (n,) = word.shape
                word = b.reshape(b.slice(word, (n - 1,), (n,)), ())
            zero = self._zeros[dtype] = b.convert(word, dtype)
        return zero
