"""Choices between elements, and the greatest of what is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import at_most_one_in_psum, same_elements, same_partitions
from nkipy_nki.computing import (
    RESULT,
    number_like,
    values_like,
)
from nkipy_nki.costs import cycles_of_free
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.modes import reduce_cmd as ReduceCommand
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import Instruction
from nkipy_nki.records import OperationRule, Sample, reads, writes
from nkipy_nki.reduce_commands import (
    REDUCE_RES,
    accumulate,
    commands,
    read_registers,
)
from nkipy_nki.regions import ON_CHIP, MemoryRegion
from nkipy_nki.sampling import DTYPES, column, numbers, sample

__all__ = ["range_select", "select_reduce"]

_F32 = np.float32
_PSUM = MemoryRegion.psum
_COLUMN = ((4, 1), "float32")
_CHOOSING = (ReduceCommand.idle, ReduceCommand.reset_reduce, ReduceCommand.reduce)


def _choose(call: Call, tile: str, chosen: np.ndarray, otherwise: Any) -> None:
    """Write a tile's elements, or others, and reduce them."""
    values = np.where(chosen, values_like(call, tile, call.operands["dst"]), otherwise)
    values = values.astype(_F32, copy=False)
    accumulate(
        *(call, tile, values),
        *(call.attributes["reduce_op"], call.attributes["reduce_cmd"]),
    )
    call.write("dst", values)
    read_registers(call, tile)


def _select_reduce(call: Call) -> None:
    dst = call.operands["dst"]
    chosen = call.raw("predicate").reshape(dst.shape) != 0
    if call.attributes["reverse_pred"]:
        chosen = ~chosen
    _choose(call, "on_true", chosen, number_like(call, "on_false", dst))


def _selected(
    predicate: np.ndarray, on_true: np.ndarray, on_false: Any, **named: Any
) -> Sample:
    operands = {
        "dst": named.pop("dst", (on_true.shape, on_true.dtype.name)),
        "predicate": predicate,
        "on_true": on_true,
        "on_false": on_false,
        "reduce_res": named.pop("reduced", None),
    }
    return sample(operands, **named)


def _selected_samples() -> Iterator[Sample]:
    a, p = numbers(_F32, (4, 6)), column([0.5, -1, 2, -9])
    reset = {"reduced": _COLUMN, "reduce_cmd": ReduceCommand.reset_reduce}
    for kind in (np.int8, np.uint8, np.int16, np.uint16):
        mask, name = numbers(kind, (4, 6), 3), np.dtype(kind).name
        yield _selected(mask, a, p, label=f"by-{name}")
        yield _selected(mask, a, -2.5, label=f"by-{name}-reduced", **reset)
    yield _selected(mask, a, p, reverse_pred=True, label="reversed", **reset)
    for dtype in DTYPES:
        data, name = numbers(dtype, (4, 6)), np.dtype(dtype).name
        if name not in ("int32", "uint32"):
            yield _selected(mask, data, 3.0, label=f"of-{name}", **reset)
    none = np.zeros((4, 6), np.uint8)
    yield _selected(none, a, -np.inf, label="nothing", **reset)
    yield _selected(none, a, p, regions={"on_true": _PSUM}, label="psum", **reset)


def _selected_refused() -> Iterator[Sample]:
    a, mask = np.ones((4, 6), _F32), np.ones((4, 6), np.uint8)
    both = {"predicate": _PSUM, "on_true": _PSUM}
    yield _selected(mask, a, 0.0, regions=both, message="on_true are in psum")
    yield _selected(mask.astype(np.int32), a, 0.0, message="predicate is int32")
    yield _selected(mask, a.astype(np.int32), 0.0, message="on_true is int32")
    yield _selected(mask, a, a, message="[P, 1]")
    yield _selected(mask[:, :5], a, 0.0, message="elements")
    yield _selected(mask, a, 0.0, reduced=_COLUMN, message="never reset")
    yield _selected(mask, a, 0.0, reduce_op="add", message="reduce_op is add")
    whole = {"reduced": ((4, 1), "int32"), "reduce_cmd": ReduceCommand.reset_reduce}
    yield _selected(mask, a, 0.0, message="reduce_res is int32", **whole)
    reset = {"reduce_cmd": ReduceCommand.reset}
    yield _selected(mask, a, 0.0, message="reduce_cmd is reset", **reset)


_FLOATS = (
    *("float32", "float16", "bfloat16"),
    *("float8_e4m3", "float8_e4m3fn", "float8_e5m2"),
)
_MAXIMUM = OperationRule(names=frozenset({"maximum"}))
_REDUCED_FLOAT = writes(ON_CHIP, *_FLOATS, "tfloat32", vector=True, optional=True)


@instruction(
    Engine.vector,
    dst=RESULT,
    predicate=reads(ON_CHIP, "int8", "uint8", "int16", "uint16", dims=5),
    on_true=reads(ON_CHIP, *_FLOATS, "int8", "uint8", "int16", "uint16", dims=5),
    on_false=reads(scalar=True, vector=True),
    reduce_res=_REDUCED_FLOAT,
    operations={"reduce_op": _MAXIMUM},
    rules=[
        *(same_partitions, same_elements),
        *(at_most_one_in_psum("predicate", "on_true"), commands(*_CHOOSING)),
    ],
    meaning=_select_reduce,
    cost=cycles_of_free("dst"),
    samples=_selected_samples,
    refused=_selected_refused,
)
def select_reduce(
    dst: Any,
    predicate: Any,
    on_true: Any,
    on_false: Any,
    reduce_res: Any = None,
    reduce_cmd: ReduceCommand = ReduceCommand.idle,
    reduce_op: Any = "maximum",
    reverse_pred: bool = False,
    name: str | None = None,
) -> Instruction:
    """Each element of one tile, or a number, by a predicate; and the greatest of them.

    Args:
        dst: the result.
        predicate: whole numbers of 8 or 16 bits; what is not 0 is true.
        on_true: the tile. One of it and `predicate` is in the PSUM, at most.
        on_false: a number, or a tile ``[P, 1]``.
        reduce_res: where the vector engine's reduce registers are written to,
            ``[P, 1]``, of a float type.
        reduce_cmd: what is done with those: ``reset_reduce`` begins at minus infinity,
            ``reduce`` goes on, ``idle`` leaves them in a state that is not known.
        reduce_op: ``nl.maximum``.
        reverse_pred: whether 0 is true.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these, or the registers hold another
            reduction.
    """
    raise NotImplementedError


#: What ``range_select`` gives where an element is not selected.
_LOWEST = float(np.finfo(_F32).min)


def _range_select(call: Call) -> None:
    attributes, dst = call.attributes, call.operands["dst"]
    start = int(attributes["range_start"])
    index = np.arange(start, start + dst.free_size, dtype=_F32)
    index = index.reshape(1, *dst.shape[1:])
    chosen = np.ones(dst.shape, bool)
    for name, bound in (("comp_op0", "bound0"), ("comp_op1", "bound1")):
        compared = OPERATIONS[attributes[name]](index, number_like(call, bound, dst))
        chosen &= compared != 0
    _choose(call, "on_true_tile", chosen, _F32(_LOWEST))


def _range_fits(made: Instruction, chip: Chip) -> str | None:
    start, lowest = made.attributes["range_start"], made.attributes["on_false_value"]
    if type(start) is not int and not (type(start) is float and start.is_integer()):
        return f"range_start is {start!r}, and must be a whole number"
    end = start + made.operands["dst"].free_size
    if start < -(2**24) or end > 2**24:
        return f"indices from {start} to {end} are compared in float32, up to 2**24"
    if type(lowest) is float and _F32(lowest) == _F32(_LOWEST):
        return None
    return f"on_false_value is {lowest!r}, and must be the lowest float32, {_LOWEST!r}"


def _ranged(data: np.ndarray, comparisons: str, *bounds: Any, **named: Any) -> Sample:
    comp_op0, comp_op1 = comparisons.split()
    operands = {
        "dst": named.pop("dst", (data.shape, data.dtype.name)),
        "on_true_tile": data,
        "bound0": bounds[0],
        "bound1": bounds[1],
        "reduce_res": named.pop("reduced", _COLUMN),
    }
    return sample(operands, comp_op0=comp_op0, comp_op1=comp_op1, **named)


def _ranged_samples() -> Iterator[Sample]:
    a = numbers(_F32, (4, 6))
    low, high = column([0, 2, 3, 6]), column([6, 4, 3, 0])
    yield _ranged(a, "greater_equal less", low, high, label="between")
    yield _ranged(a, "equal equal", low, low, label="equal")
    yield _ranged(a, "less_equal greater", high, low, label="other-comparisons")
    yield _ranged(a, "greater less", low, high, range_start=2, label="from-2")
    yield _ranged(a, "greater less", low, high, reduced=None, label="kept")
    for name in ("bfloat16", "float16", "float8_e5m2"):
        dtype = getattr(ml_dtypes, name, name)
        data = numbers(dtype, (4, 6))
        yield _ranged(data, "greater_equal less", low, high, label=f"of-{name}")
    psum = {"on_true_tile": _PSUM, "dst": _PSUM}
    b = a.reshape(4, 2, 3)
    yield _ranged(b, "greater_equal less", low, high, regions=psum, label="psum")


def _ranged_refused() -> Iterator[Sample]:
    a, p = np.ones((4, 6), _F32), np.ones((4, 1), _F32)
    yield _ranged(a, "greater less", p, p, chip="trn1", message="is of gen3")
    yield _ranged(a, "not_equal less", p, p, message="comp_op0 is not_equal")
    half = p.astype(np.float16)
    yield _ranged(a, "greater less", half, p, message="bound0 is float16")
    yield _ranged(a, "greater less", 1.0, p, message="bound0 is 1.0")
    yield _ranged(a, "greater less", p, a, message="[P, 1]")
    whole = a.astype(np.int32)
    yield _ranged(whole, "greater less", p, p, message="on_true_tile is int32")
    wrong: dict[str, Any] = {"on_false_value": 0.0}
    yield _ranged(a, "greater less", p, p, message="on_false_value is 0.0", **wrong)
    yield _ranged(a, "greater less", p, p, range_start=0.5, message="range_start is")
    yield _ranged(a, "greater less", p, p, range_start=2**24, message="2**24")
    yield _ranged(a, "greater less", p, p, reduce_op="add", message="reduce_op is add")


_COMPARISON = OperationRule(
    names=frozenset({"equal", "less", "less_equal", "greater", "greater_equal"})
)
_BOUND = reads(ON_CHIP, "float32", vector=True)


@instruction(
    Engine.vector,
    dst=RESULT,
    on_true_tile=reads(ON_CHIP, *_FLOATS, "tfloat32", dims=5),
    bound0=_BOUND,
    bound1=_BOUND,
    reduce_res=REDUCE_RES,
    operations={
        "comp_op0": _COMPARISON,
        "comp_op1": _COMPARISON,
        "reduce_op": _MAXIMUM,
    },
    since=3,
    rules=[same_partitions, same_elements, _range_fits, commands(*_CHOOSING)],
    meaning=_range_select,
    cost=cycles_of_free("dst"),
    samples=_ranged_samples,
    refused=_ranged_refused,
)
def range_select(
    dst: Any,
    on_true_tile: Any,
    comp_op0: Any,
    comp_op1: Any,
    bound0: Any,
    bound1: Any,
    reduce_cmd: ReduceCommand = ReduceCommand.reset_reduce,
    reduce_res: Any = None,
    reduce_op: Any = "maximum",
    range_start: int = 0,
    on_false_value: float = _LOWEST,
    name: str | None = None,
) -> Instruction:
    """A tile's elements whose index is within two bounds; and the greatest of them.

    Of gen3 and later. An element stays if ``index comp_op0 bound0`` and
    ``index comp_op1 bound1`` hold, with its index in the partition, from `range_start`.

    Args:
        dst: the result.
        on_true_tile: the tile, of a float type.
        comp_op0: a comparison, but ``nl.not_equal``.
        comp_op1: another.
        bound0: a float32 tile ``[P, 1]``.
        bound1: another.
        reduce_cmd: what is done with the vector engine's reduce registers, as in
            :func:`select_reduce`.
        reduce_res: where those are written to, ``[P, 1]``.
        reduce_op: ``nl.maximum``.
        range_start: the first element's index. Indices are up to 2**24.
        on_false_value: what the others become, which must be the lowest float32.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these, or the registers hold another
            reduction.
    """
    raise NotImplementedError
