"""Products of matrices and vectors that NumPy has as ufuncs: matmul and its like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._contract import (
    Label,
    Labelled,
    accumulator,
    contract,
    rounded,
    single_precision,
)
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._reduction import is_low, one_axis
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._ufunc import require_layout
from nkipy.core.promotion import kind_of, resolve_loop
from nkipy.core.tensor import NKIPyTensorRef, as_operand, store_out
from nkipy.hlo.builder import Value


class ProductOp(Op):
    """A ufunc that sums products over the core dimension ``k`` of two operands.

    Args:
        ufunc: the ufunc.
        core: labels of the core dimensions of both operands and of the result.
        flexible: an operand may be a vector, without its dimension that is not ``k``.
        also: other functions of NumPy's that are the same.
        record: the other fields of :class:`Op`.
    """

    def __init__(
        self,
        ufunc: np.ufunc,
        core: tuple[str, str, str],
        *,
        flexible: bool = False,
        also: tuple[Callable[..., Any], ...] = (),
        **record: Any,
    ) -> None:
        super().__init__(
            ufunc.__name__,
            numpy=[ufunc, *also],
            dtypes=ALL,
            reference=single_precision(ufunc),
            **record,
        )
        self.ufunc = ufunc
        self.core = core
        self.flexible = flexible
        self.__doc__ = f"``numpy.{ufunc.__name__}``: sums of products."
        self._impls["hlo"] = self._lower

    def _lower(
        self,
        x1: Any,
        x2: Any,
        /,
        out: Any = None,
        *,
        casting: str = "same_kind",
        order: str = "K",
        dtype: Any = None,
        subok: bool = True,
        axes: Any = None,
        axis: Any = None,
        keepdims: bool = False,
    ) -> NKIPyTensorRef:
        require_layout(order, subok)  # which concern NumPy's memory and subclasses
        if axes is not None and not _names_last_axes(axes):
            raise NotImplementedError("axes= has no lowering; use np.moveaxis")
        if (axis is not None or keepdims) and self.core != ("k", "k", ""):
            raise TypeError("axis= and keepdims= are for one core dimension, shared")
        ctx = get_hlo_context()
        operands = as_operand(x1), as_operand(x2)
        loop = resolve_loop(self.ufunc, tuple(map(kind_of, operands)), dtype, casting)
        x, y = (_factor(ctx, v, d) for v, d in zip(operands, loop.inputs))
        if axis is not None:
            x, y = (_axis_last(ctx, v, axis) for v in (x, y))
        value = self.multiply(ctx, x, y)
        value = rounded(ctx, value, loop.outputs[0])
        if keepdims:
            last = -1 if axis is None else axis
            value = ctx.expand_dims(value, [one_axis(last, value.ndim + 1)])
        if isinstance(out, tuple):
            (out,) = out
        if out is None:
            return NKIPyTensorRef._wrap(ctx, value)
        return store_out(ctx, value, self._fitting(out, value), True, casting)

    def _fitting(self, out: Any, value: Value) -> Any:
        """`out`, whose core dimensions must be those of the result: no broadcasting."""
        core = value.shape[value.ndim - min(value.ndim, len(self.core[2])) :]
        shape = getattr(out, "shape", core)
        if shape[len(shape) - len(core) :] != core:
            raise ValueError(
                f"out= has shape {shape}, but the result has {value.shape}"
            )
        return out

    def multiply(self, ctx: HLOTraceContext, x: Value, y: Value) -> Value:
        """The products of operands, summed in their accumulator.

        Raises:
            ValueError: their shapes do not fit.
        """
        if self.flexible and _is_plain(x, y):
            n = x.ndim
            batch = range(n - 2)
            axes, dtype = ((n - 1,), (n - 2,)), accumulator(x.dtype)
            return ctx.dot(x, y, axes, (batch, batch), dtype)
        left, right, core = self.core
        if self.flexible:
            left, right, core = _for_vectors(x, y, left, right, core)
        x_labels, x_loop = _labels(x, left)
        y_labels, y_loop = _labels(y, right)
        if x.shape[x_labels.index("k")] != y.shape[y_labels.index("k")]:
            _mismatch(x, y, x_labels.index("k"), y_labels.index("k"))
        np.broadcast_shapes(x.shape[:x_loop], y.shape[:y_loop])
        out = (*range(max(x_loop, y_loop) - 1, -1, -1), *core)
        accumulate = accumulator(x.dtype)
        return contract(
            ctx, Labelled(x, x_labels), Labelled(y, y_labels), out, accumulate
        )


def _is_plain(x: Value, y: Value) -> bool:
    """Whether both are matrices, or stacks of as many, and nothing is special."""
    return (
        x.ndim == y.ndim >= 2
        and x.shape[-1] == y.shape[-2]
        and x.shape[:-2] == y.shape[:-2]
        and x.dtype == y.dtype != dt.bool_
        and 0 not in x.shape
        and 0 not in y.shape
    )


def _factor(ctx: HLOTraceContext, value: Any, dtype: np.dtype) -> Value:
    """An operand in the dtype of the loop; a small float may stay one for float32."""
    inst = as_hlo_tensor(ctx, value)
    if inst.dtype == dtype or (dtype == dt.float32 and is_low(inst.dtype)):
        return inst
    return as_hlo_tensor(ctx, value, dtype)


def _axis_last(ctx: HLOTraceContext, x: Value, axis: Any) -> Value:
    axis = one_axis(axis, x.ndim)
    return ctx.transpose(x, [*(i for i in range(x.ndim) if i != axis), axis])


def _for_vectors(
    x: Value, y: Value, left: str, right: str, core: str
) -> tuple[str, str, str]:
    if x.ndim == 1:
        left, core = left.replace("m", ""), core.replace("m", "")
    if y.ndim == 1:
        right, core = right.replace("n", ""), core.replace("n", "")
    return left, right, core


def _names_last_axes(axes: Any) -> bool:
    """Whether ``axes=`` says what holds without it, as ndarray's ``a @= b`` does."""
    return all(tuple(entry) in ((-2, -1), (-2,), (-1,), ()) for entry in axes)


def _labels(x: Value, core: str) -> tuple[tuple[Label, ...], int]:
    """Labels of the dimensions of `x`, and how many of them are not of the core.

    Those are numbered from the right, as they broadcast.
    """
    loop = x.ndim - len(core)
    if loop < 0:
        raise ValueError(
            f"an operand of shape {x.shape} does not have enough dimensions: "
            f"{len(core)} are needed"
        )
    return (*range(loop - 1, -1, -1), *core), loop


def _mismatch(x: Value, y: Value, x_axis: int, y_axis: int) -> None:
    raise ValueError(
        f"shapes {x.shape} and {y.shape} have a mismatch in the dimension that is "
        f"summed over: {x.shape[x_axis]} (dim {x_axis}) != "
        f"{y.shape[y_axis]} (dim {y_axis})"
    )


matmul = ProductOp(
    np.matmul,
    ("mk", "kn", "mn"),
    flexible=True,
    also=(np.linalg.matmul,),
    samples=cases(
        call(A(3, 5), A(5, 4)),
        call(A(5), A(5)),
        call(A(5), A(5, 4)),
        call(A(3, 5), A(5)),
        call(A(2, 3, 5), A(5, 4)),
        call(A(3, 5), A(2, 5, 4)),
        call(A(5), A(2, 5, 4)),
        call(A(2, 3, 5), A(5)),
        call(A(2, 1, 3, 5), A(3, 5, 4)),
        call(A(7, 2, 3, 5), A(1, 2, 5, 1)),
        call(A(3, 0), A(0, 4)),
        call(A(0, 5), A(5, 4)),
        call(A(0, 3, 5), A(1, 5, 4)),
        call(A(2, 67), A(67, 3)),
    ),
    errors=(
        ErrorSample((X, X), match="mismatch"),
        ErrorSample((X, 2.0), match="enough dimensions"),
        ErrorSample((X, X.T), {"axes": [(0, 1)] * 3}, error=NotImplementedError),
        ErrorSample((np.ones((2, 2, 3), "f4"), np.ones((3, 3, 2), "f4"))),
        ErrorSample((X, X.T), {"out": np.zeros((1, 2), "f4")}, match="out="),
        ErrorSample((X, X.T), {"out": np.zeros((2, 2), "i4")}, error=TypeError),
        ErrorSample((X, X.T), {"dtype": np.int32}, error=TypeError),
    ),
)
vecdot = ProductOp(
    np.vecdot,
    ("k", "k", ""),
    also=(np.linalg.vecdot,),
    samples=cases(
        call(A(5), A(5)),
        call(A(2, 5), A(5)),
        call(A(3, 1, 5), A(4, 5)),
        call(A(3, 0), A(3, 0)),
        call(A(3, 4), A(3, 4), axis=0),
        call(A(3, 4), A(3, 4), keepdims=True),
    ),
    errors=(
        ErrorSample((X, X.T), match="mismatch"),
        ErrorSample((X, X), {"axis": 2}, error=np.exceptions.AxisError),
    ),
)
if hasattr(np, "matvec"):  # NumPy 2.2
    matvec = ProductOp(
        np.matvec,
        ("mk", "k", "m"),
        samples=cases(
            call(A(3, 5), A(5)),
            call(A(2, 3, 5), A(2, 5)),
            call(A(3, 5), A(4, 1, 5)),
            call(A(3, 0), A(0)),
        ),
        errors=(
            ErrorSample((X, X), {"axis": 0}, error=TypeError),
            ErrorSample((X[0], X[0]), match="enough dimensions"),
        ),
    )
    vecmat = ProductOp(
        np.vecmat,
        ("k", "kn", "n"),
        samples=cases(
            call(A(5), A(5, 3)),
            call(A(2, 5), A(2, 5, 3)),
            call(A(4, 1, 5), A(5, 3)),
            call(A(0), A(0, 3)),
        ),
        errors=(ErrorSample((X, X), match="mismatch"),),
    )
