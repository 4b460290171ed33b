"""Sends functions and sorts to NumPy's inner loops where those are faster.

XLA's code for most transcendental functions is scalar, or a polynomial of its own, and
its sorts call a comparator; NumPy has vector loops, which a handler calls from several
threads without the interpreter's lock. A function's result is NumPy's own, bit by
bit, however it is divided among threads. That goes for subnormal numbers too, which
XLA's code flushes to zero. :mod:`nkipy_emulator.order_calls` has sorts and extremes.

Where that is so is asked of :mod:`nkipy_emulator.fast_calls`. A cheap function stays
where it is, in a loop that does more at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from math import prod
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.compositions import COMPOSITIONS, INTEGER_COMPOSITIONS
from nkipy.hlo.ir import (
    HLOComputation,
    HLOInstruction,
    HLOModule,
    callees_of,
)
from nkipy.hlo.rewrites.base import (
    Place,
    is_filled,
    literal_below,
    rewrite,
)
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code
from nkipy.hlo.rewrites.lending import controlled, is_control
from nkipy_emulator import _xla
from nkipy_emulator.fast_calls import (
    ELEMENTS,
    OPCODES,
    Mode,
    function_of,
    is_chosen,
    known_functions,
)
from nkipy_emulator.handler_calls import handler
from nkipy_emulator.order_calls import ORDERED_BY, Call, ranking, ranking_call

Value = HLOInstruction
#: Computed in float32, and rounded once.
_WIDENED = (dt.float16, dt.bfloat16)
#: Of powers that XLA computes by a product, a square root or a quotient.
_SIMPLE_EXPONENTS = (2, 0.5, -1)


# -- what is looked for ----------------------------------------------------------------
class _Template(NamedTuple):
    """A composition, of parameters of any shape."""

    name: str
    parameters: tuple[Value, ...]
    root: Value


@lru_cache(maxsize=1)
def _templates() -> Mapping[str, tuple[_Template, ...]]:
    """The compositions, by the opcode that each ends in."""
    found: dict[str, list[_Template]] = {}
    for name, compose in COMPOSITIONS.items():
        made = HLOComputation(name)
        count = getattr(np, name).nin
        given = tuple([made.add_parameter((2,), dt.float32) for _ in range(count)])
        root = compose(HLOBuilder(made), *given)
        found.setdefault(root.opcode, []).append(_Template(name, given, root))
    return MappingProxyType({opcode: tuple(ts) for opcode, ts in found.items()})


@cache
def _integer_template(name: str, dtype: np.dtype, is_nonzero: bool) -> _Template:
    """A composition of integers; whether its divisor is known not to be zero."""
    made = HLOComputation(name)
    x, y = (made.add_parameter((2,), dtype) for _ in range(2))
    root = INTEGER_COMPOSITIONS[name](HLOBuilder(made), x, y, is_nonzero)
    return _Template(name, (x, y), root)


class _Match:
    """An attempt to find a template in a program.

    Attributes:
        bound: what the template's instructions are there.
    """

    def __init__(self, template: _Template, root: Value) -> None:
        self.bound: dict[Value, Value] = {}
        self._template = template
        self._shape = root.shape
        self.succeeds = self._is(template.root, root)

    @property
    def operands(self) -> tuple[Value, ...]:
        return tuple(self.bound[p] for p in self._template.parameters)

    @property
    def inner(self) -> Iterator[Value]:
        """What is computed on the way to the root, and the root."""
        given = self._template.parameters
        return (found for t, found in self.bound.items() if t not in given)

    def _is(self, wanted: Value, found: Value) -> bool:
        if wanted in self.bound:
            return self.bound[wanted] is found or self._are_constants(wanted, found)
        if found.dtype != wanted.dtype or found.shape != self._shape:
            return False
        if self._are_constants(wanted, found):
            self.bound[wanted] = found
            return True
        if wanted.opcode != "parameter":
            if wanted.opcode != found.opcode:
                return False
            if dict(wanted.attributes) != dict(found.attributes):
                return False
            if len(wanted.operands) != len(found.operands):
                return False
            if not all(map(self._is, wanted.operands, found.operands)):
                return False
        self.bound[wanted] = found
        return True

    def _are_constants(self, wanted: Value, found: Value) -> bool:
        """Whether both have the same one value, bit by bit, everywhere."""
        one, other = literal_below(wanted), literal_below(found)
        if one is None or other is None or other.size != 1:
            return False
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()


class ComposedFunction(NamedTuple):
    """A function that a program computes step by step.

    Attributes:
        name: NumPy's name.
        operands: what it is of.
        inner: what is computed on the way, and the result.
    """

    name: str
    operands: tuple[Value, ...]
    inner: set[Value]


def composed_function(inst: Value) -> ComposedFunction | None:
    """The composition in float32 that ends in an instruction."""
    if inst.dtype == dt.float32:
        for template in _templates().get(inst.opcode, ()):
            match = _Match(template, inst)
            if match.succeeds:
                return ComposedFunction(template.name, match.operands, set(match.inner))
    return None


def _found(inst: Value, known: frozenset[str]) -> tuple[Call, set[Value]] | None:
    """The function that an instruction computes, and what it takes with it."""
    composed = composed_function(inst)
    if composed is not None and composed.name in known:
        call = Call(composed.name, composed.operands, _element_call)
        return call, composed.inner
    if inst.opcode in ORDERED_BY:
        find = ORDERED_BY[inst.opcode]
        return find(inst) if _xla.orders_by_numpy() else None
    if inst.dtype in dt.INTEGERS:
        return _divisors(inst)
    name = OPCODES.get(inst.opcode)
    if name in known and inst.dtype in (dt.float32, *_WIDENED):
        return Call(name, inst.operands, _element_call), {inst}
    return None


#: What a function's last step is of, where that is not by zero.
_LAST: Mapping[str, str] = MappingProxyType({"gcd": "remainder", "lcm": "divide"})


def _divisors(inst: Value) -> tuple[Call, set[Value]] | None:
    """A greatest common divisor or a least common multiple."""
    assert inst.dtype is not None
    below = inst.operands[0] if inst.opcode == "convert" else inst
    name = {"select": "gcd", "multiply": "lcm"}.get(below.opcode)
    # Templates are long: only what ends as one does is compared with it.
    guarded = [x.operands[-1].opcode for x in below.operands if x.opcode == "select"]
    if name is None or _LAST[name] not in guarded:
        return None
    for is_nonzero in (False, True):
        match = _Match(_integer_template(name, inst.dtype, is_nonzero), inst)
        if match.succeeds and function_of(name, inst.dtype) is not None:
            return Call(name, match.operands, _element_call), set(match.inner)
    return None


def _calls(module: HLOModule, mode: Mode) -> dict[Value, Call]:
    known = known_functions()
    calls: dict[Value, Call] = {}
    applied = _applied(module)
    for computation in (module.entry, *controlled(module)):
        if computation in applied:
            continue
        covered: set[Value] = set()
        # From behind, so that a composition comes before its parts.
        for inst in reversed(computation.instructions):
            if inst in covered:
                continue
            found = _found(inst, known)
            if found is None:
                continue
            call, covered_by = found
            # Parts of what XLA computes are no calls either: `wide_functions` has some
            # compositions in float64, and their digits cancel in float32.
            covered |= covered_by
            if _is_faster(call, mode):
                calls[inst] = call
    return calls


def element_calls(module: HLOModule) -> Mapping[Value, Call]:
    """The instructions of `module` that are functions of float32, as calls of them."""
    return MappingProxyType(
        {
            inst: call
            for inst, call in _calls(module, "always").items()
            if call.make is _element_call and inst.dtype == dt.float32
        }
    )


def _applied(module: HLOModule) -> set[HLOComputation]:
    """What is applied to elements, and what that calls: XLA aborts at a call there.

    A computation can be applied in one place and called in another.
    """
    found: set[HLOComputation] = set()
    for computation in reversed(module.computations()):  # callers first
        for inst in computation.instructions:
            if computation in found or not is_control(inst):
                found.update(callees_of(inst.attributes))
    return found


def _is_faster(call: Call, mode: Mode) -> bool:
    x = call.operands[0]
    if (
        mode != "always"
        and call.function == "power"
        and any(is_filled(call.operands[1], e) for e in _SIMPLE_EXPONENTS)
    ):
        return False
    is_float = call.make is _element_call and call.function not in INTEGER_COMPOSITIONS
    dtype = dt.float32 if is_float else x.dtype
    return is_chosen(call.function, str(dtype), prod(x.shape), mode)


# -- what takes its place --------------------------------------------------------------
def send_functions(module: HLOModule, mode: Mode) -> HLOModule:
    """`module` with calls of NumPy's loops; itself if there are none.

    Args:
        module: what to copy. Computations that are applied to elements are left.
        mode: where loops are called.
    """
    calls = {} if mode == "never" else _calls(module, mode)
    if not calls:
        return module

    orders = ranking(module, calls)

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        if inst in orders:
            return ranking_call(inst, place)
        if inst.opcode == "get-tuple-element" and inst.operands[0] in orders:
            return operands[0]
        call = calls.get(inst)
        if call is None:
            return None
        return call.make(call, inst, place)

    result = rewrite(module, rule)
    eliminate_dead_code(result)  # parts, which would count as readers of an operand
    return result


def _element_call(call: Call, inst: Value, place: Place) -> Value:
    b = place.builder
    operands = [place.values[x] for x in call.operands]
    if call.function != "power":  # NumPy's takes the root for a repeated exponent 0.5
        operands = [_one_or_all(x, place) for x in call.operands]
    assert inst.dtype is not None
    dtype, function = dt.float32, call.function
    if inst.dtype in dt.INTEGERS:
        dtype = inst.dtype
        function = f"{function_of(call.function, dtype)}"
    operands = [b.convert(x, dtype) for x in operands]
    attributes = handler(ELEMENTS, f'function = "{function}"')
    made = b.emit("custom-call", tuple(operands), inst.shape, dtype, attributes)
    return b.convert(made, inst.dtype)


def _one_or_all(x: Value, place: Place) -> Value:
    """An operand in the copy; of a scalar that is repeated, the scalar."""
    while x.opcode == "broadcast" and not x.operands[0].shape:
        (x,) = x.operands
    return place.values[x]
