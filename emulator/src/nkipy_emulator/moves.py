"""Has a handler lay boxes of elements beside each other where no more is to be done.

``np.pad``, ``np.tile``, ``np.repeat``, ``np.flip``, slices, joins and what is made of
them only say where elements go. XLA's loops find out for each element where it comes
from; the handler (``move_calls.h``) copies and fills rows. ``np.diagflat``, and stores
at places with equal distances, are what is filled or copied, and then stored over.

That is done in programs that are calls of handlers alone
(:mod:`nkipy_emulator.handler_programs`): loops that compute read through such moves.
From how many elements on it is as fast stands in the table of
:mod:`nkipy_emulator.fast_calls`, measured by ``benchmarks.bench_array_calls``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType
from typing import NamedTuple

from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy_emulator.fast_calls import Mode, is_chosen
from nkipy_emulator.handler_calls import handler
from nkipy_emulator.strided_stores import store_of

Value = HLOInstruction
#: Arrays that one call reads, and dimensions; so has it ``move_calls.h``.
_MOST_MOVED = 16
_MOST_DIMENSIONS = 16
#: Of one call.
_MOST_BOXES = 128
#: Bytes of an element.
_ITEMSIZES = (1, 2, 4, 8)
#: Elements of a transpose that is no copy of rows.
_MOST_TURNED = 262_144
#: How often an element is repeated side by side in more elements than these: XLA's
#: loops do that as vectors.
_FEW_REPEATS, _FEW_ELEMENTS = 8, 16_384


class _Along(NamedTuple):
    """One dimension of a box: where in the result it begins, how many elements it has,
    and the steps between them in what they are read from, in elements, and in the
    dimension of the result."""

    start: int
    size: int
    step: int
    apart: int = 1


class _Box(NamedTuple):
    """Elements of `source` from `first` on, in its order, and where they go."""

    source: Value
    first: int
    dimensions: tuple[_Along, ...]


_Boxes = tuple[_Box, ...]


class _Move(NamedTuple):
    """The boxes that a value is made of, and those that are then stored over them."""

    boxes: _Boxes
    stored: _Boxes = ()

    @property
    def sources(self) -> list[Value]:
        return list(dict.fromkeys(box.source for box in (*self.boxes, *self.stored)))


def send_moves(module: HLOModule, mode: Mode) -> HLOModule:
    """`module` with calls of handlers for results that are moves; itself without any.

    Args:
        module: what to copy. Only its entry is looked at.
        mode: where handlers are called.
    """
    if mode == "never":
        return module
    found = {
        result: move
        for result in module.results
        if (move := _copy(result)) is not None
        and is_chosen("moves", "any", prod(result.shape), mode)
    }
    wanted = list(module.results)
    while wanted:
        value = _peeled(wanted.pop())
        move = None if value in found else _move(value)
        if move is None:
            continue
        sources = move.sources
        if value in sources or len(sources) > _MOST_MOVED:
            continue
        if len(move.boxes) + len(move.stored) > _MOST_BOXES:
            continue
        if not move.stored and any(map(_repeats, move.boxes)) and mode != "always":
            continue
        if is_chosen("moves", "any", prod(value.shape), mode):
            found[value] = move
            wanted += sources
    if not found:
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        move = found.get(inst) if place.is_entry else None
        return None if move is None else _call(inst, move, place)

    return rewrite(module, rule)


def _peeled(value: Value) -> Value:
    while value.opcode in ("reshape", "copy"):
        (value,) = value.operands
    return value


def _is_handled(value: Value) -> bool:
    return (
        value.dtype is not None
        and value.dtype.itemsize in _ITEMSIZES
        and 0 < len(value.shape) <= _MOST_DIMENSIONS
        and 0 not in value.shape
    )


def _call(inst: Value, move: _Move, place: Place) -> Value:
    sources = move.sources
    numbers: list[int] = []
    for box in (*move.boxes, *move.stored):
        numbers += (sources.index(box.source), box.first)
        numbers += [n for along in box.dimensions for n in along]
    shape, listed = (", ".join(map(str, ns)) for ns in (inst.shape, numbers))
    config = f"shape = array<i64: {shape}>, boxes = array<i64: {listed}>"
    config += f", stored = {len(move.stored)} : i64"
    operands = tuple([place.values[source] for source in sources])
    attributes = handler("nkipy_move", config)
    return place.builder.emit(
        "custom-call", operands, inst.shape, inst.dtype, attributes
    )


# -- copies ----------------------------------------------------------------------------
def _copy(result: Value) -> _Move | None:
    """A result that has the elements of a parameter, in this or another shape."""
    given = _peeled(result)
    if given is result or given.opcode != "parameter" or not _is_handled(result):
        return None
    (box,) = _whole(result)
    return _Move((box._replace(source=given),))


# -- what is stored over others --------------------------------------------------------
def _move(value: Value) -> _Move | None:
    if not _is_handled(value):
        return None
    if value.opcode == "select":
        return _store(value)
    if value.opcode == "pad" and (spread := _spread(value)) is not None:
        return spread
    return _Move(_boxes(value)) if value.opcode in _MOVES else None


def _spread(pad: Value) -> _Move | None:
    """A pad between elements: they are stored over what is filled."""
    x, fill = pad.operands
    padding = pad.attributes["padding"]
    if 0 in x.shape or not any(between for _, _, between in padding):
        return None
    if any(low < 0 or high < 0 for low, high, _ in padding):
        return None
    filled = _Box(fill, 0, tuple([_Along(0, size, 0) for size in pad.shape]))
    places = [(low, between + 1) for low, _, between in padding]
    return _Move((filled,), _apart(_boxes(x), places))


def _store(choice: Value) -> _Move | None:
    """A store at places with equal distances, of one value or one for each place."""
    store = store_of(choice)
    if store is None:
        return None
    numbers = [store.places[i : i + 4] for i in range(0, len(store.places), 4)]
    if store.value.shape:
        values = _boxes(store.value)
    else:
        along = [_Along(0, count, 0) for _, _, _, count in numbers]
        values = (_Box(store.value, 0, tuple(along)),)
    places = [(first, distance) for _, first, distance, _ in numbers]
    return _Move(_boxes(store.array), _apart(values, places))


def _apart(boxes: _Boxes, places: list[tuple[int, int]]) -> _Boxes:
    """Boxes whose elements go to places: in each dimension the first, and the distance
    from one to the next."""
    return tuple(
        [
            box._replace(
                dimensions=tuple(
                    [
                        along._replace(
                            start=first + along.start * distance, apart=distance
                        )
                        for along, (first, distance) in zip(box.dimensions, places)
                    ]
                )
            )
            for box in boxes
        ]
    )


# -- what values are made of -----------------------------------------------------------
def _boxes(value: Value) -> _Boxes:
    """The boxes that `value` is made of, each element in one of them."""
    move = _MOVES.get(value.opcode)
    if move is not None and _is_handled(value):
        boxes = move(value)
        if boxes is not None and len(boxes) <= _MOST_BOXES:
            return boxes
    return _whole(value)


def _whole(value: Value) -> _Boxes:
    """All of `value` as it is."""
    dimensions = []
    step = 1
    for size in reversed(value.shape):
        dimensions.append(_Along(0, size, step))
        step *= size
    return (_Box(value, 0, tuple(reversed(dimensions))),)


def _broadcast(value: Value) -> _Boxes:
    places = value.attributes["dimensions"]
    made = []
    for box in _boxes(value.operands[0]):
        dimensions = [_Along(0, size, 0) for size in value.shape]
        for place, along in zip(places, box.dimensions):
            dimensions[place] = along
        made.append(box._replace(dimensions=tuple(dimensions)))
    return tuple(made)


def _transpose(value: Value) -> _Boxes | None:
    """None if what lies beside each other would come from rows apart, and there is more
    of it than caches hold: XLA turns square by square."""
    order = value.attributes["dimensions"]
    made = tuple(
        box._replace(dimensions=tuple([box.dimensions[i] for i in order]))
        for box in _boxes(value.operands[0])
    )
    is_small = prod(value.shape) <= _MOST_TURNED
    return made if is_small or all(map(_has_rows, made)) else None


def _reshape(value: Value) -> _Boxes | None:
    """None if it does more than to add or drop dimensions of one element."""
    below = value.operands[0]
    if [n for n in value.shape if n != 1] != [n for n in below.shape if n != 1]:
        return None
    made = []
    for box in _boxes(below):
        kept = iter([a for a, n in zip(box.dimensions, below.shape) if n != 1])
        dimensions = tuple(
            [_Along(0, 1, 0) if n == 1 else next(kept) for n in value.shape]
        )
        made.append(box._replace(dimensions=dimensions))
    return tuple(made)


def _repeats(box: _Box) -> bool:
    """Whether many elements are each repeated a few times."""
    sizes = [(along.size, along.step) for along in box.dimensions if along.size > 1]
    if len(sizes) < 2 or prod(size for size, _ in sizes) <= _FEW_ELEMENTS:
        return False
    size, step = sizes[-1]
    return step == 0 and size <= _FEW_REPEATS


def _has_rows(box: _Box) -> bool:
    steps = [along.step for along in box.dimensions if along.size > 1]
    return not steps or abs(steps[-1]) <= 1


def _slice(value: Value) -> _Boxes:
    starts = value.attributes["starts"]
    strides = value.attributes.get("strides") or (1,) * len(starts)
    made = []
    for source, first, dimensions in _boxes(value.operands[0]):
        kept = []
        for along, start, stride, size in zip(dimensions, starts, strides, value.shape):
            # Of the slice's elements, the first and the one behind the last in the box.
            begin = max(0, -((start - along.start) // stride))
            end = min(size, -((start - along.start - along.size) // stride))
            if begin >= end:
                break
            first += (start + begin * stride - along.start) * along.step
            kept.append(_Along(begin, end - begin, along.step * stride))
        else:
            made.append(_Box(source, first, tuple(kept)))
    return tuple(made)


def _reverse(value: Value) -> _Boxes:
    made = []
    for source, first, dimensions in _boxes(value.operands[0]):
        turned = list(dimensions)
        for axis in value.attributes["dimensions"]:
            start, size, step, _ = dimensions[axis]
            first += (size - 1) * step
            turned[axis] = _Along(value.shape[axis] - start - size, size, -step)
        made.append(_Box(source, first, tuple(turned)))
    return tuple(made)


def _concatenate(value: Value) -> _Boxes:
    axis, begin = value.attributes["dimension"], 0
    made: list[_Box] = []
    for operand in value.operands:
        if 0 in operand.shape:
            continue
        shifts = [begin if i == axis else 0 for i in range(len(value.shape))]
        made += _shifted(_boxes(operand), shifts)
        begin += operand.shape[axis]
    return tuple(made)


def _shifted(boxes: _Boxes, shifts: list[int]) -> list[_Box]:
    return [
        box._replace(
            dimensions=tuple(
                along._replace(start=along.start + shift)
                for along, shift in zip(box.dimensions, shifts)
            )
        )
        for box in boxes
    ]


def _pad(value: Value) -> _Boxes | None:
    x, fill = value.operands
    padding = value.attributes["padding"]
    if any(low < 0 or high < 0 or between for low, high, between in padding):
        return None
    made: list[_Box] = []
    if 0 not in x.shape:
        made += _shifted(_boxes(x), [low for low, _, _ in padding])
    # Axis by axis, what is before and behind, of what earlier ones have left.
    left = [_Along(0, size, 0) for size in value.shape]
    for axis, (size, (low, high, _)) in enumerate(zip(x.shape, padding)):
        for start, width in ((0, low), (low + size, high)):
            if width:
                border = [*left]
                border[axis] = _Along(start, width, 0)
                made.append(_Box(fill, 0, tuple(border)))
        left[axis] = _Along(low, size, 0)
        if not size:
            break
    return tuple(made)


_MOVES: Mapping[str, Callable[[Value], _Boxes | None]] = MappingProxyType(
    {
        "broadcast": _broadcast,
        "reshape": _reshape,
        "transpose": _transpose,
        "slice": _slice,
        "reverse": _reverse,
        "concatenate": _concatenate,
        "pad": _pad,
    }
)
