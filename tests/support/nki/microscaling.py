"""What numbers in blocks that share a scale give."""

from __future__ import annotations

import math
from collections.abc import Mapping

import ml_dtypes
import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.matmul import accumulated
from tests.support.nki.rounding import given_dtype
from tests.support.nki.samples import expects

#: By packed type: the type of its numbers, and the exponent of the greatest one.
_KINDS = {
    "float8_e4m3fn_x4": (ml_dtypes.float8_e4m3fn, 8),
    "float8_e5m2_x4": (ml_dtypes.float8_e5m2, 15),
    "float4_e2m1fn_x4": (ml_dtypes.float4_e2m1fn, 2),
}


@expects("quantize_mx", 0)
def _quantize_mx(sample: Sample) -> Mapping[str, np.ndarray]:
    src = sample.operands["src"]
    element, most = _KINDS[given_dtype(sample, "dst")]
    shape, dtype = sample.operands["dst_scale"]
    scales = np.zeros(shape, np.uint8)
    result = np.zeros(src.shape, element)
    for block, column in np.ndindex(src.shape[0] // 8, src.shape[1] // 4):
        where = np.s_[block * 8 : block * 8 + 8, column * 4 : column * 4 + 4]
        values = src[where].astype(float)
        greatest = np.abs(values).max()
        exponent = -127
        if greatest:
            exponent = max(math.floor(math.log2(greatest)) - (most - 1), -127)
        result[where] = (values / 2.0**exponent).astype(element)
        scales[block // 4 * 32 + block % 4, column] = exponent + 127
    stored = scales.view(getattr(ml_dtypes, dtype, dtype))
    return {"dst": result.view(np.uint32), "dst_scale": stored}


@expects("nc_matmul_mx")
def _nc_matmul_mx(sample: Sample) -> Mapping[str, np.ndarray]:
    left, right = (_numbers(sample, n) for n in ("stationary", "moving"))
    product = np.zeros((left.shape[2], right.shape[2]))
    for i, j in np.ndindex(*product.shape):
        for partition in range(left.shape[0]):
            for part in range(4):
                product[i, j] += left[partition, part, i] * right[partition, part, j]
    return accumulated(sample, product)


def _numbers(sample: Sample, name: str) -> np.ndarray:
    """An operand's numbers times their scales, [partition, part, column]."""
    packed, scales = sample.operands[name], sample.operands[f"{name}_scale"]
    element, most = _KINDS[sample.dtypes[name]]
    bits = packed.itemsize * 2
    result = np.zeros((packed.shape[0], 4, packed.shape[1]))
    for partition, part, column in np.ndindex(*result.shape):
        one = (int(packed[partition, column]) >> (part * bits)) & (2**bits - 1)
        number = np.array([one], np.uint8).view(element)[0]
        row = partition // 32 * 32 + partition % 32 // 8
        scale = 2.0 ** (int(scales[row, column].view(np.uint8)) - 127)
        result[partition, part, column] = float(number) * scale
    return result
