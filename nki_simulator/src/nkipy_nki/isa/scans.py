"""Recurrences along a partition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.calls import Call
from nkipy_nki.checking import at_most_one_in_psum, same_elements, same_partitions
from nkipy_nki.computing import (
    RESULT,
    TILE,
    compute,
    flat,
    number_like,
    operands_of,
    values_like,
)
from nkipy_nki.costs import cycles_of_free
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.modes import reduce_cmd as ReduceCommand
from nkipy_nki.operators import OPERATIONS, Operation
from nkipy_nki.program import Instruction
from nkipy_nki.records import OperationRule, Sample, reads, writes
from nkipy_nki.reduce_commands import (
    LOADING,
    begin,
    commands,
    initial_values,
)
from nkipy_nki.regions import ON_CHIP, MemoryRegion
from nkipy_nki.sampling import DTYPES, column, numbers, sample
from nkipy_nki.scalar_operands import number_fits

__all__ = ["tensor_scalar_cumulative", "tensor_tensor_scan"]

_F32 = np.float32
_PSUM = MemoryRegion.psum
_NUMBER = reads(ON_CHIP, "float32", scalar=True, vector=True, optional=True)


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
    return np.ascontiguousarray(flat(values).T)


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
    values = flat(np.array(compute(op0, *pair), _F32, order="C"))
    held = begin(call, "src", op1.name, attributes["reduce_cmd"], "imm1")
    result = _cumulated(op1, values, held)
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
        *(commands(*LOADING), initial_values("imm1")),
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
