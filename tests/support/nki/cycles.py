"""Cycles of instructions as documents have them, apart from the records.

The pages of the first generation's instructions give formulas in N, the elements of a
partition, and 64, the cycles between the starts of two small instructions; newer pages
tell what trn2 and trn3 are faster with. ``UNDOCUMENTED`` has what no page tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["DOCUMENTED", "UNDOCUMENTED", "documented_cycles"]

#: Instructions whose cycles no page tells, or that no page has.
UNDOCUMENTED = frozenset(
    {
        *("activate2", "clear_psum", "device_print", "dma_compute", "indexed_copy"),
        *("nc_matmul_mx", "nc_n_gather", "nonzero_with_count", "select_reduce"),
        *("rand2", "rand_get_state", "rand_set_state", "rng", "set_rng_seed"),
        *("sequence_bounds", "tensor_partition_reduce", "tensor_scalar_cumulative"),
        *("register_load", "register_move", "register_store", "scalar_load"),
        *("scalar_op", "scalar_store", "core_barrier", "sendrecv"),
        *("all_gather", "all_reduce", "all_to_all", "reduce_scatter", "rank_id"),
        *("all_gather_v", "all_gather_v_prepare", "all_gather_v_trigger"),
        *("all_to_all_v", "all_to_all_v_prepare", "all_to_all_v_trigger"),
        *("collective_permute", "collective_permute_implicit"),
        "collective_permute_implicit_current_processing_rank_id",
        "collective_permute_implicit_reduce",
    }
)
_HALVES = ("bfloat16", "float16")
_FP8 = ("float8_e4m3", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu")
#: By engine and generation, the types that its data path takes more of in a cycle
#: (tables of the architecture guides).
_FAST = {
    ("vector", 3): {*_HALVES},
    ("vector", 4): {*_HALVES, *_FP8},
    ("scalar", 4): {"bfloat16", *_FP8},
}


def documented_cycles(made: Any, generation: int) -> float:
    """What documents say of an instruction; of a transfer, how many times a copy's.

    Raises:
        KeyError: they do not.
    """
    return _CYCLES[made.record.name](made, generation)


_CYCLES: dict[str, Callable[[Any, int], float]] = {}


def _of(*names: str) -> Callable[[Any], Any]:
    def add(function: Any) -> Any:
        _CYCLES.update(dict.fromkeys(names, function))
        return function

    return add


def _n(made: Any, name: str = "dst") -> int:
    return math.prod(made.operands[name].shape[1:])


def _dtype(made: Any, *names: str) -> set[str]:
    return {str(made.operands[name].dtype) for name in names}


def _in_psum(made: Any, *names: str) -> int:
    """How many of these are tiles in the PSUM."""
    tiles = (made.operands[name] for name in names)
    return sum(str(getattr(t, "region", "")).endswith("psum") for t in tiles)


def _is_fast(made: Any, engine: str, generation: int, *names: str) -> bool:
    """Whether an engine's data path takes more of all these tiles' types."""
    return _dtype(made, *names) <= _FAST.get((engine, generation), set())


def _speed(made: Any, generation: int, *names: str) -> int:
    """Elements a cycle of the engine where it copies or scales."""
    if made.engine.name == "scalar":
        return 2 if _is_fast(made, "scalar", generation, *names) else 1
    if made.engine.name != "vector":
        return 1
    if not _is_fast(made, "vector", generation, *names):
        return 1
    in_psum = _in_psum(made, *names)
    tiles = [made.operands[name] for name in names]
    side_by_side = all(t.strides[-1] == 1 or t.shape[-1] == 1 for t in tiles)
    if side_by_side:
        return {0: 4, 1: 2, 2: 1}[in_psum]
    return 1 if in_psum else 2


@_of("nc_matmul")
def _matmul(made: Any, generation: int) -> float:
    stationary, moving = _n(made, "stationary"), _n(made, "moving")
    if made.attributes["perf_mode"].name == "double_row":
        stationary, moving = stationary // 2, moving // 2
    cycles = max(min(64, stationary), moving)
    if _dtype(made, "moving") != {"float32"}:
        return cycles
    flags = ("is_stationary_onezero", "is_moving_onezero", "is_transpose")
    return cycles * (2 if any(made.attributes[flag] for flag in flags) else 4)


@_of("nc_transpose")
def _transpose(made: Any, generation: int) -> float:
    rows, columns = made.operands["data"].shape[0], _n(made, "data")
    if made.engine.name == "tensor":
        return max(rows, min(64, columns))
    return max(64, columns)


@_of("activation", "activation_reduce")
def _activation(made: Any, generation: int) -> float:
    reads_registers = made.operands["reduce_res"] is not None
    is_scalar = made.engine.name == "scalar"
    speed = _speed(made, generation, "dst", "data") if is_scalar else 1
    return max(64, _n(made) / speed) + 64 * reads_registers


@_of("tensor_scalar_reduce")
def _scalar_reduce(made: Any, generation: int) -> float:
    return max(64, _n(made)) + 64


@_of("exponential")
def _exponential(made: Any, generation: int) -> float:
    return max(64, _n(made) / 4)


@_of("reciprocal")
def _reciprocal(made: Any, generation: int) -> float:
    return max(64, 8 * _n(made))


@_of("tensor_copy")
def _copy(made: Any, generation: int) -> float:
    found = max(64, _n(made) / _speed(made, generation, "dst", "src"))
    dynamic = any(made.operands[name].dynamic for name in ("dst", "src"))
    return max(600, found) if dynamic else found


@_of("tensor_scalar")
def _tensor_scalar(made: Any, generation: int) -> float:
    if made.engine.name == "gpsimd":
        return 4 * max(64, _n(made))
    return max(64, _n(made) / _speed(made, generation, "dst", "data"))


@_of("tensor_tensor")
def _tensor_tensor(made: Any, generation: int) -> float:
    if _in_psum(made, "data1", "data2"):
        return max(64, _n(made))
    names = ("dst", "data1", "data2")
    if _is_fast(made, "vector", generation, *names):
        return max(64, _n(made))
    quick = made.attributes["op"] in ("add", "subtract", "multiply")
    plain = all(made.operands[name].strides[-1] == 1 for name in names)
    halves = _dtype(made, *names) == {"bfloat16"}
    return max(64, (1 if quick and plain and halves else 2) * _n(made))


@_of("scalar_tensor_tensor")
def _scalar_tensor_tensor(made: Any, generation: int) -> float:
    ops = made.attributes["op0"], made.attributes["op1"]
    halves = _dtype(made, "dst", "data", "operand1") == {"bfloat16"}
    if halves and ops == ("subtract", "multiply") and _n(made) % 2 == 0:
        return max(64, _n(made))
    return max(64, 2 * _n(made))


@_of("tensor_reduce")
def _reduce(made: Any, generation: int) -> float:
    quick = made.attributes["op"] in ("add", "maximum")
    halves = _dtype(made, "dst", "data") == {"bfloat16"}
    return max(64, _n(made, "data") / (2 if quick and halves else 1))


@_of("tensor_tensor_scan")
def _scan(made: Any, generation: int) -> float:
    return max(64, 2 * _n(made))


@_of("tensor_copy_predicated")
def _predicated(made: Any, generation: int) -> float:
    in_psum = _in_psum(made, "src", "predicate")
    return max(64, (1 if in_psum else 2) * _n(made))


@_of("memset")
def _memset(made: Any, generation: int) -> float:
    zeros = made.operands["value"] == 0 and _dtype(made, "dst") <= set(_HALVES)
    return max(64, _n(made) / (2 if zeros else 1))


@_of("bn_stats")
def _bn_stats(made: Any, generation: int) -> float:
    return max(64, _n(made, "data"))


@_of("bn_aggr")
def _bn_aggr(made: Any, generation: int) -> float:
    return max(64, 13 * _n(made, "data") / 3)


@_of("nc_stream_shuffle", "range_select", "dropout")
def _plain(made: Any, generation: int) -> float:
    return max(64, _n(made))


@_of("iota", "affine_select")
def _places(made: Any, generation: int) -> float:
    return 150 + _n(made)


@_of("max8")
def _max8(made: Any, generation: int) -> float:
    return _n(made, "src")


@_of("nc_find_index8", "nc_match_replace8")
def _search(made: Any, generation: int) -> float:
    return _n(made, "data")


@_of("local_gather")
def _gather(made: Any, generation: int) -> float:
    told = made.attributes
    indices, each = told["num_valid_indices"], told["num_elem_per_idx"]
    if indices is None:
        indices = 16 * _n(made, "index")
    size = made.operands["dst"].dtype.device_itemsize
    rate = ((28 + 4 * each) / (4 * each)) / min(4 / size, each)
    return 150 + indices * each / rate


@_of("topk")
def _topk(made: Any, generation: int) -> float:
    return 4 * made.attributes["n"] + _n(made, "val_dst")


@_of("quantize_mx")
def _quantize(made: Any, generation: int) -> float:
    return max(64, _n(made, "src") / 4)


@_of("dma_copy")
def _dma_copy(made: Any, generation: int) -> float:
    return 1


@_of("dma_transpose")
def _dma_transpose(made: Any, generation: int) -> float:
    return 2 if made.operands["src"].region.value == "sbuf" else 1 / 0.9


#: Instructions whose cycles are told.
DOCUMENTED = frozenset(_CYCLES)
