"""Fake quantization: numbers as those of a quantized tensor would be, and which fit.

What is no number is the least that there is, as on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.indexing import both

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number

_float = torch.float32
#: What float32 counts to without leaving out a number.
_MOST = 1 << 24


def _quantized(
    g: Graph,
    x: Array,
    scale: Array,
    zero: Array,
    low: int,
    high: int,
    wraps: bool = False,
) -> tuple[Array, Array]:
    if x.dtype != _float or scale.dtype != _float:
        raise Unsupported(f"quantizes {x.dtype} by a scale of {scale.dtype}")
    if zero.dtype.is_floating_point:
        raise Unsupported(f"has a zero point of {zero.dtype}")
    if max(abs(low), abs(high)) > _MOST:
        raise Unsupported(f"quantizes to numbers from {low} to {high}")
    zero = g.convert(zero, _float)
    each = g.binary("divide", g.number(1, _float), scale)
    steps = g.unary("round-nearest-even", g.binary("multiply", x, each))
    steps = g.binary("add", steps, zero)
    if wraps:  # the CPU converts to 64 bits, in which it is the least
        fits = g.compare(g.unary("abs", steps), g.number(2.0**63, _float), "LT")
        steps = g.select(fits, steps, g.number(-(2.0**63), _float))
    first, last = g.number(low, _float), g.number(high, _float)
    mask = both(g, g.compare(steps, first, "GE"), g.compare(steps, last, "LE"))
    above = g.select(g.compare(steps, first, "GT"), steps, first)
    kept = g.binary("minimum", above, last)
    made = g.binary("multiply", g.binary("subtract", kept, zero), scale)
    return made, mask


def _numbers() -> torch.Tensor:
    inf, nan = float("inf"), float("nan")
    numbers = [0.0, -0.0, 0.04, 0.05, 0.15, -0.25, 3.0, -7.0, 1e30, -1e30, inf, nan]
    return torch.tensor(numbers).reshape(3, 4)


def _by_one() -> Iterator[Sample]:
    yield (_numbers(), 0.1, 3, 0, 255), {}
    yield (_numbers(), 0.3, 0, -8, 7), {}


@lowering("fake_quantize_per_tensor_affine_cachemask", samples=_by_one)
def per_tensor(
    g: Graph,
    self: Array,
    scale: Number,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> tuple[Array, Array]:
    by, zero = g.number(scale, _float), g.number(zero_point, torch.int32)
    return _quantized(g, self, by, zero, quant_min, quant_max)


def _by_tensor() -> Iterator[Sample]:
    scale, zero = torch.tensor([0.1]), torch.tensor([3], dtype=torch.int32)
    for enabled in (1, 0):
        yield (_numbers(), scale, zero, torch.tensor([enabled]), 0, 255), {}


@lowering(
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams", samples=_by_tensor
)
def per_tensor_by_tensors(
    g: Graph,
    self: Array,
    scale: Array,
    zero_point: Array,
    fake_quant_enabled: Array,
    quant_min: int,
    quant_max: int,
) -> tuple[Array, Array]:
    by, zero, flag = (g.reshape(a, ()) for a in (scale, zero_point, fake_quant_enabled))
    made, mask = _quantized(g, self, by, zero, quant_min, quant_max)
    enabled = g.convert(flag, torch.bool)
    always = g.number(True, torch.bool)
    return g.select(enabled, made, self), g.select(enabled, mask, always)


def _by_channel() -> Iterator[Sample]:
    zero = torch.tensor([0, 3, -2, 1], dtype=torch.int32)
    scale = torch.tensor([0.1, 0.3, 0.05, 2.0])
    yield (_numbers(), scale, zero, 1, -8, 7), {}
    yield (_numbers(), scale[1:], zero[1:], 0, -128, 127), {}


@lowering("fake_quantize_per_channel_affine_cachemask", samples=_by_channel)
def per_channel(
    g: Graph,
    self: Array,
    scale: Array,
    zero_point: Array,
    axis: int,
    quant_min: int,
    quant_max: int,
) -> tuple[Array, Array]:
    after = range(1, self.ndim - g.axis(self, axis))
    by, zero = g.insert_ones(scale, after), g.insert_ones(zero_point, after)
    return _quantized(g, self, by, zero, quant_min, quant_max, wraps=True)
