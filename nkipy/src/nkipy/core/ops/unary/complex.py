"""Parts of complex numbers, of which no traced array holds any."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._cases import A, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._views import Tensor, no_scalar
from nkipy.core.tensor import View, as_tensor, store_out

real = Op("real", numpy=np.real, dtypes=ALL, samples=cases(call(A(2, 3))))


real_if_close = Op(
    "real_if_close", numpy=np.real_if_close, dtypes=ALL, samples=cases(call(A(2, 3)))
)


conj = Op(
    "conj",
    reference=np.ndarray.conj,
    dtypes=ALL,
    samples=cases(call(A(2, 3))),
    note="the method; np.conj makes a copy",
)


@conj.impl("hlo")
def _conj(x: Any, out: Any = None) -> Any:
    """`x` itself, as the method of NumPy's real arrays gives it."""
    tensor = as_tensor(x)
    if out is None:
        return tensor
    return store_out(tensor._ctx, tensor.backend_tensor, out)


@real.impl("hlo")
def _real(val: Any) -> Any:
    """`val` itself: no traced array is complex."""
    return as_tensor(val)


@real_if_close.impl("hlo")
def _real_if_close(a: Any, tol: float = 100) -> Any:
    """`a` itself, an array if it is a scalar: no traced array is complex."""
    return no_scalar(as_tensor(a))


imag = Op(
    "imag",
    numpy=np.imag,
    dtypes=ALL,
    samples=cases(call(A(2, 3))),
    note="zeros, as no traced array is complex",
)
_READ_ONLY = View(lambda b, base: base, None, lambda array: array, ordered=True)


@imag.impl("hlo")
def _imag(val: Any) -> Any:
    """Zeros, which NumPy lets nobody write: they are no part of `val`."""
    tensor = as_tensor(val)
    ctx = tensor._ctx
    zeros = Tensor._wrap(ctx, ctx.full(tensor.shape, 0, tensor.dtype))
    if tensor.shape or tensor._is_zero_d_array():
        return zeros._make_view(_READ_ONLY)
    return zeros


def _make_predicate(name: str, value: bool) -> Op:
    """An op whose answer, for arrays that are never complex, is the same everywhere."""
    op = Op(name, numpy=getattr(np, name), dtypes=ALL, samples=cases(call(A(2, 3))))

    @op.impl("hlo")
    def answer(x: Any) -> Any:
        tensor = as_tensor(x)
        ctx = tensor._ctx
        return Tensor._wrap(ctx, ctx.full(tensor.shape, value, dt.bool_))

    op.__doc__ = f"``numpy.{name}``: {value} everywhere, as no traced array is complex."
    return op


isreal = _make_predicate("isreal", True)


iscomplex = _make_predicate("iscomplex", False)
