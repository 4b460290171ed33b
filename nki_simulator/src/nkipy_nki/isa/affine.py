"""Values that an affine expression of an element's place gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import same_elements, same_partitions
from nkipy_nki.costs import GPSIMD_START
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import Instruction
from nkipy_nki.records import OperationRule, Sample, reads, writes
from nkipy_nki.regions import MemoryRegion

__all__ = ["affine_select", "iota"]

_SBUF = frozenset({MemoryRegion.sbuf})
_INT32 = range(-(1 << 31), 1 << 31)
#: What a place's value can be compared with 0 by.
_COMPARISONS = (
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
)


def _cost(made: Instruction, chip: Chip) -> float:
    """Cycles, as the first generation's pages have them."""
    return GPSIMD_START + made.operands["dst"].free_size


# -- the affine expression -------------------------------------------------------------
def _affine(call: Call) -> np.ndarray:
    """By partition and place in the pattern, its value. It wraps as int32 does."""
    told = call.attributes
    values = np.array([told["offset"]], np.int32)
    for step, count in told["pattern"]:
        steps = np.arange(count, dtype=np.int32) * np.int32(step)
        values = (values[:, None] + steps).reshape(-1)
    partitions = np.arange(call.operands["dst"].partitions, dtype=np.int32)
    return (partitions * np.int32(told["channel_multiplier"]))[:, None] + values


def _pattern_problem(made: Instruction, chip: Chip) -> str | None:
    """What is wrong with a pattern, or with the numbers beside it."""
    pattern, told = made.attributes["pattern"], made.attributes
    for name in ("offset", "channel_multiplier"):
        if not _is_int32(told[name]):
            return f"{name} is {told[name]!r}, and must be an int of 32 bits"
    if not isinstance(pattern, (list, tuple)) or not 1 <= len(pattern) <= 4:
        return f"pattern is {pattern!r}, and must be 1 to 4 pairs [step, count]"
    for pair in pattern:
        if not _is_pair(pair):
            return f"pattern has {pair!r}, and must be pairs [step, count] of ints"
    return _count_problem(made, [count for _, count in pattern])


def _is_int32(value: Any) -> bool:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and int(value) in _INT32


def _is_pair(pair: Any) -> bool:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        return False
    return all(map(_is_int32, pair)) and pair[1] > 0


def _count_problem(made: Instruction, counts: Sequence[int]) -> str | None:
    free, total = made.operands["dst"].free_size, 1
    for count in counts:
        total *= int(count)
    if total != free:
        return f"pattern has {total} places, and dst {free} elements in a partition"
    return None


# -- iota ------------------------------------------------------------------------------
def _iota_samples() -> Iterator[Sample]:
    yield Sample(
        {"dst": ((128, 40), "int32")},
        {"pattern": [[1, 40]], "channel_multiplier": 40},
        label="places",
    )
    yield Sample(
        {"dst": ((3, 2, 2, 2, 2), "float32")},
        {
            "pattern": ((100, 2), (-10, 2), (0, 2), (1, 2)),
            "offset": -7,
            "channel_multiplier": -1000,
        },
        label="4 dimensions",
    )
    yield Sample(
        {"dst": ((2, 6), "bfloat16")},
        {"pattern": [[64, 2], [43, 3]], "offset": 255},
        label="other shape, rounded",
    )
    yield Sample(
        {"dst": ((2, 4), "int8")},
        {"pattern": [[100, 4]], "offset": -200},
        label="saturated",
    )
    yield Sample(
        {"dst": ((1, 2), "int32")},
        {"pattern": [[1, 2]], "offset": (1 << 31) - 1},
        label="wraps",
    )


def _iota_refused() -> Iterator[Sample]:
    tile = {"dst": ((2, 4), "int32")}
    yield Sample(tile, {"pattern": [[1, 5]]}, message="5 places")
    yield Sample(tile, {"pattern": [[1, 1]] * 4 + [[1, 4]]}, message="1 to 4 pairs")
    yield Sample(tile, {"pattern": []}, message="1 to 4 pairs")
    yield Sample(tile, {"pattern": [1, 4]}, message="pairs [step, count]")
    yield Sample(tile, {"pattern": [[1, 0]]}, message="pairs [step, count]")
    yield Sample(tile, {"pattern": [[0.5, 4]]}, message="pairs [step, count]")
    yield Sample(
        tile, {"pattern": [[1, 4]], "offset": 1 << 31}, message="int of 32 bits"
    )
    yield Sample(
        tile, {"pattern": [[1, 4]], "channel_multiplier": 0.5}, message="of 32 bits"
    )
    yield Sample(
        tile,
        {"pattern": [[1, 4]]},
        regions={"dst": MemoryRegion.psum},
        message="is in psum",
    )


@instruction(
    Engine.gpsimd,
    dst=writes(_SBUF),
    rules=[_pattern_problem],
    meaning=lambda call: call.write("dst", _affine(call)),
    cost=_cost,
    samples=_iota_samples,
    refused=_iota_refused,
)
def iota(
    dst: Any,
    pattern: Any,
    offset: int = 0,
    channel_multiplier: int = 0,
    name: str | None = None,
) -> Instruction:
    """Each element's value is an affine expression of where it is.

    That of partition p at the place (w, z, y, x) of the pattern is ``offset +
    p * channel_multiplier + w * step_w + z * step_z + y * step_y + x * step_x``,
    computed in int32, which wraps.

    Args:
        dst: in SBUF, of any shape with as many elements in a partition as the pattern.
        pattern: 1 to 4 pairs ``[step, count]``, the last of which runs fastest.
        offset: an int32.
        channel_multiplier: an int32; the first partition of `dst` is p = 0.
    """
    raise NotImplementedError


# -- affine_select ---------------------------------------------------------------------
_SELECTED = (
    "float32",
    "tfloat32",
    "bfloat16",
    "float16",
    "float8_e4m3",
    "float8_e4m3fn",
    "float8_e5m2",
    "int8",
    "uint8",
    "int16",
    "uint16",
)


def _affine_select(call: Call) -> None:
    comparison = OPERATIONS[call.attributes["cmp_op"]]
    chosen = comparison.compute(_affine(call), np.int32(0)) != 0
    other = np.float32(call.attributes["on_false_value"])
    call.write("dst", np.where(chosen, call.flat("on_true_tile"), other))


def _select_problem(made: Instruction, chip: Chip) -> str | None:
    other = made.attributes["on_false_value"]
    if isinstance(other, bool) or not isinstance(other, (int, float, np.floating)):
        return f"on_false_value is {other!r}, and must be a number"
    return None


def _select_samples() -> Iterator[Sample]:
    x = np.arange(4 * 6, dtype=np.float32).reshape(4, 6) + 1
    causal = {
        "pattern": [[-1, 6]],
        "channel_multiplier": 1,
        "on_false_value": float("-inf"),
        "cmp_op": "greater_equal",
    }
    tile = {"dst": ((4, 6), "float32"), "on_true_tile": x}
    yield Sample(tile, causal, label="causal mask")
    for op in _COMPARISONS:
        told = {**causal, "cmp_op": op, "on_false_value": -2.5, "offset": 1}
        yield Sample(tile, told, label=op)
    yield Sample(
        {"dst": ((4, 2, 3), "int16"), "on_true_tile": x.astype("float16")},
        {**causal, "pattern": ((-3, 2), (-1, 3)), "on_false_value": 1e9},
        label="int16, several dimensions",
    )
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2):
        tile = {"dst": ((4, 6), np.dtype(dtype).name), "on_true_tile": x.astype(dtype)}
        yield Sample(tile, {**causal, "on_false_value": -7.3}, label=dtype.__name__)
    yield Sample(
        {"dst": ((4, 6), "uint8"), "on_true_tile": x.astype("uint8")},
        {"pattern": [[1, 6]], "channel_multiplier": -1, "on_false_value": 300},
        label="uint8, the default comparison",
    )


def _select_refused() -> Iterator[Sample]:
    x = np.ones((4, 6), np.float32)
    told = {"pattern": [[1, 6]], "channel_multiplier": 1, "on_false_value": 0.0}
    tile = {"dst": ((4, 6), "float32"), "on_true_tile": x}
    yield Sample(tile, {**told, "cmp_op": "add"}, message="cmp_op is add")
    yield Sample(tile, {**told, "on_false_value": x}, message="must be a number")
    yield Sample(tile, {**told, "pattern": [[1, 7]]}, message="7 places")
    yield Sample({**tile, "on_true_tile": x.astype("int32")}, told, message="is int32")
    yield Sample({**tile, "on_true_tile": x[:3]}, told, message="partitions")
    yield Sample({**tile, "on_true_tile": x[:, :5]}, told, message="5 elements")
    for name in tile:
        yield Sample(
            tile, told, regions={name: MemoryRegion.psum}, message="is in psum"
        )


@instruction(
    Engine.gpsimd,
    dst=writes(_SBUF, *_SELECTED),
    on_true_tile=reads(_SBUF, *_SELECTED),
    operations={"cmp_op": OperationRule(names=frozenset(_COMPARISONS))},
    rules=[same_partitions, same_elements, _pattern_problem, _select_problem],
    meaning=_affine_select,
    cost=_cost,
    samples=_select_samples,
    refused=_select_refused,
)
def affine_select(
    dst: Any,
    pattern: Any,
    channel_multiplier: int,
    on_true_tile: Any,
    on_false_value: float,
    cmp_op: Any = "equal",
    offset: int = 0,
    name: str | None = None,
) -> Instruction:
    """Elements of a tile where an affine expression of the place compares with 0.

    Args:
        dst: in SBUF; floats, or ints of 8 or 16 bits.
        pattern: as of :func:`iota`, whose expression is compared.
        channel_multiplier: an int32.
        on_true_tile: taken where ``cmp_op(expression, 0)`` holds; as many elements in
            a partition as the pattern has places.
        on_false_value: taken elsewhere: a float32.
        cmp_op: ``nl.equal``, ``not_equal``, ``greater``, ``greater_equal``, ``less``
            or ``less_equal``.
        offset: an int32.
    """
    raise NotImplementedError
