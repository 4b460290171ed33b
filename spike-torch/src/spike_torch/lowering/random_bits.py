"""Random bits that a program makes of a seed, and numbers of them.

The generator is Threefry-2x32 of 20 rounds: a bijection of a counter that a key chooses
(Salmon, Moraes, Dror and Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
The key is the seed; the counter is an element's place and the number of the draw in the
program. So each draw has bits of its own, and one seed always gives the same ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dims import Dim
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph

#: The name of the program's input of a seed, u32[2], if it draws.
SEED = "seed"

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
#: Binary digits of a dtype's numbers.
DIGITS = {torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}
_PARITY = 0x1BD11BDA
_ROUNDS = 20


def threefry(
    b: HLOBuilder, key: tuple[Value, Value], counter: tuple[Value, Value]
) -> tuple[Value, Value]:
    """Two u32 for each pair of counters. The four are of one shape."""
    parity = b.full_like(key[0], _PARITY)
    keys = (*key, b.xor(b.xor(key[0], key[1]), parity))
    x, y = b.add(counter[0], keys[0]), b.add(counter[1], keys[1])
    for i in range(_ROUNDS):
        x = b.add(x, y)
        y = b.xor(_rotated(b, y, _ROTATIONS[i % 8]), x)
        if i % 4 == 3:
            turn = i // 4 + 1
            x = b.add(x, keys[turn % 3])
            y = b.add(b.add(y, keys[(turn + 1) % 3]), b.full_like(y, turn))
    return x, y


def _rotated(b: HLOBuilder, x: Value, by: int) -> Value:
    left = b.binary("shift-left", x, b.full_like(x, by))
    right = b.binary("shift-right-logical", x, b.full_like(x, 32 - by))
    return b.or_(left, right)


def _seed(g: Graph) -> Value:
    """u32[2]: the program's input.

    Raises:
        Unsupported: who calls the program has none.
    """
    if not g.seeded:
        raise Unsupported("draws random numbers, where the program has no seed")
    if g.seed is None:
        g.seed = g.module.add_parameter((2,), dt.uint32, SEED)
    return g.seed


def pairs(g: Graph, dims: tuple[Dim, ...]) -> tuple[Array, Array]:
    """Two u32 of random bits for each element, the same for no other draw.

    Raises:
        Unsupported: the program has no seed.
    """
    b = g.b
    shape = tuple(d.padded for d in dims)
    count = math.prod(shape)
    if count > dt.highest(dt.int32):
        raise Unsupported(f"draws {count} numbers, more than 32 bits count")
    seed = _seed(g)
    words = [b.reshape(b.slice(seed, (i,), (i + 1,)), ()) for i in (0, 1)]
    key = (b.broadcast_to(words[0], (count,)), b.broadcast_to(words[1], (count,)))
    draw = b.full((count,), g.draws, dt.uint32)
    g.draws += 1
    made = threefry(b, key, (b.iota((count,), 0, dt.uint32), draw))
    one, other = (Array(b.reshape(x, shape), dims) for x in made)
    return one, other


def fractions(g: Graph, bits: Array, digits: int = 24) -> Array:
    """f32, uniform in [0, 1): multiples of ``2**-digits``."""
    b = g.b
    unused = b.full_like(bits.value, 32 - digits)
    high = b.binary("shift-right-logical", bits.value, unused)
    wide = b.convert(b.bitcast_convert(high, dt.int32), dt.float32)
    return Array(b.multiply(wide, b.full_like(wide, 2.0**-digits)), bits.dims)


def uniform(
    g: Graph, dims: tuple[Dim, ...], dtype: torch.dtype = torch.float32
) -> Array:
    """f32, uniform in [0, 1): what a dtype has of it, as torch draws."""
    return fractions(g, pairs(g, dims)[0], DIGITS[dtype])


def above_zero(g: Graph, dims: tuple[Dim, ...]) -> Array:
    """f32, uniform in (0, 1]: what has a logarithm."""
    return g.binary("subtract", g.number(1, torch.float32), uniform(g, dims))


def normal(g: Graph, dims: tuple[Dim, ...]) -> Array:
    """f32, of the normal distribution: by Box and Muller."""
    one, other = pairs(g, dims)
    first = g.binary("subtract", g.number(1, torch.float32), fractions(g, one))
    doubled = g.binary("multiply", g.unary("log", first), g.number(-2, torch.float32))
    turn = g.number(2 * math.pi, torch.float32)
    angle = g.binary("multiply", fractions(g, other), turn)
    return g.binary("multiply", g.unary("sqrt", doubled), g.unary("cosine", angle))


def nonnegative(g: Graph, dims: tuple[Dim, ...]) -> Array:
    """s64 of 63 random bits."""
    one, other = (g.b.convert(x.value, dt.uint64) for x in pairs(g, dims))
    high = g.b.binary("shift-left", one, g.b.full_like(one, 31))
    return Array(g.b.bitcast_convert(g.b.xor(high, other), dt.int64), dims)


def below(g: Graph, dims: tuple[Dim, ...], least: int, greatest: int) -> Array:
    """s64, uniform among integers from `least` to what is before `greatest`.

    The rest of 32 bits, as torch's is.
    """
    span = greatest - least
    if span >= 1 << 31:
        raise Unsupported(f"draws integers of a range of {span}")
    bits = Array(g.b.convert(pairs(g, dims)[0].value, dt.int64), dims)
    rest = g.binary("remainder", bits, g.number(span, torch.int64))
    return g.binary("add", rest, g.number(least, torch.int64))
