"""Random instructions: one function for each, which takes what is written so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.nki.sequences.plan import Place, Step
from tests.support.nki.sequences.values import FLOATS, INDICES, PICKS, WHOLE

__all__ = ["STEPS", "Unfit", "loop_step"]

_TILES = "sbuf psum"
_PLAIN = ("add", "subtract", "multiply")
_COMPARISONS = (
    *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"),
)
_OF_TWO = (
    *_PLAIN, *_PLAIN, "maximum", "minimum",
    *_COMPARISONS, "logical_and", "logical_or", "logical_xor",
)  # fmt: skip
_BITS = ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift")


class Unfit(Exception):
    """No such step was found: another is tried."""


def _aliased(w: Any, dst: Place, *others: Place) -> Place:
    """Now and then, what is read is written: it lies in the same place."""
    fits = [
        other
        for other in others
        if w.see(other).is_distinct and w.region(other) == w.region(dst)
    ]
    return w.rng.choice(fits) if fits and w.rng.random() < 0.15 else dst


def _number(w: Any) -> float:
    return float(w.rng.choice((0.0, 1.0, -1.0, 0.5, 2.0, w.rng.randrange(-40, 41) / 7)))


def _vector(w: Any, rows: int, *dtypes: str) -> Place:
    place: Place = w.place(rows, (1,), _TILES, dtypes or ("float32",))
    return place


def _scalar(w: Any, rows: int) -> Any:
    return _number(w) if w.rng.random() < 0.5 else _vector(w, rows)


# -- element by element ----------------------------------------------------------------
def tensor_tensor(w: Any, ops: tuple[str, ...] = _OF_TWO, sbuf: str = _TILES) -> Step:
    rows, free = w.counts()
    first = w.place(rows, free, sbuf)
    second = w.place(rows, free, "sbuf")
    if w.rng.random() < 0.2:
        first, second = second, first
    dst = _aliased(w, w.place(rows, free, sbuf, written=True), first, second)
    told: dict[str, Any] = {"op": w.rng.choice(ops)}
    if w.rng.random() < 0.2:
        told["engine"] = "vector"
    return Step("tensor_tensor", {"dst": dst, "data1": first, "data2": second}, told)


def bits_of_two(w: Any) -> Step:
    rows, free = w.counts()
    dtype = w.rng.choice(WHOLE)
    first = w.place(rows, free, _TILES, (dtype,))
    second = w.place(rows, free, "sbuf", (dtype,))
    dst = w.place(rows, free, _TILES, WHOLE, written=True)
    told = {"op": w.rng.choice(_BITS)}
    return Step("tensor_tensor", {"dst": dst, "data1": first, "data2": second}, told)


def _operations(w: Any, operands: dict[str, Any], rows: int) -> dict[str, Any]:
    """One operation or two, with numbers beside them."""
    told: dict[str, Any] = {}
    for i in range(w.rng.choice((1, 2))):
        op = w.rng.choice((*_OF_TWO, "abs"))
        told[f"op{i}"] = op
        operands[f"operand{i}"] = None if op == "abs" else _scalar(w, rows)
        if op != "abs" and w.rng.random() < 0.3:
            told[f"reverse{i}"] = True
    return told


def tensor_scalar(w: Any) -> Step:
    rows, free = w.counts()
    data = w.place(rows, free, _TILES)
    dst = _aliased(w, w.place(rows, free, _TILES, written=True), data)
    operands: dict[str, Any] = {"dst": dst, "data": data}
    told = _operations(w, operands, rows)
    return Step("tensor_scalar", operands, told)


def bits_of_one(w: Any) -> Step:
    rows, free = w.counts()
    dtype = w.rng.choice(WHOLE)
    data = w.place(rows, free, _TILES, (dtype,))
    dst = w.place(rows, free, _TILES, WHOLE, written=True)
    operands: dict[str, Any] = {"dst": dst, "data": data}
    told: dict[str, Any] = {}
    for i in range(w.rng.choice((1, 2))):
        op = w.rng.choice((*_BITS, "invert"))
        told[f"op{i}"] = op
        if op == "invert":
            operands[f"operand{i}"] = None
        elif w.rng.random() < 0.4:
            operands[f"operand{i}"] = _vector(w, rows, dtype)
        else:
            operands[f"operand{i}"] = w.rng.choice((0, 1, 3, 7, 100, -1))
        if op != "invert" and w.rng.random() < 0.3:
            told[f"reverse{i}"] = True
    return Step("tensor_scalar", operands, told)


def scalar_tensor_tensor(w: Any) -> Step:
    rows, free = w.counts()
    data = w.place(rows, free, _TILES)
    other = w.place(rows, free, "sbuf")
    dst = _aliased(w, w.place(rows, free, _TILES, written=True), data, other)
    op0 = w.rng.choice((*_OF_TWO, "abs"))
    operands = {"dst": dst, "data": data, "operand1": other}
    operands["operand0"] = None if op0 == "abs" else _scalar(w, rows)
    told: dict[str, Any] = {"op0": op0, "op1": w.rng.choice(_OF_TWO)}
    for name in ("reverse0", "reverse1"):
        if w.rng.random() < 0.3 and (op0, name) != ("abs", "reverse0"):
            told[name] = True
    return Step("scalar_tensor_tensor", operands, told)


_FUNCTIONS = (
    *("copy", "exp", "tanh", "sigmoid", "square", "relu", "abs", "gelu", "sign"),
    *("silu", "softplus", "erf", "gelu_apprx_tanh"),
)


def activation(w: Any) -> Step:
    rows, free = w.counts()
    data = w.place(rows, free, _TILES)
    dst = _aliased(w, w.place(rows, free, _TILES, written=True), data)
    operands: dict[str, Any] = {"dst": dst, "data": data}
    told: dict[str, Any] = {"op": w.rng.choice(_FUNCTIONS)}
    if w.rng.random() < 0.5:
        operands["scale"] = _scalar(w, rows)
    if w.rng.random() < 0.5:
        one = w.generation > 2 and w.rng.random() < 0.5
        dtypes = ("float32", "float16", "bfloat16")
        operands["bias"] = _number(w) if one else _vector(w, rows, *dtypes)
    if w.rng.random() < 0.25:
        operands["reduce_res"] = _result(w, rows, dst)
        told |= {"reduce_op": "add", "reduce_cmd": "reset_reduce"}
        return Step("activation", operands, told, ("dst", "reduce_res"))
    return Step("activation", operands, told)


def summed_twice(w: Any) -> tuple[Step, ...]:
    """Two instructions that add to the same reduce registers."""
    rows, free = w.counts()
    data = w.place(rows, free, _TILES)
    steps = []
    for command in ("reset_reduce", "reduce"):
        dst = w.place(rows, free, _TILES, written=True)
        if dst.tensor == data.tensor:
            raise Unfit
        told = {"op": w.rng.choice(_FUNCTIONS), "reduce_op": "add"}
        told["reduce_cmd"] = command
        operands: dict[str, Any] = {"dst": dst, "data": data}
        steps.append(Step("activation", operands, told))
    operands["reduce_res"] = _result(w, rows, dst)
    steps[-1] = Step("activation", operands, told, ("dst", "reduce_res"))
    return tuple(steps)


def exponential(w: Any) -> Step:
    if w.generation < 4:
        raise Unfit
    rows, free = w.counts()
    allowed = tuple(d for d in FLOATS if d != "float8_e4m3fn")
    src = w.place(rows, free, _TILES, allowed)
    dst = w.place(rows, free, _TILES, allowed, written=True)
    operands = {"dst": dst, "src": src, "max_value": _scalar(w, rows)}
    return Step("exponential", operands)


def greatest(w: Any) -> Step:
    if w.generation < 4:
        raise Unfit
    return tensor_tensor(w, ("abs_max", "abs_min"))


def _result(w: Any, rows: int, dst: Place) -> Place:
    """Where registers go, apart from the other result."""
    place: Place = w.place(rows, (1,), _TILES, written=True)
    if place.tensor == dst.tensor:
        raise Unfit
    return place


# -- reductions ------------------------------------------------------------------------
def tensor_reduce(w: Any) -> Step:
    rows, free = w.counts()
    bits = w.rng.random() < 0.2
    dtypes = WHOLE if bits else ()
    data = w.place(rows, free, _TILES, dtypes)
    dims = len(w.see(data).shape)
    first = w.rng.randrange(1, dims)
    left = tuple(w.see(data).shape[1:first]) or (1,)
    told: dict[str, Any] = {"axis": tuple(range(first, dims))}
    if bits:
        dst = w.place(rows, left, _TILES, (w.dtype(data),), written=True)
        told["op"] = w.rng.choice(_BITS[:3])
    else:
        dst = w.place(rows, left, _TILES, written=True)
        told["op"] = w.rng.choice(("add", "maximum", "minimum"))
        told["negate"] = w.rng.random() < 0.3
    return Step("tensor_reduce", {"dst": dst, "data": data}, told)


def tensor_partition_reduce(w: Any) -> Step:
    rows, free = w.counts()
    data = w.place(rows, free, "sbuf")
    dst = w.place(1, free, "sbuf", written=True)
    told = {"op": w.rng.choice(("add", "maximum"))}
    return Step("tensor_partition_reduce", {"dst": dst, "data": data}, told)


def tensor_scalar_reduce(w: Any) -> Step:
    rows, free = w.counts()
    data = w.place(rows, free, _TILES)
    dst = w.place(rows, free, _TILES, written=True)
    operands = {"dst": dst, "data": data, "operand0": _scalar(w, rows)}
    operands["reduce_res"] = _result(w, rows, dst)
    told = {
        "op0": w.rng.choice(_PLAIN),
        "reduce_op": w.rng.choice(("add", "maximum", "minimum")),
    }
    return Step("tensor_scalar_reduce", operands, told, ("dst", "reduce_res"))


def tensor_tensor_scan(w: Any) -> Step:
    rows, free = w.counts()
    data = w.place(rows, free, _TILES), w.place(rows, free, "sbuf")
    dst = w.place(rows, free, _TILES, written=True)
    operands = {"dst": dst, "data0": data[0], "data1": data[1]}
    operands["initial"] = _scalar(w, rows)
    told = {"op0": w.rng.choice(("multiply", "add", "maximum"))}
    told["op1"] = w.rng.choice(("add", "subtract", "minimum"))
    return Step("tensor_tensor_scan", operands, told)


_UP_TO_16 = (*FLOATS, *(d for d in WHOLE if not d.endswith("32")))


def tensor_scalar_cumulative(w: Any) -> Step:
    rows, free = w.counts()
    src = w.place(rows, free, _TILES, _UP_TO_16)
    dst = w.place(rows, free, _TILES, _UP_TO_16, written=True)
    operands = {"dst": dst, "src": src, "imm0": _scalar(w, rows)}
    told = {"op0": w.rng.choice(_PLAIN)}
    told["op1"] = w.rng.choice(("add", "multiply", "maximum"))
    return Step("tensor_scalar_cumulative", operands, told)


def max8(w: Any) -> Step:
    rows, _ = w.counts()
    src = w.place(rows, (w.rng.choice((8, 11, 16)),), _TILES)
    dst = w.place(rows, (8,), _TILES, written=True)
    return Step("max8", {"dst": dst, "src": src})


# -- choices ---------------------------------------------------------------------------
def select_reduce(w: Any) -> Step:
    rows, free = w.counts()
    kinds = ("int8", "uint8", "int16", "uint16")
    predicate = w.place(rows, free, "sbuf", kinds)
    on_true = w.place(rows, free, _TILES, _UP_TO_16)
    dst = w.place(rows, free, _TILES, written=True)
    result = w.place(rows, (1,), _TILES, FLOATS, written=True)
    if result.tensor == dst.tensor:
        raise Unfit
    operands = {"dst": dst, "predicate": predicate, "on_true": on_true}
    operands |= {"on_false": _scalar(w, rows), "reduce_res": result}
    told = {"reduce_cmd": "reset_reduce", "reverse_pred": w.rng.random() < 0.5}
    return Step("select_reduce", operands, told, ("dst", "reduce_res"))


def range_select(w: Any) -> Step:
    if w.generation < 3:
        raise Unfit
    rows, free = w.counts()
    tile = w.place(rows, free, _TILES, ("float32",))
    dst = w.place(rows, free, _TILES, ("float32",), written=True)
    operands: dict[str, Any] = {"dst": dst, "on_true_tile": tile}
    operands |= {f"bound{i}": _vector(w, rows) for i in (0, 1)}
    told = {f"comp_op{i}": w.rng.choice(_COMPARISONS[2:]) for i in (0, 1)}
    told["range_start"] = w.rng.randrange(4)
    return Step("range_select", operands, told)


def nc_n_gather(w: Any) -> Step:
    rows = w.rng.choice((1, 3, 8, 33, 128))
    data = w.place(rows, (w.rng.choice((PICKS[1], 12)),), "sbuf")
    count = w.rng.choice((1, 4, 6))
    dst = w.place(rows, (count,), "sbuf", (w.dtype(data),), written=True)
    looks = ("slice", 0, 0, rows, 1), ("slice", 1, 0, count, 1)
    picks = Place(PICKS[0], looks)
    return Step("nc_n_gather", {"dst": dst, "data": data, "indices": picks})


# -- copies ----------------------------------------------------------------------------
def assign(w: Any) -> Step:
    rows, free = w.counts()
    src = w.place(rows, free, "sbuf")
    dst = w.place(rows, free, _TILES, written=True)
    return Step("assign", {"dst": dst, "src": src})


def register_store(w: Any) -> Step:
    dst = w.place(1, (1,), "sbuf", written=True)
    return Step("register_store", {"dst": dst}, {"src": w.rng.choice(("r0", "r1"))})


def dma_transpose(w: Any) -> Step:
    rows, columns = w.rng.choice((1, 2, 5, 8)), w.rng.choice((1, 3, 8, 12))
    src = w.place(rows, (columns,), "sbuf hbm", aligned=False)
    dst = w.place(columns, (rows,), "sbuf", written=True)
    if src.tensor == dst.tensor:
        raise Unfit
    return Step("dma_transpose", {"dst": dst, "src": src})


def tensor_copy(w: Any) -> Step:
    rows, free = w.counts()
    engines = ["", "", "vector", "gpsimd"] + ["scalar"] * (w.generation > 2)
    engine = w.rng.choice(engines)
    regions = "sbuf" if engine == "gpsimd" else _TILES
    src = w.place(rows, free, regions)
    dst = w.place(rows, free, regions, written=True)
    told = {"engine": engine} if engine else {}
    return Step("tensor_copy", {"dst": dst, "src": src}, told)


def memset(w: Any) -> Step:
    rows, free = w.counts()
    dst = w.place(rows, free, _TILES, written=True)
    is_float = w.dtype(dst) in FLOATS
    value = _number(w) if is_float else w.rng.randrange(100)
    return Step("memset", {"dst": dst, "value": value})


def tensor_copy_predicated(w: Any) -> Step:
    rows, free = w.counts()
    predicate = w.place(rows, free, "sbuf", ("uint8", "uint16", "uint32"))
    dst = w.place(rows, free, _TILES, written=True)
    if not w.is_written(dst):
        raise Unfit
    operands: dict[str, Any] = {"dst": dst, "predicate": predicate}
    if w.rng.random() < 0.6:
        operands["src"] = w.place(rows, free, _TILES, (w.dtype(dst),))
        return Step("tensor_copy_predicated", operands)
    is_float = w.dtype(dst) in FLOATS
    operands["src"] = _number(w) if is_float else w.rng.randrange(100)
    told = {"reverse_pred": True} if w.rng.random() < 0.5 else {}
    return Step("tensor_copy_predicated", operands, told)


def nc_stream_shuffle(w: Any) -> Step:
    _, free = w.counts()
    rows = w.rng.choice((32, 32, 64, 128))
    src = w.place(rows, free, _TILES)
    dst = w.place(rows, free, _TILES, (w.dtype(src),), written=True)
    if not w.is_written(dst):
        raise Unfit
    mask = [w.rng.choice((*range(32), 255)) for _ in range(32)]
    return Step("nc_stream_shuffle", {"dst": dst, "src": src}, {"shuffle_mask": mask})


def dma_copy(w: Any) -> Step:
    rows, free = w.counts()
    places = "sbuf hbm", rows, free
    src = w.place(rows, free, places[0], aligned=False)
    dst = w.place(rows, free, places[0], written=True, aligned=False)
    if src.tensor == dst.tensor:  # copied to a place that overlaps
        raise Unfit
    if w.rng.random() < 0.2:
        engine = w.rng.choice(("gpsimd", "scalar", "sync"))
        return Step("dma_copy", {"dst": dst, "src": src}, {"engine": engine})
    return Step("dma_copy", {"dst": dst, "src": src})


def rows_by_index(w: Any) -> Step:
    """Rows of a tensor in HBM, which are gathered or scattered."""
    index = Place(INDICES[0])
    shown = Place("g", (("rows", index),))
    rows, columns = 4, 24
    if w.rng.random() < 0.5:
        tile = w.place(rows, (columns,), "sbuf", written=True, aligned=False)
        return Step("dma_copy", {"dst": tile, "src": shown})
    tile = w.place(rows, (columns,), "sbuf", aligned=False)
    return Step("dma_copy", {"dst": shown, "src": tile})


# -- places ----------------------------------------------------------------------------
def _places(w: Any, free: tuple[int, ...]) -> dict[str, Any]:
    return {
        "pattern": [[w.rng.randrange(-9, 10), count] for count in free],
        "offset": w.rng.randrange(-40, 40),
        "channel_multiplier": w.rng.randrange(-5, 6),
    }


def iota(w: Any) -> Step:
    rows, free = w.counts()
    dst = w.place(rows, free, "sbuf", written=True)
    return Step("iota", {"dst": dst}, _places(w, free))


def affine_select(w: Any) -> Step:
    rows, free = w.counts()
    allowed = tuple(d for d in (*FLOATS, *WHOLE) if d not in ("int32", "uint32"))
    data = w.place(rows, free, "sbuf", allowed)
    dst = w.place(rows, free, "sbuf", allowed, written=True)
    told = _places(w, free)
    told |= {"on_false_value": _number(w), "cmp_op": w.rng.choice(_COMPARISONS)}
    return Step("affine_select", {"dst": dst, "on_true_tile": data}, told)


# -- products --------------------------------------------------------------------------
_PAIRS = (
    *(("float32", "float32"),) * 3,
    ("bfloat16", "bfloat16"),
    ("bfloat16", "float16"),
    ("float8_e4m3", "float8_e5m2"),
    ("float8_e5m2", "bfloat16"),
)


def nc_matmul(w: Any) -> Step:
    depth = w.rng.choice((1, 2, 3, 5, 8, 32, 100, 128))
    rows, columns = w.rng.choice((1, 2, 4, 8, 16, 24)), w.rng.choice((1, 3, 4, 8, 16))
    left, right = w.rng.choice(_PAIRS)
    stationary = w.place(depth, (rows,), "sbuf", (left,))
    moving = w.place(depth, (columns,), "sbuf", (right,))
    dtypes = ("float32", "bfloat16") if w.generation > 3 else ("float32",)
    dst = w.place(rows, (columns,), "psum", dtypes, written=True)
    wanted = [None, None, False] + [True] * w.is_written(dst)
    told = {"accumulate": w.rng.choice(wanted)}
    operands = {"dst": dst, "stationary": stationary, "moving": moving}
    return Step("nc_matmul", operands, told)


def double_row(w: Any) -> Step:
    if w.generation < 3:
        raise Unfit
    depth = w.rng.choice((1, 2, 8, 33))
    rows, columns = w.rng.choice((1, 2, 4, 8)), w.rng.choice((1, 3, 4, 8))
    kinds = ("float8_e4m3", "float8_e5m2")
    stationary = w.place(depth, (2, rows), "sbuf", kinds)
    moving = w.place(depth, (2, columns), "sbuf", kinds)
    dst = w.place(rows, (columns,), "psum", ("float32",), written=True)
    operands = {"dst": dst, "stationary": stationary, "moving": moving}
    return Step("nc_matmul", operands, {"perf_mode": "double_row"})


def nc_transpose(w: Any) -> Step:
    rows, columns = w.rng.choice((1, 2, 4, 8, 16, 32)), w.rng.choice((1, 3, 8, 16))
    data = w.place(rows, (columns,), _TILES)
    dst = w.place(columns, (rows,), _TILES, (w.dtype(data),), written=True)
    by_tensor = w.region(dst) == "psum" and w.region(data) == "sbuf"
    if by_tensor and w.generation < 3 and w.dtype(data) in FLOATS:
        raise Unfit  # what is not finite is spoilt there
    if data.tensor == dst.tensor:
        raise Unfit
    return Step("nc_transpose", {"dst": dst, "data": data})


# -- loops -----------------------------------------------------------------------------
def loop_step(w: Any) -> Step:
    """A step whose results are exact, so that nobody looks at each of them."""
    if w.rng.random() < 0.5:
        return tensor_tensor(w, _PLAIN, "sbuf")
    return dma_copy(w)


#: Each with its weight.
STEPS: tuple[tuple[Callable[[Any], Any], int], ...] = (
    *((tensor_tensor, 5), (bits_of_two, 3), (tensor_scalar, 5), (bits_of_one, 3)),
    *((scalar_tensor_tensor, 3), (activation, 5), (summed_twice, 2), (greatest, 2)),
    *((exponential, 2), (tensor_reduce, 4), (tensor_partition_reduce, 2)),
    *((tensor_scalar_reduce, 2), (tensor_scalar_cumulative, 2), (max8, 2)),
    *((tensor_tensor_scan, 2), (select_reduce, 2), (range_select, 2)),
    *((nc_n_gather, 2), (assign, 2), (register_store, 1), (dma_transpose, 2)),
    *((tensor_copy, 4), (memset, 2), (tensor_copy_predicated, 2), (dma_copy, 5)),
    *((nc_stream_shuffle, 1), (rows_by_index, 2), (iota, 2), (affine_select, 2)),
    *((nc_matmul, 5), (double_row, 3), (nc_transpose, 3)),
)
