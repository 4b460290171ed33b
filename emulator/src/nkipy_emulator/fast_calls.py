"""Sends instructions to NumPy's inner loops where those are faster than XLA's code.

XLA's code for most transcendental functions is scalar, or a polynomial of its own;
NumPy has vector loops, which a handler calls from all of XLA's threads without the
interpreter's lock. A result is NumPy's own, bit by bit, however it is divided among
threads. That goes for subnormal numbers too, which XLA's code flushes to zero.

From how many elements on a call is faster is measured (``benchmarks.bench_fast_calls``)
and kept in ``fast_calls.json``. A cheap function stays where it is, in a loop that does
more at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.compositions import COMPOSITIONS
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, literal_below, rewrite
from nkipy.hlo.rewrites.lending import controlled
from nkipy_emulator import _xla
from nkipy_emulator.errors import SimulationError

Value = HLOInstruction
#: Where they are faster, wherever there is one, nowhere.
FastCalls = Literal["auto", "always", "never"]
VARIABLE = "NKIPY_EMULATOR_FAST_CALLS"
TABLE = Path(__file__).with_name("fast_calls.json")

#: HLO's opcodes that are functions of NumPy's.
OPCODES: Mapping[str, str] = MappingProxyType(
    {
        "sine": "sin",
        "cosine": "cos",
        "tan": "tan",
        "tanh": "tanh",
        "exponential": "exp",
        "exponential-minus-one": "expm1",
        "log": "log",
        "log-plus-one": "log1p",
        "cbrt": "cbrt",
        "power": "power",
        "atan2": "arctan2",
    }
)
#: Computed in float32, and rounded once.
_WIDENED = (dt.float16, dt.bfloat16)


def chosen(mode: FastCalls | None) -> FastCalls:
    """`mode`, or what the environment says.

    Raises:
        SimulationError: the environment says what is none.
    """
    if mode is not None:
        return mode
    found = os.environ.get(VARIABLE) or "auto"
    for known in get_args(FastCalls):
        if found == known:
            return known
    raise SimulationError(
        f"{VARIABLE} is {found!r}; it can be {', '.join(get_args(FastCalls))}"
    )


@lru_cache(maxsize=1)
def table() -> Mapping[str, Mapping[str, int]]:
    """From how many elements on a call is faster, by function and dtype."""
    return MappingProxyType(json.loads(TABLE.read_text()))


@lru_cache(maxsize=1)
def known_functions() -> frozenset[str]:
    """The functions that this NumPy has a loop of float32 for; handlers know them."""
    found = set()
    for name in (*OPCODES.values(), *COMPOSITIONS):
        ufunc = getattr(np, name)
        signature = "f" * ufunc.nin + "->f"
        if signature in ufunc.types:
            _xla.add_function(name, ufunc, ufunc.types.index(signature))
            found.add(name)
    return frozenset(found)


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


class _Call(NamedTuple):
    """What takes an instruction's place."""

    function: str
    operands: tuple[Value, ...]


def _found(inst: Value, known: frozenset[str]) -> tuple[_Call, set[Value]] | None:
    """The function that an instruction computes, and what it takes with it."""
    if inst.dtype == dt.float32:
        for template in _templates().get(inst.opcode, ()):
            match = _Match(template, inst)
            if match.succeeds and template.name in known:
                return _Call(template.name, match.operands), set(match.inner)
    name = OPCODES.get(inst.opcode)
    if name in known and inst.dtype in (dt.float32, *_WIDENED):
        return _Call(name, inst.operands), {inst}
    return None


def _calls(module: HLOModule, mode: FastCalls) -> dict[Value, _Call]:
    known = known_functions()
    calls: dict[Value, _Call] = {}
    for computation in (module.entry, *controlled(module)):
        covered: set[Value] = set()
        # From behind, so that a composition comes before its parts.
        for inst in reversed(computation.instructions):
            if inst in covered or inst.tuple_shapes is not None:
                continue
            found = _found(inst, known)
            if found is None:
                continue
            call, inner = found
            if mode == "always" or _is_faster(call.function, inst):
                calls[inst] = call
                covered |= inner
    return calls


def _is_faster(function: str, inst: Value) -> bool:
    dtype = dt.float32 if inst.dtype in _WIDENED else inst.dtype
    least = table().get(function, {}).get(str(dtype))
    return least is not None and prod(inst.shape) >= least


# -- what takes its place --------------------------------------------------------------
def send_to_numpy(module: HLOModule, mode: FastCalls) -> HLOModule:
    """`module` with calls of NumPy's loops; itself if there are none.

    Args:
        module: what to copy. Computations that are applied to elements are left.
        mode: where loops are called.
    """
    calls = {} if mode == "never" else _calls(module, mode)
    if not calls:
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        call = calls.get(inst)
        if call is None:
            return None
        return _element_call(call, inst, place)

    return rewrite(module, rule)


def _element_call(call: _Call, inst: Value, place: Place) -> Value:
    b = place.builder
    operands = [_one_or_all(x, place) for x in call.operands]
    if inst.dtype in _WIDENED:
        operands = [b.convert(x, dt.float32) for x in operands]
    attributes = handler("nkipy_elements", f'function = "{call.function}"')
    made = b.emit("custom-call", tuple(operands), inst.shape, dt.float32, attributes)
    return b.convert(made, inst.dtype)


def _one_or_all(x: Value, place: Place) -> Value:
    """An operand in the copy; of a scalar that is repeated, the scalar."""
    while x.opcode == "broadcast" and not x.operands[0].shape:
        (x,) = x.operands
    return place.values[x]


def handler(target: str, config: str) -> Mapping[str, Any]:
    """Attributes of a call to a handler of ours that has no effect but its results."""
    attributes = {
        "custom_call_target": target,
        "backend_config": f"{{{config}}}".encode(),
        "api_version": _xla.TYPED_FFI,
        "has_side_effect": False,
    }
    return MappingProxyType(attributes)
