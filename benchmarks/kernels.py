"""Sixty kernels of ordinary kinds, which are timed against NumPy: a record each.

They are as one writes them in NumPy, for arrays of float32 and int32, and change none
of their arguments, so that jax.numpy runs them too.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.kernel_records import Arrays, Kernel, Make
from benchmarks.models import rms_norm, softmax

#: Elements of a vector.
LINE = (1_000, 100_000, 2_000_000)
#: The same where NumPy takes longer for each.
SHORT_LINE = (1_000, 30_000, 500_000)
#: Rows and columns.
SQUARE = (32, 300, 1_500)
#: Of operands of products.
PRODUCT = (32, 256, 1_024)
#: Of a grid over which a stencil goes several times.
GRID = (32, 200, 800)
#: Elements of what fits into a cache line or two.
TINY = (4, 16, 64)


def _line(make: Make, n: int) -> Arrays:
    return (make.normal(n),)


def _lines(make: Make, n: int) -> Arrays:
    return make.normal(n), make.normal(n)


def _positive(make: Make, n: int) -> Arrays:
    return (make.uniform(0.01, 10, n),)


def _square(make: Make, n: int) -> Arrays:
    return (make.normal(n, n),)


def _squares(make: Make, n: int) -> Arrays:
    return make.normal(n, n), make.normal(n, n)


# -- element-wise ----------------------------------------------------------------------
def polynomial(xp: Any, x: Any) -> Any:
    """Of degree 8, by Horner's rule."""
    y = x * 0.5
    for c in (0.25, -0.5, 1.5, -0.75, 0.125, 2.0, -1.0):
        y = (y + c) * x
    return y + 1.0


def hash_bits(xp: Any, x: Any) -> Any:
    """Mixes the bits of integers."""
    x = (x ^ (x >> 16)) * 0x45D9F3B
    x = (x ^ (x >> 15)) * 0x2C1B3C6D
    return x ^ (x >> 16)


_element_wise = partial(Kernel, "element-wise")
ELEMENT_WISE = (
    _element_wise("add", lambda xp, x, y: x + y, _lines, LINE),
    _element_wise("polynomial", polynomial, _line, LINE),
    _element_wise(
        "leaky relu", lambda xp, x: xp.where(x > 0, x, 0.01 * x), _line, LINE
    ),
    _element_wise(
        "clip and convert",
        lambda xp, x: xp.clip(x * 64 + 128, 0, 255).astype(np.uint8),
        _line,
        LINE,
    ),
    _element_wise(
        "hash of integers",
        hash_bits,
        lambda make, n: (make.integers(1 << 20, n),),
        LINE,
    ),
    _element_wise(
        "rows and columns",
        lambda xp, x, row, column: (x - row) * column[:, None],
        lambda make, n: (make.normal(n, n), make.normal(n), make.normal(n)),
        SQUARE,
    ),
    _element_wise(
        "masks",
        lambda xp, x, y: (x > 0) & (y < 0.5) | (xp.abs(x) > xp.abs(y)),
        _lines,
        LINE,
    ),
)


# -- transcendental --------------------------------------------------------------------
def great_circle(xp: Any, lat1: Any, lon1: Any, lat2: Any, lon2: Any) -> Any:
    """The distance of points on a sphere of radius 1, by haversines."""
    a = xp.sin((lat2 - lat1) / 2) ** 2
    a = a + xp.cos(lat1) * xp.cos(lat2) * xp.sin((lon2 - lon1) / 2) ** 2
    return 2 * xp.arctan2(xp.sqrt(a), xp.sqrt(1 - a))


def gelu(xp: Any, x: Any) -> Any:
    """By a hyperbolic tangent."""
    return 0.5 * x * (1 + xp.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


_transcendental = partial(Kernel, "transcendental")
TRANSCENDENTAL = (
    _transcendental("exp", lambda xp, x: xp.exp(x), _line, LINE),
    _transcendental("log10", lambda xp, x: xp.log10(x), _positive, LINE),
    _transcendental("sin", lambda xp, x: xp.sin(x), _line, LINE),
    _transcendental("tan", lambda xp, x: xp.tan(x), _line, LINE),
    _transcendental(
        "arcsin",
        lambda xp, x: xp.arcsin(x),
        lambda make, n: (make.uniform(-1, 1, n),),
        LINE,
    ),
    _transcendental(
        "power",
        lambda xp, x, y: x**y,
        lambda make, n: (make.uniform(0.1, 4, n), make.normal(n)),
        LINE,
    ),
    _transcendental(
        "log1p of expm1", lambda xp, x: xp.log1p(xp.expm1(x)), _positive, LINE
    ),
    _transcendental("gelu", gelu, _line, LINE),
    _transcendental(
        "great circle",
        great_circle,
        lambda make, n: tuple(make.uniform(-1.5, 1.5, n) for _ in range(4)),
        SHORT_LINE,
    ),
)

# -- reductions ------------------------------------------------------------------------
_reductions = partial(Kernel, "reductions", tolerance=(1e-4, 1e-1))
REDUCTIONS = (
    _reductions("sum", lambda xp, x: xp.sum(x), _positive, LINE),
    _reductions("variance of rows", lambda xp, x: xp.var(x, axis=1), _square, SQUARE),
    _reductions("maxima of columns", lambda xp, x: xp.max(x, axis=0), _square, SQUARE),
    _reductions("argmax", lambda xp, x: xp.argmax(x), _line, LINE),
    _reductions("argmin of rows", lambda xp, x: xp.argmin(x, axis=1), _square, SQUARE),
    _reductions(
        "log of summed exp",
        lambda xp, x: xp.log(xp.sum(xp.exp(x - xp.max(x)))),
        _line,
        LINE,
    ),
)

# -- scans -----------------------------------------------------------------------------
_scans = partial(Kernel, "scans", tolerance=(1e-4, 1e-1))
SCANS = (
    _scans("cumulative sum", lambda xp, x: xp.cumsum(x), _line, LINE),
    _scans(
        "cumulative sum of columns", lambda xp, x: xp.cumsum(x, axis=0), _square, SQUARE
    ),
    _scans(
        "running maximum",
        lambda xp, x: xp.maximum.accumulate(x),
        _line,
        LINE,
    ),
)

# -- sorts and selections --------------------------------------------------------------
_sorts = partial(Kernel, "sorts and selections")
SORTS = (
    _sorts("sort", lambda xp, x: xp.sort(x), _line, SHORT_LINE),
    _sorts("sort of rows", lambda xp, x: xp.sort(x, axis=1), _square, (32, 200, 600)),
    _sorts(
        "argsort",
        lambda xp, x: xp.argsort(x),
        lambda make, n: (make.order(n).astype(np.float32),),  # no two are equal
        SHORT_LINE,
    ),
    _sorts(
        "median of rows", lambda xp, x: xp.median(x, axis=1), _square, (33, 201, 601)
    ),
    _sorts(
        "percentiles",
        lambda xp, x: xp.percentile(x, np.array([5, 50, 95], np.float32)),
        _line,
        SHORT_LINE,
    ),
    _sorts(
        "eight largest of rows",
        lambda xp, x: xp.sort(xp.partition(x, x.shape[1] - 8, axis=1)[:, -8:], axis=1),
        _square,
        (32, 200, 600),
    ),
    _sorts(
        "searchsorted",
        lambda xp, edges, x: xp.searchsorted(edges, x),
        lambda make, n: (np.sort(make.normal(n // 4)), make.normal(n)),
        SHORT_LINE,
    ),
)


# -- products --------------------------------------------------------------------------
def covariance(xp: Any, x: Any) -> Any:
    """Of columns."""
    centred = x - xp.mean(x, axis=0)
    return centred.T @ centred / (x.shape[0] - 1)


def perceptron(xp: Any, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """Two layers."""
    return xp.maximum(x @ w1 + b1, 0) @ w2 + b2


def attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    """Of (heads, tokens, 64)."""
    return softmax(xp, q @ xp.swapaxes(k, -1, -2) * 0.125) @ v


def _layers(make: Make, n: int) -> Arrays:
    w1, w2 = make.normal(n, 2 * n) * n**-0.5, make.normal(2 * n, n) * n**-0.5
    return make.normal(n, n), w1, make.normal(2 * n), w2, make.normal(n)


_products = partial(Kernel, "products", tolerance=(1e-3, 1e-3))
PRODUCTS = (
    _products("square by square", lambda xp, x, y: x @ y, _squares, PRODUCT),
    _products(
        "matrix by vector",
        lambda xp, x, y: x @ y,
        lambda make, n: (make.normal(n, n), make.normal(n)),
        (64, 500, 4_000),
    ),
    _products("inner product", lambda xp, x, y: xp.dot(x, y), _lines, LINE),
    _products(
        "batches of 4 by 4",
        lambda xp, x, y: x @ y,
        lambda make, n: (make.normal(n, 4, 4), make.normal(n, 4, 4)),
        (16, 1_000, 30_000),
    ),
    _products(
        "slice by transpose",
        lambda xp, x, y: x[:, 1:] @ y.T[1:],
        _squares,
        PRODUCT,
    ),
    _products("covariance", covariance, _square, PRODUCT),
    _products("correlation", lambda xp, x: xp.corrcoef(x), _square, PRODUCT),
    _products(
        "bilinear form",
        lambda xp, x, a, y: xp.einsum("bi,ij,bj->b", x, a, y, optimize=True),
        lambda make, n: (make.normal(n, 64), make.normal(64, 64), make.normal(n, 64)),
        (32, 1_000, 20_000),
    ),
    _products("perceptron", perceptron, _layers, (16, 128, 768)),
    _products(
        "attention",
        attention,
        lambda make, n: tuple(make.normal(4, n, 64) for _ in range(3)),
        (16, 128, 512),
    ),
)


# -- stencils --------------------------------------------------------------------------
def heat(xp: Any, x: Any) -> Any:
    """Twenty steps on a ring."""
    for _ in range(20):
        x = x + 0.1 * (xp.roll(x, 1) - 2 * x + xp.roll(x, -1))
    return x


def jacobi(xp: Any, x: Any) -> Any:
    """Ten steps, the edges of the grid being what is given."""
    for _ in range(10):
        p = xp.pad(x, 1, mode="edge")
        x = 0.25 * (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:])
    return x


def life(xp: Any, x: Any) -> Any:
    """Four generations of cells on a torus."""
    for _ in range(4):
        rows = x + xp.roll(x, 1, 0) + xp.roll(x, -1, 0)
        near = rows + xp.roll(rows, 1, 1) + xp.roll(rows, -1, 1)
        x = ((near == 3) | ((x == 1) & (near == 4))).astype(np.int32)
    return x


def blur(xp: Any, x: Any) -> Any:
    """A filter of 3 by 3, inside."""
    rows = x[:-2] + 2 * x[1:-1] + x[2:]
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16


_stencils = partial(Kernel, "stencils")
STENCILS = (
    _stencils("heat on a ring", heat, _line, SHORT_LINE),
    _stencils("Jacobi's steps", jacobi, _square, GRID),
    _stencils(
        "game of life",
        life,
        lambda make, n: (make.integers(2, n, n),),
        GRID,
    ),
    _stencils("blur", blur, _square, SQUARE),
)


# -- gathers, scatters, and what moves data --------------------------------------------
def histogram(xp: Any, bins: Any) -> Any:
    """How often each of 256 numbers occurs."""
    counts = np.zeros(256, np.int32)
    xp.add.at(counts, bins, 1)
    return counts


def _histogram_in_jax(xp: Any, bins: Any) -> Any:
    return xp.zeros(256, np.int32).at[bins].add(1)


def segment_sums(xp: Any, x: Any, segments: Any) -> Any:
    """Of rows, by the segment each belongs to."""
    sums = xp.zeros((100, x.shape[1]), np.float32)
    xp.add.at(sums, segments, x)
    return sums


def _segment_sums_in_jax(xp: Any, x: Any, segments: Any) -> Any:
    return xp.zeros((100, x.shape[1]), np.float32).at[segments].add(x)


_moves = partial(Kernel, "gathers and scatters", tolerance=(1e-3, 1e-3))
MOVES = (
    _moves(
        "rows gathered",
        lambda xp, table, i: table[i],
        lambda make, n: (make.normal(n, 64), make.integers(n, n)),
        (64, 2_000, 30_000),
    ),
    _moves(
        "elements gathered",
        lambda xp, x, i: xp.take(x, i),
        lambda make, n: (make.normal(n), make.order(n)),
        LINE,
    ),
    _moves(
        "histogram",
        histogram,
        lambda make, n: (make.integers(256, n),),
        SHORT_LINE,
        _histogram_in_jax,
    ),
    _moves(
        "sums of segments",
        segment_sums,
        lambda make, n: (make.normal(n, 16), make.integers(100, n)),
        (64, 2_000, 30_000),
        _segment_sums_in_jax,
    ),
    _moves("transpose", lambda xp, x: xp.transpose(x) * 1.0, _square, SQUARE),
    _moves(
        "concatenation, reversed",
        lambda xp, x, y: xp.concatenate([x, y])[::-1] + 0.0,
        _lines,
        LINE,
    ),
)


# -- normalisations --------------------------------------------------------------------
def layer_norm(xp: Any, x: Any, gain: Any, bias: Any) -> Any:
    """Over the last axis."""
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    scale = xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)
    return centred / scale * gain + bias


def standardise(xp: Any, x: Any) -> Any:
    """Each column to a mean of 0 and a deviation of 1."""
    return (x - xp.mean(x, axis=0)) / (xp.std(x, axis=0) + 1e-6)


_normalisations = partial(Kernel, "normalisations", tolerance=(1e-3, 1e-4))
NORMALISATIONS = (
    _normalisations("softmax", softmax, _square, SQUARE),
    _normalisations(
        "layer norm",
        layer_norm,
        lambda make, n: (make.normal(n, n), make.normal(n), make.normal(n)),
        SQUARE,
    ),
    _normalisations(
        "root-mean-square norm",
        rms_norm,
        lambda make, n: (make.normal(n, n), make.normal(n)),
        SQUARE,
    ),
    _normalisations("standardised columns", standardise, _square, SQUARE),
)


# -- a few elements --------------------------------------------------------------------
def quaternions(xp: Any, p: Any, q: Any) -> Any:
    """Products of (n, 4)."""
    a, b, c, d = (p[:, i] for i in range(4))
    w, x, y, z = (q[:, i] for i in range(4))
    parts = [
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    ]
    return xp.stack(parts, axis=1)


_few = partial(Kernel, "a few elements")
FEW = (
    _few("sum of two", lambda xp, x, y: x + y, _lines, TINY),
    _few(
        "points turned",
        lambda xp, points, turn: points @ turn.T,
        lambda make, n: (make.normal(n, 3), make.normal(3, 3)),
        TINY,
    ),
    _few(
        "quaternions",
        quaternions,
        lambda make, n: (make.normal(n, 4), make.normal(n, 4)),
        TINY,
    ),
    _few(
        "distances",
        lambda xp, x, y: xp.sqrt(xp.sum((x[:, None] - y[None]) ** 2, axis=-1)),
        lambda make, n: (make.normal(n, 3), make.normal(n, 3)),
        TINY,
    ),
)

#: All of them, kind by kind.
KERNELS: tuple[Kernel, ...] = (
    *ELEMENT_WISE,
    *TRANSCENDENTAL,
    *REDUCTIONS,
    *SCANS,
    *SORTS,
    *PRODUCTS,
    *STENCILS,
    *MOVES,
    *NORMALISATIONS,
    *FEW,
)
