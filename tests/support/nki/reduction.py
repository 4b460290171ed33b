"""What reductions, scans and choices give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nkipy_nki.isa import reduce_cmd
from nkipy_nki.records import Sample
from tests.support.nki.activation import IDENTITIES, reduced
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

_LOWEST = -3.4028234663852886e38


def _combined(operation: str, elements: Any, dtype: Any) -> Any:
    """Elements one after the other, in float32 or as bits."""
    first, *rest = elements
    if operation in BITS:
        bits, count = bits_of(first)
        for element in rest:
            bits = BITS[operation](bits, bits_of(element)[0], count)
        return from_bits(bits, dtype)
    total = f32(first)
    if operation.startswith("logical") and not rest:
        total = f32(first != 0)
    averages = operation in ("average", "mean")
    name = "add" if averages else operation
    for element in rest:
        total = f32(ARITHMETIC[name](float(total), float(element)))
    return f32(total / f32(len(rest) + 1)) if averages else total


def _rounded(value: Any, dtype: np.dtype, operation: str = "") -> Any:
    return value if operation in BITS else as_dtype(value, dtype)


@expects("tensor_reduce")
def _tensor_reduce(sample: Sample) -> Mapping[str, np.ndarray]:
    axis, op = sample.attributes["axis"], sample.attributes["op"]
    count = 1 if isinstance(axis, int) else len(axis)
    data = sample.operands["data"]
    made, dst = empty(sample)
    places = np.ndindex(*data.shape[: data.ndim - count])
    for place, i in zip(places, np.ndindex(*dst.shape)):
        value = _combined(op, data[place].ravel(), dst.dtype)
        if sample.attributes.get("negate"):
            value = -value
        dst[i] = _rounded(value, dst.dtype, op)
    return {"dst": made}


@expects("tensor_partition_reduce")
def _tensor_partition_reduce(sample: Sample) -> Mapping[str, np.ndarray]:
    data, op = flat(sample.operands["data"]), sample.attributes["op"]
    made, dst = empty(sample)
    for i in range(dst.shape[1]):
        dst[0, i] = _rounded(_combined(op, data[:, i], dst.dtype), dst.dtype, op)
    return {"dst": made}


def _with_number(sample: Sample, tile: str, number: str) -> np.ndarray:
    """``data op0 number``, in float32."""
    data = flat(sample.operands[tile])
    results = np.zeros(data.shape, np.float32)
    function = ARITHMETIC[sample.attributes["op0"]]
    for p, i in np.ndindex(*data.shape):
        other = column(sample.operands[number], p)
        numbers = [float(data[p, i])]
        if other is not None:
            numbers.append(float(f32(other)))
        results[p, i] = f32(function(*numbers))
    return results


def _stored(sample: Sample, results: np.ndarray) -> dict[str, np.ndarray]:
    made, dst = empty(sample)
    for i in np.ndindex(*dst.shape):
        dst[i] = as_dtype(results[i], dst.dtype)
    return {"dst": made}


@expects("tensor_scalar_reduce")
def _tensor_scalar_reduce(sample: Sample) -> Mapping[str, np.ndarray]:
    results = _with_number(sample, "data", "operand0")
    command = sample.attributes.get("reduce_cmd", reduce_cmd.reset_reduce)
    operation, initial = sample.attributes["reduce_op"], sample.operands["reduce_init"]
    sums = dict(reduced(sample, results, operation, command, initial))
    if sample.attributes.get("reduce_res_negate"):
        sums["reduce_res"] = -sums["reduce_res"]
    return {**_stored(sample, results), **sums}


@expects("tensor_tensor_scan")
def _tensor_tensor_scan(sample: Sample) -> Mapping[str, np.ndarray]:
    data0, data1 = (flat(sample.operands[n]) for n in ("data0", "data1"))
    results = np.zeros(data0.shape, np.float32)

    def step(index: int, a: Any, b: Any) -> np.float32:
        function = ARITHMETIC[sample.attributes[f"op{index}"]]
        pair = (b, a) if sample.attributes.get(f"reverse{index}") else (a, b)
        return f32(function(*map(float, pair)))

    for p in range(len(data0)):
        state = f32(column(sample.operands["initial"], p))
        for i in range(data0.shape[1]):
            state = step(1, step(0, data0[p, i], state), data1[p, i])
            results[p, i] = state
    return _stored(sample, results)


@expects("tensor_scalar_cumulative")
def _tensor_scalar_cumulative(sample: Sample) -> Mapping[str, np.ndarray]:
    results = _with_number(sample, "src", "imm0")
    op = sample.attributes["op1"]
    loads = sample.attributes.get("reduce_cmd") == reduce_cmd.load_reduce
    for p in range(len(results)):
        state = {**IDENTITIES, "subtract": 0.0}[op]
        if loads:
            state = float(column(sample.operands["imm1"], p))
        for i in range(results.shape[1]):
            results[p, i] = f32(ARITHMETIC[op](float(results[p, i]), state))
            state = float(results[p, i])
    return _stored(sample, results)


def _chosen(
    sample: Sample, tile: str, choose: Callable[[int, int], Any], otherwise: Any
) -> Mapping[str, np.ndarray]:
    data = flat(sample.operands[tile])
    results = np.zeros(data.shape, np.float32)
    for p, i in np.ndindex(*data.shape):
        results[p, i] = data[p, i] if choose(p, i) else column(otherwise, p)
    command = sample.attributes.get("reduce_cmd", reduce_cmd.reset_reduce)
    return {**_stored(sample, results), **reduced(sample, results, "maximum", command)}


@expects("select_reduce")
def _select_reduce(sample: Sample) -> Mapping[str, np.ndarray]:
    predicate = flat(sample.operands["predicate"])
    reverse = sample.attributes.get("reverse_pred", False)
    return _chosen(
        *(sample, "on_true"),
        lambda p, i: (predicate[p, i] == 0) == reverse,
        sample.operands["on_false"],
    )


@expects("range_select")
def _range_select(sample: Sample) -> Mapping[str, np.ndarray]:
    def choose(p: int, i: int) -> bool:
        index = i + sample.attributes.get("range_start", 0)
        return all(
            ARITHMETIC[sample.attributes[f"comp_op{k}"]](
                index, float(column(sample.operands[f"bound{k}"], p))
            )
            for k in (0, 1)
        )

    return _chosen(sample, "on_true_tile", choose, _LOWEST)


@expects("bn_stats", 1e-6)
def _bn_stats(sample: Sample) -> Mapping[str, np.ndarray]:
    data = flat(sample.operands["data"]).astype(np.float64)
    made, dst = empty(sample)
    for p in range(len(dst)):
        for k in (0, 1):
            part = [data[p, i] for i in range(k, data.shape[1], 2)]
            mean = sum(part) / len(part) if part else 0.0
            squares = sum((x - mean) ** 2 for x in part)
            dst[p, 3 * k : 3 * k + 3] = [
                as_dtype(x, dst.dtype) for x in (len(part), mean, squares)
            ]
    return {"dst": made}


@expects("bn_aggr", 1e-6)
def _bn_aggr(sample: Sample) -> Mapping[str, np.ndarray]:
    data = flat(sample.operands["data"]).astype(np.float64)
    made, dst = empty(sample)
    for p in range(len(dst)):
        triples = data[p].reshape(-1, 3)
        total = sum(count for count, _, _ in triples)
        mean = sum(count * mean for count, mean, _ in triples) / total
        spread = sum(
            squares + count * (part - mean) ** 2 for count, part, squares in triples
        )
        dst[p] = [as_dtype(x, dst.dtype) for x in (mean, spread / total)]
    return {"dst": made}
