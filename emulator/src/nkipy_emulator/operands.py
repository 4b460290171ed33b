"""How large operands of a module reach XLA without a copy.

XLA's code takes for granted that each parameter lies at a multiple of 64 bytes, and
NumPy's large arrays lie 16 bytes behind one. A parameter that the program reads element
by element is therefore declared as the memory from the aligned address below its array
on, and the program begins with a slice of that: of where the array lies, which each
call says. Loops read through the slice; no copy of it is ever made. Handlers of ours
get the memory itself (:mod:`nkipy_emulator.handler_calls`).

Large constants become parameters, too: as part of the code they would be written,
hashed, parsed and kept, several times over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

import numpy as np

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy_emulator.handler_calls import call_on_memory, is_handler_call
from nkipy_emulator.memory import ALIGNMENT, ZERO_COPY_BYTES, empty
from nkipy_emulator.sums import call_of_sum, sum_of

Value = HLOInstruction

#: Instructions that XLA fuses with a slice that they read.
_READ_THROUGH = frozenset({CostKind.ELEMENTWISE, CostKind.VIEW})
#: Instructions that what uses them is fused with.
_PASS_ON = frozenset({CostKind.RENAME, CostKind.TRANSPOSE})


def lift_constants(module: HLOModule) -> tuple[HLOModule, list[np.ndarray]]:
    """`module` with large constants of its entry as further parameters, and these.

    It is itself if there are none.
    """
    lifted = [i for i in module.entry.instructions if _is_large_constant(i)]
    if not lifted:
        return module, []
    result = HLOModule(module.name)
    result.entry.instructions = list(module.entry.instructions)
    result.entry.parameters = list(module.parameters)
    parameters: dict[Value, Value] = {}
    for number, inst in enumerate(lifted):
        name = f"nkipy_constant_{number}"
        parameters[inst] = result.add_parameter(inst.shape, inst.dtype, name)
    _move_to_front(result, len(lifted))
    result.set_results(module.results, module.output_names)
    result.aliases = list(module.aliases)
    result = rewrite(result, lambda inst, operands, place: parameters.get(inst))
    return result, [inst.attributes["literal"] for inst in lifted]


def _is_large_constant(inst: Value) -> bool:
    if inst.opcode != "constant" or inst.nbytes < ZERO_COPY_BYTES:
        return False
    literal = inst.attributes["literal"]
    return isinstance(literal, np.ndarray) and literal.flags.c_contiguous


def _move_to_front(module: HLOModule, count: int) -> None:
    """Put the last instructions before all others."""
    instructions = module.entry.instructions
    instructions[:] = instructions[-count:] + instructions[:-count]


def in_place(array: np.ndarray, *, is_sliced: bool) -> np.ndarray:
    """`array`, or a copy of it, where XLA can read it in place in every call.

    Args:
        array: a constant.
        is_sliced: whether the program reads it through a slice.
    """
    needed = array.dtype.itemsize if is_sliced else ALIGNMENT
    if array.ctypes.data % ALIGNMENT % needed == 0:
        return array
    made = empty(array.shape, array.dtype)
    np.copyto(made, array)
    return made


def read_through_slices(
    module: HLOModule, vector: Value, first: int
) -> tuple[HLOModule, frozenset[int]]:
    """`module` with slices of more memory for parameters that loops read.

    Args:
        module: what to copy.
        vector: its last parameter, u64[n], which says by how many elements the array of
            a parameter begins behind an aligned address.
        first: where in `vector` the first parameter's number stands.

    Returns:
        The copy, and the numbers of these parameters. Such a one is declared as flat,
        and :data:`ALIGNMENT` bytes larger: what is not in the slice is never read, so
        that it need not be the program's memory, nor memory at all.
    """
    users: dict[Value, list[Value]] = {}
    for inst in module.entry.instructions:
        for operand in inst.operands:
            users.setdefault(operand, []).append(inst)
    results = set(module.results)
    chosen = [
        p
        for p in module.parameters
        if p is not vector
        and p.nbytes >= ZERO_COPY_BYTES
        and _is_read_through(p, users, results)
    ]
    if not chosen and not any(map(_is_sum, module.entry.instructions)):
        return module, frozenset()
    return _with_slices(module, vector, first, chosen)


def _is_sum(inst: Value, of: Value | None = None) -> bool:
    """Whether the handler of sums computes `inst` (from where `of` lies)."""
    summed = sum_of(inst, inst.operands)
    return summed is not None and (of is None or summed.base is of)


def _is_read_through(
    parameter: Value, users: dict[Value, list[Value]], results: Collection[Value]
) -> bool:
    """Whether all that reads a parameter can do so behind any address."""
    stack, seen = [parameter], {parameter}
    while stack:
        one = stack.pop()
        if one in results:
            return False
        for user in users.get(one, ()):
            kind = OPCODES[user.opcode].cost.kind
            if kind in _PASS_ON:
                if user not in seen:
                    seen.add(user)
                    stack.append(user)
            elif not (
                kind in _READ_THROUGH
                or _is_sum(user, parameter)
                or (is_handler_call(user) and _reshaped(one) is parameter)
            ):
                return False
    return True


def _reshaped(value: Value, known: Collection[Value] = ()) -> Value:
    """What `value` is a reshape of, as far down as what is known."""
    while value not in known and value.opcode == "reshape":
        (value,) = value.operands
    return value


def _with_slices(
    module: HLOModule, vector: Value, first: int, chosen: Sequence[Value]
) -> tuple[HLOModule, frozenset[int]]:
    larger = {parameter: _larger(parameter) for parameter in chosen}
    slices: dict[Value, Value] = {}
    sources: dict[Value, Value] = {}  # of slices: what they are of
    words = {
        memory: first + memory.attributes["parameter_number"]
        for memory in larger.values()
    }

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        if not place.is_entry:
            return None
        b = place.builder
        for parameter in operands:
            if parameter in larger and parameter not in slices:
                memory = larger[parameter]
                word = words[memory]
                start = b.slice(vector, (word,), (word + 1,))
                slices[parameter] = _slice(b, parameter, memory, start)
                sources[slices[parameter]] = memory
        given = tuple(slices.get(o, o) for o in operands)
        summed = sum_of(inst, given, sources.get)
        made = inst
        if summed is not None:
            made = call_of_sum(summed, inst)
            given = made.operands
        if is_handler_call(made):
            bases = tuple(sources.get(_reshaped(o, sources), o) for o in given)
            places = [words.get(base, -1) for base in bases]
            if max(places, default=-1) >= 0:
                return call_on_memory(made, (*bases, vector), places, b)
        if made is inst and given == operands:
            return None
        shapes = made.tuple_shapes
        return b.emit(
            made.opcode, given, made.shape, made.dtype, made.attributes, shapes
        )

    result = rewrite(module, rule)
    entry = result.entry
    entry.parameters[:] = [larger.get(p, p) for p in entry.parameters]
    entry.instructions[:] = [larger.get(i, i) for i in entry.instructions]
    return result, frozenset(p.attributes["parameter_number"] for p in chosen)


def _larger(parameter: Value) -> Value:
    assert parameter.dtype is not None
    size = prod(parameter.shape) + ALIGNMENT // parameter.dtype.itemsize
    attributes = {"parameter_number": parameter.attributes["parameter_number"]}
    made = HLOInstruction("parameter", (), (size,), parameter.dtype, attributes)
    made.name = parameter.name
    return made


def _slice(b: HLOBuilder, like: Value, memory: Value, start: Value) -> Value:
    """What of `memory` begins at `start`, u64[1], and is as large as `like`."""
    size = prod(like.shape)
    flat = b.dynamic_slice(memory, (b.reshape(start, ()),), (size,))
    return b.reshape(flat, like.shape)
