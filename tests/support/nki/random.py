"""What random instructions give, number by number.

Documents say nothing of the bits. Those of the simulator are written down here again,
with Python's integers, as programs that run again must give what they gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.engines import Engine
from nkipy_nki.records import Sample
from tests.support.nki.samples import expects

GOLDEN = 0x9E3779B9
WORDS = {Engine.vector: 24, Engine.gpsimd: 6}


def wrap(number: int) -> int:
    return number & 0xFFFFFFFF


def mixed(number: int) -> int:
    """The end of MurmurHash3."""
    number ^= number >> 16
    number = wrap(number * 0x85EBCA6B)
    number ^= number >> 13
    number = wrap(number * 0xC2B2AE35)
    return number ^ number >> 16


def seeded(seed: int, lane: int, words: int) -> list[int]:
    """The state of a partition after a seed."""
    start = mixed(wrap(seed + GOLDEN))
    state = [mixed(wrap((lane * words + i + 1) * GOLDEN) ^ start) for i in range(words)]
    return [*state[:-1], 0]


def number(state: list[int], i: int) -> int:
    """The i-th number that a state gives."""
    first = second = 0
    for word in state[:-1]:
        first = wrap(mixed(first ^ word) + GOLDEN)
        second = mixed(wrap(second + word)) ^ GOLDEN
    return mixed(wrap(mixed(wrap(state[-1] + i) ^ first) + second))


def _unit(bits: int) -> np.float32:
    return np.float32((bits >> 8) * 2.0**-24)


def _engine(sample: Sample, default: Engine) -> Engine:
    return sample.attributes.get("engine", default)


def _made(
    sample: Sample, element: Any, one: Callable[[int, int, int], Any]
) -> Mapping[str, np.ndarray]:
    """`one` of each partition and place, and of its bits."""
    shape, _ = sample.operands["dst"]
    words = WORDS[_engine(sample, Engine.vector)]
    result = np.empty((shape[0], int(np.prod(shape[1:]))), element)
    for p in range(result.shape[0]):
        state = seeded(0, p, words)
        for i in range(result.shape[1]):
            result[p, i] = one(p, i, number(state, i))
    return {"dst": result.reshape(shape)}


@expects("rng")
def _rng(sample: Sample) -> Mapping[str, np.ndarray]:
    element = np.dtype(sample.operands["dst"][1])
    unsigned = np.dtype(f"u{element.itemsize}")
    mask = (1 << 8 * element.itemsize) - 1
    made = _made(sample, unsigned, lambda p, i, bits: bits & mask)
    return {"dst": made["dst"].view(element)}


def _bound(sample: Sample, name: str, p: int) -> np.float32:
    given = sample.operands[name]
    return np.float32(given[p, 0] if isinstance(given, np.ndarray) else given)


@expects("rand2")
def _rand2(sample: Sample) -> Mapping[str, np.ndarray]:
    def one(p: int, i: int, bits: int) -> np.float32:
        low, high = _bound(sample, "min", p), _bound(sample, "max", p)
        return np.float32(_unit(bits) * (high - low) + low)

    values = _made(sample, np.float32, one)["dst"]
    name = sample.operands["dst"][1]
    if "int" in name:
        limits = np.iinfo(name)
        return {"dst": np.clip(np.rint(values), limits.min, limits.max).astype(name)}
    if name == "tfloat32":  # 13 bits of the mantissa are rounded away
        scale = np.exp2(np.floor(np.log2(np.abs(values.astype(np.float64)))) - 10)
        return {"dst": (np.rint(values / scale) * scale).astype(np.float32)}
    return {"dst": values.astype(getattr(ml_dtypes, name, None) or name)}


@expects("dropout")
def _dropout(sample: Sample) -> Mapping[str, np.ndarray]:
    data = sample.operands["data"]
    rows = data.reshape(data.shape[0], -1)

    def one(p: int, i: int, bits: int) -> Any:
        return 0 if _unit(bits) < _bound(sample, "prob", p) else rows[p, i]

    return _made(sample, data.dtype, one)


@expects("set_rng_seed")
def _set_rng_seed(sample: Sample) -> Mapping[str, np.ndarray]:
    return {}  # test_random.py looks at what it changes


@expects("rand_set_state")
def _rand_set_state(sample: Sample) -> Mapping[str, np.ndarray]:
    return {}


@expects("rand_get_state")
def _rand_get_state(sample: Sample) -> Mapping[str, np.ndarray]:
    (partitions, _), _ = sample.operands["dst"]
    words = WORDS[_engine(sample, Engine.gpsimd)]
    states = [seeded(0, lane, words) for lane in range(partitions)]
    return {"dst": np.array(states, np.uint32)}
