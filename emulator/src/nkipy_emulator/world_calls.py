"""Collectives among processes, as calls of a handler (``collective_calls.h``).

XLA's own run replicas of one process. Where each rank is a process, or some of its
threads, a rank's program runs alone, and what it exchanges goes through the world that
it has a seat in. Calls pass the call vector on, through loops too: so all ranks come to
them in one order.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from math import prod

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.hlo.proto_shapes import ELEMENT_TYPES
from nkipy.hlo.queries import is_collective, rank_groups
from nkipy.hlo.rewrites.base import Place, combination, element, rewrite
from nkipy.hlo.rewrites.lending import controlled, lend
from nkipy_emulator._xla import handler_call, reduces
from nkipy_emulator.errors import SimulationError

Value = HLOInstruction
Groups = tuple[tuple[int, ...], ...]

_TARGET = "nkipy_collective"
_RANK = handler_call("nkipy_rank")

#: What has its memory from elsewhere, where it stays as it is.
_KEPT = ("parameter", "constant", "get-tuple-element")


def lower_collectives(module: HLOModule, vector: Value, world_size: int) -> HLOModule:
    """A copy of `module` whose collectives are calls; itself if it has none.

    It is the same for all ranks, which learn when they run it who they are.

    Args:
        module: what a rank runs.
        vector: the parameter that points to the state of the running call.
        world_size: how many ranks there are.

    Raises:
        SimulationError: one cannot be done among processes.
    """
    if not any(map(_is_replaced, module.instructions())):
        return module
    module, lent = lend(module, vector, filter(_has_replaced, controlled(module)))
    return rewrite(module, _Lowering(lent, world_size, _uses(module)))


def _is_replaced(inst: Value) -> bool:
    if inst.opcode == "custom-call":
        return False
    return inst.opcode == "replica-id" or is_collective(inst)


def _has_replaced(computation: HLOComputation) -> bool:
    return any(map(_is_replaced, computation.instructions))


class _Lowering:
    """What takes the place of collectives, and of what hands the call vector on."""

    def __init__(
        self,
        lent: dict[HLOComputation, Value],
        world_size: int,
        uses: Counter[Value],
    ) -> None:
        self._lent = lent
        self._world_size = world_size
        #: By computation: what the next call takes; a loop gives it back, as the last
        #: element of its result.
        self._next: dict[HLOComputation, Value] = {}
        self._loop: dict[HLOComputation, Value] = {}
        self._uses = uses

    def __call__(
        self, inst: Value, operands: tuple[Value, ...], place: Place
    ) -> Value | None:
        lent = self._lent.get(place.computation)
        if lent is None:
            return None
        if inst.opcode == "while" and inst.attributes["body"] in self._lent:
            self._loop[place.computation] = inst
        elif inst.opcode == "tuple" and inst.operands and inst.operands[-1] is lent:
            given = (*operands[:-1], self._vector(place))
            return place.builder.emit(
                "tuple", given, (), None, tuple_shapes=inst.tuple_shapes
            )
        elif inst.opcode == "replica-id":
            given = (self._vector(place),)
            return place.builder.emit("custom-call", given, (), inst.dtype, _RANK)
        elif _is_replaced(inst):
            return self._collective(inst, operands[0], place)
        return None

    def _vector(self, place: Place) -> Value:
        """What the next call takes for its vector."""
        loop = self._loop.pop(place.computation, None)
        if loop is not None:
            made = place.values[loop]
            assert made.tuple_shapes is not None
            last = len(made.tuple_shapes) - 1
            self._next[place.computation] = element(place.builder, made, last)
        lent = self._lent[place.computation]
        if place.computation not in self._next:
            self._next[place.computation] = place.values.get(lent, lent)
        return self._next[place.computation]

    def _groups(self, inst: Value) -> Groups:
        if inst.opcode == "collective-permute":
            return (tuple(range(self._world_size)),)
        return rank_groups(inst) or (tuple(range(self._world_size)),)

    def _collective(self, inst: Value, x: Value, place: Place) -> Value:
        if inst.opcode == "collective-permute":
            return self._permute(inst, x, place)
        if inst.opcode == "collective-broadcast":
            return self._call(inst, x, x.shape, place, "first")
        if inst.opcode in ("all-gather", "all-to-all"):
            (d,) = inst.attributes["dimensions"]
            split = inst.opcode == "all-to-all"
            return self._call(
                inst, x, inst.shape, place, "place", outer=_outer(x, d), split=split
            )
        return self._reduce(inst, x, place)

    def _permute(self, inst: Value, x: Value, place: Place) -> Value:
        sources = [-1] * self._world_size
        for source, target in inst.attributes["source_target_pairs"]:
            sources[target] = source
        return self._call(inst, x, x.shape, place, "take", sources=tuple(sources))

    def _reduce(self, inst: Value, x: Value, place: Place) -> Value:
        is_scattered = inst.opcode == "reduce-scatter"
        d = inst.attributes["dimensions"][0] if is_scattered else 0
        outer = _outer(x, d) if is_scattered else 1
        applied = inst.attributes["to_apply"]
        reduction = combination(inst)
        assert x.dtype is not None
        if reduction is not None and reduces(reduction, ELEMENT_TYPES[x.dtype]):
            return self._call(
                *(inst, x, inst.shape, place, "reduce", reduction, outer),
                split=is_scattered,
            )
        # The operands of all ranks, which are reduced here.
        b = place.builder
        groups = self._groups(inst)
        if len({len(group) for group in groups}) > 1:
            raise SimulationError(
                f"{inst.opcode} of {x.dtype} over groups of different sizes, {groups}, "
                f"cannot be done among processes{_where(inst)}: convert to float32 or "
                "bfloat16 before"
            )
        if is_scattered:
            placed = self._call(inst, x, x.shape, place, "place", "", outer, True)
            size = inst.shape[d]
        else:
            row = b.reshape(x, (1, *x.shape))
            count = len(groups[0])
            placed = self._call(inst, row, (count, *x.shape), place, "place")
            size = 1
        parts = [
            b.reshape(b.slice_dim(placed, d, i, i + size), inst.shape)
            for i in range(0, placed.shape[d], size)
        ]
        result = parts[0]
        for part in parts[1:]:
            result = _applied(applied, (result, part), b)
        return result

    def _is_free(self, inst: Value) -> bool:
        """Whether the result may take the operand's memory without a copy before.

        That of another array is new in each call, and getting it from the system takes
        longer than the exchange.
        """
        (x,) = inst.operands
        while x.opcode == "reshape" and self._uses[x] == 1:
            (x,) = x.operands
        return x.opcode not in _KEPT and self._uses[x] == 1

    def _call(
        self,
        inst: Value,
        x: Value,
        shape: tuple[int, ...],
        place: Place,
        kind: str,
        reduction: str = "",
        outer: int = 1,
        split: bool = False,
        sources: tuple[int, ...] = (),
    ) -> Value:
        groups = self._groups(inst)
        what = f"{inst.opcode} of {inst.dtype}{list(x.shape)}"
        signed = f"{what} {reduction} {groups} {outer} {split} {sources}"
        config = {
            "kind": _text(kind),
            "reduction": _text(reduction),
            "text": _text(f"{what}{_how(inst, reduction, groups)}{_where(inst)}"),
            "groups": _ints([rank for group in groups for rank in group]),
            "sizes": _ints(map(len, groups)),
            "sources": _ints(sources),
            "outer": f"{outer} : i64",
            "split": f"{int(split)} : i64",
            "signature": f"{_signature(signed)} : i64",
        }
        text = ", ".join(f"{name} = {value}" for name, value in config.items())
        attributes = dict(handler_call(_TARGET, f"{{{text}}}".encode(), True))
        if shape == x.shape and self._is_free(inst):
            attributes["output_operand_aliasing"] = ((0, 0),)
        vector = self._vector(place)
        shapes = (Shape(x.dtype, shape), Shape(vector.dtype, vector.shape))
        b = place.builder
        made = b.emit("custom-call", (x, vector), (), None, attributes, shapes)
        self._next[place.computation] = element(b, made, 1)
        return element(b, made, 0)


def _uses(module: HLOModule) -> Counter[Value]:
    """How often each instruction is an operand, or what is returned."""
    uses = Counter(x for inst in module.instructions() for x in inst.operands)
    uses.update(module.results)
    uses.update(c.root for c in module.entry.called() if c.root is not None)
    return uses


def _outer(x: Value, dimension: int) -> int:
    return prod(x.shape[:dimension])


def _applied(
    computation: HLOComputation, arrays: tuple[Value, Value], b: HLOBuilder
) -> Value:
    """What a computation of two scalars makes of each two elements."""
    shape = arrays[0].shape
    values = dict(zip(computation.parameters, arrays))
    for inst in computation.instructions:
        if inst.opcode == "constant":
            values[inst] = b.broadcast_to(b.constant(inst.attributes["literal"]), shape)
        elif inst not in values:
            operands = tuple(values[x] for x in inst.operands)
            values[inst] = b.emit(
                inst.opcode, operands, shape, inst.dtype, inst.attributes
            )
    assert computation.root is not None
    return values[computation.root]


def _text(text: str) -> str:
    """A string of MLIR's, which has another escape for bytes than others have."""
    plain = [
        chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}"
        for b in text.encode(errors="replace")
    ]
    return f'"{"".join(plain)}"'


def _ints(values: object) -> str:
    numbers = ", ".join(map(str, values))  # type: ignore[call-overload]
    return f"array<i64: {numbers}>" if numbers else "array<i64>"


def _signature(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "little", signed=True)


def _how(inst: Value, reduction: str, groups: Groups) -> str:
    """What ranks may differ in beside shape and dtype, for people, and not too long."""
    told = [reduction or combination(inst)] if "to_apply" in inst.attributes else []
    told += [
        f"{name}={inst.attributes[name]}"
        for name in ("dimensions", "source_target_pairs")
        if name in inst.attributes
    ]
    if inst.opcode != "collective-permute":
        told.append("groups " + "".join(str(list(group)) for group in groups))
    text = ", ".join(part for part in told if part)
    return f" by {text if len(text) <= 200 else text[:197] + '...'}"


def _where(inst: Value) -> str:
    return f" ({inst.source_location})" if inst.source_location else ""
