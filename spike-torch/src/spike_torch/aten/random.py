"""Random numbers: of the CPU's distributions, not its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from spike_torch.aten.record import lowering
from spike_torch.lowering import moves, random_bits
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.sizes import MOST_ELEMENTS

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number
    from spike_torch.lowering.sizes import Size


def _float(g: Graph) -> torch.dtype:
    """The result's dtype, in which there are numbers between others."""
    dtype = g.result.dtype
    if dtype not in random_bits.DIGITS:
        raise Unsupported(f"draws numbers of {dtype}")
    return dtype


def _dims(g: Graph, self: Array | None = None) -> tuple[moves.Dim, ...]:
    return g.dims(g.result.sizes) if self is None else self.dims


def _scaled(g: Graph, x: Array, factor: float, offset: float) -> Array:
    """f32 times a number and more by another, in the result's dtype."""
    x = g.binary("multiply", x, g.number(factor, torch.float32))
    x = g.binary("add", x, g.number(offset, torch.float32))
    return g.convert(x, g.result.dtype)


@lowering("rand")
def rand(g: Graph, size: Sequence[Size], **_: Any) -> Array:
    dtype = _float(g)
    return g.convert(random_bits.uniform(g, _dims(g), dtype), dtype)


@lowering("rand_like")
def rand_like(g: Graph, self: Array, **_: Any) -> Array:
    dtype = _float(g)
    return g.convert(random_bits.uniform(g, self.dims, dtype), dtype)


@lowering("uniform")
def uniform(
    g: Graph, self: Array, from_: float = 0.0, to: float = 1.0, **named: Any
) -> Array:
    low = named.get("from", from_)
    drawn = random_bits.uniform(g, self.dims, _float(g))
    return _scaled(g, drawn, to - low, low)


@lowering("randn")
def randn(g: Graph, size: Sequence[Size], **_: Any) -> Array:
    return g.convert(random_bits.normal(g, _dims(g)), _float(g))


@lowering("randn_like")
def randn_like(g: Graph, self: Array, **_: Any) -> Array:
    return g.convert(random_bits.normal(g, self.dims), _float(g))


@lowering("normal_functional")
def normal(
    g: Graph, self: Array, mean: float = 0.0, std: float = 1.0, **_: Any
) -> Array:
    _float(g)
    return _scaled(g, random_bits.normal(g, self.dims), std, mean)


@lowering("normal.float_float")
def normal_of_sizes(
    g: Graph, mean: float, std: float, size: Sequence[Size], **_: Any
) -> Array:
    _float(g)
    return _scaled(g, random_bits.normal(g, _dims(g)), std, mean)


@lowering("normal.Tensor_Tensor normal.Tensor_float normal.float_Tensor")
def normal_each(
    g: Graph, mean: Array | float, std: Array | float = 1.0, **_: Any
) -> Array:
    _float(g)
    wide = [g.operand(x, torch.float32) for x in (mean, std)]
    offset, factor = g.broadcast(*wide)
    drawn = g.binary("multiply", random_bits.normal(g, offset.dims), factor)
    return g.convert(g.binary("add", drawn, offset), g.result.dtype)


@lowering("log_normal")
def log_normal(
    g: Graph, self: Array, mean: float = 1.0, std: float = 2.0, **_: Any
) -> Array:
    drawn = random_bits.normal(g, self.dims)
    drawn = g.binary("multiply", drawn, g.number(std, torch.float32))
    drawn = g.binary("add", drawn, g.number(mean, torch.float32))
    return g.convert(g.unary("exponential", drawn), _float(g))


@lowering("exponential")
def exponential(g: Graph, self: Array, lambd: float = 1.0, **_: Any) -> Array:
    _float(g)
    return _scaled(g, _waiting(g, self.dims), 1 / lambd, 0.0)


def _waiting(g: Graph, dims: tuple[moves.Dim, ...]) -> Array:
    """f32, of the exponential distribution; never 0, which may divide."""
    made = g.unary("negate", g.unary("log", random_bits.above_zero(g, dims)))
    return g.binary("maximum", made, g.number(2.0**-25, torch.float32))


@lowering("cauchy")
def cauchy(
    g: Graph, self: Array, median: float = 0.0, sigma: float = 1.0, **_: Any
) -> Array:
    _float(g)
    half = g.number(0.5, torch.float32)
    part = g.binary("subtract", random_bits.uniform(g, self.dims), half)
    angle = g.binary("multiply", part, g.number(math.pi, torch.float32))
    slope = g.binary("divide", g.unary("sine", angle), g.unary("cosine", angle))
    return _scaled(g, slope, sigma, median)


@lowering("geometric")
def geometric(g: Graph, self: Array, p: float, **_: Any) -> Array:
    trials = _waiting(g, self.dims)
    each = g.number(-1 / math.log1p(-p), torch.float32)
    trials = g.unary("ceil", g.binary("multiply", trials, each))
    least = g.binary("maximum", trials, g.number(1, torch.float32))
    return g.convert(least, g.result.dtype)


def _integers(
    g: Graph, dims: tuple[moves.Dim, ...], least: Number, greatest: Number
) -> Array:
    if not (isinstance(least, int) and isinstance(greatest, int)):
        raise Unsupported("draws integers of a range that depends on sizes")
    return g.convert(random_bits.below(g, dims, least, greatest), g.result.dtype)


@lowering("randint")
def randint(g: Graph, high: Size, size: Sequence[Size], **_: Any) -> Array:
    return _integers(g, _dims(g), 0, high)


@lowering("randint.low")
def randint_from(
    g: Graph, low: Size, high: Size, size: Sequence[Size], **_: Any
) -> Array:
    return _integers(g, _dims(g), low, high)


@lowering("randint_like")
def randint_like(g: Graph, self: Array, high: Size, **_: Any) -> Array:
    return _integers(g, self.dims, 0, high)


@lowering("randint_like.low_dtype")
def randint_like_from(g: Graph, self: Array, low: Size, high: Size, **_: Any) -> Array:
    return _integers(g, self.dims, low, high)


@lowering("random.from")
def random_from(g: Graph, self: Array, from_: int, to: int | None, **_: Any) -> Array:
    if to is None:
        raise Unsupported("draws integers up to the greatest")
    return _integers(g, self.dims, from_, to)


@lowering("random.to")
def random_to(g: Graph, self: Array, to: int, **_: Any) -> Array:
    return _integers(g, self.dims, 0, to)


@lowering("random")
def random(g: Graph, self: Array, **_: Any) -> Array:
    """Of all that are not negative; of floats, those below which all integers are."""
    dtype = g.result.dtype
    if dtype == torch.int64:
        return random_bits.nonnegative(g, self.dims)
    if dtype.is_floating_point:
        return _integers(g, self.dims, 0, (1 << random_bits.DIGITS[dtype]) + 1)
    if dtype == torch.bool:
        return _integers(g, self.dims, 0, 2)
    greatest = torch.iinfo(dtype).max
    if greatest >= (1 << 31) - 1:
        made = g.convert(random_bits.nonnegative(g, self.dims), torch.int32)
        return g.elementwise(lambda b, x: b.and_(x, b.full_like(x, greatest)), made)
    return _integers(g, self.dims, 0, greatest + 1)


@lowering("bernoulli")
def bernoulli(g: Graph, self: Array, **_: Any) -> Array:
    drawn = random_bits.uniform(g, self.dims)
    true = g.compare(drawn, g.convert(self, torch.float32), "LT")
    return g.convert(true, g.result.dtype)


def _true(g: Graph, dims: tuple[moves.Dim, ...], p: float) -> Array:
    """Booleans that are true with this probability."""
    drawn = random_bits.uniform(g, dims)
    return g.compare(drawn, g.number(p, torch.float32), "LT")


@lowering("bernoulli.p")
def bernoulli_of(g: Graph, self: Array, p: float, **_: Any) -> Array:
    return g.convert(_true(g, self.dims, p), g.result.dtype)


@lowering("native_dropout")
def native_dropout(
    g: Graph, input: Array, p: float, train: bool | None
) -> tuple[Array, Array]:
    if train is False:
        return input, g.expand(g.number(True, torch.bool), input.dims)
    kept = 1 - p
    mask = _true(g, input.dims, kept)
    made = g.binary("multiply", input, g.convert(mask, input.dtype))
    scale = 1 / kept if kept else 0.0
    return g.binary("multiply", made, g.number(scale, input.dtype)), mask


@lowering("rrelu_with_noise_functional")
def rrelu_with_noise(
    g: Graph,
    self: Array,
    noise: Array,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool = False,
    **_: Any,
) -> tuple[Array, Array]:
    """What is not positive is times a number that is drawn, which is the noise."""
    positive = g.compare(self, g.number(0, self.dtype), "GT")
    if not training:
        slope = g.number((lower + upper) / 2, self.dtype)
        made = g.binary("multiply", self, slope)
        return g.select(positive, self, made), noise
    if self.dtype != torch.float32:
        raise Unsupported(f"draws what {self.dtype} is times")
    span, least, one = (g.number(n, self.dtype) for n in (upper - lower, lower, 1))
    drawn = g.binary("multiply", random_bits.uniform(g, self.dims), span)
    drawn = g.select(positive, one, g.binary("add", drawn, least))
    return g.binary("multiply", self, drawn), drawn


@lowering("randperm")
def randperm(g: Graph, n: Size, **_: Any) -> Array:
    """How many of as many random numbers are less than each."""
    (dim,) = _dims(g)
    keys = random_bits.nonnegative(g, (dim,))
    return g.convert(_ranks(g, keys), g.result.dtype)


def _ranks(g: Graph, keys: Array) -> Array:
    """s32: how many of the numbers along the last dimension are less than each."""
    dim = keys.dims[-1]
    if dim.padded**2 > MOST_ELEMENTS:
        raise Unsupported(f"orders {dim.padded} numbers, more than it compares")
    last = keys.ndim
    one, other = g.insert_ones(keys, (last,)), g.insert_ones(keys, (last - 1,))
    less = g.compare(other, one, "LT")
    same = g.compare(other, one, "EQ")
    places = g.iota(less.dims, last, torch.int32)
    own = g.iota(less.dims, last - 1, torch.int32)
    before = g.compare(places, own, "LT")
    counted = g.elementwise(
        lambda b, x, y, z: b.or_(x, b.and_(y, z)), less, same, before
    )
    return g.sum(g.convert(counted, torch.int32), (last,))


@lowering("multinomial")
def multinomial(
    g: Graph, self: Array, num_samples: Size, replacement: bool = False, **_: Any
) -> Array:
    """The greatest of weights that are divided by waiting times, as torch draws."""
    if not isinstance(num_samples, int):
        raise Unsupported("draws as many as sizes say")
    g.require_prefix(self, "draws from a merged dimension", (self.ndim - 1,))
    weights = g.convert(self, torch.float32)
    last = self.ndim - 1
    dims = (*self.dims[:-1], g.dim(num_samples), self.dims[-1])
    if num_samples == 1 or replacement:
        wide = g.expand(g.insert_ones(weights, (last,)), dims)
        return g.convert(_greatest(g, wide), torch.int64)
    ratio = g.binary("divide", weights, _waiting(g, weights.dims))
    ranks = g.insert_ones(_ranks(g, g.unary("negate", ratio)), (last,))
    places = g.iota(dims, last + 1, torch.int32)
    own = g.compare(ranks, g.iota(dims, last, torch.int32), "EQ")
    drawn = g.select(own, places, g.number(0, torch.int32))
    return g.convert(g.sum(drawn, (last + 1,)), torch.int64)


def _greatest(g: Graph, weights: Array) -> Array:
    """s32: which of the last dimension is drawn."""
    last = weights.ndim - 1
    ratio = g.binary("divide", weights, _waiting(g, weights.dims))
    most = g.maximum(ratio, (last,), keepdim=True)
    places = g.iota(weights.dims, last, torch.int32)
    beyond = g.number((1 << 31) - 1, torch.int32)
    found = g.select(g.compare(ratio, most, "EQ"), places, beyond)
    return g.minimum(found, (last,))
