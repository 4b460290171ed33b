"""Parts of complex numbers, of which no traced array holds any."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._cases import A, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._views import Tensor, no_scalar
from nkipy.core.tensor import as_tensor, store_out

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


def _make_constant_answer(name: str, value: Any, dtype: np.dtype | None) -> Op:
    """An op whose answer, for arrays that are never complex, is the same everywhere."""
    op = Op(name, numpy=getattr(np, name), dtypes=ALL, samples=cases(call(A(2, 3))))

    @op.impl("hlo")
    def answer(x: Any) -> Any:
        tensor = as_tensor(x)
        ctx, kind = tensor._ctx, dtype or tensor.dtype
        return Tensor._wrap(ctx, ctx.full(tensor.shape, value, kind))

    op.__doc__ = f"``numpy.{name}``: {value} everywhere, as no traced array is complex."
    return op


imag = _make_constant_answer("imag", 0, None)


isreal = _make_constant_answer("isreal", True, dt.bool_)


iscomplex = _make_constant_answer("iscomplex", False, dt.bool_)
