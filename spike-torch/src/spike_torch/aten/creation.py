"""Operators that make arrays of nothing but numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import moves
from spike_torch.lowering.arrays import unpadded
from spike_torch.lowering.dtypes import hlo_dtype
from spike_torch.lowering.errors import Unsupported
from spike_torch.tensors import array_of

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number
    from spike_torch.lowering.sizes import Size


@lowering("full")
def full(g: Graph, size: Sequence[Size], fill_value: Number, **_: Any) -> Array:
    _require_fit(g, fill_value)
    return g.full(size, fill_value, g.result.dtype)


def _require_fit(g: Graph, value: Number) -> None:
    """Leave numbers to torch that the dtype does not have: most of them it refuses."""
    dtype = g.result.dtype
    if dtype == torch.bool or not isinstance(value, (int, float)):
        return
    info = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    if math.isfinite(value) and not info.min <= value <= info.max:
        raise Unsupported(f"has the number {value}, which {dtype} does not have")


def like(*extra: Any) -> Callable[[], Iterator[Sample]]:
    """Samples: a tensor, and these arguments."""

    def make() -> Iterator[Sample]:
        yield (torch.ones(2, 3), *extra), {}
        yield (torch.ones(2, 3), *extra), {"dtype": torch.int64}
        yield (torch.tensor(True), *extra), {}

    return make


def _filled(g: Graph, self: Array, value: Number) -> Array:
    """With the dimensions of a tensor, whose padding may be where its own is."""
    return g.expand(g.number(value, g.result.dtype), self.dims)


@lowering("full_like", samples=like(2.5))
def full_like(g: Graph, self: Array, fill_value: Number, **_: Any) -> Array:
    _require_fit(g, fill_value)
    return _filled(g, self, fill_value)


@lowering("zeros_like", samples=like())
def zeros_like(g: Graph, self: Array, **_: Any) -> Array:
    return _filled(g, self, 0)


@lowering("ones_like", samples=like())
def ones_like(g: Graph, self: Array, **_: Any) -> Array:
    return _filled(g, self, 1)


def _nothing_like() -> Iterator[Sample]:
    yield (torch.ones(0, 3),), {}
    yield (torch.ones(2, 0),), {"dtype": torch.int64}


@lowering("empty_like", samples=_nothing_like)
def empty_like(g: Graph, self: Array, **_: Any) -> Array:
    return _filled(g, self, 0)


def _sizes(*extra: Any) -> Callable[[], Iterator[Sample]]:
    def make() -> Iterator[Sample]:
        yield ([2, 3], *extra), {}
        yield ([], *extra), {"dtype": torch.int32}
        yield ([0, 3], *extra), {"dtype": torch.bool}

    return make


@lowering("zeros", samples=_sizes())
def zeros(g: Graph, size: Sequence[Size], **_: Any) -> Array:
    return g.full(size, 0, g.result.dtype)


@lowering("ones", samples=_sizes())
def ones(g: Graph, size: Sequence[Size], **_: Any) -> Array:
    return g.full(size, 1, g.result.dtype)


def _no_elements(*extra: Any) -> Callable[[], Iterator[Sample]]:
    def make() -> Iterator[Sample]:
        yield ([0, 3], *extra), {}
        yield ([2, 0], *extra), {"dtype": torch.int32}

    return make


@lowering("empty.memory_format", samples=_no_elements())
@lowering("empty_strided", samples=_no_elements([1, 1]))
@lowering("empty_permuted", samples=_no_elements([1, 0]))
def empty(g: Graph, size: Sequence[Size], *_: Any, **__: Any) -> Array:
    """Zeros: any content is right, and the same each time is better."""
    return g.full(size, 0, g.result.dtype)


@lowering("new_empty", samples=lambda: iter([((torch.ones(1), [0, 2]), {})]))
@lowering(
    "new_empty_strided", samples=lambda: iter([((torch.ones(1), [0, 2], [1, 1]), {})])
)
@lowering("new_zeros", samples=like([3, 2]))
def new_zeros(g: Graph, self: Array, size: Sequence[Size], *_: Any, **__: Any) -> Array:
    return g.full(size, 0, g.result.dtype)


@lowering("new_ones", samples=like([3, 2]))
def new_ones(g: Graph, self: Array, size: Sequence[Size], **_: Any) -> Array:
    return g.full(size, 1, g.result.dtype)


@lowering("new_full", samples=like([3, 2], -1.5))
def new_full(
    g: Graph, self: Array, size: Sequence[Size], fill_value: Number, **_: Any
) -> Array:
    _require_fit(g, fill_value)
    return g.full(size, fill_value, g.result.dtype)


def _numbers() -> Iterator[Sample]:
    yield (2.5,), {}
    yield (True,), {}
    yield (3,), {"dtype": torch.int64}
    yield (-0.0,), {"dtype": torch.bfloat16}


@lowering("scalar_tensor", samples=_numbers)
def scalar_tensor(g: Graph, s: Number, **_: Any) -> Array:
    _require_fit(g, s)
    return g.number(s, g.result.dtype)


def _ranges(*bounds: tuple[Any, ...]) -> Callable[[], Iterator[Sample]]:
    def make() -> Iterator[Sample]:
        for given in bounds:
            yield given, {}
        for dtype in (torch.float32, torch.int64, torch.int32, torch.bfloat16):
            yield bounds[0], {"dtype": dtype}

    return make


@lowering("arange", samples=_ranges((5,), (4.5,), (0,)))
def arange(g: Graph, end: Number, **_: Any) -> Array:
    return _range(g, 0, end, 1)


@lowering("arange.start", samples=_ranges((2, 7), (-1.5, 3.0), (3, 3)))
def arange_from(g: Graph, start: Number, end: Number, **_: Any) -> Array:
    return _range(g, start, end, 1)


@lowering(
    "arange.start_step", samples=_ranges((2, 9, 3), (1.0, -2.0, -0.3), (5, 0, -2))
)
def arange_by(
    g: Graph, start: Number, end: Number, step: Number = 1, **_: Any
) -> Array:
    return _range(g, start, end, step)


def _iotas() -> Iterator[Sample]:
    for length, start, step in ((5, 2, 3), (4, 3, -1), (1, 0, 1), (0, 0, 1)):
        named = {"start": start, "step": step, "dtype": torch.int64}
        yield (length,), {**named, "device": "cpu", "requires_grad": False}


@lowering("prims::iota", samples=_iotas)
def iota(g: Graph, length: Size, *, start: Size, step: Size, **_: Any) -> Array:
    return _range(g, start, 0, step)


def _range(g: Graph, start: Number, end: Number, step: Number) -> Array:
    dtype = g.result.dtype
    (dim,) = g.dims(g.result.sizes)
    if _is_whole(start) and _is_whole(step):
        wide = torch.int64 if dtype == torch.int64 else torch.int32
        places = g.iota((dim,), 0, wide)
        steps = g.binary("multiply", places, g.number(step, wide))
        made = g.binary("add", g.number(start, wide), steps)
        if dtype.is_floating_point:  # of which torch counts the narrow in float32
            made = g.convert(made, torch.float32)
        return g.convert(made, dtype)
    numbers = (start, end, step)
    if not all(isinstance(n, (int, float)) for n in numbers):
        raise Unsupported("counts by fractions to a number that depends on sizes")
    return _computed(g, lambda: torch.arange(*numbers, dtype=dtype))


def _is_whole(value: Number) -> bool:
    if isinstance(value, (int, float)):
        return isinstance(value, int) and abs(value) < _GREATEST
    return bool(value.is_integer)


_GREATEST = 1 << 31
#: Elements of what is computed when the program is made.
_MOST = 1 << 20


def _computed(g: Graph, make: Callable[[], torch.Tensor]) -> Array:
    """A constant: what torch computes of the operator's own numbers."""
    count = math.prod(int(n) for n in g.result.sizes)
    if count > _MOST:
        raise Unsupported(f"makes {count} numbers, more than {_MOST} in a program")
    hlo = hlo_dtype(g.result.dtype)
    if not count:
        return moves.nothing(g)
    with _disable_current_modes():
        made = array_of(make())
    return unpadded(g.b.constant(made, hlo))


def _steps(*extra: Any) -> Callable[[], Iterator[Sample]]:
    def make() -> Iterator[Sample]:
        yield (-1.0, 2.5, 7, *extra), {}
        yield (3, -3, 4, *extra), {"dtype": torch.float32}
        yield (0, 3, 5, *extra), {"dtype": torch.int64}
        yield (2.0, 3.0, 1, *extra), {}
        yield (2.0, 3.0, 0, *extra), {}
        yield (2.0, 3.0, 9, *extra), {"dtype": torch.bfloat16}

    return make


@lowering("linspace", samples=_steps())
def linspace(g: Graph, start: Number, end: Number, steps: int, **_: Any) -> Array:
    _require_numbers(start, end, steps)
    dtype = g.result.dtype
    return _computed(g, lambda: torch.linspace(start, end, steps, dtype=dtype))


@lowering("logspace", samples=_steps(2.0))
def logspace(
    g: Graph, start: Number, end: Number, steps: int, base: float = 10.0, **_: Any
) -> Array:
    _require_numbers(start, end, steps)
    dtype = g.result.dtype
    return _computed(g, lambda: torch.logspace(start, end, steps, base, dtype=dtype))


def _require_numbers(*values: Number) -> None:
    if not all(isinstance(value, (int, float)) for value in values):
        raise Unsupported("has numbers that depend on sizes")


def _eyes() -> Iterator[Sample]:
    for sides in ((3,), (0,)):
        yield sides, {}
    yield (4,), {"dtype": torch.int64}


def _wide_eyes() -> Iterator[Sample]:
    yield (3, 5), {}
    yield (5, 2), {"dtype": torch.bool}


@lowering("eye.m", samples=_wide_eyes)
@lowering("eye", samples=_eyes)
def eye(g: Graph, *sides: Size, **_: Any) -> Array:
    dims = g.dims(g.result.sizes)
    rows, columns = (g.iota(dims, a, torch.int32) for a in (0, 1))
    return g.convert(g.compare(rows, columns, "EQ"), g.result.dtype)


def _triangles() -> Iterator[Sample]:
    yield (3, 4), {}
    yield (4, 3, 1), {}
    yield (4, 3, -1), {"dtype": torch.int32}
    yield (0, 3), {}


@lowering("tril_indices", samples=_triangles)
def tril_indices(g: Graph, row: int, col: int, offset: int = 0, **_: Any) -> Array:
    dtype = g.result.dtype
    return _computed(g, lambda: torch.tril_indices(row, col, offset, dtype=dtype))


@lowering("triu_indices", samples=_triangles)
def triu_indices(g: Graph, row: int, col: int, offset: int = 0, **_: Any) -> Array:
    dtype = g.result.dtype
    return _computed(g, lambda: torch.triu_indices(row, col, offset, dtype=dtype))
