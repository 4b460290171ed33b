"""Products and transposes of the tensor engine, and those of the vector engine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.costs import INTERVAL, cycles
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.geometry import PARTITIONS
from nkipy_nki.modes import matmul_perf_mode
from nkipy_nki.products import multiply, overwrite, product
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.tiling import TILE_SIZES, tiling_problem

__all__ = ["nc_matmul", "nc_transpose"]

_SBUF = frozenset({MemoryRegion.sbuf})
_PSUM = frozenset({MemoryRegion.psum})
_IN_PSUM = {"dst": MemoryRegion.psum}
_FP8 = ("float8_e4m3", "float8_e4m3fn", "float8_e5m2")
_HALF = ("bfloat16", "float16")
_WIDE = ("float32", "tfloat32")
#: How many times as long a product of float32 takes: it is one of four parts (page of
#: nc_matmul).
_PASSES_OF_FLOAT32 = 4
#: The largest tile that the vector engine transposes (page of nc_transpose).
_VECTOR_TILE = 32


# -- nc_matmul -------------------------------------------------------------------------
def _matmul(call: Call) -> None:
    if call.attributes["is_transpose"]:
        _move_through(call, _matrix(call, "moving"))
        return
    for name in ("stationary", "moving"):
        if call.attributes[_ONES_AND_ZEROS[name]]:
            _require_ones_and_zeros(call, name)
    multiply(call, _contraction(call.instruction, "moving"))


def _matrix(call: Call, name: str) -> np.ndarray:
    """An operand of shape (K, columns); of double rows, K is twice its partitions."""
    return call.read(name).reshape(_contraction(call.instruction, name), -1)


def _contraction(made: Instruction, name: str) -> int:
    """Over how many elements of a column is summed."""
    view: View = made.operands[name]
    return view.shape[0] * view.shape[1] if _is_double(made) else view.shape[0]


def _columns(made: Instruction, name: str) -> int:
    view: View = made.operands[name]
    return math.prod(view.shape[2 if _is_double(made) else 1 :])


def _is_double(made: Instruction) -> bool:
    return made.attributes["perf_mode"] is matmul_perf_mode.double_row


_ONES_AND_ZEROS = {n: f"is_{n}_onezero" for n in ("stationary", "moving")}


def _require_ones_and_zeros(call: Call, name: str) -> None:
    """What is said of an operand's values has to be true: the engine relies on it."""
    values = _matrix(call, name)
    other = (values != 0) & (values != 1)
    if other.any():
        call.report(
            "wrong-operand",
            f"{_ONES_AND_ZEROS[name]} is True, and {name} has the value "
            f"{values[other][0]!s}",
            operand=name,
        )


def _move_through(call: Call, moving: np.ndarray) -> None:
    """Columns of the transposed stationary, picked by ones in `moving`, bit by bit."""
    ones = moving == 1
    if ((moving != 0) & ~ones).any() or (ones.sum(axis=0) != 1).any():
        call.report(
            "wrong-operand",
            "is_transpose is True, and moving must have one 1 in each column and zeros "
            "beside it, as an identity has",
            operand="moving",
        )
    elements = call.raw("stationary")
    elements = elements.reshape(elements.shape[0], -1)
    overwrite(call, elements[ones.argmax(axis=0)].T)


def _shapes_fit(made: Instruction, chip: Chip) -> str | None:
    dst, stationary, moving = (
        made.operands[n] for n in ("dst", "stationary", "moving")
    )
    if stationary.shape[0] != moving.shape[0]:
        return (
            f"stationary has {stationary.shape[0]} partitions, and moving has "
            f"{moving.shape[0]}"
        )
    rows, columns = _columns(made, "stationary"), _columns(made, "moving")
    if rows > chip.stationary_columns:
        return (
            f"stationary has {rows} elements in a partition, and may have "
            f"{chip.stationary_columns}"
        )
    most = chip.moving_columns.get(dst.dtype.name, chip.moving_columns["float32"])
    if columns > most:
        return f"moving has {columns} elements in a partition, and may have {most}"
    if dst.shape[0] != rows:
        return f"dst has {dst.shape[0]} partitions, and must have {rows}"
    if dst.free_size != columns:
        return (
            f"dst has {dst.free_size} elements in a partition, and must have {columns}"
        )
    return None


def _in_one_bank(made: Instruction, chip: Chip) -> str | None:
    """Before gen4, what a product writes to a partition is in one bank of the PSUM."""
    dst = made.operands["dst"]
    if chip.generation >= 4 or dst.dynamic is not None or not dst.free_size:
        return None
    size = dst.dtype.itemsize
    first = dst.offset * size % dst.allocation.partition_bytes
    steps = zip(dst.shape[1:], dst.strides[1:])
    last = first + sum((count - 1) * stride for count, stride in steps) * size
    bank = chip.psum_bank_bytes
    if first // bank == last // bank:
        return None
    return (
        f"dst is in bytes {first} to {last + size} of a partition, which are in "
        f"several banks of the PSUM, of {bank} bytes each"
    )


def _dtypes_fit(made: Instruction, chip: Chip) -> str | None:
    dst, stationary, moving = (
        str(made.operands[n].dtype.name) for n in ("dst", "stationary", "moving")
    )
    pair = {stationary, moving}
    if "float32" in pair and not pair <= set(_WIDE):
        return (
            f"stationary is {stationary} and moving is {moving}: float32 goes with "
            "float32 and tfloat32 only"
        )
    if pair == {"float8_e4m3", "float8_e4m3fn"}:
        return f"stationary is {stationary} and moving is {moving}: they do not go"
    if made.attributes["is_transpose"]:
        if pair != {dst}:
            return (
                f"dst is {dst}, stationary {stationary} and moving {moving}: they must "
                "be equal if is_transpose is True"
            )
        return None
    if dst not in chip.moving_columns:
        allowed = " or ".join(chip.moving_columns)
        return f"dst dtype must be {allowed} on {chip.nki_name}, got {dst}"
    return None


def _transposes(made: Instruction, chip: Chip) -> str | None:
    if not made.attributes["is_transpose"]:
        return None
    if chip.generation < 3:
        return "is_transpose is of gen3 and later: nisa.nc_transpose is of all"
    if made.attributes["accumulate"]:
        return "is_transpose and accumulate are both True: a transpose is not added"
    return None


def _performance(made: Instruction, chip: Chip) -> str | None:
    mode = made.attributes["perf_mode"]
    if not isinstance(mode, matmul_perf_mode):
        return f"perf_mode is {mode!r}, and may be {list(matmul_perf_mode)}"
    if mode is matmul_perf_mode.none:
        return None
    if chip.generation < 3:
        return (
            f"perf_mode is double_row, which is of gen3 and later, not {chip.nki_name}"
        )
    if made.attributes["is_transpose"]:
        return "perf_mode is double_row, which does not transpose"
    for name in ("stationary", "moving"):
        view = made.operands[name]
        if view.dtype.name not in _FP8:
            return f"{name} is {view.dtype.name}, and must be fp8 for double_row"
        if len(view.shape) < 3 or view.shape[1] != 2:
            return f"{name} has the shape {list(view.shape)}, and must be [K, 2, ...]"
    size = made.attributes["tile_size"]
    if size and size[1] != PARTITIONS:
        return f"tile_size is {tuple(size)}: double_row takes all {PARTITIONS} columns"
    return None


def _tiling(made: Instruction, chip: Chip) -> str | None:
    used = (made.operands["stationary"].shape[0], _columns(made, "stationary"))
    sizes = TILE_SIZES[0 if chip.generation >= 3 else 1 :]
    return tiling_problem(made, used, (sizes, sizes))


def _matmul_cost(made: Instruction, chip: Chip) -> float:
    """A column of `moving` a cycle; float32 takes four passes.

    It takes two of ones and zeros (page of nc_matmul), and to be transposed (guide of
    trn2).
    """
    columns = max(
        min(INTERVAL, _columns(made, "stationary")), float(_columns(made, "moving"))
    )
    if made.operands["moving"].dtype.name != "float32":
        return columns
    flags = ("is_stationary_onezero", "is_moving_onezero", "is_transpose")
    halved = any(made.attributes[flag] for flag in flags)
    return columns * (_PASSES_OF_FLOAT32 / 2 if halved else _PASSES_OF_FLOAT32)


def _numbers(rows: int, columns: int, seed: int, dtype: Any = np.float32) -> np.ndarray:
    """Values that are sums of few powers of two, which all dtypes have."""
    values = np.random.default_rng(seed).integers(-8, 8, (rows, columns)) / 4
    return values.astype(dtype)


def _matmul_samples() -> Iterator[Sample]:
    for k, m, n in ((16, 8, 12), (1, 3, 5), (7, 1, 4), (7, 4, 1), (5, 1, 1)):
        operands = {
            "dst": ((m, n), "float32"),
            "stationary": _numbers(k, m, 1),
            "moving": _numbers(k, n, 2),
        }
        yield Sample(operands, {}, _IN_PSUM, label=f"{k}x{m}x{n}")
    k, m, n = 16, 8, 12
    dst = {"dst": ((m, n), "float32")}
    left, right = _numbers(k, m, 3), _numbers(k, n, 4)
    for first, second in (
        (ml_dtypes.bfloat16, ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, np.float16),
        (ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2),
        (ml_dtypes.float8_e5m2, ml_dtypes.bfloat16),
    ):
        pair = {"stationary": left.astype(first), "moving": right.astype(second)}
        label = "-".join(np.dtype(dtype).name for dtype in (first, second))
        yield Sample({**dst, **pair}, {}, _IN_PSUM, label=label)
    pair = {"stationary": left, "moving": right}
    yield Sample(
        {**dst, **pair}, {}, _IN_PSUM, dtypes={"moving": "tfloat32"}, label="tfloat32"
    )
    wide = {**pair, "moving": right.reshape(k, 3, 2, 2), "dst": ((m, 6, 2), "float32")}
    yield Sample(wide, {}, _IN_PSUM, label="several-dims")
    for chip in ("trn1", "trn3"):
        yield Sample({**dst, **pair}, {}, _IN_PSUM, chip=chip, label=chip)
    yield Sample(
        {**pair, "dst": ((m, n), "bfloat16")},
        {},
        _IN_PSUM,
        chip="trn3",
        label="to-bf16",
    )
    before = {**pair, "dst": _numbers(m, n, 5)}
    for flag in (None, True, False):
        yield Sample(
            before,
            {"accumulate": flag},
            _IN_PSUM,
            chip="trn3",
            label=f"accumulate-{flag}",
        )
    ones = (left > 0).astype(np.float32)
    yield Sample(
        {**dst, **pair, "stationary": ones},
        {"is_stationary_onezero": True},
        _IN_PSUM,
        label="onezero",
    )
    tile = {"tile_size": (32, 32), "tile_position": (96, 64)}
    yield Sample({**dst, **pair}, tile, _IN_PSUM, label="tile")
    yield from _double_row_samples()
    yield from _is_transpose_samples()


def _double_row_samples() -> Iterator[Sample]:
    double = {"perf_mode": matmul_perf_mode.double_row}
    for dtype in (ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2):
        operands = {
            "dst": ((6, 10), "float32"),
            "stationary": _numbers(8, 12, 6, dtype).reshape(8, 2, 6),
            "moving": _numbers(8, 20, 7, dtype).reshape(8, 2, 10),
        }
        label = f"double-row-{np.dtype(dtype).name}"
        yield Sample(operands, double, _IN_PSUM, label=label)


def _is_transpose_samples() -> Iterator[Sample]:
    on = {"is_transpose": True}
    nan = np.array([0x7FC12345, 0xFF800000, 5, 0], np.uint32).view(np.float32)
    for dtype in (np.float32, ml_dtypes.bfloat16):
        data = _numbers(4, 6, 8, dtype)
        data[:, 1] = nan.astype(dtype) if dtype is not np.float32 else nan
        operands = {
            "dst": ((6, 4), np.dtype(dtype).name),
            "stationary": data,
            "moving": np.eye(4, dtype=np.float32)[::-1].astype(dtype),
        }
        label = f"transpose-{np.dtype(dtype).name}"
        yield Sample(operands, on, _IN_PSUM, label=label)


def _matmul_refused() -> Iterator[Sample]:
    left, right = _numbers(16, 8, 1), _numbers(16, 12, 2)
    good = {"dst": ((8, 12), "float32"), "stationary": left, "moving": right}
    half = left.astype(ml_dtypes.bfloat16)

    def wrong(message: str, chip: str = "trn2", /, **changes: Any) -> Sample:
        operands = {n: changes.pop(n, value) for n, value in good.items()}
        regions = changes.pop("regions", _IN_PSUM)
        return Sample(operands, changes, regions, chip=chip, message=message)

    yield wrong("dst is in sbuf", regions={})
    yield wrong("moving is in psum", regions={**_IN_PSUM, "moving": MemoryRegion.psum})
    yield wrong("stationary has 8 partitions", stationary=left[:8])
    yield wrong("dst has 7 partitions", dst=((7, 12), "float32"))
    yield wrong("must have 12", dst=((8, 13), "float32"))
    yield wrong("float32 goes with", stationary=half)
    yield wrong("stationary is int32", stationary=left.astype(np.int32))
    yield wrong("got bfloat16", dst=((8, 12), "bfloat16"))
    yield wrong("stationary has 129", stationary=np.ones((16, 129), np.float32))
    wide = {"moving": np.ones((16, 513), np.float32), "dst": ((8, 513), "float32")}
    yield wrong("may have 512", **wide)
    e4m3, e4m3fn = ml_dtypes.float8_e4m3, ml_dtypes.float8_e4m3fn
    mixed = {"stationary": left.astype(e4m3), "moving": right.astype(e4m3fn)}
    yield wrong("they do not go", "trn3", **mixed)
    yield wrong("float8_e4m3fn, which is of gen4", "trn2", **mixed)
    yield wrong("never written", dst=good["dst"], accumulate=True)
    yield wrong("has the value", is_moving_onezero=True)
    double = {"perf_mode": matmul_perf_mode.double_row}
    yield wrong("must be fp8", **double)
    yield wrong("gen3 and later", "trn1", **double)
    yield wrong("perf_mode is", perf_mode="double_row")
    fp8 = {"stationary": left.astype(e4m3), "moving": right.astype(e4m3)}
    yield wrong("must be [K, 2, ...]", **double, **fp8)
    yield wrong("give both", tile_size=(32, 32))
    yield wrong("16 rows", tile_size=(16, 32), tile_position=(0, 0))
    yield wrong("row 8", tile_size=(32, 32), tile_position=(8, 0))
    yield wrong("32 rows", "trn1", tile_size=(32, 64), tile_position=(0, 0))
    yield wrong("of gen3 and later", "trn1", is_transpose=True)
    yield wrong("equal if is_transpose", is_transpose=True, dst=((8, 12), "bfloat16"))
    square = {"moving": right[:, :12], "is_transpose": True}
    yield wrong("one 1 in each column", **square)
    yield wrong("is not added", **square, accumulate=True)


@instruction(
    Engine.tensor,
    dst=writes(_PSUM),
    stationary=reads(_SBUF, *_WIDE, *_HALF, *_FP8),
    moving=reads(_SBUF, *_WIDE, *_HALF, *_FP8),
    rules=[
        *(_performance, _shapes_fit, _dtypes_fit, _transposes, _tiling),
        _in_one_bank,
    ],
    meaning=_matmul,
    cost=_matmul_cost,
    samples=_matmul_samples,
    refused=_matmul_refused,
)
def nc_matmul(
    dst: Any,
    stationary: Any,
    moving: Any,
    is_stationary_onezero: bool = False,
    is_moving_onezero: bool = False,
    is_transpose: bool = False,
    accumulate: bool | None = None,
    tile_position: tuple[int, ...] = (),
    tile_size: tuple[int, ...] = (),
    perf_mode: matmul_perf_mode = matmul_perf_mode.none,
    name: str | None = None,
) -> Instruction:
    """A product of matrices: ``stationary.T @ moving``, written or added to `dst`.

    Products and sums are of float32, rounded to the dtype of `dst` at the end.

    Args:
        dst: (M, N), in PSUM, float32; on gen4 bfloat16 as well.
        stationary: (K, M), in SBUF, K and M at most 128.
        moving: (K, N), in SBUF, N at most 512; on gen4 4096, and 8192 if `dst` is
            bfloat16. float32 goes with float32 and tfloat32 only.
        is_stationary_onezero, is_moving_onezero: that the operand has ones and zeros
            only, which makes products of float32 faster.
        is_transpose: that `moving` has one 1 in each column, an identity as a rule, so
            that bits are moved only. All dtypes are equal. Of gen3 and later.
        accumulate: true adds to `dst`, false overwrites it, None adds to elements that
            were written and overwrites the others.
        tile_position: the first row and column of the engine that are used.
        tile_size: how many rows and columns: 32 (gen3 and later), 64 or 128.
        perf_mode: ``double_row`` sums over two fp8 elements of a partition at a time:
            `stationary` is (K, 2, M) and `moving` (K, 2, N). Of gen3 and later.
    """
    raise NotImplementedError


# -- nc_transpose ----------------------------------------------------------------------
def _transpose(call: Call) -> None:
    elements = call.raw("data")
    elements = elements.reshape(elements.shape[0], -1)
    if call.instruction.engine is Engine.vector:
        call.store("dst", elements.T)
    elif call.machine.chip.generation < 3 and not _is_finite(call):
        rows = elements.shape[0]
        values = call.flat("data").astype(np.float32)
        with np.errstate(invalid="ignore"):
            through = product(values, np.eye(rows, dtype=np.float32))
        overwrite(call, through.astype(elements.dtype))
    else:
        overwrite(call, elements.T)


def _is_finite(call: Call) -> bool:
    dtype = call.operands["data"].dtype
    return not dtype.is_float or bool(np.isfinite(call.read("data")).all())


def _transposing_engine(made: Instruction, chip: Chip) -> Engine:
    """What was asked for, or what reaches the tiles; TensorE if both do."""
    if made.engine is not Engine.unknown:
        return made.engine
    dst, data = made.operands["dst"], made.operands["data"]
    by_tensor = dst.region is MemoryRegion.psum and data.region is MemoryRegion.sbuf
    return Engine.tensor if by_tensor else Engine.vector


def _transposed_fits(made: Instruction, chip: Chip) -> str | None:
    dst, data = made.operands["dst"], made.operands["data"]
    if dst.dtype.name != data.dtype.name:
        return f"dst is {dst.dtype.name} and data is {data.dtype.name}: must be equal"
    shape = (data.shape[0], data.free_size)
    if (dst.shape[0], dst.free_size) != shape[::-1]:
        return (
            f"dst has the shape {list(dst.shape)}, and must have {list(shape[::-1])}, "
            "its free dimensions taken together"
        )
    is_vector = made.engine is Engine.vector
    most = _VECTOR_TILE if is_vector else chip.partitions
    if max(shape) > most:
        return (
            f"data is {shape[0]} by {shape[1]}, and the {made.engine.name} engine "
            f"transposes {most} by {most} at most"
        )
    if is_vector:
        return None
    for name, view, region in (
        ("data", data, MemoryRegion.sbuf),
        ("dst", dst, MemoryRegion.psum),
    ):
        if view.region is not region:
            return (
                f"{name} is in {view.region.value}, and must be in {region.value} on "
                "the tensor engine"
            )
    return None


def _transpose_cost(made: Instruction, chip: Chip) -> float:
    data = made.operands["data"]
    if made.engine is Engine.vector:
        return cycles(data.free_size)
    return max(float(data.shape[0]), min(INTERVAL, float(data.free_size)))


def _transpose_samples() -> Iterator[Sample]:
    psum, sbuf = MemoryRegion.psum, MemoryRegion.sbuf
    by_engine = {
        Engine.tensor: [{"dst": psum}],
        Engine.vector: [{"dst": psum}, {"dst": sbuf}, {"data": psum}],
    }
    data = _numbers(5, 8, 1)
    nan = np.array([0x7FC12345, 0xFF800000], np.uint32).view(np.float32)
    data[2, :2] = nan
    dst = ((8, 5), "float32")
    for engine, places in by_engine.items():
        for regions in (*places, *places[:1]):
            where = "-".join(f"{n}-{r.value}" for n, r in regions.items())
            label = f"{engine.name}-{where}"
            yield Sample(
                {"dst": dst, "data": data}, {"engine": engine}, regions, label=label
            )
    for dtype in (ml_dtypes.bfloat16, np.int8, np.uint16, ml_dtypes.float8_e5m2):
        part = _numbers(5, 8, 2, dtype)
        of_dtype = ((8, 5), part.dtype.name)
        yield Sample(
            {"dst": of_dtype, "data": part}, {}, _IN_PSUM, label=part.dtype.name
        )
    big = _numbers(128, 128, 3)
    yield Sample(
        {"dst": ((128, 128), "float32"), "data": big}, {}, _IN_PSUM, label="whole"
    )
    cube = _numbers(5, 8, 4).reshape(5, 2, 4)
    yield Sample({"dst": dst, "data": cube}, {}, label="several-dims")
    yield Sample(
        {"dst": dst, "data": data},
        {"engine": Engine.tensor},
        _IN_PSUM,
        chip="trn1",
        label="gen2-spoils-what-is-not-finite",
    )


def _transpose_refused() -> Iterator[Sample]:
    data = _numbers(5, 8, 1)
    good = {"dst": ((8, 5), "float32"), "data": data}
    tensor, vector = {"engine": Engine.tensor}, {"engine": Engine.vector}
    psum = MemoryRegion.psum
    yield Sample(good, tensor, message="dst is in sbuf")
    yield Sample(good, tensor, {"dst": psum, "data": psum}, message="data is in psum")
    yield Sample({**good, "dst": ((5, 8), "float32")}, message="must have [8, 5]")
    yield Sample({**good, "dst": ((8, 5), "bfloat16")}, message="must be equal")
    wide = {"dst": ((40, 5), "float32"), "data": _numbers(5, 40, 1)}
    yield Sample(wide, vector, message="32 by 32")
    wide = {"dst": ((129, 5), "float32"), "data": _numbers(5, 129, 1)}
    yield Sample(wide, tensor, _IN_PSUM, message="129 partitions")
    yield Sample(good, {"engine": Engine.scalar}, message="engine is scalar")


@instruction(
    *(Engine.tensor, Engine.vector),
    dst=writes(),
    data=reads(),
    rules=[_transposed_fits],
    choose_engine=_transposing_engine,
    meaning=_transpose,
    cost=_transpose_cost,
    samples=_transpose_samples,
    refused=_transpose_refused,
)
def nc_transpose(
    dst: Any, data: Any, engine: Engine = Engine.unknown, name: str | None = None
) -> Instruction:
    """Transpose a tile: partitions change places with its free elements.

    On gen2, the tensor engine spoils rows that hold an infinity or NaN; else bits are
    moved.

    Args:
        dst: (F, P), of the dtype of `data`; in PSUM for the tensor engine.
        data: (P, F), in SBUF for the tensor engine, up to 128 by 128; for the vector
            engine in SBUF or PSUM, up to 32 by 32. Free dimensions are taken together.
        engine: tensor or vector; if unknown, tensor where it reaches both.
    """
    raise NotImplementedError
