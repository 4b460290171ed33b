"""Determinants, inverses, systems of equations, Cholesky factors of small matrices.

HLO has no LU with its data-dependent pivots. Householder reflections need none and are
as accurate; they are unrolled, hence the limit on size. So is the substitution after
them: HLO has triangular-solve, but the Neuron compiler does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.promotion import float64_type
from nkipy.core.tensor import NKIPyTensorRef, as_tensor

#: A traced array, to which NumPy's own functions apply.
Tensor = Any

_LARGEST = 32
_NOTE = f"matrices up to {_LARGEST} by {_LARGEST}; singular ones are not detected"
_DTYPES = supports(dt.float32, dt.bfloat16, dt.FP8, dt.int8, dt.int32)
_SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


# -- arguments -------------------------------------------------------------------------
def _matrix(a: Any) -> Tensor:
    """`a` in float32, in which everything is computed.

    Raises:
        TypeError: it is float16, which NumPy refuses too.
        LinAlgError: its last two dimensions are not square.
        NotImplementedError: they are too large.
    """
    x = as_tensor(a)
    if x.dtype == dt.float16:
        raise TypeError("array type float16 is unsupported in linalg")
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError(
            f"the last two dimensions must be square, but the shape is {x.shape}"
        )
    if x.shape[-1] > _LARGEST:
        raise NotImplementedError(
            f"matrices of {x.shape[-1]} rows would be unrolled; up to {_LARGEST} are"
        )
    return x.astype(np.float32)


def _like(result: Tensor, *arguments: Any) -> Tensor:
    """What was computed of the arguments, in float32, in the dtype that it has."""
    dtype = float64_type(*(as_tensor(a).dtype for a in arguments))
    return result.astype(dtype, copy=False)


def _samples(
    *more: Callable[[np.dtype], Any],
) -> Callable[[np.dtype], Iterator[Sample]]:
    """Matrices far from singular, each with the other arguments that `more` make."""

    def sampler(dtype: np.dtype) -> Iterator[Sample]:
        for shape in ((3, 3), (1, 1), (2, 4, 4), (6, 6)):
            n = shape[-1]
            matrix = make(shape, dtype) + (9 * np.eye(n)[::-1]).astype(dtype)
            yield Sample((matrix, *(m(dtype) for m in more)), label=str(shape))

    return sampler


# -- reflections -----------------------------------------------------------------------
def _triangular(a: Tensor, b: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Rotate the rows of `a` and `b` alike, until `a` is upper triangular.

    Returns:
        The rows of both results: of the first from the diagonal on, (..., 1, n - k); of
        the second (..., 1, m).
    """
    n = a.shape[-1]
    upper, right = [], []
    for k in range(n):
        if k < n - 1:
            a, b = _reflect(a, b)
        upper.append(a[..., :1, :])
        right.append(b[..., :1, :])
        a, b = a[..., 1:, 1:], b[..., 1:, :]
    return upper, right


def _substitute(upper: list[Tensor], right: list[Tensor]) -> Tensor:
    """The solution of a triangular system, from its last row up."""
    solution = right[-1] / upper[-1]
    for row, value in zip(upper[-2::-1], right[-2::-1]):
        first = (value - row[..., 1:] @ solution) / row[..., :1]
        solution = np.concatenate([first, solution], axis=-2)
    return solution


def _reflect(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both reflected such that the first column of `a` is zero below its first row."""
    column = a[..., :, :1]
    size = np.sqrt(np.sum(np.square(column), axis=-2, keepdims=True))
    first = column[..., :1, :]
    # Away from the first element, so that nothing cancels.
    moved = first + np.where(first < 0, -size, size)
    mirror = np.concatenate([moved, column[..., 1:, :]], axis=-2)
    square = np.sum(np.square(mirror), axis=-2, keepdims=True)
    mirror_scaled = mirror * np.where(square == 0, np.float32(0), 2 / square)
    # One product for each: XLA would fuse a chain of updates, and compute it again and
    # again for each of its uses.
    unit = np.eye(a.shape[-2], dtype=np.float32)
    reflection = unit - mirror_scaled * np.swapaxes(mirror, -1, -2)
    return reflection @ a, reflection @ b


def _diagonal(x: Tensor) -> Tensor:
    """Of the triangular form of `x`: its determinant's factors, up to their sign."""
    nothing = np.zeros((*x.shape[:-1], 0), np.float32)
    rows, _ = _triangular(x, as_tensor(nothing))
    return np.concatenate([row[..., :1] for row in rows], axis=-1)[..., 0, :]


def _reflected_sign(x: Tensor) -> np.float32:
    """Each reflection turns the determinant's sign, and there are n - 1."""
    return np.float32(1 if x.shape[-1] % 2 else -1)


# -- records ---------------------------------------------------------------------------
_ERRORS = (
    ErrorSample((X,), match="square"),
    ErrorSample((X[:, :2].astype(np.float16),), error=TypeError, match="float16"),
    ErrorSample((np.eye(33, dtype="f4"),), error=NotImplementedError, match="33 rows"),
)
_ACCURACY = {dt.float32: 5e-5}

det = Op(
    "det",
    numpy=np.linalg.det,
    dtypes=_DTYPES,
    samples=_samples(),
    errors=_ERRORS,
    rtol=_ACCURACY,
    note=_NOTE,
)


@det.composed_impl
def _det(a: Any) -> Any:
    x = _matrix(a)
    if x.shape[-1] == 0:
        return _like(as_tensor(np.ones(x.shape[:-2], np.float32)), a)
    return _like(np.prod(_diagonal(x), axis=-1) * _reflected_sign(x), a)


slogdet = Op(
    "slogdet",
    numpy=np.linalg.slogdet,
    dtypes=_DTYPES,
    samples=_samples(),
    errors=_ERRORS,
    rtol=_ACCURACY,
    note=_NOTE,
)


@slogdet.composed_impl
def _slogdet(a: Any) -> Any:
    x = _matrix(a)
    if x.shape[-1] == 0:
        ones = np.ones(x.shape[:-2], np.float32)
        return _SlogdetResult(_like(as_tensor(ones), a), _like(as_tensor(ones * 0), a))
    factors = _diagonal(x)
    sign = np.prod(np.sign(factors), axis=-1) * _reflected_sign(x)
    logarithm = np.sum(np.log(np.abs(factors)), axis=-1)
    return _SlogdetResult(_like(sign, a), _like(logarithm, a))


solve = Op(
    "solve",
    numpy=np.linalg.solve,
    dtypes=_DTYPES,
    samples=lambda dtype: _solve_samples(dtype),
    errors=(
        ErrorSample((X, X), match="square"),
        ErrorSample((X[:, :2], np.ones(3, "f4")), match="rows"),
    ),
    rtol=_ACCURACY,
    note=_NOTE,
)


def _solve_samples(dtype: np.dtype) -> Iterator[Sample]:
    for sample in _samples()(dtype):
        (a,) = sample.args
        n = a.shape[-1]
        yield Sample((a, make((n,), dtype)), label=f"{sample.label} vector")
        yield Sample((a, make((n, 2), dtype)), label=f"{sample.label} matrix")


@solve.composed_impl
def _solve(a: Any, b: Any) -> Any:
    x, right = _matrix(a), as_tensor(b)
    if right.dtype == dt.float16:
        raise TypeError("array type float16 is unsupported in linalg")
    vector = right.ndim == 1
    right = right.astype(np.float32)
    right = right[:, None] if vector else right
    if right.ndim < 2 or right.shape[-2] != x.shape[-1]:
        raise ValueError(
            f"the right side of shape {np.shape(b)} has to have {x.shape[-1]} rows"
        )
    result = _like(_solved(x, right), a, b)
    return result[..., 0] if vector else result


def _solved(x: Tensor, right: Tensor) -> Tensor:
    batch = np.broadcast_shapes(x.shape[:-2], right.shape[:-2])
    x = np.broadcast_to(x, (*batch, *x.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    if right.size == 0 or x.size == 0:
        return as_tensor(np.zeros(right.shape, np.float32))
    return _substitute(*_triangular(x, right))


inv = Op(
    "inv",
    numpy=np.linalg.inv,
    dtypes=_DTYPES,
    samples=_samples(),
    errors=_ERRORS,
    rtol=_ACCURACY,
    note=_NOTE,
)


@inv.composed_impl
def _inv(a: Any) -> Any:
    x = _matrix(a)
    return _like(_solved(x, as_tensor(np.eye(x.shape[-1], dtype=np.float32))), a)


cholesky = Op(
    "cholesky",
    numpy=np.linalg.cholesky,
    dtypes=supports(dt.float32, dt.bfloat16),
    samples=lambda dtype: _cholesky_samples(dtype),
    errors=_ERRORS[:2],
    rtol={dt.float32: 1e-5},
    note="a matrix that is not positive definite gives NaN, not an error",
)


def _cholesky_samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape in ((3, 3), (2, 4, 4), (1, 1)):
        x = make(shape, dtype)
        matrix = x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1], dtype=dtype)
        yield Sample((matrix,), label=str(shape))
        yield Sample((matrix,), {"upper": True}, label=f"{shape} upper")


@cholesky.composed_impl
def _cholesky(a: Any, /, *, upper: bool = False) -> Any:
    x = _matrix(a)
    ctx = get_hlo_context()
    if upper:  # NumPy reads the triangle that it writes
        x = np.swapaxes(x, -1, -2)
    value = x.backend_tensor
    factor = ctx.emit("cholesky", (value,), value.shape, dt.float32, {"lower": True})
    # The other half is unspecified.
    lower: Any = np.tril(NKIPyTensorRef._wrap(ctx, factor))
    return _like(np.swapaxes(lower, -1, -2) if upper else lower, a)
