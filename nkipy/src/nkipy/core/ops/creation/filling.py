"""Ops that make arrays of nothing but a shape and a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import as_hlo_tensor, get_hlo_context
from nkipy.core.ops._cases import A, DType, Special, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._ufunc import require_layout
from nkipy.core.ops._views import Shape, Tensor, as_shape, broadcasts, no_scalar
from nkipy.core.tensor import as_operand, as_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike


def _dims(shape: Any) -> Shape:
    dims = as_shape(shape)
    if dims and min(dims) < 0:
        raise ValueError(f"negative dimensions are not allowed: {dims}")
    return dims


def _filled(shape: Any, value: Any, dtype: Any) -> Tensor:
    """A tensor of `shape` in which `value`, traced or not, is broadcast."""
    ctx = get_hlo_context()
    dims, dtype = _dims(shape), dt.narrow(dtype)
    value = as_operand(value)
    if isinstance(value, (bool, int, float)):
        return Tensor._wrap(ctx, ctx.full(dims, value, dtype))
    inst = as_hlo_tensor(ctx, value, dtype)
    if not broadcasts(inst.shape, dims):
        raise ValueError(
            f"fill value of shape {inst.shape} does not broadcast to {dims}"
        )
    return Tensor._wrap(ctx, ctx.broadcast_to(inst, dims))


constant = Op(
    "constant",
    reference=np.asarray,
    dtypes=ALL,
    samples=cases(
        call(A(2, 3)),
        call(A(2), np.float32),
        call([[1, 2], [3, 4]]),
        call([0.5, 1.5], DType),
        call([True, False]),
        call(3, DType),
        call(True),
    ),
    errors=[
        ErrorSample((X, np.complex64), {}, TypeError, "unsupported dtype"),
        ErrorSample(([300], np.int8), {}, OverflowError, "300"),
        ErrorSample((2**40,), {}, OverflowError, "out of bounds"),
        ErrorSample(("text",), {}, TypeError, "unsupported dtype"),
    ],
)


@constant.impl("hlo")
def _constant(value: ArrayLike, dtype: DTypeLike | None = None) -> Tensor:
    """`value`, a scalar, list or array, as a traced array; a traced one as it is.

    Args:
        value: what the array holds.
        dtype: its dtype; by default that of `value`, narrowed to 32 bits.

    Raises:
        OverflowError: an integer does not fit the dtype.
    """
    wanted = None if dtype is None else dt.narrow(dtype)
    if isinstance(value, (list, tuple)) and wanted is not None:
        operand = as_operand(value)
        if not isinstance(operand, Tensor):
            operand = np.asarray(value, wanted)  # Python numbers are checked to fit
        value = operand
    return as_tensor(value, wanted)


@constant.impl("cpu")
def _constant_cpu(value: Any, dtype: Any = None) -> np.ndarray:
    return np.asarray(value, dtype)


zeros = Op(
    "zeros",
    numpy=np.zeros,
    dtypes=ALL,
    samples=cases(
        call((2, 3), DType), call(4, dtype=DType), call((), DType), call((0, 2), DType)
    ),
    errors=[
        ErrorSample((-1,), {}, ValueError, "negative"),
        ErrorSample(((2, 1.5),), {}, TypeError, "integer"),
        ErrorSample((2, np.complex64), {}, TypeError, "unsupported dtype"),
    ],
)
full = Op(
    "full",
    reference=np.full,
    dtypes=ALL,
    samples=cases(
        call((2, 3), 1, DType),
        call(4, True, dtype=DType),
        call((), 2.5, np.float32),
    ),
    errors=[ErrorSample(((2,), 300, np.int8), {}, OverflowError, "300")],
)


@zeros.impl("hlo")
def _zeros(
    shape: int | Sequence[int],
    dtype: DTypeLike = np.float32,
    order: str = "C",
    *,
    device: str | None = None,
) -> Tensor:
    """A traced array of zeros.

    Args:
        shape: an int or a sequence of ints.
        dtype: its dtype, by default float32.
    """
    return _filled(shape, 0, np.float32 if dtype is None else dtype)


@full.impl("hlo")
def _full(
    shape: int | Sequence[int],
    fill_value: ArrayLike,
    dtype: DTypeLike = np.float32,
    order: str = "C",
    *,
    device: str | None = None,
) -> Tensor:
    """A traced array that holds `fill_value` everywhere.

    Args:
        shape: an int or a sequence of ints.
        fill_value: a number, or an array (traced ones too) that broadcasts to `shape`.
        dtype: its dtype, by default float32.

    Raises:
        OverflowError: an integer does not fit the dtype.
    """
    return no_scalar(_filled(shape, fill_value, np.float32 if dtype is None else dtype))


#: ``np.full`` with ``like=``; `full` has a dtype of its own where none is given.
filled = Op(
    "filled",
    numpy=np.full,
    dtypes=ALL,
    samples=cases(call((2, 3), 1, DType), call(4, 7), call(2, True)),
    errors=[ErrorSample(((2,), 300, np.int8), {}, OverflowError, "300")],
    note="without dtype=, that of the value",
)


@filled.impl("hlo")
def _filled_by_value(
    shape: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "C",
    *,
    device: Any = None,
) -> Any:
    """A traced array that holds `fill_value` everywhere, in its dtype by default."""
    if dtype is None:
        value = as_operand(fill_value)
        dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    return _filled(shape, fill_value, dtype)


@zeros.impl("cpu")
def _zeros_cpu(shape: Any, dtype: Any = None, order: Any = "C") -> np.ndarray:
    return np.zeros(shape, np.float32 if dtype is None else dtype, order)


@full.impl("cpu")
def _full_cpu(
    shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C"
) -> np.ndarray:
    return np.full(shape, fill_value, np.float32 if dtype is None else dtype, order)


def _like(a: Any, value: Any, dtype: Any, shape: Any) -> Tensor:
    """An array like `a`: it depends on shape and dtype of `a`, never on its values."""
    a = as_operand(a)
    a = a if hasattr(a, "dtype") else np.asarray(a)
    made = _filled(
        a.shape if shape is None else shape, value, a.dtype if dtype is None else dtype
    )
    return no_scalar(made)


_LIKE_SAMPLES = (
    call(A(2, 3)),
    call(Special()),
    call(A(2, 3), dtype=np.int32),
    call(A(2, 3), shape=(4, 1)),
    call(A(), shape=3, order="F"),
)


def _make_like(name: str, value: int, **record: Any) -> Op:
    op = Op(
        name,
        numpy=getattr(np, name),
        dtypes=ALL,
        samples=cases(*_LIKE_SAMPLES),
        errors=[
            ErrorSample((X, np.complex64), {}, TypeError, "unsupported dtype"),
            ErrorSample((X,), {"shape": (-1,)}, ValueError, "negative"),
        ],
        **record,
    )

    @op.impl("hlo")
    def like(
        a: Any,
        dtype: Any = None,
        order: str = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Tensor:
        require_layout(order)
        return _like(a, value, dtype, shape)

    op.__doc__ = f"An array of the shape and dtype of another that holds {value}."
    return op


zeros_like = _make_like("zeros_like", 0)
ones_like = _make_like("ones_like", 1)
empty_like = _make_like(
    "empty_like",
    0,
    reference=np.zeros_like,
    note="holds zeros, where NumPy's is undefined",
)

full_like = Op(
    "full_like",
    numpy=np.full_like,
    dtypes=ALL,
    samples=cases(
        call(A(2, 3), 1),
        call(Special(), 1.5),
        call(A(2, 3), 2.5, dtype=np.float32, shape=(2,)),
        call(A(2, 3), A(3)),
        call(A(2), [True, False]),
    ),
    errors=[
        ErrorSample((X.astype("i1"), 300), {}, OverflowError, "300"),
        ErrorSample((X, X[0, :2]), {}, ValueError, "broadcast|shape"),
    ],
)


@full_like.impl("hlo")
def _full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Tensor:
    """An array of the shape and dtype of `a` that holds `fill_value`."""
    require_layout(order)
    return _like(a, fill_value, dtype, shape)
