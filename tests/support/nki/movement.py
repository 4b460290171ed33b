"""What copies within a core give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.rounding import elements_of, given_dtype, shape_of
from tests.support.nki.samples import expects


@expects("tensor_copy", 0)
def _tensor_copy(sample: Sample) -> Mapping[str, np.ndarray]:
    src, dtype = sample.operands["src"], given_dtype(sample, "dst")
    shape = shape_of(sample, "dst")
    if src.dtype.name == dtype:
        return {"dst": src.reshape(shape)}
    in_float32 = [np.float32(value) for value in src.reshape(-1)]
    return {"dst": elements_of(in_float32, dtype, shape)}


@expects("tensor_copy_predicated", 0)
def _tensor_copy_predicated(sample: Sample) -> Mapping[str, np.ndarray]:
    shape, dtype = shape_of(sample, "dst"), given_dtype(sample, "dst")
    before, src = sample.operands["dst"], sample.operands["src"]
    if isinstance(before, tuple):
        before = elements_of([0.0] * int(np.prod(shape)), dtype, shape)
    result = before.copy().reshape(-1)
    wanted = 0 if sample.attributes.get("reverse_pred") else 1
    for i, predicate in enumerate(sample.operands["predicate"].reshape(-1)):
        if (predicate != 0) == wanted:
            result[i] = src.reshape(-1)[i] if isinstance(src, np.ndarray) else src
    return {"dst": result.reshape(shape)}


@expects("memset", 0)
def _memset(sample: Sample) -> Mapping[str, np.ndarray]:
    shape, dtype = sample.operands["dst"]
    value, count = sample.operands["value"], int(np.prod(shape))
    if dtype == "float4_e2m1fn_x4":
        return {"dst": np.zeros(shape, np.uint16)}
    return {"dst": elements_of([value] * count, dtype, shape)}


@expects("nc_stream_shuffle", 0)
def _nc_stream_shuffle(sample: Sample) -> Mapping[str, np.ndarray]:
    src, before = sample.operands["src"], sample.operands["dst"]
    shape = shape_of(sample, "dst")
    result = np.zeros(shape, src.dtype) if isinstance(before, tuple) else before.copy()
    for partition in range(len(src)):
        quadrant, i = divmod(partition, 32)
        row = sample.attributes["shuffle_mask"][i]
        if row != 255:
            result[partition] = src[quadrant * 32 + row].reshape(shape[1:])
    return {"dst": result}
