"""The exponential function, with a maximum taken off and a sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy_nki.calls import Call
from nkipy_nki.checking import same_elements, same_partitions
from nkipy_nki.computing import (
    compute,
    deliver,
    number_like,
    scratch,
    values_like,
)
from nkipy_nki.costs import cycles
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.modes import reduce_cmd as ReduceCommand
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.reduce_commands import (
    accumulate,
    commands,
    initial_values,
    read_registers,
)
from nkipy_nki.regions import ON_CHIP
from nkipy_nki.sampling import DTYPES, column, numbers, sample

__all__ = ["exponential"]

_F32 = np.float32
_RESULT = ((4, 1), "float32")


def _exponential(call: Call) -> None:
    dst, number = call.operands["dst"], call.operands["max_value"]
    values = values_like(call, "src", dst)
    if isinstance(number, View) or number:
        most = number_like(call, "max_value", dst)
        values = np.subtract(values, most, out=scratch(call, "reduce_init"))
    out = scratch(call, "reduce_init")
    result = compute(OPERATIONS["exp"], values, out=out)
    command = call.attributes["reduce_cmd"]
    accumulate(call, "src", result, "add", command, "reduce_init")
    deliver(call, result, out)
    read_registers(call, "src")


def _exponential_sample(src: np.ndarray, **named: Any) -> Sample:
    dst = named.pop("dst", (src.shape, src.dtype.name))
    operands = {"dst": dst, "src": src, **named.pop("more", {})}
    return sample(operands, **{"chip": "trn3", **named})


def _exponential_samples() -> Iterator[Sample]:
    a = numbers(_F32, (4, 6)) / _F32(2)
    p = column([0.5, -1, 2, 0])
    yield _exponential_sample(a, label="plain")
    for most in (1.5, p):
        kind = type(most).__name__
        yield _exponential_sample(a, more={"max_value": most}, label=f"most-{kind}")
    for dtype in DTYPES:
        data, name = numbers(dtype, (4, 6)), np.dtype(dtype).name
        if name not in (*_FLOATS, *_WHOLE):
            continue
        more: dict[str, Any] = {"max_value": 5.0}
        dst = ((4, 6), "float32")
        yield _exponential_sample(data, dst=dst, more=more, label=f"of-{name}")
        yield _exponential_sample(a, dst=((4, 6), name), label=f"to-{name}")
    more = {"max_value": p, "reduce_res": _RESULT}
    reset = {"reduce_cmd": ReduceCommand.reset_reduce}
    yield _exponential_sample(a, more=more, label="summed", **reset)
    load = {"reduce_cmd": ReduceCommand.load_reduce}
    for start in (2.0, p):
        more = {**more, "reduce_init": start}
        kind = type(start).__name__
        yield _exponential_sample(a, more=more, label=f"loaded-{kind}", **load)


def _exponential_refused() -> Iterator[Sample]:
    a, p = np.ones((4, 6), _F32), np.ones((4, 1), _F32)
    yield _exponential_sample(a, chip="trn2", message="is of gen4")
    yield _exponential_sample(a, more={"reduce_init": 1.0}, message="not load_reduce")
    more = {"max_value": p.astype(np.float16)}
    yield _exponential_sample(a, more=more, message="max_value is float16")
    yield _exponential_sample(
        a, dst=((4, 6), "uint32"), message="dst is uint32, and may be"
    )
    yield _exponential_sample(a, more={"reduce_res": _RESULT}, message="never reset")
    reduced = {"reduce_cmd": ReduceCommand.reduce}
    yield _exponential_sample(a, message="never reset", **reduced)
    reset = {"reduce_cmd": ReduceCommand.reset}
    yield _exponential_sample(a, message="reduce_cmd is reset", **reset)
    many = a.reshape(2, 1, 3, 2, 2)
    yield _exponential_sample(many, message="dimensions")


_FLOATS = ("float8_e4m3", "float8_e5m2", "float16", "bfloat16", "float32")
_WHOLE = ("int8", "int16", "int32", "uint8", "uint16")


@instruction(
    Engine.vector,
    dst=writes(ON_CHIP, *_FLOATS, "tfloat32", *_WHOLE, dims=4),
    src=reads(ON_CHIP, *_FLOATS, *_WHOLE, "uint32", dims=4),
    max_value=reads(ON_CHIP, "float32", scalar=True, vector=True),
    reduce_res=writes(ON_CHIP, *_FLOATS, "tfloat32", vector=True, optional=True),
    reduce_init=reads(ON_CHIP, "float32", scalar=True, vector=True),
    since=4,
    rules=[
        *(same_partitions, same_elements, initial_values("reduce_init")),
        commands(
            *(ReduceCommand.idle, ReduceCommand.reset_reduce),
            *(ReduceCommand.reduce, ReduceCommand.load_reduce),
        ),
    ],
    meaning=_exponential,
    # Four times as fast as nisa.activation with nl.exp (its page).
    cost=lambda made, chip: cycles(made.operands["dst"].free_size / 4),
    samples=_exponential_samples,
    refused=_exponential_refused,
)
def exponential(
    dst: Any,
    src: Any,
    max_value: Any = 0.0,
    reduce_res: Any = None,
    reduce_cmd: ReduceCommand = ReduceCommand.idle,
    reduce_init: Any = 0.0,
    name: str | None = None,
) -> Instruction:
    """``dst = exp(src - max_value)`` by the vector engine, and sums of it.

    Of gen4 and later. Computed in float32; what is summed is not rounded to `dst`.

    Args:
        dst: the result.
        src: the tile.
        max_value: a number, or a float32 tile ``[P, 1]``.
        reduce_res: where the vector engine's reduce registers are written to,
            ``[P, 1]``.
        reduce_cmd: what is done with those: ``reset_reduce`` begins at 0,
            ``load_reduce`` at `reduce_init`, ``reduce`` goes on. ``idle`` leaves them
            in a state that is not known.
        reduce_init: where ``load_reduce`` begins, and 0 otherwise.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these, or the registers are read, or
            reduced into, before they were set.
    """
    raise NotImplementedError
