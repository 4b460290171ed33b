"""Element-wise instructions of tiles alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.bit_patterns import bits_of, store_bits, whole_numbers
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
    operands_of,
    values_like,
)
from nkipy_nki.costs import (
    cycles,
    cycles_of_free,
    elements_per_cycle,
)
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import Instruction
from nkipy_nki.records import OperationRule, Sample
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.sampling import DTYPES, numbers, sample

__all__ = ["reciprocal", "tensor_tensor"]

_WHOLE_32 = frozenset({"int32", "uint32"})
#: Arithmetic of two operands that stays within whole numbers, in which GpSimd has it.
_NATIVE = tuple(
    o.name
    for o in OPERATIONS.values()
    if "arithmetic" in o.since and o.arity == 2 and o.compiles and o.name != "power"
)
#: What each generation has of those, and bitwise operations of two operands.
PLAIN = tuple(n for n in _NATIVE if OPERATIONS[n].since["arithmetic"] == 2)
_BITVEC = tuple(o.name for o in OPERATIONS.values() if o.is_bitvec and o.arity == 2)

_F32 = np.float32


# -- tensor_tensor ---------------------------------------------------------------------
def _tensor_tensor(call: Call) -> None:
    operation = OPERATIONS[call.attributes["op"]]
    dst = call.operands["dst"]
    if operation.is_bitvec:
        data1, data2 = (bits_of(call.raw(n)).reshape(dst.shape) for n in _PAIR)
        store_bits(call, operation.compute(data1, data2))
    elif call.instruction.engine is Engine.gpsimd and _is_native(call.instruction):
        pair = (call.raw(n).astype(np.int64).reshape(dst.shape) for n in _PAIR)
        values = operation.compute(*pair).astype(np.int64, copy=False)
        call.store("dst", values.astype(dst.dtype.element))
    else:
        pair = operands_of(
            *(operation, values_like(call, "data1", dst)),
            *(values_like(call, "data2", dst), False),
        )
        apply(call, operation, *pair)


_PAIR = ("data1", "data2")


def _is_native(made: Instruction) -> bool:
    """Whether all is of 32-bit whole numbers, with which GpSimd computes exactly."""
    operands = made.operands
    return (
        operands["dst"].dtype.name in _WHOLE_32
        and operands["data1"].dtype.name in _WHOLE_32
        and operands["data2"].dtype.name in _WHOLE_32
        and made.attributes["op"] in _NATIVE
    )


def _choose_for_pair(made: Instruction, chip: Chip) -> Engine:
    if made.engine is not Engine.unknown:
        return made.engine
    if made.attributes["op"] == "power":
        return Engine.gpsimd
    return Engine.gpsimd if _is_native(made) and not has_psum(made) else Engine.vector


def _engine_has(made: Instruction, chip: Chip) -> str | None:
    """The engine has the operation."""
    name = made.attributes["op"]
    if name == "power" and made.engine is not Engine.gpsimd:
        return f"op is power, which the {made.engine.name} engine does not have"
    if OPERATIONS[name].is_bitvec and made.engine is not Engine.vector:
        return f"op is {name}, which the {made.engine.name} engine does not have"
    return None


def _cost_of_pair(made: Instruction, chip: Chip) -> float:
    """N cycles if an input is in the PSUM, or all is of a fast type; 2 N otherwise.

    On trn1 bfloat16 is, in sums, differences and products without gaps; from trn2 on
    all types that the chip's record has a wider data path for (performance mode).
    """
    tiles = [made.operands[name] for name in ("dst", *_PAIR)]
    is_fast = elements_per_cycle("vector", tiles, chip) > 1 or (
        made.attributes["op"] in ("add", "subtract", "multiply")
        and all(t.dtype.name == "bfloat16" and t.strides[-1] == 1 for t in tiles)
    )
    in_psum = any(tile.region is MemoryRegion.psum for tile in tiles[1:])
    return cycles(tiles[0].free_size * (1 if in_psum or is_fast else 2))


def _pair_samples() -> Iterator[Sample]:
    shape = (3, 8)
    for op in PLAIN:
        a, b = numbers(_F32, shape), numbers(_F32, shape, 1)
        yield _pair(a, b, op, label=op)
    a, b = numbers(_F32, shape), np.abs(numbers(_F32, shape, 1)) + 1
    yield _pair(a, b, "divide", label="divide")
    yield _pair(b, a, "power", label="power")
    for dtype in DTYPES:
        a, b = numbers(dtype, shape), numbers(dtype, shape, 1)
        name = np.dtype(dtype).name
        yield _pair(a, b, "multiply", label=f"of-{name}")
        yield _pair(a, a, "add", dst=(shape, "float32"), label=f"{name}-to-float32")
        yield _pair(a.astype(_F32), b, "add", dst=(shape, name), label=f"to-{name}")
    big = np.array([[2**24 + 1, 2**31 - 1, -(2**31), 7]], np.int32)
    ones = np.array([[1, 1, -1, 2**24 + 1]], np.int32)
    yield _pair(big, ones, "add", label="int32-exact-and-wrapping")
    yield _pair(big, ones, "multiply", label="int32-product")
    yield _pair(big, ones, "maximum", label="int32-maximum")
    yield _pair(big, ones, "less", label="int32-comparison")
    vector = {"engine": Engine.vector}
    yield _pair(big, ones, "add", label="int32-by-vector", **vector)
    psum = {"data2": MemoryRegion.psum}
    yield _pair(big, ones, "add", label="int32-psum", regions=psum)
    unsigned = np.array([[2**32 - 1, 2**31, 5]], np.uint32)
    yield _pair(unsigned, unsigned, "multiply", label="uint32-product")
    yield _pair(unsigned, np.array([[1, -1, 9]], np.int32), "less", label="mixed-signs")
    for op in _BITVEC:
        for dtype in (np.int8, np.uint16, np.int32, np.uint32):
            a = numbers(dtype, shape)
            b = np.abs(numbers(dtype, shape, 1))
            yield _pair(a, b, op, label=f"{op}-{np.dtype(dtype).name}")
    high = np.array([[1e38, -1e38, 1e-38, np.inf]], _F32)
    yield _pair(high, high * 3, "add", label="overflow")
    yield _pair(high, high, "multiply", dst=((1, 4), "int16"), label="saturates")
    half = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 300.0]], _F32)
    yield _pair(half, half * 0, "add", dst=((1, 6), "uint8"), label="half-to-even")
    a = numbers(_F32, (3, 2, 4))
    yield _pair(a, a.reshape(3, 8), "add", dst=((3, 4, 2), "float32"), label="shapes")
    a = numbers(_F32, (128, 16))
    regions = {"data1": MemoryRegion.psum, "dst": MemoryRegion.psum}
    yield _pair(a, a, "subtract", label="psum", regions=regions)


def _pair(data1: np.ndarray, data2: np.ndarray, op: str, **named: Any) -> Sample:
    dst = named.pop("dst", (data1.shape, data1.dtype.name))
    return sample({"dst": dst, "data1": data1, "data2": data2}, op=op, **named)


def _pair_refused() -> Iterator[Sample]:
    a, b = np.ones((3, 4), _F32), np.ones((3, 4), np.int32)
    psum = MemoryRegion.psum
    yield _pair(a, a, "add", dst=((2, 4), "float32"), message="partitions")
    yield _pair(a, a[:, :2], "add", message="elements")
    yield _pair(a, a, "exp", message="op is nl.exp")
    yield _pair(a, a, "nonsense", message="nonsense")
    yield _pair(a, a, "invert", message="op is invert")
    both = {"data1": psum, "data2": psum}
    yield _pair(a, a, "add", regions=both, message="data1 and data2 are in psum")
    yield _pair(a, a, "power", regions={"dst": psum}, message="dst is in psum")
    yield _pair(a, a, "power", engine=Engine.vector, message="op is power")
    yield _pair(b, b, "bitwise_and", engine=Engine.gpsimd, message="op is bitwise_and")
    yield _pair(a, a, "bitwise_and", message="whole numbers")
    yield _pair(b, b, "bitwise_or", dst=((3, 4), "float32"), message="whole numbers")
    yield _pair(a, a, "add", engine=Engine.scalar, message="engine is scalar")
    gpsimd: dict[str, Any] = {"engine": Engine.gpsimd}
    yield _pair(a, a, "add", regions={"data2": psum}, message="data2 is in", **gpsimd)
    packed = ((3, 4), "float8_e4m3fn_x4")
    yield _pair(a, a, "add", dst=packed, message="dst is float8_e4m3fn_x4")
    hbm = {"data1": MemoryRegion.private_hbm}
    yield _pair(a, a, "add", regions=hbm, message="data1 is in private_hbm")
    wide = np.ones((129, 1), _F32)
    yield _pair(wide, wide, "add", message="129 partitions")


@instruction(
    *(Engine.vector, Engine.gpsimd),
    dst=RESULT,
    data1=TILE,
    data2=TILE,
    operations={"op": OperationRule(("arithmetic", "bitvec"), 2)},
    choose_engine=_choose_for_pair,
    rules=[
        *(same_partitions, same_elements, at_most_one_in_psum("data1", "data2")),
        *(
            _engine_has,
            no_psum_by_gpsimd,
            whole_numbers("op", "dst", "data1", "data2"),
        ),
    ],
    meaning=_tensor_tensor,
    cost=_cost_of_pair,
    samples=_pair_samples,
    refused=_pair_refused,
)
def tensor_tensor(
    dst: Any,
    data1: Any,
    data2: Any,
    op: Any,
    engine: Engine = Engine.unknown,
    name: str | None = None,
) -> Instruction:
    """Each element of `data1` with that of `data2`: ``dst = data1 op data2``.

    Computed in float32. 32-bit whole numbers throughout are computed exactly by the
    GpSimd engine, modulo 2**32, unless one of them is in the PSUM or the engine is
    given. Operations of bits take the elements as they are.

    Args:
        dst: the result. Partitions, and elements in a partition, are the same of all.
        data1: the left operand.
        data2: the right one. At most one of the two is in the PSUM.
        op: an operation of two operands; ``nl.power`` is the GpSimd engine's.
        engine: ``vector`` or ``gpsimd``, which does not reach the PSUM.
        name: of the instruction.

    Raises:
        NkiValidationError: an operand, or the engine, is none of these.
    """
    raise NotImplementedError


# -- reciprocal ------------------------------------------------------------------------
def _reciprocal(call: Call) -> None:
    values = values_like(call, "data", call.operands["dst"])
    apply(call, OPERATIONS["reciprocal"], values)


def _reciprocal_samples() -> Iterator[Sample]:
    a = numbers(_F32, (4, 6)) + _F32(0.5)
    for dtype in DTYPES:
        name = np.dtype(dtype).name
        yield Sample({"dst": ((4, 6), name), "data": a}, label=f"to-{name}")
        ones = np.abs(numbers(dtype, (4, 6))) + np.ones(1, dtype)
        data = ones.astype(dtype)
        yield Sample({"dst": ((4, 6), "float32"), "data": data}, label=f"of-{name}")
    zeros = np.array([[0.0, -0.0, np.inf, -np.inf]], _F32)
    yield Sample({"dst": ((1, 4), "float32"), "data": zeros}, label="of-zero")
    psum = {"dst": MemoryRegion.psum, "data": MemoryRegion.psum}
    yield Sample({"dst": ((4, 6), "float32"), "data": a}, regions=psum, label="psum")


def _reciprocal_refused() -> Iterator[Sample]:
    a = np.ones((3, 4), _F32)
    yield Sample({"dst": ((3, 5), "float32"), "data": a}, message="elements")
    yield Sample({"dst": ((4, 4), "float32"), "data": a}, message="partitions")
    yield Sample({"dst": ((3, 4), "float32"), "data": 1.0}, message="data is 1.0")


@instruction(
    Engine.vector,
    dst=RESULT,
    data=TILE,
    rules=[same_partitions, same_elements],
    meaning=_reciprocal,
    cost=cycles_of_free("dst", 8),
    samples=_reciprocal_samples,
    refused=_reciprocal_refused,
)
def reciprocal(dst: Any, data: Any, name: str | None = None) -> Instruction:
    """``dst = 1 / data``, element by element, in float32.

    Args:
        dst: the result.
        data: the tile, of as many partitions and elements.
        name: of the instruction.

    Raises:
        NkiValidationError: the shapes differ.
    """
    raise NotImplementedError
