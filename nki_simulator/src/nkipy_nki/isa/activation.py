"""Functions of one number, applied to every element of a tile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import no_psum_by_gpsimd, same_elements, same_partitions
from nkipy_nki.computing import (
    RESULT,
    TILE,
    compute,
    deliver,
    number_like,
    operands_of,
    scratch,
    values_like,
)
from nkipy_nki.costs import INTERVAL, cycles, elements_per_cycle
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.modes import reduce_cmd as ReduceCommand
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import OperationRule, Sample, reads
from nkipy_nki.reduce_commands import (
    REDUCE_RES,
    accumulate,
    commands,
    read_registers,
    reduction_is_named,
)
from nkipy_nki.regions import ON_CHIP, MemoryRegion
from nkipy_nki.sampling import DTYPES, column, numbers, sample

__all__ = ["activate2", "activation", "activation_reduce"]

_F32 = np.float32
_FUNCTION = OperationRule(("activation",), arity=1)
_SCALE = reads(ON_CHIP, "float32", scalar=True, vector=True)
_BIAS = reads(
    *(ON_CHIP, "float32", "float16", "bfloat16"),
    scalar=True,
    vector=True,
    optional=True,
)
_COMMANDS = (
    ReduceCommand.idle,
    ReduceCommand.reset,
    ReduceCommand.reduce,
    ReduceCommand.reset_reduce,
)


# -- activation ------------------------------------------------------------------------
def _scaled(call: Call) -> np.ndarray:
    """``data * scale + bias``."""
    dst, bias = call.operands["dst"], call.operands["bias"]
    values = values_like(call, "data", dst)
    scale = call.operands["scale"]
    if isinstance(scale, View) or scale != 1:
        out = scratch(call, "bias")
        values = np.multiply(values, number_like(call, "scale", dst), out=out)
    if isinstance(bias, View) or bias:
        values = np.add(values, number_like(call, "bias", dst), out=scratch(call))
    return values


def _activate(call: Call, command: ReduceCommand, *arrays: Any) -> None:
    """Apply the function, reduce what it gives, and write both."""
    out = call.destination("dst")
    values = compute(OPERATIONS[call.attributes["op"]], *arrays, out=out)
    accumulate(call, "data", values, call.attributes["reduce_op"], command)
    deliver(call, values, out)
    read_registers(call, "data")


def _activation(call: Call) -> None:
    _activate(call, call.attributes["reduce_cmd"], _scaled(call))


def _activation_reduce(call: Call) -> None:
    _activate(call, ReduceCommand.reset_reduce, _scaled(call))


def _cost(made: Instruction, chip: Chip) -> float:
    """N cycles, fewer of types that the data path is wider for; more to read registers.

    The engine's registers take an interval (page of activation_reduce).
    """
    reading = INTERVAL if made.operands["reduce_res"] is not None else 0.0
    dst, data = made.operands["dst"], made.operands["data"]
    rate = 1.0
    if made.engine is Engine.scalar:
        rate = elements_per_cycle("scalar", (dst, data), chip)
    return cycles(dst.free_size / rate) + reading


def _bias_fits(made: Instruction, chip: Chip) -> str | None:
    """A bias for all partitions is of gen3 and later."""
    bias = made.operands["bias"]
    if bias is None or isinstance(bias, View) or chip.generation >= 3:
        return None
    return f"bias is {bias!r}, and must be a tile [P, 1] before gen3"


def _gpsimd_fits(made: Instruction, chip: Chip) -> str | None:
    """GpSimd has activation functions from gen4 on, and no reduce registers."""
    if made.engine is not Engine.gpsimd:
        return None
    if chip.generation < 4:
        return f"engine is gpsimd, which {chip.name} has no activation functions on"
    idle = made.attributes["reduce_cmd"] is ReduceCommand.idle
    if idle and made.operands["reduce_res"] is None:
        return None
    return "engine is gpsimd, and reduce registers are the scalar engine's"


def _sample(data: np.ndarray, op: str, **named: Any) -> Sample:
    dst = named.pop("dst", (data.shape, data.dtype.name))
    operands = {"dst": dst, "data": data, **named.pop("more", {})}
    return sample(operands, op=op, **named)


_RESULT = ((4, 1), "float32")


def _activation_samples() -> Iterator[Sample]:
    a = numbers(_F32, (4, 6)) / _F32(2)
    for op in ("exp", "tanh", "gelu", "sigmoid", "copy", "square", "relu", "abs"):
        yield _sample(a, op, label=op)
    p, q = column([0.5, -1, 2, 0]), column([1, 2, -3, 0.25])
    yield _sample(a, "exp", more={"scale": 0.5, "bias": 0.25}, label="numbers")
    yield _sample(a, "exp", more={"scale": p, "bias": q}, label="vectors")
    yield _sample(a, "tanh", more={"bias": q}, chip="trn1", label="bias-of-gen2")
    for dtype in (np.float16, ml_dtypes.bfloat16):
        bias = q.astype(dtype)
        yield _sample(a, "copy", more={"bias": bias}, label=f"bias-{bias.dtype.name}")
    for dtype in DTYPES:
        name = np.dtype(dtype).name
        yield _sample(a, "square", dst=((4, 6), name), label=f"to-{name}")
        data = numbers(dtype, (4, 6))
        yield _sample(data, "relu", dst=((4, 6), "float32"), label=f"of-{name}")
    psum = {"dst": MemoryRegion.psum, "data": MemoryRegion.psum}
    yield _sample(a, "exp", regions=psum, label="psum")
    dims = a.reshape(4, 3, 2)
    yield _sample(dims, "copy", dst=((4, 2, 3), "float32"), label="shapes")
    gpsimd = {"engine": Engine.gpsimd, "chip": "trn3"}
    yield _sample(a, "exp", label="by-gpsimd", **gpsimd)
    more = {"reduce_res": _RESULT}
    reset = {"reduce_op": "add", "reduce_cmd": ReduceCommand.reset_reduce}
    yield _sample(a, "square", more=more, label="reduced", **reset)
    half = {"dst": ((4, 3, 2), "int8"), "more": {"reduce_res": ((4, 1), "bfloat16")}}
    dims = dims.astype(ml_dtypes.bfloat16)
    yield _sample(dims, "square", label="reduced-before-rounding", **half, **reset)
    yield _sample(a, "exp", more=more, label="reset", reduce_cmd=ReduceCommand.reset)


def _activation_refused() -> Iterator[Sample]:
    a, p = np.ones((4, 6), _F32), np.ones((4, 1), _F32)
    yield _sample(a, "add", message="op is nl.add")
    yield _sample(a, "prelu", chip="trn3", message="takes 2 operands")
    yield _sample(a, "exp", dst=((4, 5), "float32"), message="elements")
    packed = ((4, 6), "float4_e2m1fn_x4")
    yield _sample(a, "exp", dst=packed, message="dst is float4_e2m1fn_x4")
    half = p.astype(np.float16)
    yield _sample(a, "exp", more={"scale": half}, message="scale is float16")
    yield _sample(a, "exp", more={"bias": p.astype(np.int32)}, message="bias is int32")
    yield _sample(a, "exp", more={"bias": p[:2]}, message="partitions")
    yield _sample(a, "exp", more={"bias": a}, message="must be [P, 1]")
    yield _sample(a, "exp", more={"bias": 1.0}, chip="trn1", message="before gen3")
    gpsimd = {"engine": Engine.gpsimd}
    yield _sample(a, "exp", message="engine is gpsimd", **gpsimd)
    psum = {"data": MemoryRegion.psum}
    yield _sample(
        a, "exp", chip="trn3", regions=psum, message="does not reach", **gpsimd
    )
    reset = {"reduce_cmd": ReduceCommand.reset_reduce}
    yield _sample(a, "exp", message="reduce_op is None", **reset)
    both = {"chip": "trn3", "reduce_op": "add", **gpsimd, **reset}
    yield _sample(a, "exp", message="the scalar engine's", **both)
    yield _sample(
        a, "exp", reduce_op="maximum", message="reduce_op is maximum", **reset
    )
    load = {"reduce_cmd": ReduceCommand.load_reduce, "reduce_op": "add"}
    yield _sample(a, "exp", message="reduce_cmd is load_reduce", **load)
    yield _sample(a, "exp", more={"reduce_res": _RESULT}, message="never reset")


@instruction(
    *(Engine.scalar, Engine.gpsimd),
    dst=RESULT,
    data=TILE,
    bias=_BIAS,
    scale=_SCALE,
    reduce_res=REDUCE_RES,
    operations={
        "op": _FUNCTION,
        "reduce_op": OperationRule(names=frozenset({"add"}), optional=True),
    },
    rules=[
        *(same_partitions, same_elements, _bias_fits, _gpsimd_fits, no_psum_by_gpsimd),
        *(commands(*_COMMANDS), reduction_is_named),
    ],
    meaning=_activation,
    cost=_cost,
    samples=_activation_samples,
    refused=_activation_refused,
)
def activation(
    dst: Any,
    op: Any,
    data: Any,
    bias: Any = None,
    scale: Any = 1.0,
    reduce_op: Any = None,
    reduce_res: Any = None,
    reduce_cmd: ReduceCommand = ReduceCommand.idle,
    engine: Engine = Engine.scalar,
    name: str | None = None,
) -> Instruction:
    """Apply a function to each element: ``dst = op(data * scale + bias)``.

    Computed in float32; the product is rounded before the sum. What the function gives
    is reduced before it is rounded to `dst`.

    Args:
        dst: the result.
        op: an activation function.
        data: the tile.
        bias: a number, from gen3 on; or a tile ``[P, 1]`` of float32, float16 or
            bfloat16; None is 0.
        scale: a number, or a float32 tile ``[P, 1]``.
        reduce_op: ``nl.add``, if the results are summed.
        reduce_res: where the scalar engine's reduce registers are written to,
            ``[P, 1]``.
        reduce_cmd: what is done with those: ``idle`` does not touch them, ``reset``
            sets them to 0, ``reduce`` adds to them, ``reset_reduce`` sets and adds.
        engine: ``scalar``; from gen4 on ``gpsimd``, which has no registers.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these, or the registers are read
            before they were set.
    """
    raise NotImplementedError


# -- activation_reduce -----------------------------------------------------------------
def _reduce_samples() -> Iterator[Sample]:
    a = numbers(_F32, (4, 6)) / _F32(2)
    for op in ("exp", "square", "copy"):
        yield _sample(a, op, more={"reduce_res": _RESULT}, label=op, reduce_op="add")
    p = column([0.5, -1, 2, 0])
    more = {"scale": p, "bias": p, "reduce_res": ((4, 1), "bfloat16")}
    yield _sample(a, "exp", more=more, label="vectors", reduce_op="add")
    yield _sample(a, "exp", more={"reduce_res": None}, label="kept", reduce_op="add")


def _reduce_refused() -> Iterator[Sample]:
    a = np.ones((4, 6), _F32)
    more = {"reduce_res": _RESULT}
    yield _sample(a, "exp", more=more, reduce_op="maximum", message="reduce_op is")
    yield _sample(a, "exp", more=more, reduce_op=None, message="reduce_op is None")
    wide = {"reduce_res": ((4, 2), "float32")}
    yield _sample(a, "exp", more=wide, reduce_op="add", message="[P, 1]")
    few = {"reduce_res": ((3, 1), "float32")}
    yield _sample(a, "exp", more=few, reduce_op="add", message="partitions")


@instruction(
    Engine.scalar,
    dst=RESULT,
    data=TILE,
    reduce_res=REDUCE_RES,
    bias=_BIAS,
    scale=_SCALE,
    operations={"op": _FUNCTION, "reduce_op": OperationRule(names=frozenset({"add"}))},
    rules=[same_partitions, same_elements, _bias_fits],
    meaning=_activation_reduce,
    cost=_cost,
    samples=_reduce_samples,
    refused=_reduce_refused,
)
def activation_reduce(
    dst: Any,
    op: Any,
    data: Any,
    reduce_op: Any,
    reduce_res: Any,
    bias: Any = None,
    scale: Any = 1.0,
    name: str | None = None,
) -> Instruction:
    """:func:`activation` with ``reduce_cmd.reset_reduce``: the results, and their sums.

    Args:
        dst: the result.
        op: an activation function.
        data: the tile.
        reduce_op: ``nl.add``.
        reduce_res: where the sums are written to, ``[P, 1]``; None leaves them in the
            scalar engine's reduce registers.
        bias: as :func:`activation` has it.
        scale: as :func:`activation` has it.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these.
    """
    raise NotImplementedError


# -- activate2 -------------------------------------------------------------------------
def _activate2(call: Call) -> None:
    dst, attributes = call.operands["dst"], call.attributes
    values = values_like(call, "data", dst)
    later = ("imm1", "relu_param")
    for step in (0, 1):
        name = attributes[f"op{step}"]
        if name != "bypass":
            number = number_like(call, f"imm{step}", dst)
            reverse = attributes[f"reverse{step}"]
            pair = operands_of(OPERATIONS[name], values, number, reverse)
            out = scratch(call, *later[step:])
            values = compute(OPERATIONS[name], *pair, out=out)
    arrays = [values]
    if OPERATIONS[attributes["op"]].arity == 2:
        arrays.append(number_like(call, "relu_param", dst))
    _activate(call, attributes["reduce_cmd"], *arrays)


#: What the two steps before the function may be.
_STEPS = (
    *(("multiply", "add"), ("multiply", "subtract"), ("multiply", "bypass")),
    *(("add", "bypass"), ("subtract", "bypass"), ("bypass", "bypass")),
)


def _steps_fit(made: Instruction, chip: Chip) -> str | None:
    """The two steps are ones that the engine has, with a number for each."""
    steps = (made.attributes["op0"], made.attributes["op1"])
    if steps not in _STEPS:
        allowed = "; ".join(" and ".join(pair) for pair in _STEPS)
        return f"op0 and op1 are {' and '.join(steps)}, and may be {allowed}"
    for step, name in enumerate(steps):
        if name != "bypass" and made.operands[f"imm{step}"] is None:
            return f"imm{step} is None, and op{step} is {name}"
        if name == "bypass" and made.attributes[f"reverse{step}"]:
            return f"reverse{step} is given, and op{step} is bypass"
    imm0, imm1 = made.operands["imm0"], made.operands["imm1"]
    if isinstance(imm0, View) and isinstance(imm1, View) and imm0.dtype != imm1.dtype:
        return f"imm0 is {imm0.dtype.name}, and imm1 {imm1.dtype.name}"
    return None


def _steps_samples() -> Iterator[Sample]:
    a = numbers(_F32, (4, 6)) / _F32(2)
    p, q = column([0.5, -1, 2, 0]), column([1, 2, -3, 0.25])
    for op0, op1 in _STEPS:
        steps = {"op0": op0, "op1": op1, "chip": "trn3"}
        imm: dict[str, Any] = {"imm0": 0.5, "imm1": 1.5}
        yield _sample(a, "tanh", more=imm, label=f"{op0}-{op1}", **steps)
        imm = {"imm0": p, "imm1": q}
        yield _sample(a, "copy", more=imm, label=f"{op0}-{op1}-vectors", **steps)
    both = {"op0": "multiply", "op1": "subtract", "chip": "trn3"}
    reverse = {"reverse0": True, "reverse1": True}
    imm = {"imm0": 0.5, "imm1": q}
    yield _sample(a, "exp", more=imm, label="reversed", **both, **reverse)
    for slope in (0.25, p):
        more: dict[str, Any] = {**imm, "relu_param": slope}
        yield _sample(
            a, "prelu", more=more, label=f"prelu-{type(slope).__name__}", **both
        )
    for op in ("add", "maximum", "minimum", "abs_max", "abs_min"):
        reduced = {"reduce_op": op, "reduce_cmd": ReduceCommand.reset_reduce}
        more = {**imm, "reduce_res": _RESULT}
        yield _sample(a, "copy", more=more, label=f"reduced-{op}", **both, **reduced)


def _steps_refused() -> Iterator[Sample]:
    a = np.ones((4, 6), _F32)
    imm = {"imm0": 1.0, "imm1": 1.0}
    both = {"op0": "multiply", "op1": "add"}
    trn3 = {"chip": "trn3", **both}
    yield _sample(a, "exp", more=imm, message="is of gen4", **both)
    swapped = {"chip": "trn3", "op0": "add", "op1": "multiply"}
    yield _sample(a, "exp", more=imm, message="op0 and op1 are add", **swapped)
    none = {"imm0": 1.0, "imm1": None}
    yield _sample(a, "exp", more=none, message="imm1 is None", **trn3)
    single = {"chip": "trn3", "op0": "add", "op1": "bypass", "reverse1": True}
    yield _sample(a, "exp", more=imm, message="reverse1 is given", **single)
    p = np.ones((4, 1), _F32)
    mixed = {"imm0": p, "imm1": p.astype(np.float16)}
    yield _sample(a, "exp", more=mixed, message="imm0 is float32", **trn3)
    reduced = {"reduce_op": "multiply", "reduce_cmd": ReduceCommand.reduce}
    yield _sample(
        a, "exp", more=imm, message="reduce_op is multiply", **trn3, **reduced
    )
    reduced = {"reduce_op": "add", "reduce_cmd": ReduceCommand.reduce}
    yield _sample(a, "exp", more=imm, message="never reset", **trn3, **reduced)


_STEP = OperationRule(
    ("arithmetic", "special"),
    names=frozenset({"multiply", "add", "subtract", "bypass"}),
)
_IMMEDIATE = reads(scalar=True, vector=True, optional=True)


@instruction(
    *(Engine.scalar, Engine.gpsimd),
    dst=RESULT,
    data=TILE,
    imm0=_IMMEDIATE,
    imm1=_IMMEDIATE,
    relu_param=reads(scalar=True, vector=True),
    reduce_res=REDUCE_RES,
    operations={
        "op": OperationRule(("activation",)),
        "op0": _STEP,
        "op1": _STEP,
        "reduce_op": OperationRule(
            names=frozenset({"add", "maximum", "minimum", "abs_max", "abs_min"}),
            optional=True,
        ),
    },
    since=4,
    rules=[
        *(same_partitions, same_elements, _steps_fit, _gpsimd_fits, no_psum_by_gpsimd),
        *(commands(*_COMMANDS), reduction_is_named),
    ],
    meaning=_activate2,
    cost=_cost,
    samples=_steps_samples,
    refused=_steps_refused,
)
def activate2(
    dst: Any,
    op: Any,
    data: Any,
    imm0: Any,
    imm1: Any,
    op0: Any,
    op1: Any,
    relu_param: Any = 0.0,
    reverse0: bool = False,
    reverse1: bool = False,
    reduce_op: Any = None,
    reduce_res: Any = None,
    reduce_cmd: ReduceCommand = ReduceCommand.idle,
    engine: Engine = Engine.scalar,
    name: str | None = None,
) -> Instruction:
    """Two steps with numbers, then a function: ``op((data op0 imm0) op1 imm1)``.

    Of gen4 and later. Computed in float32.

    Args:
        dst: the result.
        op: an activation function.
        data: the tile.
        imm0: a number, or a tile ``[P, 1]``, for the first step.
        imm1: the same for the second.
        op0: ``multiply``, ``add``, ``subtract`` or ``bypass``, which does nothing.
        op1: after ``multiply`` also ``add`` or ``subtract``, else ``bypass``.
        relu_param: the slope of ``prelu``.
        reverse0: whether `imm0` is on the left.
        reverse1: whether `imm1` is on the left.
        reduce_op: by what the results are reduced: ``add``, ``maximum``, ``minimum``,
            ``abs_max`` or ``abs_min``.
        reduce_res: where the scalar engine's reduce registers are written to,
            ``[P, 1]``.
        reduce_cmd: what is done with those, as in :func:`activation`.
        engine: ``scalar``, or ``gpsimd``, which has no registers.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these, or the registers are read
            before they were set.
    """
    raise NotImplementedError
