"""Reductions over elements of a partition, and over partitions."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import same_elements, same_partitions
from nkipy_nki.computing import (
    COMPUTED,
    RESULT,
    TILE,
    compute,
    deliver,
    flat,
    number_like,
    operands_of,
    scratch,
    side_by_side,
    values_like,
)
from nkipy_nki.costs import INTERVAL, cycles, cycles_of_free
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.modes import reduce_cmd as ReduceCommand
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import Instruction
from nkipy_nki.records import OperationRule, Sample, reads, writes
from nkipy_nki.reduce_commands import (
    LOADING,
    REDUCE_RES,
    REDUCTIONS,
    accumulate,
    commands,
    initial_values,
    read_registers,
)
from nkipy_nki.regions import ON_CHIP, MemoryRegion
from nkipy_nki.sampling import DTYPES, column, numbers, sample
from nkipy_nki.scalar_operands import number_fits

__all__ = ["tensor_partition_reduce", "tensor_reduce", "tensor_scalar_reduce"]

_F32 = np.float32
_WHOLE = ("int8", "int16", "int32", "uint8", "uint16", "uint32")
_COLUMN = ((4, 1), "float32")
_PSUM = MemoryRegion.psum
_NUMBER = reads(ON_CHIP, "float32", scalar=True, vector=True, optional=True)


# -- tensor_reduce ---------------------------------------------------------------------
def _tensor_reduce(call: Call) -> None:
    operation = OPERATIONS[call.attributes["op"]]
    bitvec = operation.is_bitvec
    values = call.raw("data") if bitvec else call.read("data")
    kept = values.shape[: values.ndim - len(call.attributes["axis"])]
    result = operation.reduce(side_by_side(values).reshape(*kept, -1))
    if bitvec:
        call.store("dst", result.astype(call.operands["dst"].dtype.element))
        return
    if call.attributes["negate"]:
        result = np.negative(result)
    call.write("dst", result)


def _axes_fit(made: Instruction, chip: Chip) -> str | None:
    """The axes are the last ones, and `dst` has what is left of the others.

    A program has them as a tuple of axes from the first one on, in order.
    """
    given, shape = made.attributes["axis"], made.operands["data"].shape
    axes = _in_order(given, len(shape))
    first = len(shape) - len(axes)
    if not axes or first < 1 or axes != tuple(range(first, len(shape))):
        return (
            f"axis is {given!r}, and must be the last free axis of data {list(shape)}, "
            f"{len(shape) - 1}, or several up to it; axis 0 is that of partitions"
        )
    made.attributes["axis"] = axes
    kept = math.prod(shape[1:first])
    if made.operands["dst"].free_size == kept:
        return None
    dst = list(made.operands["dst"].shape)
    return (
        f"dst is {dst}, and must have {kept} elements in a partition: those of data "
        f"{list(shape)} without the axes {list(axes)}"
    )


def _in_order(given: Any, dims: int) -> tuple[int, ...]:
    """Axes, those counted from the end among them, in order; none if one is none."""
    several = given if isinstance(given, (tuple, list)) else (given,)
    try:
        axes = [operator.index(axis) for axis in several]
    except TypeError:
        return ()
    return tuple(sorted(axis + dims if axis < 0 else axis for axis in axes))


def _bits_are_whole(made: Instruction, chip: Chip) -> str | None:
    """Bitwise operations take and give whole numbers of one width."""
    op, dst = made.attributes["op"], made.operands["dst"]
    data = made.operands["data"]
    if not OPERATIONS[op].is_bitvec:
        return None
    if made.attributes.get("negate"):
        return f"negate is given, and op is {op}"
    if {dst.dtype.name, data.dtype.name} <= set(_WHOLE):
        return None
    return (
        f"dst is {dst.dtype.name} and data {data.dtype.name}, and {op} takes whole "
        "numbers"
    )


def _cost_of_reduction(made: Instruction, chip: Chip) -> float:
    """Half a cycle for each element of a sum or maximum in bfloat16, else one."""
    data, dst = made.operands["data"], made.operands["dst"]
    half = data.dtype.name == dst.dtype.name == "bfloat16"
    fast = half and made.attributes["op"] in ("add", "maximum")
    return cycles(data.free_size / 2 if fast else data.free_size)


def _reduced(
    data: np.ndarray, op: str, axis: Any, dst: Any = None, **named: Any
) -> Sample:
    dst = dst or ((*data.shape[:-1], 1), data.dtype.name)
    return sample({"dst": dst, "data": data}, op=op, axis=axis, **named)


def _reduce_samples() -> Iterator[Sample]:
    a = numbers(_F32, (4, 6))
    arithmetic = "add subtract multiply maximum minimum logical_and logical_or"
    for op in (*arithmetic.split(), "logical_xor"):
        yield _reduced(a, op, 1, label=op)
    yield _reduced(a, "add", (1,), negate=True, keepdims=True, label="negated")
    yield _reduced(a, "add", -1, label="last")
    b = numbers(_F32, (2, 3, 4, 5))
    yield _reduced(b, "add", [1, 2, 3], ((2, 1), "float32"), label="all")
    yield _reduced(b, "maximum", (2, 3), ((2, 3), "float32"), label="two")
    yield _reduced(b, "minimum", (3, 2), ((2, 3, 1, 1), "float32"), label="unordered")
    yield _reduced(b, "add", 3, ((2, 12), "bfloat16"), label="one-of-three")
    for dtype in DTYPES:
        data, name = numbers(dtype, (4, 6)), np.dtype(dtype).name
        yield _reduced(data, "add", 1, ((4, 1), "float32"), label=f"of-{name}")
        yield _reduced(a, "add", 1, ((4, 1), name), label=f"to-{name}")
    for op in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        for name in ("int8", "uint16", "int32"):
            data = numbers(name, (4, 6))
            yield _reduced(data, op, 1, label=f"{op}-{name}")
    psum = {"data": _PSUM, "dst": _PSUM}
    yield _reduced(a, "add", 1, regions=psum, label="psum")


def _reduce_refused() -> Iterator[Sample]:
    a, b = np.ones((4, 6), _F32), np.ones((4, 2, 3), _F32)
    yield _reduced(a, "add", 0, message="axis is 0")
    yield _reduced(a, "add", 2, message="axis is 2")
    yield _reduced(b, "add", 1, message="axis is 1")
    yield _reduced(b, "add", (0, 1, 2), message="axis 0 is that of partitions")
    yield _reduced(b, "add", (2, 2), message="axis is (2, 2)")
    yield _reduced(a, "add", (), message="axis is ()")
    yield _reduced(a, "add", "1", message="axis is '1'")
    yield _reduced(a, "add", 1, ((4, 2), "float32"), message="dst is [4, 2]")
    yield _reduced(b, "add", 2, ((4, 1), "float32"), message="must have 2 elements")
    yield _reduced(a, "add", 1, ((3, 1), "float32"), message="partitions")
    yield _reduced(a, "divide", 1, message="does not reduce")
    yield _reduced(a, "bitwise_and", 1, message="takes whole numbers")
    whole = np.ones((4, 6), np.int32)
    yield _reduced(whole, "bitwise_or", 1, negate=True, message="negate is given")


@instruction(
    Engine.vector,
    dst=RESULT,
    data=replace(TILE, strides=4),  # its axes may be the last one to the last four
    operations={"op": OperationRule(("arithmetic", "bitvec"), reduces=True)},
    rules=[same_partitions, _axes_fit, _bits_are_whole],
    meaning=_tensor_reduce,
    cost=_cost_of_reduction,
    samples=_reduce_samples,
    refused=_reduce_refused,
)
def tensor_reduce(
    dst: Any,
    op: Any,
    data: Any,
    axis: Any,
    negate: bool = False,
    keepdims: bool = False,
    name: str | None = None,
) -> Instruction:
    """Reduce the last axis of a tile, or several up to it.

    Arithmetic is in float32; bitwise operations take the elements as they are.

    Args:
        dst: the result, of as many elements in a partition as are left.
        op: an operation that reduces.
        data: the tile.
        axis: the last axis, or a tuple or list of the last ones; not axis 0.
        negate: whether the result of an arithmetic operation changes its sign.
        keepdims: whether `dst` has the axes, of extent 1; only the number of its
            elements matters here.
        name: of the instruction.

    Raises:
        NkiValidationError: the axes, or an operand, are none of these.
    """
    raise NotImplementedError


# -- tensor_partition_reduce -----------------------------------------------------------
def _tensor_partition_reduce(call: Call) -> None:
    operation = OPERATIONS[call.attributes["op"]]
    if operation.is_bitvec:
        rows = operation.reduce(flat(call.raw("data")), axis=0)
        call.store("dst", rows.astype(call.operands["dst"].dtype.element))
    else:
        call.write("dst", operation.reduce(call.flat("data"), axis=0))


def _is_one_row(made: Instruction, chip: Chip) -> str | None:
    dst, data = made.operands["dst"], made.operands["data"]
    if dst.shape[0] != 1:
        return f"dst has {dst.shape[0]} partitions, and must have 1"
    if dst.free_size != data.free_size:
        return (
            f"dst has {dst.free_size} elements in a partition, and data has "
            f"{data.free_size}"
        )
    return None


def _rows(data: np.ndarray, op: str, dst: Any = None, **named: Any) -> Sample:
    dst = dst or ((1, *data.shape[1:]), data.dtype.name)
    return sample({"dst": dst, "data": data}, op=op, **named)


def _rows_samples() -> Iterator[Sample]:
    a = numbers(_F32, (8, 5))
    for op in ("add", "average", "mean", "maximum"):
        yield _rows(a, op, label=op)
    for op in ("bitwise_or", "bitwise_and", "bitwise_xor"):
        for name in ("uint8", "int32"):
            yield _rows(numbers(name, (8, 5)), op, label=f"{op}-{name}")
    for dtype in DTYPES:
        data, name = numbers(dtype, (3, 2, 2)), np.dtype(dtype).name
        yield _rows(data, "maximum", label=f"of-{name}")
        yield _rows(a[:3], "add", ((1, 5), name), label=f"to-{name}")
    yield _rows(numbers(_F32, (3, 2, 1, 2, 2)), "add", label="4 free dims")


def _rows_refused() -> Iterator[Sample]:
    a = np.ones((4, 6), _F32)
    yield _rows(a, "minimum", message="op is minimum")
    yield _rows(a, "add", ((2, 6), "float32"), message="must have 1")
    yield _rows(a, "add", ((1, 5), "float32"), message="elements in a partition")
    yield _rows(a, "add", regions={"data": _PSUM}, message="data is in psum")
    six = np.ones((4, 2, 1, 1, 1, 2), _F32)
    yield _rows(six, "add", message="may have 5")
    for op in ("bitwise_or", "bitwise_xor"):
        yield _rows(a, op, message="takes whole numbers")


_SBUF = frozenset({MemoryRegion.sbuf})
_OF_ROWS = ("add", "average", "maximum", "bitwise_or", "bitwise_and", "bitwise_xor")


@instruction(
    Engine.gpsimd,
    dst=writes(_SBUF, *COMPUTED, dims=5),
    data=reads(_SBUF, *COMPUTED, dims=5),
    operations={
        "op": OperationRule(
            ("arithmetic", "bitvec", "special"), names=frozenset(_OF_ROWS)
        )
    },
    rules=[_is_one_row, _bits_are_whole],
    meaning=_tensor_partition_reduce,
    # Not documented: an element a cycle in each of 8 cores, which share the partitions.
    cost=lambda made, chip: cycles(
        made.operands["data"].free_size * made.operands["data"].partitions / 8
    ),
    samples=_rows_samples,
    refused=_rows_refused,
)
def tensor_partition_reduce(
    dst: Any, op: Any, data: Any, name: str | None = None
) -> Instruction:
    """Reduce a tile over its partitions, by the GpSimd engine.

    Args:
        dst: the result, in one partition.
        op: ``add``, ``average`` (``mean`` too), ``maximum``, ``bitwise_and``,
            ``bitwise_or`` or ``bitwise_xor``.
        data: the tile, in the SBUF.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these.
    """
    raise NotImplementedError


# -- tensor_scalar_reduce --------------------------------------------------------------
def _tensor_scalar_reduce(call: Call) -> None:
    attributes, dst = call.attributes, call.operands["dst"]
    operation = OPERATIONS[attributes["op0"]]
    values = values_like(call, "data", dst)
    number = None
    if operation.arity == 2:
        number = number_like(call, "operand0", dst)
    pair = operands_of(operation, values, number, False)
    out = scratch(call, "reduce_init")
    result = compute(operation, *pair, out=out)
    accumulate(
        *(call, "data", result, attributes["reduce_op"]),
        *(attributes["reduce_cmd"], "reduce_init"),
    )
    deliver(call, result, out)
    read_registers(call, "data")


def _not_reversed(made: Instruction, chip: Chip) -> str | None:
    return "reverse0 is not supported" if made.attributes["reverse0"] else None


def _summed(data: np.ndarray, op0: str, operand0: Any, **named: Any) -> Sample:
    operands = {
        "dst": named.pop("dst", (data.shape, data.dtype.name)),
        "data": data,
        "operand0": operand0,
        "reduce_res": named.pop("reduced", _COLUMN),
        "reduce_init": named.pop("initial", None),
    }
    return sample(operands, op0=op0, **named)


def _summed_samples() -> Iterator[Sample]:
    a, p = numbers(_F32, (4, 6)), column([1, 2, -3, 0])
    for op in sorted(REDUCTIONS):
        yield _summed(a, "add", 1.0, reduce_op=op, label=op)
        yield _summed(a, "multiply", p, reduce_op=op, label=f"{op}-vector")
    add: dict[str, Any] = {"reduce_op": "add"}
    yield _summed(a, "abs", None, label="one-operand", **add)
    yield _summed(a, "add", 1.0, reduce_res_negate=True, label="negated", **add)
    yield _summed(a, "add", 1.0, reduced=None, label="kept", **add)
    load = {**add, "reduce_cmd": ReduceCommand.load_reduce}
    yield _summed(a, "add", p, initial=2.5, label="loaded", **load)
    yield _summed(a, "add", p, initial=p, label="loaded-vector", **load)
    for dtype in DTYPES:
        data, name = numbers(dtype, (4, 6)), np.dtype(dtype).name
        yield _summed(data, "multiply", 0.5, label=f"of-{name}", **add)
    b = numbers(_F32, (4, 2, 3))
    regions = {"data": _PSUM, "reduce_res": _PSUM}
    yield _summed(b, "add", p, regions=regions, label="dims-psum", **add)


def _summed_refused() -> Iterator[Sample]:
    a, p = np.ones((4, 6), _F32), np.ones((4, 1), _F32)
    add: dict[str, Any] = {"reduce_op": "add"}
    yield _summed(a, "add", 1.0, reduce_op="subtract", message="reduce_op is subtract")
    yield _summed(a, "bitwise_and", 1, message="op0 is nl.bitwise_and", **add)
    yield _summed(a, "add", 1.0, reverse0=True, message="reverse0", **add)
    yield _summed(a, "add", None, message="operand0 is None", **add)
    yield _summed(a, "add", 1.0, initial=1.0, message="not load_reduce", **add)
    load = {**add, "reduce_cmd": ReduceCommand.load_reduce}
    yield _summed(a, "add", 1.0, message="reduce_init is None", **load)
    idle = {**add, "reduce_cmd": ReduceCommand.idle}
    yield _summed(a, "add", 1.0, message="reduce_cmd is idle", **idle)
    reduce = {**add, "reduce_cmd": ReduceCommand.reduce}
    yield _summed(a, "add", 1.0, message="never reset", **reduce)
    wide = ((4, 2), "float32")
    yield _summed(a, "add", 1.0, reduced=wide, message="[P, 1]", **add)
    half = p.astype(np.float16)
    yield _summed(a, "add", half, message="operand0 is float16", **add)
    many = np.ones((4, 1, 2, 1, 3), _F32)
    yield _summed(many, "add", 1.0, message="dimensions", **add)


@instruction(
    Engine.vector,
    dst=writes(ON_CHIP, *COMPUTED, dims=4),
    data=reads(ON_CHIP, *COMPUTED, dims=4),
    operand0=_NUMBER,
    reduce_res=REDUCE_RES,
    reduce_init=_NUMBER,
    operations={
        "op0": OperationRule(),
        "reduce_op": OperationRule(names=REDUCTIONS),
    },
    rules=[
        *(same_partitions, same_elements, number_fits("op0", "operand0")),
        *(_not_reversed, commands(*LOADING), initial_values("reduce_init")),
    ],
    meaning=_tensor_scalar_reduce,
    cost=cycles_of_free("dst", more=INTERVAL),
    samples=_summed_samples,
    refused=_summed_refused,
)
def tensor_scalar_reduce(
    dst: Any,
    data: Any,
    op0: Any,
    operand0: Any,
    reduce_op: Any,
    reduce_res: Any = None,
    reverse0: bool = False,
    reduce_cmd: ReduceCommand = ReduceCommand.reset_reduce,
    reduce_init: Any = None,
    reduce_res_negate: bool = False,
    name: str | None = None,
) -> Instruction:
    """``dst = data op0 operand0``, and its reduction over all free axes.

    Computed in float32; what is reduced is not rounded to `dst`.

    Args:
        dst: the result.
        data: the tile.
        op0: an arithmetic operation.
        operand0: a number, or a float32 tile ``[P, 1]``; None with one operand.
        reduce_op: ``add``, ``multiply``, ``maximum`` or ``minimum``.
        reduce_res: where the vector engine's reduce registers are written to,
            ``[P, 1]``; None leaves them there.
        reverse0: not supported.
        reduce_cmd: what is done with those: ``reset_reduce`` begins at the identity of
            `reduce_op`, ``load_reduce`` at `reduce_init`, ``reduce`` goes on.
        reduce_init: where ``load_reduce`` begins.
        reduce_res_negate: whether `reduce_res` has the opposite sign.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these, or the registers hold another
            reduction.
    """
    raise NotImplementedError
