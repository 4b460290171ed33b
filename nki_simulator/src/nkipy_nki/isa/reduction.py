"""Reductions over partitions and elements, scans, and choices that are reduced."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.checking import at_most_one_in_psum, same_elements, same_partitions
from nkipy_nki.computing import (
    COMPUTED,
    RESULT,
    TILE,
    compute,
    deliver,
    number_like,
    operands_of,
    scratch,
    side_by_side,
    values_like,
)
from nkipy_nki.costs import INTERVAL, cycles, cycles_of_free
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.isa.names import reduce_cmd as ReduceCommand
from nkipy_nki.isa.reducing import (
    REDUCE_RES,
    REDUCTIONS,
    accumulate,
    begin,
    commands,
    disturb,
    initial_values,
    number_fits,
    read_registers,
)
from nkipy_nki.isa.sampling import DTYPES, column, numbers, sample
from nkipy_nki.machine import Call
from nkipy_nki.operators import OPERATIONS, Operation
from nkipy_nki.program import Instruction
from nkipy_nki.records import OperationRule, Rule, Sample, reads, writes
from nkipy_nki.regions import ON_CHIP, MemoryRegion

__all__ = [
    "bn_aggr",
    "bn_stats",
    "range_select",
    "select_reduce",
    "tensor_partition_reduce",
    "tensor_reduce",
    "tensor_scalar_cumulative",
    "tensor_scalar_reduce",
    "tensor_tensor_scan",
]

_F32 = np.float32
_WHOLE = ("int8", "int16", "int32", "uint8", "uint16", "uint32")
_COLUMN = ((4, 1), "float32")
_PSUM = MemoryRegion.psum
_NUMBER = reads(ON_CHIP, "float32", scalar=True, vector=True, optional=True)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(values.shape[0], -1)


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
    data=TILE,
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
        rows = operation.reduce(_flat(call.raw("data")), axis=0)
        call.store("dst", rows.astype(call.operands["dst"].dtype.element))
    else:
        call.write("dst", operation.reduce(_flat(call.read("data")), axis=0))


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
    for op in ("add", "average", "maximum"):
        yield _rows(a, op, label=op)
    for op in ("bitwise_or", "bitwise_and", "bitwise_xor"):
        for name in ("uint8", "int32"):
            yield _rows(numbers(name, (8, 5)), op, label=f"{op}-{name}")
    for dtype in DTYPES:
        data, name = numbers(dtype, (3, 2, 2)), np.dtype(dtype).name
        yield _rows(data, "maximum", label=f"of-{name}")
        yield _rows(a[:3], "add", ((1, 5), name), label=f"to-{name}")


def _rows_refused() -> Iterator[Sample]:
    a = np.ones((4, 6), _F32)
    yield _rows(a, "minimum", message="op is minimum")
    yield _rows(a, "add", ((2, 6), "float32"), message="must have 1")
    yield _rows(a, "add", ((1, 5), "float32"), message="elements in a partition")
    yield _rows(a, "add", regions={"data": _PSUM}, message="data is in psum")
    yield _rows(a, "bitwise_or", message="takes whole numbers")


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
        op: ``add``, ``mean``, ``maximum``, ``bitwise_and``, ``bitwise_or`` or
            ``bitwise_xor``.
        data: the tile, in the SBUF.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these.
    """
    raise NotImplementedError


# -- tensor_scalar_reduce --------------------------------------------------------------
_LOADING = (
    ReduceCommand.reset_reduce,
    ReduceCommand.reduce,
    ReduceCommand.load_reduce,
)
_CHOOSING = (ReduceCommand.idle, ReduceCommand.reset_reduce, ReduceCommand.reduce)


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
        *(_not_reversed, commands(*_LOADING), initial_values("reduce_init")),
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


# -- scans -----------------------------------------------------------------------------
#: A step of a scan: two rows, and as `out` the row for the result.
_Step = Callable[..., Any]

_COMMUTE = frozenset({"add", "multiply", "maximum", "minimum"})


def _step(operation: Operation, reverse: bool) -> _Step:
    function = operation.compute
    swaps = reverse and operation.name not in _COMMUTE
    if isinstance(function, np.ufunc) and not swaps:
        return function

    def step(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        out[...] = function(b, a) if swaps else function(a, b)

    return step


def _columns(values: np.ndarray) -> np.ndarray:
    """Of shape (elements of a partition, partitions), each row side by side."""
    return np.ascontiguousarray(_flat(values).T)


def _tensor_tensor_scan(call: Call) -> None:
    attributes = call.attributes
    step0 = _step(OPERATIONS[attributes["op0"]], attributes["reverse0"])
    step1 = _step(OPERATIONS[attributes["op1"]], attributes["reverse1"])
    rows0, rows1 = (_columns(call.read(n)) for n in ("data0", "data1"))
    state = np.empty(rows0.shape[1], _F32)
    state[...] = np.ravel(call.number("initial"))
    result = np.empty_like(rows0)
    for a, b, row in zip(rows0, rows1, result):
        step0(a, state, out=row)
        step1(row, b, out=row)
        state = row
    call.write("dst", result.T)


def _scanned(
    data0: np.ndarray, data1: np.ndarray, initial: Any, **named: Any
) -> Sample:
    dst = named.pop("dst", (data0.shape, data0.dtype.name))
    operands = {"dst": dst, "data0": data0, "data1": data1, "initial": initial}
    return sample(operands, **{"op0": "multiply", "op1": "add", **named})


def _scan_samples() -> Iterator[Sample]:
    a, b = numbers(_F32, (4, 6)) / _F32(4), numbers(_F32, (4, 6), 1)
    p = column([0.5, -1, 2, 0])
    yield _scanned(a, b, 0.0, label="plain")
    yield _scanned(a, b, p, label="vector")
    for op in ("subtract", "maximum", "minimum", "less", "logical_and"):
        yield _scanned(a, b, 1.0, op0=op, label=f"{op}-add")
        yield _scanned(a, b, p, op1=op, label=f"multiply-{op}")
        both = {"reverse0": True, "reverse1": True}
        yield _scanned(a, b, p, op0=op, op1="subtract", label=f"{op}-reversed", **both)
    for dtype in DTYPES:
        data, name = numbers(dtype, (4, 6)), np.dtype(dtype).name
        dst = ((4, 6), "float32")
        yield _scanned(data, b, 1.0, op0="add", dst=dst, label=f"of-{name}")
        yield _scanned(a, b, 1.0, op0="add", dst=((4, 6), name), label=f"to-{name}")
    c = a.reshape(4, 3, 2)
    yield _scanned(c, b, 1.0, dst=((4, 2, 3), "float32"), label="shapes")
    yield _scanned(a, b, p, regions={"data1": _PSUM, "dst": _PSUM}, label="psum")


def _scan_refused() -> Iterator[Sample]:
    a, p = np.ones((4, 6), _F32), np.ones((4, 1), _F32)
    both = {"data0": _PSUM, "data1": _PSUM}
    yield _scanned(a, a, 0.0, regions=both, message="data0 and data1 are in psum")
    yield _scanned(a, a, None, message="initial is None")
    yield _scanned(a, a, a, message="[P, 1]")
    yield _scanned(a, a, p[:2], message="partitions")
    yield _scanned(a, a[:, :5], 0.0, message="elements in a partition")
    yield _scanned(a, a, 0.0, op0="abs", message="op0 is abs")
    yield _scanned(a, a, 0.0, op1="bitwise_or", message="op1 is nl.bitwise_or")


@instruction(
    Engine.vector,
    dst=RESULT,
    data0=TILE,
    data1=TILE,
    initial=reads(scalar=True, vector=True),
    operations={"op0": OperationRule(arity=2), "op1": OperationRule(arity=2)},
    rules=[same_partitions, same_elements, at_most_one_in_psum("data0", "data1")],
    meaning=_tensor_tensor_scan,
    cost=cycles_of_free("dst", 2),
    samples=_scan_samples,
    refused=_scan_refused,
)
def tensor_tensor_scan(
    dst: Any,
    data0: Any,
    data1: Any,
    initial: Any,
    op0: Any,
    op1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
) -> Instruction:
    """A recurrence along a partition: ``r[i] = (data0[i] op0 r[i - 1]) op1 data1[i]``.

    Computed in float32, of which each step's result is one; only what is written is
    rounded to `dst`.

    Args:
        dst: all of ``r``.
        data0: a tile.
        data1: a tile. At most one of the two is in the PSUM.
        initial: ``r[-1]``: a number, or a tile ``[P, 1]``.
        op0: an arithmetic operation of two operands.
        op1: another.
        reverse0: whether `data0` is on the right of `op0`.
        reverse1: whether `data1` is on the left of `op1`.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these.
    """
    raise NotImplementedError


def _tensor_scalar_cumulative(call: Call) -> None:
    attributes, dst = call.attributes, call.operands["dst"]
    op0, op1 = (OPERATIONS[attributes[n]] for n in ("op0", "op1"))
    number = None
    if op0.arity == 2:
        number = number_like(call, "imm0", dst)
    pair = operands_of(op0, values_like(call, "src", dst), number, False)
    values = _flat(np.array(compute(op0, *pair), _F32, order="C"))
    command = attributes["reduce_cmd"]
    if command is ReduceCommand.idle:
        disturb(call, "src")
        held = np.full(len(values), op1.identity, _F32)
    else:
        held = begin(call, "src", op1.name, command, "imm1")
    result = _cumulated(op1, values, held)
    if command is not ReduceCommand.idle:
        held[...] = result[:, -1]
    call.write("dst", result)


def _cumulated(operation: Operation, values: np.ndarray, held: np.ndarray) -> Any:
    """``r[i] = values[i] op r[i - 1]`` along the last axis, from `held` on."""
    function = operation.compute
    if operation.name in _COMMUTE and isinstance(function, np.ufunc):
        function(values[:, 0], held, out=values[:, 0])
        return function.accumulate(values, axis=1)
    rows = _columns(values)
    state = held
    for row in rows:
        function(row, state, out=row)
        state = row
    return rows.T


def _cumulative(src: np.ndarray, op0: str, imm0: Any, **named: Any) -> Sample:
    operands = {
        "dst": named.pop("dst", (src.shape, src.dtype.name)),
        "src": src,
        "imm0": imm0,
        "imm1": named.pop("imm1", None),
    }
    return sample(operands, op0=op0, **named)


_SCANNED = frozenset({"add", "subtract", "multiply", "maximum", "minimum"})
_UP_TO_16 = (
    *("bfloat16", "float16", "float32", "float8_e4m3", "float8_e4m3fn"),
    *("float8_e5m2", "uint8", "uint16", "int8", "int16"),
)


def _cumulative_samples() -> Iterator[Sample]:
    a, p = numbers(_F32, (4, 6)) / _F32(4), column([0.5, -1, 2, 0])
    for op in sorted(_SCANNED):
        yield _cumulative(a, "multiply", 2.0, op1=op, label=op)
        yield _cumulative(a, "add", p, op1=op, label=f"{op}-vector")
        load = {"op1": op, "reduce_cmd": ReduceCommand.load_reduce}
        yield _cumulative(a, "add", 1.0, imm1=p, label=f"{op}-loaded", **load)
    yield _cumulative(a, "abs", None, op1="add", label="one-operand")
    for name in _UP_TO_16:
        dtype = getattr(ml_dtypes, name, name)
        data = numbers(dtype, (4, 6))
        yield _cumulative(data, "multiply", 1.0, op1="add", label=f"of-{name}")
    b = a.reshape(4, 3, 2)
    yield _cumulative(b, "add", 1.0, op1="add", label="dims")


def _cumulative_refused() -> Iterator[Sample]:
    a = np.ones((4, 6), _F32)
    yield _cumulative(a, "add", 1.0, op1="logical_and", message="op1 is logical_and")
    yield _cumulative(a, "bitwise_or", 1, op1="add", message="op0 is nl.bitwise_or")
    whole = a.astype(np.int32)
    yield _cumulative(whole, "add", 1.0, op1="add", message="dst is int32")
    yield _cumulative(a, "add", None, op1="add", message="imm0 is None")
    yield _cumulative(a, "add", 1.0, imm1=2.0, op1="add", message="not load_reduce")
    load = {"op1": "add", "reduce_cmd": ReduceCommand.load_reduce}
    yield _cumulative(a, "add", 1.0, message="imm1 is None", **load)
    reduce = {"op1": "add", "reduce_cmd": ReduceCommand.reduce}
    yield _cumulative(a, "add", 1.0, message="never reset", **reduce)
    reset = {"op1": "add", "reduce_cmd": ReduceCommand.reset}
    yield _cumulative(a, "add", 1.0, message="reduce_cmd is reset", **reset)


@instruction(
    Engine.vector,
    dst=writes(ON_CHIP, *_UP_TO_16, dims=5),
    src=reads(ON_CHIP, *_UP_TO_16, dims=5),
    imm0=_NUMBER,
    imm1=_NUMBER,
    operations={"op0": OperationRule(), "op1": OperationRule(names=_SCANNED)},
    rules=[
        *(same_partitions, same_elements, number_fits("op0", "imm0")),
        *(commands(*_LOADING), initial_values("imm1")),
    ],
    meaning=_tensor_scalar_cumulative,
    cost=cycles_of_free("dst"),
    samples=_cumulative_samples,
    refused=_cumulative_refused,
)
def tensor_scalar_cumulative(
    dst: Any,
    src: Any,
    op0: Any,
    op1: Any,
    imm0: Any,
    imm1: Any = None,
    reduce_cmd: ReduceCommand = ReduceCommand.reset_reduce,
    name: str | None = None,
) -> Instruction:
    """A running reduction: ``r[i] = (src[i] op0 imm0) op1 r[i - 1]``.

    Computed in float32. The vector engine's reduce registers hold ``r``.

    Args:
        dst: all of ``r``.
        src: the tile. Whole numbers of 32 bits are not supported, nor in `dst`.
        op0: an arithmetic operation.
        op1: ``add``, ``subtract``, ``multiply``, ``maximum`` or ``minimum``.
        imm0: a number, or a float32 tile ``[P, 1]``; None with one operand.
        imm1: where ``load_reduce`` begins.
        reduce_cmd: ``reset_reduce`` begins at the identity of `op1`, ``load_reduce`` at
            `imm1`, ``reduce`` goes on.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these, or the registers hold another
            reduction.
    """
    raise NotImplementedError


# -- choices that are reduced ----------------------------------------------------------
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


# -- statistics ------------------------------------------------------------------------
_SUM = OPERATIONS["add"]


def _bn_stats(call: Call) -> None:
    values = _flat(call.read("data"))
    parts = [part for k in (0, 1) for part in _statistics(values[:, k::2])]
    call.write("dst", np.stack(parts, axis=1))


def _statistics(values: np.ndarray) -> list[np.ndarray]:
    """Of each row: the count, the mean, and the sum of squared distances from it."""
    count = values.shape[1]
    if not count:
        return [np.zeros(len(values), _F32)] * 3
    mean = _SUM.reduce(values) / _F32(count)
    distances = np.subtract(values, mean[:, None])
    return [
        np.full(len(values), count, _F32),
        mean,
        _SUM.reduce(np.square(distances)),
    ]


def _bn_aggr(call: Call) -> None:
    values = _flat(call.read("data"))
    count, mean, squares = (values[:, k::3] for k in range(3))
    total = _SUM.reduce(count)
    common = _SUM.reduce(count * mean) / total
    distances = np.square(mean - common[:, None])
    spread = _SUM.reduce(squares) + _SUM.reduce(count * distances)
    call.write("dst", np.stack([common, spread / total], axis=1))


def _elements(data: Callable[[int], bool], wanted: str, result: int) -> Rule:
    def rule(made: Instruction, chip: Chip) -> str | None:
        count = made.operands["data"].free_size
        if not data(count):
            return f"data has {count} elements in a partition, and must have {wanted}"
        if made.operands["dst"].free_size != result:
            found = made.operands["dst"].free_size
            return f"dst has {found} elements in a partition, and must have {result}"
        return None

    return rule


def _stats_samples() -> Iterator[Sample]:
    for count in (1, 2, 5, 8):
        data = numbers(_F32, (4, count))
        yield sample({"dst": ((4, 6), "float32"), "data": data}, label=f"of-{count}")
    data = numbers(ml_dtypes.bfloat16, (4, 2, 4))
    yield sample({"dst": ((4, 6), "bfloat16"), "data": data}, label="bfloat16")
    regions = {"dst": _PSUM, "data": _PSUM}
    yield sample(
        {"dst": ((4, 2, 3), "float32"), "data": data}, regions=regions, label="psum"
    )


def _stats_refused() -> Iterator[Sample]:
    data = np.ones((4, 513), _F32)
    yield sample({"dst": ((4, 6), "float32"), "data": data}, message="up to 512")
    yield sample({"dst": ((4, 5), "float32"), "data": data[:, :4]}, message="have 6")
    yield sample(
        {"dst": ((3, 6), "float32"), "data": data[:, :4]}, message="partitions"
    )


@instruction(
    Engine.vector,
    dst=RESULT,
    data=TILE,
    rules=[same_partitions, _elements(lambda n: 1 <= n <= 512, "1 up to 512", 6)],
    meaning=_bn_stats,
    cost=cycles_of_free("data"),
    samples=_stats_samples,
    refused=_stats_refused,
)
def bn_stats(dst: Any, data: Any, name: str | None = None) -> Instruction:
    """Statistics of each partition, of which :func:`bn_aggr` makes mean and variance.

    Computed in float32.

    Args:
        dst: in each partition, the count, the mean and the variance times the count of
            the elements at even places, then those of the elements at odd ones.
        data: the tile, of up to 512 elements in a partition.
        name: of the instruction.

    Raises:
        NkiValidationError: there are more elements, or `dst` has other than 6.
    """
    raise NotImplementedError


def _aggr_samples() -> Iterator[Sample]:
    one = np.array([[2, 1.5, 3, 3, -1, 2], [1, 4, 0, 0, 0, 0]], _F32)
    yield sample({"dst": ((2, 2), "float32"), "data": one}, label="two")
    yield sample({"dst": ((2, 2), "float32"), "data": one[:, :3]}, label="one")
    more = np.concatenate([one, one[:, ::-1] * 0 + 2], axis=1).reshape(2, 2, 6)
    yield sample({"dst": ((2, 2), "bfloat16"), "data": more}, label="four")


def _aggr_refused() -> Iterator[Sample]:
    data = np.ones((2, 6), _F32)
    yield sample(
        {"dst": ((2, 2), "float32"), "data": data[:, :4]}, message="multiple of 3"
    )
    yield sample({"dst": ((2, 3), "float32"), "data": data}, message="must have 2")


@instruction(
    Engine.vector,
    dst=RESULT,
    data=TILE,
    rules=[
        same_partitions,
        _elements(lambda n: n > 0 and n % 3 == 0, "a multiple of 3", 2),
    ],
    meaning=_bn_aggr,
    cost=cycles_of_free("data", 13 / 3),
    samples=_aggr_samples,
    refused=_aggr_refused,
)
def bn_aggr(dst: Any, data: Any, name: str | None = None) -> Instruction:
    """The mean and the variance of what :func:`bn_stats` made statistics of.

    Computed in float32. The variance is that of all elements, divided by their count.

    Args:
        dst: in each partition, the mean and the variance.
        data: counts, means, and variances times the counts, any number of times.
        name: of the instruction.

    Raises:
        NkiValidationError: they are no triples, or `dst` has other than 2 elements.
    """
    raise NotImplementedError
