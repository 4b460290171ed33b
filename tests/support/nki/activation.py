"""What activation functions give, and their sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nkipy_nki.isa import reduce_cmd
from nkipy_nki.records import Sample
from tests.support.nki.numbers import ARITHMETIC, as_dtype, column, empty, f32, flat
from tests.support.nki.samples import expects

#: Functions are a few units in the last place of float32 apart.
TOLERANCE = 2e-6
#: What registers are reset to.
IDENTITIES = {
    **{"add": 0.0, "multiply": 1.0, "maximum": -np.inf, "minimum": np.inf},
    **{"abs_max": 0.0, "abs_min": np.inf},
}


def reduced(
    sample: Sample, results: np.ndarray, operation: str, command: Any, initial: Any = 0
) -> Mapping[str, np.ndarray]:
    """What ``reduce_res`` holds after the first instruction of a run."""
    if sample.operands.get("reduce_res") is None:
        return {}
    made, rows = empty(sample, "reduce_res")
    for p in range(len(rows)):
        total = IDENTITIES[operation]
        if command == reduce_cmd.load_reduce:
            total = float(column(initial, p))
        if command != reduce_cmd.reset:
            for value in results[p]:
                total = ARITHMETIC[operation](total, float(value))
        rows[p] = as_dtype(f32(total), rows.dtype)
    return {"reduce_res": made}


def _results(sample: Sample, name: str, *steps: Any) -> np.ndarray:
    """Float32 results of steps that take a number and its partition."""
    data = flat(sample.operands[name])
    results = np.zeros(data.shape, np.float32)
    for p, i in np.ndindex(*data.shape):
        value = f32(data[p, i])
        for step in steps:
            value = f32(step(float(value), p))
        results[p, i] = value
    return results


def _written(sample: Sample, results: np.ndarray) -> dict[str, np.ndarray]:
    made, dst = empty(sample)
    for i in np.ndindex(*dst.shape):
        dst[i] = as_dtype(results[i], dst.dtype)
    return {"dst": made}


def _number(sample: Sample, name: str, default: float, p: int) -> float:
    given = sample.operands.get(name, default)
    return float(f32(column(default if given is None else given, p)))


def _activated(sample: Sample, command: Any) -> Mapping[str, np.ndarray]:
    function = ARITHMETIC[sample.attributes["op"]]
    results = _results(
        *(sample, "data"),
        lambda x, p: x * _number(sample, "scale", 1.0, p),
        lambda x, p: x + _number(sample, "bias", 0.0, p),
        lambda x, p: function(x),
    )
    operation = sample.attributes.get("reduce_op") or "add"
    return {**_written(sample, results), **reduced(sample, results, operation, command)}


@expects("activation", TOLERANCE)
def _activation(sample: Sample) -> Mapping[str, np.ndarray]:
    return _activated(sample, sample.attributes.get("reduce_cmd"))


@expects("activation_reduce", TOLERANCE)
def _activation_reduce(sample: Sample) -> Mapping[str, np.ndarray]:
    return _activated(sample, reduce_cmd.reset_reduce)


@expects("activate2", TOLERANCE)
def _activate2(sample: Sample) -> Mapping[str, np.ndarray]:
    attributes = sample.attributes

    def step(index: int) -> Any:
        def compute(x: float, p: int) -> float:
            operation = attributes[f"op{index}"]
            if operation == "bypass":
                return x
            number = _number(sample, f"imm{index}", 0.0, p)
            if attributes.get(f"reverse{index}"):
                return ARITHMETIC[operation](number, x)
            return ARITHMETIC[operation](x, number)

        return compute

    def function(x: float, p: int) -> float:
        if attributes["op"] == "prelu":
            return ARITHMETIC["prelu"](x, _number(sample, "relu_param", 0.0, p))
        return ARITHMETIC[attributes["op"]](x)

    results = _results(sample, "data", step(0), step(1), function)
    operation = attributes.get("reduce_op") or "add"
    command = attributes.get("reduce_cmd")
    return {**_written(sample, results), **reduced(sample, results, operation, command)}


@expects("exponential", TOLERANCE)
def _exponential(sample: Sample) -> Mapping[str, np.ndarray]:
    results = _results(
        *(sample, "src"),
        lambda x, p: x - _number(sample, "max_value", 0.0, p),
        lambda x, p: ARITHMETIC["exp"](x),
    )
    command = sample.attributes.get("reduce_cmd")
    initial = sample.operands.get("reduce_init", 0.0)
    return {
        **_written(sample, results),
        **reduced(sample, results, "add", command, initial),
    }
