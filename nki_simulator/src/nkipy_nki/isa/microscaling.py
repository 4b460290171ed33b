"""Numbers in blocks that share a scale (OCP Microscaling, MX): made and multiplied.

A block is of 8 partitions by the 4 numbers of a packed element. Its scale is a power of
two, stored as its exponent plus 127. The scales of the 4 blocks of a quadrant of 32
partitions lie in 4 partitions beside one another, in the quadrant's partitions 0 to 3,
or from 4, 8 or 12 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.costs import INTERVAL, cycles_of_free
from nkipy_nki.declaring import instruction
from nkipy_nki.dtypes import DTYPES, PACKED, pack, unpack
from nkipy_nki.engines import Engine
from nkipy_nki.geometry import QUADRANT
from nkipy_nki.products import accumulate as _accumulate
from nkipy_nki.products import product
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.tiling import TILE_SIZES, tiling_problem

__all__ = ["nc_matmul_mx", "quantize_mx"]

_SBUF = frozenset({MemoryRegion.sbuf})
_PSUM = frozenset({MemoryRegion.psum})
_IN_PSUM = {"dst": MemoryRegion.psum}
_SCALES = ("float8_e8m0fnu", "uint8")
_PACKED = tuple(name for name, dtype in DTYPES.items() if dtype.is_packed)
#: Partitions of a block, and of a quadrant.
_BLOCK = 8
#: Partitions of scales in a quadrant, and where they may begin in it.
_ROWS = QUADRANT // _BLOCK
_STARTS = (0, 4, 8, 12)
#: What a scale's exponent is stored with, and how NaN is.
_BIAS = 127
_NAN = 255


# -- scales ----------------------------------------------------------------------------
def _scales_of(view: View, partitions: int) -> View:
    """The scales of so many partitions: (quadrants, 4, ...), of bytes."""
    step, *others = view.strides
    shape = (partitions // QUADRANT, _ROWS, *view.shape[1:])
    strides = (QUADRANT * step, step, *others)
    bytes_ = DTYPES["uint8"]
    return View(view.allocation, bytes_, view.offset, shape, strides, view.dynamic)


def _scales_problem(name: str, scales: View, data: View) -> str | None:
    """What is wrong with the scales of packed elements."""
    quadrants = data.shape[0] // QUADRANT
    least, most = (quadrants - 1) * QUADRANT + _ROWS, quadrants * QUADRANT
    if not least <= scales.shape[0] <= most:
        return (
            f"{name} has {scales.shape[0]} partitions, and must have {least} to "
            f"{most}: {_ROWS} of each {QUADRANT}"
        )
    if scales.first_partition % QUADRANT not in _STARTS:
        return (
            f"{name} begins at partition {scales.first_partition}, and may begin at "
            "0, 4, 8 or 12 of a quadrant of 32"
        )
    if scales.dynamic is not None and not scales.dynamic.is_scalar:
        return f"{name} has an index that differs along its elements, and must not"
    if scales.free_size != data.free_size:
        return (
            f"{name} has {scales.free_size} elements in a partition, and must have "
            f"{data.free_size}"
        )
    return None


def _whole_quadrants(name: str, view: View) -> str | None:
    if view.shape[0] % QUADRANT:
        return f"{name} has {view.shape[0]} partitions, and may have 32, 64, 96 or 128"
    return None


# -- quantize_mx -----------------------------------------------------------------------
def _quantize(call: Call) -> None:
    dst = call.operands["dst"]
    inner = dst.dtype.packs
    assert inner is not None
    values = call.flat("src")
    blocks = values.reshape(values.shape[0] // _BLOCK, _BLOCK, -1, PACKED)
    with np.errstate(all="ignore"):
        greatest = np.abs(blocks).max(axis=(1, 3))
        exponents = np.frexp(greatest)[1] - 1 - (_largest_exponent(inner) - 1)
    exponents = np.where(greatest == 0, -_BIAS, np.clip(exponents, -_BIAS, _BIAS))
    scaled = np.ldexp(blocks, -exponents[:, None, :, None]).astype(np.float32)
    is_number = np.isfinite(greatest)
    scaled[~np.broadcast_to(is_number[:, None, :, None], scaled.shape)] = np.nan
    call.store("dst", pack(scaled.reshape(values.shape), dst.dtype))
    stored = np.where(is_number, exponents + _BIAS, _NAN).astype(np.uint8)
    _store_scales(call, stored, values.shape[0])


def _largest_exponent(inner: Any) -> int:
    """Of the greatest number of a type: 8 of e4m3fn, 15 of e5m2."""
    return int(np.frexp(inner.highest)[1]) - 1


def _store_scales(call: Call, stored: np.ndarray, partitions: int) -> None:
    view = _scales_of(call.operands["dst_scale"], partitions)
    call.store_part(view, stored.reshape(view.shape))


def _quantizes(made: Instruction, chip: Chip) -> str | None:
    dst, src, scales = (made.operands[n] for n in ("dst", "src", "dst_scale"))
    if problem := _whole_quadrants("src", src):
        return problem
    if src.shape[-1] % PACKED:
        return (
            f"src has {src.shape[-1]} elements in its last dimension: no multiple of 4"
        )
    if dst.shape[0] != src.shape[0] or dst.free_size * PACKED != src.free_size:
        wanted = [src.shape[0], src.free_size // PACKED]
        return f"dst has the shape {list(dst.shape)}, and must have {wanted}"
    if scales.dynamic is not None:
        return "dst_scale has an index, which it must not have"
    return _scales_problem("dst_scale", scales, dst)


def _blocks_of_numbers(seed: int, rows: int = 32, columns: int = 12) -> np.ndarray:
    """Of very different sizes from block to block, with zeros and limits among them."""
    random = np.random.default_rng(seed)
    sizes = np.exp2(random.integers(-20, 20, (rows // _BLOCK, columns // PACKED)))
    wide = np.kron(sizes, np.ones((_BLOCK, PACKED)))
    values = random.standard_normal((rows, columns)) * wide
    values[:_BLOCK, :PACKED] = 0
    return values


def _quantize_samples() -> Iterator[Sample]:
    for seed, (dtype, packed) in enumerate(
        (
            (ml_dtypes.bfloat16, "float8_e4m3fn_x4"),
            (ml_dtypes.bfloat16, "float8_e5m2_x4"),
            (np.float16, "float8_e4m3fn_x4"),
        )
    ):
        src = (_blocks_of_numbers(seed) / 64).astype(dtype)
        operands = {
            "dst": ((32, 3), packed),
            "src": src,
            "dst_scale": ((4, 3), "float8_e8m0fnu"),
        }
        label = f"{src.dtype.name}-{packed}"
        yield Sample(operands, chip="trn3", label=label)
    src = _blocks_of_numbers(3, rows=64).astype(ml_dtypes.bfloat16)
    for rows in (36, 64):
        operands = {
            "dst": ((64, 3), "float8_e5m2_x4"),
            "src": src,
            "dst_scale": ((rows, 3), "uint8"),
        }
        yield Sample(operands, chip="trn3", label=f"two-quadrants-{rows}")
    powers = np.exp2(np.arange(-64, 64, dtype=np.float32)).reshape(32, 4)
    operands = {
        "dst": ((32, 1), "float8_e4m3fn_x4"),
        "src": powers.astype(ml_dtypes.bfloat16),
        "dst_scale": ((4, 1), "uint8"),
    }
    yield Sample(operands, chip="trn3", label="powers-of-two")


def _quantize_refused() -> Iterator[Sample]:
    src = _blocks_of_numbers(0).astype(ml_dtypes.bfloat16)
    good = {
        "dst": ((32, 3), "float8_e4m3fn_x4"),
        "src": src,
        "dst_scale": ((4, 3), "uint8"),
    }

    def wrong(message: str, chip: str = "trn3", **changes: Any) -> Sample:
        regions = changes.pop("regions", {})
        operands = {**good, **changes}
        return Sample(operands, regions=regions, chip=chip, message=message)

    yield wrong("is of gen4", chip="trn2")
    yield wrong("src is float32", src=src.astype(np.float32))
    yield wrong("dst is float4_e2m1fn_x4", dst=((32, 3), "float4_e2m1fn_x4"))
    yield wrong("must have [32, 3]", dst=((32, 4), "float8_e4m3fn_x4"))
    yield wrong("src has 16 partitions", src=src[:16])
    yield wrong("no multiple of 4", src=src[:, :11])
    yield wrong("must have 4 to 32", dst_scale=((3, 3), "uint8"))
    yield wrong("elements in a partition", dst_scale=((4, 4), "uint8"))
    yield wrong("dst_scale is int8", dst_scale=((4, 3), "int8"))
    yield wrong("src is in psum", regions={"src": MemoryRegion.psum})


@instruction(
    Engine.vector,
    dst=writes(_SBUF, *(name for name in _PACKED if name.startswith("float8"))),
    src=reads(_SBUF, "float16", "bfloat16"),
    dst_scale=writes(_SBUF, *_SCALES, aligned=False),
    rules=[_quantizes],
    meaning=_quantize,
    cost=cycles_of_free("src", 1 / PACKED),
    samples=_quantize_samples,
    refused=_quantize_refused,
    since=4,
)
def quantize_mx(
    dst: Any, src: Any, dst_scale: Any, name: str | None = None
) -> Instruction:
    """Round a tile to fp8 in blocks that share a scale. Of gen4 and later.

    The scale is ``2 ** (floor(log2(greatest)) - (E - 1))``, where `greatest` is the
    greatest absolute value of the block and E is 8 for e4m3fn and 15 for e5m2: twice
    what the OCP specification's example takes. A block of zeros has 2 ** -127. One with
    an infinity or NaN becomes NaN, which no document says.

    Args:
        dst: (P, F / 4), in SBUF, of ``float8_e4m3fn_x4`` or ``float8_e5m2_x4``.
        src: (P, F), in SBUF, of float16 or bfloat16; P is a multiple of 32.
        dst_scale: the scales, of ``float8_e8m0fnu`` or uint8: of each quadrant of 32
            partitions, 4 are written, from the first one of `dst_scale` on.
    """
    raise NotImplementedError


# -- nc_matmul_mx ----------------------------------------------------------------------
def _matmul(call: Call) -> None:
    stationary, moving = (_scaled(call, n) for n in ("stationary", "moving"))
    with np.errstate(all="ignore"):
        _accumulate(call, product(stationary, moving))


def _scaled(call: Call, name: str) -> np.ndarray:
    """An operand's numbers, (4 P, columns)."""
    view = call.operands[name]
    elements = call.raw(name)
    partitions = view.shape[0]
    packed = elements.reshape(partitions, -1)
    numbers = unpack(packed, view.dtype).reshape(partitions, -1, PACKED)
    scales = _scales(call, f"{name}_scale", partitions)
    with np.errstate(all="ignore"):
        numbers = numbers * np.repeat(scales, _BLOCK, axis=0)[:, :, None]
    return np.ascontiguousarray(numbers.transpose(0, 2, 1)).reshape(
        partitions * PACKED, -1
    )


def _scales(call: Call, name: str, partitions: int) -> np.ndarray:
    """An operand's scales, float32, (blocks, columns)."""
    stored = call.elements(_scales_of(call.operands[name], partitions), name)
    stored = stored.reshape(partitions // _BLOCK, -1)
    scales = np.ldexp(np.float32(1), stored.astype(np.int32) - _BIAS)
    return np.where(stored == _NAN, np.float32(np.nan), scales.astype(np.float32))


def _multiplies(made: Instruction, chip: Chip) -> str | None:
    dst, stationary, moving = (
        made.operands[n] for n in ("dst", "stationary", "moving")
    )
    if problem := _whole_quadrants("stationary", stationary):
        return problem
    if moving.shape[0] != stationary.shape[0]:
        return (
            f"stationary has {stationary.shape[0]} partitions, and moving has "
            f"{moving.shape[0]}"
        )
    rows, columns = stationary.free_size, moving.free_size
    if rows > chip.stationary_columns or rows % 2:
        return (
            f"stationary has {rows} elements in a partition, and may have an even "
            f"number up to {chip.stationary_columns}"
        )
    if columns > chip.moving_columns[dst.dtype.name]:
        most = chip.moving_columns[dst.dtype.name]
        return f"moving has {columns} elements in a partition, and may have {most}"
    if (dst.shape[0], dst.free_size) != (rows, columns):
        return f"dst has the shape {list(dst.shape)}, and must have {[rows, columns]}"
    for name, data in (("stationary", stationary), ("moving", moving)):
        scales = made.operands[f"{name}_scale"]
        if problem := _scales_problem(f"{name}_scale", scales, data):
            return problem
    return None


def _row_tiling(made: Instruction, chip: Chip) -> str | None:
    """A tile has some of the engine's rows, and all columns."""
    stationary = made.operands["stationary"]
    used = (stationary.shape[0], stationary.free_size)
    return tiling_problem(made, used, (TILE_SIZES, TILE_SIZES[-1:]))


def _matmul_cost(made: Instruction, chip: Chip) -> float:
    rows, columns = (made.operands[n].free_size for n in ("stationary", "moving"))
    return max(min(INTERVAL, rows), float(columns))


def _packed_numbers(seed: int, columns: int, packed: str, rows: int = 32) -> np.ndarray:
    """Packed elements, as the whole numbers that their bits are, without NaN."""
    random = np.random.default_rng(seed)
    inner = DTYPES[packed].packs
    assert inner is not None
    values = random.integers(-3, 4, (rows, columns * PACKED)).astype(np.float32) / 2
    return pack(values, DTYPES[packed])


def _some_scales(seed: int, columns: int, rows: int = 4) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(125, 130, (rows, columns)).astype(np.uint8)


def _product_of(
    first: str, second: str, m: int = 6, n: int = 5, rows: int = 32, scales: int = 4
) -> dict[str, Any]:
    """Operands of a sample."""
    return {
        "dst": ((m, n), "float32"),
        "stationary": _packed_numbers(1, m, first, rows),
        "moving": _packed_numbers(2, n, second, rows),
        "stationary_scale": _some_scales(3, m, scales),
        "moving_scale": _some_scales(4, n, scales),
    }


def _matmul_samples() -> Iterator[Sample]:
    e4m3, e5m2, fp4 = "float8_e4m3fn_x4", "float8_e5m2_x4", "float4_e2m1fn_x4"
    for first, second in ((e4m3, e4m3), (e5m2, e4m3), (fp4, fp4), (fp4, e5m2)):
        yield Sample(
            _product_of(first, second),
            {},
            _IN_PSUM,
            dtypes={"stationary": first, "moving": second},
            chip="trn3",
            label=f"{first}-{second}",
        )
    kinds = {"stationary": e4m3, "moving": e4m3}
    more = _product_of(e4m3, e4m3, rows=64, scales=36)
    yield Sample(more, {}, _IN_PSUM, dtypes=kinds, chip="trn3", label="two-quadrants")
    one = _product_of(e4m3, e4m3, n=1)
    of_e8m0 = {**kinds, "moving_scale": "float8_e8m0fnu"}
    yield Sample(one, {}, _IN_PSUM, dtypes=of_e8m0, chip="trn3", label="one-column")
    half = {**_product_of(e4m3, e4m3), "dst": ((6, 5), "bfloat16")}
    yield Sample(half, {}, _IN_PSUM, dtypes=kinds, chip="trn3", label="to-bfloat16")
    before = {**_product_of(e4m3, e4m3), "dst": np.ones((6, 5), np.float32)}
    for flag in (None, True, False):
        yield Sample(
            before,
            {"accumulate": flag},
            _IN_PSUM,
            dtypes=kinds,
            chip="trn3",
            label=f"accumulate-{flag}",
        )
    tile = {"tile_size": (32, 128), "tile_position": (96, 0)}
    good = _product_of(e4m3, e4m3)
    yield Sample(good, tile, _IN_PSUM, dtypes=kinds, chip="trn3", label="tile")


def _matmul_refused() -> Iterator[Sample]:
    e4m3 = "float8_e4m3fn_x4"
    good = _product_of(e4m3, e4m3)
    kinds = {"stationary": e4m3, "moving": e4m3}

    def wrong(
        message: str,
        attributes: Any = None,
        chip: str = "trn3",
        regions: Any = _IN_PSUM,
        dtypes: Any = kinds,
        **changes: Any,
    ) -> Sample:
        return Sample(
            {**good, **changes},
            attributes or {},
            regions,
            dtypes=dtypes,
            chip=chip,
            message=message,
        )

    yield wrong("is of gen4", chip="trn2")
    yield wrong("stationary is uint32", dtypes={"moving": e4m3})
    yield wrong("dst is in sbuf", regions={})
    yield wrong("dst is float16", dst=((6, 5), "float16"))
    yield wrong("must have [6, 5]", dst=((5, 6), "float32"))
    yield wrong("an even number", stationary=good["stationary"][:, :5])
    yield wrong("stationary has 16 partitions", stationary=good["stationary"][:16])
    yield wrong("moving has 64", moving=_packed_numbers(1, 5, e4m3, 64))
    yield wrong("must have 4 to 32", moving_scale=good["moving_scale"][:3])
    yield wrong("stationary_scale has 5", stationary_scale=good["moving_scale"])
    yield wrong("never written", moving_scale=((4, 5), "uint8"))
    yield wrong("give both", {"tile_size": (32, 128)})
    sizes = {"tile_size": (32, 32), "tile_position": (0, 0)}
    yield wrong("32 columns, and may have 128", sizes)
    yield wrong("below 128", {"tile_size": (32, 128), "tile_position": (16, 0)})


@instruction(
    Engine.tensor,
    dst=writes(_PSUM, "float32", "bfloat16"),
    stationary=reads(_SBUF, *_PACKED),
    moving=reads(_SBUF, *_PACKED),
    stationary_scale=reads(_SBUF, *_SCALES, aligned=False),
    moving_scale=reads(_SBUF, *_SCALES, aligned=False),
    rules=[_multiplies, _row_tiling],
    meaning=_matmul,
    cost=_matmul_cost,
    samples=_matmul_samples,
    refused=_matmul_refused,
    since=4,
)
def nc_matmul_mx(
    dst: Any,
    stationary: Any,
    moving: Any,
    stationary_scale: Any,
    moving_scale: Any,
    tile_position: Any = None,
    tile_size: Any = None,
    accumulate: bool | None = None,
    name: str | None = None,
) -> Instruction:
    """A product of matrices of numbers in blocks with scales. Of gen4 and later.

    Each element of `stationary` and `moving` is 4 numbers of a column, so that is
    summed over 4 P of them, in float32.

    Args:
        dst: (M, N), in PSUM, float32 or bfloat16.
        stationary: (P, M), in SBUF, packed; P is a multiple of 32, M even, at most 128.
        moving: (P, N), in SBUF, packed; N at most 4096, 8192 if `dst` is bfloat16.
        stationary_scale, moving_scale: the scales, as :func:`quantize_mx` stores them.
        tile_position: the first row of the engine that is used, and 0.
        tile_size: how many rows, 32, 64 or 128, and 128.
        accumulate: as of :func:`nc_matmul`.
    """
    raise NotImplementedError
