"""What element-wise instructions give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nkipy_nki.isa import engine
from nkipy_nki.records import Sample
from nkipy_nki.regions import MemoryRegion
from tests.support.nki.numbers import (
    ARITHMETIC,
    BITS,
    as_dtype,
    bits_of,
    column,
    empty,
    f32,
    flat,
    from_bits,
)
from tests.support.nki.samples import expects


def _step(operation: str, a: Any, b: Any, reverse: bool = False) -> np.float32:
    """One operation in float32."""
    function = ARITHMETIC[operation]
    a = float(f32(a))
    if b is None or operation in ("abs", "square", "relu", "reciprocal", "rsqrt"):
        return f32(function(a))
    b = float(f32(b))
    return f32(function(b, a) if reverse else function(a, b))


def _bit_step(operation: str, bits: int, count: int, other: Any, reverse: bool) -> int:
    other = bits_of(other)[0] if isinstance(other, np.generic) else int(other or 0)
    other %= 1 << count
    pair = (other, bits) if reverse else (bits, other)
    return BITS[operation](*pair, count) % (1 << count)


@expects("tensor_tensor")
def _tensor_tensor(sample: Sample) -> Mapping[str, np.ndarray]:
    data1, data2 = (flat(sample.operands[n]) for n in ("data1", "data2"))
    made, dst = empty(sample)
    op = sample.attributes["op"]
    dtypes = (data1.dtype, data2.dtype, dst.dtype)
    whole = all(dtype.name in ("int32", "uint32") for dtype in dtypes)
    in_psum = MemoryRegion.psum in sample.regions.values()
    exact = whole and not in_psum and sample.attributes.get("engine") != engine.vector
    for i in np.ndindex(*dst.shape):
        if op in BITS:
            bits, count = bits_of(data1[i])
            dst[i] = from_bits(_bit_step(op, bits, count, data2[i], False), dst.dtype)
        elif exact:
            number = ARITHMETIC[op](int(data1[i]), int(data2[i]))
            dst[i] = from_bits(int(number), dst.dtype)
        else:
            dst[i] = as_dtype(_step(op, data1[i], data2[i]), dst.dtype)
    return {"dst": made}


@expects("tensor_scalar")
def _tensor_scalar(sample: Sample) -> Mapping[str, np.ndarray]:
    data = flat(sample.operands["data"])
    made, dst = empty(sample)
    for p, i in np.ndindex(*dst.shape):
        bits, count = 0, 0
        value = data[p, i]
        of_bits = sample.attributes["op0"] in BITS
        if of_bits:
            bits, count = bits_of(value)
        for step in "01":
            op = sample.attributes[f"op{step}"]
            other = column(sample.operands[f"operand{step}"], p)
            reverse = sample.attributes.get(f"reverse{step}", False)
            if op is None:
                continue
            if of_bits:
                bits = _bit_step(op, bits, count, other, reverse)
            else:
                value = _step(op, value, other, reverse)
        dst[p, i] = (
            from_bits(bits, dst.dtype) if of_bits else as_dtype(value, dst.dtype)
        )
    return {"dst": made}


@expects("scalar_tensor_tensor")
def _scalar_tensor_tensor(sample: Sample) -> Mapping[str, np.ndarray]:
    data, tile = (flat(sample.operands[n]) for n in ("data", "operand1"))
    attributes = sample.attributes
    made, dst = empty(sample)
    reduced = np.zeros((len(dst), 1), np.float32)
    for p in range(len(dst)):
        total: Any = None
        for i in range(dst.shape[1]):
            number = column(sample.operands["operand0"], p)
            reverse = attributes.get("reverse0", False)
            value = _step(attributes["op0"], data[p, i], number, reverse)
            reverse = attributes.get("reverse1", False)
            value = _step(attributes["op1"], value, tile[p, i], reverse)
            dst[p, i] = as_dtype(value, dst.dtype)
            if op := attributes.get("reduce_op"):
                total = value if total is None else _step(op, total, value)
        reduced[p] = 0 if total is None else total
    if sample.operands["reduce_res"] is None:
        return {"dst": made}
    return {"dst": made, "reduce_res": reduced}


@expects("reciprocal")
def _reciprocal(sample: Sample) -> Mapping[str, np.ndarray]:
    data = flat(sample.operands["data"])
    made, dst = empty(sample)
    for i in np.ndindex(*dst.shape):
        dst[i] = as_dtype(_step("reciprocal", data[i], None), dst.dtype)
    return {"dst": made}
