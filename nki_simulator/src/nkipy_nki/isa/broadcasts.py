"""Element-wise instructions of a tile and numbers for its partitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.bit_patterns import bit_number, bits_of, store_bits, whole_numbers
from nkipy_nki.calls import Call
from nkipy_nki.checking import (
    at_most_one_in_psum,
    has_psum,
    no_psum_by_gpsimd,
    same_elements,
    same_partitions,
)
from nkipy_nki.computing import (
    RESULT,
    TILE,
    apply,
    compute,
    deliver,
    number_like,
    operands_of,
    scratch,
    values_like,
)
from nkipy_nki.costs import (
    cycles,
    elements_per_cycle,
    vector_elements_per_cycle,
)
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.isa.arithmetic import PLAIN
from nkipy_nki.modes import reduce_cmd as ReduceCommand
from nkipy_nki.operators import OPERATIONS, Operation
from nkipy_nki.program import Instruction
from nkipy_nki.records import OperationRule, Sample, reads
from nkipy_nki.reduce_commands import (
    REDUCE_RES,
    REDUCTIONS,
    accumulate,
    commands,
    read_registers,
)
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.sampling import DTYPES, numbers, sample
from nkipy_nki.scalar_operands import number_fits, number_problem

__all__ = ["scalar_tensor_tensor", "tensor_scalar"]

#: A number for all elements, or one for each partition.
_NUMBER = reads(scalar=True, vector=True, optional=True)
_F32 = np.float32


def _operations(made: Instruction) -> list[Operation]:
    """The operations of ``op0`` and ``op1``."""
    op0, op1 = made.attributes["op0"], made.attributes["op1"]
    return [OPERATIONS[op0]] if op1 is None else [OPERATIONS[op0], OPERATIONS[op1]]


# -- tensor_scalar ---------------------------------------------------------------------
def _tensor_scalar(call: Call) -> None:
    attributes, dst = call.attributes, call.operands["dst"]
    op0 = OPERATIONS[attributes["op0"]]
    op1 = None if attributes["op1"] is None else OPERATIONS[attributes["op1"]]
    if op0.is_bitvec:
        _tensor_scalar_bits(call, op0, op1)
        return
    first = operands_of(
        *(op0, values_like(call, "data", dst), _second(call, "operand0", op0)),
        attributes["reverse0"],
    )
    if op1 is None:
        apply(call, op0, *first)
        return
    values = compute(op0, *first, out=scratch(call, "operand1"))
    second = operands_of(
        op1, values, _second(call, "operand1", op1), attributes["reverse1"]
    )
    apply(call, op1, *second)


def _second(call: Call, name: str, operation: Operation) -> Any:
    """The number that an operation takes beside the tile, if it takes one."""
    if operation.arity == 1:
        return None
    return number_like(call, name, call.operands["dst"])


def _tensor_scalar_bits(call: Call, op0: Operation, op1: Operation | None) -> None:
    bits = bits_of(call.raw("data"))
    steps = ((op0, "operand0", "reverse0"), (op1, "operand1", "reverse1"))
    for operation, operand, reverse in steps:
        if operation is not None:
            number = bit_number(call, operand, bits) if operation.arity == 2 else None
            pair = operands_of(operation, bits, number, call.attributes[reverse])
            bits = operation.compute(*pair)
    store_bits(call, bits)


#: How many times as long as the scalar engine's the root of GpSimd takes (page of
#: tensor_scalar).
_GPSIMD_FACTOR = 4


def _cost_of_scalars(made: Instruction, chip: Chip) -> float:
    """N cycles, fewer where the engine takes several in one.

    Of GpSimd's power nothing is documented: it is taken for as long as the root.
    """
    tiles = [made.operands["dst"], made.operands["data"]]
    count = tiles[0].free_size
    if made.engine is Engine.vector:
        return cycles(count / vector_elements_per_cycle(tiles, chip))
    if made.engine is Engine.scalar:
        return cycles(count / elements_per_cycle("scalar", tiles, chip))
    return cycles(count) * _GPSIMD_FACTOR


def _choose_for_scalars(made: Instruction, chip: Chip) -> Engine:
    if made.engine is not Engine.unknown:
        return made.engine
    names = [operation.name for operation in _operations(made)]
    return Engine.gpsimd if _by_gpsimd(names) and not has_psum(made) else Engine.vector


def _by_gpsimd(names: Sequence[str]) -> bool:
    """Whether an operation is one that the table of operations gives GpSimd."""
    return any(OPERATIONS[name].alu_engine is Engine.gpsimd for name in names)


def _scalars_fit(made: Instruction, chip: Chip) -> str | None:
    """Each operation has its number, both are of one kind, and the engine has them."""
    operations = _operations(made)
    for index, operation in enumerate(operations):
        if problem := number_problem(made, f"operand{index}", operation):
            return problem
    if len(operations) == 1 and made.operands["operand1"] is not None:
        return "operand1 is given without op1"
    if len({op.is_bitvec for op in operations}) > 1:
        names = " and ".join(op.name for op in operations)
        return f"op0 and op1 are {names}, and must be both of bits or both arithmetic"
    return _engine_problem(made, chip, [op.name for op in operations])


#: What the scalar engine of trn2 has.
_BY_SCALAR = {("multiply", "add"), ("multiply",), ("add",)}


def _engine_problem(made: Instruction, chip: Chip, names: list[str]) -> str | None:
    engine = made.engine
    fits = {
        Engine.scalar: not OPERATIONS[names[0]].is_bitvec
        and (chip.generation > 3 or tuple(names) in _BY_SCALAR),
        Engine.gpsimd: _by_gpsimd(names),
    }
    if fits.get(engine, True):
        return None
    ops = " and ".join(names)
    return f"the {engine.name} engine of {chip.name} does not have {ops} here"


def _scalars(
    data: np.ndarray,
    op0: str,
    operand0: Any,
    op1: str | None = None,
    operand1: Any = None,
    **named: Any,
) -> Sample:
    dst = named.pop("dst", (data.shape, data.dtype.name))
    operands = {"dst": dst, "data": data, "operand0": operand0, "operand1": operand1}
    return sample(operands, op0=op0, op1=op1, **named)


def _scalar_samples() -> Iterator[Sample]:
    shape = (4, 6)
    a = numbers(_F32, shape)
    p = numbers(_F32, (4, 1), 2)
    for op in PLAIN:
        yield _scalars(a, op, 2.0, label=op)
        yield _scalars(a, op, p, reverse0=True, label=f"{op}-vector-reversed")
    for op in ("abs", "square", "relu"):
        yield _scalars(a, op, None, label=op, chip="trn3")
    one = np.abs(a) + 1
    for op in ("rsqrt", "reciprocal"):
        yield _scalars(one, op, 0.0, label=op)
    yield _scalars(one, "add", 1e-6, "rsqrt", label="add-rsqrt")
    psum = {"data": MemoryRegion.psum}
    yield _scalars(one, "add", 1.0, "rsqrt", regions=psum, label="rsqrt-of-psum")
    yield _scalars(a, "divide", 3.0, label="divide")
    yield _scalars(one, "divide", 3.0, reverse0=True, label="divide-reversed")
    yield _scalars(one, "power", -0.5, label="power")
    yield _scalars(one, "multiply", 0.5, "power", p, label="multiply-power")
    yield _scalars(a, "multiply", 0.1, "add", 0.3, label="two-roundings")
    yield _scalars(a, "multiply", p, "add", p, label="two-vectors")
    yield _scalars(
        a,
        "subtract",
        1.0,
        "subtract",
        p,
        reverse0=True,
        reverse1=True,
        label="both-reversed",
    )
    yield _scalars(a, "greater", 0.0, "multiply", p, label="mask")
    scalar: dict[str, Any] = {"engine": Engine.scalar}
    yield _scalars(a, "multiply", 2.0, "add", p, label="by-scalar", **scalar)
    yield _scalars(a, "subtract", 2.0, label="scalar-trn3", chip="trn3", **scalar)
    for dtype in DTYPES:
        name = np.dtype(dtype).name
        yield _scalars(numbers(dtype, shape), "add", 1.0, label=f"of-{name}")
        yield _scalars(a, "multiply", 2.0, dst=(shape, name), label=f"to-{name}")
    big = np.array([[2**24 + 1, 2**31 - 1]], np.int32)
    yield _scalars(big, "add", 0.0, label="int32-through-float32")
    for dtype in (np.int8, np.uint8, np.int16, np.uint32, np.int32):
        whole, name = numbers(dtype, shape), np.dtype(dtype).name
        yield _scalars(whole, "bitwise_and", 5, label=f"bitwise_and-{name}")
        yield _scalars(whole, "invert", None, label=f"invert-{name}")
        yield _scalars(
            whole,
            "right_shift",
            1,
            "bitwise_xor",
            np.abs(whole[:, :1]),
            label=f"right_shift-bitwise_xor-{name}",
        )
        yield _scalars(
            np.abs(whole), "left_shift", 1, reverse0=True, label=f"shifted-{name}"
        )
    yield _scalars(
        numbers(np.int32, shape), "bitwise_and", -2.0, label="a-float-that-is-whole"
    )
    a = numbers(_F32, (2, 3, 2, 2))
    yield _scalars(a, "add", a[:, 0, 0, :1], dst=((2, 12), "float32"), label="dims")
    regions = {"data": MemoryRegion.psum, "operand0": MemoryRegion.psum}
    yield _scalars(a[:, 0, 0], "add", p[:2], regions=regions, label="psum")


def _scalar_refused() -> Iterator[Sample]:
    a, whole = np.ones((3, 4), _F32), np.ones((3, 4), np.int32)
    p = np.ones((3, 1), _F32)
    yield _scalars(a, "add", None, message="operand0 is None")
    yield _scalars(a, "add", p, "multiply", message="operand1 is None")
    yield _scalars(a, "add", p, None, p, message="operand1 is given without op1")
    yield _scalars(a, "reciprocal", 2.0, message="takes one operand")
    yield _scalars(a, "add", p.astype(np.float16), message="operand0 is float16")
    yield _scalars(a, "add", a, message="must be [P, 1]")
    yield _scalars(a, "add", p[:2], message="partitions")
    yield _scalars(whole, "add", 1, "bitwise_and", 1, message="both of bits or both")
    yield _scalars(a, "bitwise_and", 1, message="whole numbers")
    yield _scalars(whole, "bitwise_and", 1.5, message="whole numbers")
    yield _scalars(a, "exp", 1.0, message="op0 is nl.exp")
    scalar: dict[str, Any] = {"engine": Engine.scalar}
    yield _scalars(a, "subtract", 1.0, message="does not have subtract", **scalar)
    yield _scalars(
        whole, "bitwise_or", 1, message="does not have", chip="trn3", **scalar
    )
    yield _scalars(a, "add", 1.0, engine=Engine.gpsimd, message="does not have add")
    yield _scalars(a, "add", 1.0, engine=Engine.tensor, message="engine is tensor")
    psum = {"data": MemoryRegion.psum}
    gpsimd: dict[str, Any] = {"engine": Engine.gpsimd}
    yield _scalars(a, "rsqrt", None, regions=psum, message="data is in psum", **gpsimd)


@instruction(
    *(Engine.vector, Engine.scalar, Engine.gpsimd),
    dst=RESULT,
    data=TILE,
    operand0=_NUMBER,
    operand1=_NUMBER,
    operations={
        "op0": OperationRule(("arithmetic", "bitvec")),
        "op1": OperationRule(("arithmetic", "bitvec"), optional=True),
    },
    choose_engine=_choose_for_scalars,
    rules=[
        *(same_partitions, same_elements, _scalars_fit, no_psum_by_gpsimd),
        whole_numbers("op0", "dst", "data", "operand0", "operand1"),
    ],
    meaning=_tensor_scalar,
    cost=_cost_of_scalars,
    samples=_scalar_samples,
    refused=_scalar_refused,
)
def tensor_scalar(
    dst: Any,
    data: Any,
    op0: Any,
    operand0: Any,
    reverse0: bool = False,
    op1: Any = None,
    operand1: Any = None,
    reverse1: bool = False,
    engine: Engine = Engine.unknown,
    name: str | None = None,
) -> Instruction:
    """Each element with one number or two: ``dst = (data op0 operand0) op1 operand1``.

    Computed in float32. Operations of bits take the elements as they are.

    Args:
        dst: the result.
        data: the tile.
        op0: the first operation. One of a single operand takes no `operand0`.
        operand0: a number, or a float32 tile ``[P, 1]``; beside an operation of bits a
            whole number, or a tile of them.
        reverse0: whether it is ``operand0 op0 data``.
        op1: the second operation, if any; of bits if `op0` is.
        operand1: as `operand0`.
        reverse1: whether `operand1` is on the left.
        engine: ``vector``; ``gpsimd`` with ``nl.rsqrt``; ``scalar``, which up to trn2
            has ``multiply`` and ``add``, alone or in this order.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand, or the engine, is none of these.
    """
    raise NotImplementedError


# -- scalar_tensor_tensor --------------------------------------------------------------
def _scalar_tensor_tensor(call: Call) -> None:
    attributes, dst = call.attributes, call.operands["dst"]
    op0, op1 = OPERATIONS[attributes["op0"]], OPERATIONS[attributes["op1"]]
    tile = values_like(call, "operand1", dst)
    first = operands_of(
        *(op0, values_like(call, "data", dst), _second(call, "operand0", op0)),
        attributes["reverse0"],
    )
    values = compute(op0, *first, out=scratch(call, "operand1"))
    pair = operands_of(op1, values, tile, attributes["reverse1"])
    out = call.destination("dst")
    result = compute(op1, *pair, out=out)
    if attributes["reduce_op"] is not None:
        command = attributes["reduce_cmd"]
        accumulate(call, "data", result, attributes["reduce_op"], command)
    deliver(call, result, out)
    read_registers(call, "data")


def _cost_of_three(made: Instruction, chip: Chip) -> float:
    """N cycles if bfloat16 is subtracted, then multiplied, N even; 2 N otherwise."""
    free = made.operands["dst"].free_size
    ops = (made.attributes["op0"], made.attributes["op1"])
    tiles = [made.operands[name] for name in ("dst", "data", "operand1")]
    fast = (
        ops == ("subtract", "multiply")
        and free % 2 == 0
        and all(tile.dtype.name == "bfloat16" for tile in tiles)
    )
    return cycles(free * (1 if fast else 2))


def _reduction_has_operation(made: Instruction, chip: Chip) -> str | None:
    """``reduce_op`` is given if ``reduce_res`` is."""
    if made.attributes["reduce_op"] is None and made.operands["reduce_res"] is not None:
        return "reduce_res is given without reduce_op"
    return None


def _three(
    data: np.ndarray, op0: str, operand0: Any, op1: str, operand1: Any, **named: Any
) -> Sample:
    operands = {
        "dst": (data.shape, data.dtype.name),
        "data": data,
        "operand0": operand0,
        "operand1": operand1,
        "reduce_res": named.pop("reduced", None),
    }
    return sample(operands, op0=op0, op1=op1, **named)


def _three_samples() -> Iterator[Sample]:
    shape = (4, 6)
    a, b = numbers(_F32, shape), numbers(_F32, shape, 1)
    p = numbers(_F32, (4, 1), 2)
    for op in ("add", "subtract", "multiply", "maximum", "minimum", "less"):
        yield _three(a, op, 2.0, "add", b, label=f"{op}-add")
        yield _three(a, "multiply", p, op, b, label=f"multiply-{op}")
    yield _three(
        a, "subtract", p, "subtract", b, reverse0=True, reverse1=True, label="reversed"
    )
    yield _three(a, "abs", None, "multiply", b, label="one-operand")
    for dtype in DTYPES:
        c, d, name = numbers(dtype, shape), numbers(dtype, shape, 1), np.dtype(dtype)
        yield _three(c, "subtract", 1.0, "multiply", d, label=f"of-{name.name}")
    psum = MemoryRegion.psum
    yield _three(a, "add", p, "add", b, regions={"data": psum}, label="data-in-psum")
    yield _three(a, "add", p, "add", b, regions={"operand1": psum}, label="psum")
    reduced = ((4, 1), "float32")
    yield _three(
        a, "add", p, "multiply", b, reduced=reduced, reduce_op="add", label="reduced"
    )
    yield _three(
        a,
        "add",
        p,
        "multiply",
        b,
        reduced=reduced,
        reduce_op="maximum",
        label="greatest",
    )


def _three_refused() -> Iterator[Sample]:
    a, p = np.ones((3, 4), _F32), np.ones((3, 1), _F32)
    psum = {"data": MemoryRegion.psum, "operand1": MemoryRegion.psum}
    yield _three(a, "add", p, "add", a, regions=psum, message="data and operand1 are")
    yield _three(a, "bitwise_and", 1, "add", a, message="op0 is nl.bitwise_and")
    yield _three(a, "add", 1.0, "abs", a, message="op1 is abs")
    yield _three(a, "add", None, "add", a, message="operand0 is None")
    yield _three(a, "add", 1.0, "add", 1.0, message="operand1 is 1.0")
    yield _three(a, "add", 1.0, "add", a[:, :3], message="elements in a partition")
    reduced = ((3, 1), "float32")
    yield _three(a, "add", p, "add", a, reduced=reduced, message="without reduce_op")
    yield _three(
        a,
        "add",
        p,
        "add",
        a,
        reduced=((3, 2), "float32"),
        reduce_op="add",
        message="[P, 1]",
    )


@instruction(
    Engine.vector,
    dst=RESULT,
    data=TILE,
    operand0=_NUMBER,
    operand1=TILE,
    reduce_res=REDUCE_RES,
    operations={
        "op0": OperationRule(),
        "op1": OperationRule(arity=2),
        "reduce_op": OperationRule(names=REDUCTIONS, optional=True),
    },
    rules=[
        *(same_partitions, same_elements, at_most_one_in_psum("data", "operand1")),
        *(number_fits("op0", "operand0"), _reduction_has_operation),
        commands(ReduceCommand.reset_reduce, ReduceCommand.reduce),
    ],
    meaning=_scalar_tensor_tensor,
    cost=_cost_of_three,
    samples=_three_samples,
    refused=_three_refused,
)
def scalar_tensor_tensor(
    dst: Any,
    data: Any,
    op0: Any,
    operand0: Any,
    op1: Any,
    operand1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    reduce_cmd: ReduceCommand = ReduceCommand.reset_reduce,
    reduce_op: Any = None,
    reduce_res: Any = None,
    name: str | None = None,
) -> Instruction:
    """Each element with a number, then with a tile's: ``(data op0 operand0) op1 tile``.

    Computed in float32.

    Args:
        dst: the result.
        data: the tile. One of it and `operand1` is in the PSUM, at most.
        op0: the first operation, arithmetic.
        operand0: a number, or a float32 tile ``[P, 1]``.
        op1: the second one, of two operands.
        operand1: a tile of as many elements.
        reverse0: whether `operand0` is on the left.
        reverse1: whether `operand1` is on the left.
        reduce_cmd: what is done with the vector engine's reduce registers.
        reduce_op: by what the result is reduced into them; None if it is not.
        reduce_res: where the registers are written to, ``[P, 1]``.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand is none of these.
    """
    raise NotImplementedError
