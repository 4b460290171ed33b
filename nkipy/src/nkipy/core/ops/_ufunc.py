"""Element-wise ops: records whose dtype rule is that of a NumPy ufunc."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import (
    HLOTraceContext,
    as_hlo_tensor,
    get_hlo_context,
    leaked,
)
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import Sampler, binary_sampler, unary_sampler
from nkipy.core.promotion import Kind, Loop, kind_of, resolve_loop
from nkipy.core.tensor import NKIPyTensorRef, as_operand, store_out
from nkipy.hlo.ir import HLOInstruction

if TYPE_CHECKING:
    import inspect

#: Makes the result of operands that share a shape and have the loop's input dtypes.
#: A ufunc with several results has a lowering that returns a tuple.
Lowering = Callable[..., Any]


class UFuncOp(Op):
    """An op that answers a ufunc: NumPy's loop dtypes, broadcasting, out and where.

    Args:
        ufunc: the ufunc. Its resolver decides the dtypes, which are then narrowed.
        lower: ``lower(builder, *operands)``, with operands broadcast and converted.
        name: the op's name, if not the ufunc's.
        keep_uint32: whether `lower` takes a uint32 as such where NumPy takes it to
            int64, as it does beside int32. An op needs that if its result modulo 2**32
            depends on more than its operands modulo 2**32.
        record: the other fields of :class:`Op`; `numpy` is filled in.
    """

    def __init__(
        self,
        ufunc: np.ufunc,
        lower: Lowering,
        *,
        name: str = "",
        also: Sequence[Callable[..., Any]] = (),
        samples: Sampler | None = None,
        keep_uint32: bool = False,
        **record: Any,
    ) -> None:
        samples = samples or (unary_sampler() if ufunc.nin == 1 else binary_sampler())
        super().__init__(
            name or ufunc.__name__, numpy=[ufunc, *also], samples=samples, **record
        )
        self.ufunc = ufunc
        self.lower = lower
        self.keep_uint32 = keep_uint32
        self.__doc__ = f"``numpy.{ufunc.__name__}``, element by element."
        self._impls["hlo"] = self._elementwise

    def signature(self) -> inspect.Signature:
        from nkipy.core.ops._signature import ufunc_signature

        return ufunc_signature(self.ufunc.nin, self.ufunc.nout)

    def loop(self, kinds: tuple[Kind, ...], dtype: Any, casting: str) -> Loop:
        """The dtypes to compute in. Raises TypeError if NumPy has none."""
        return resolve_loop(self.ufunc, kinds, dtype, casting, self.keep_uint32)

    def _elementwise(
        self,
        *inputs: Any,
        out: Any = None,
        where: Any = True,
        dtype: Any = None,
        casting: str = "same_kind",
        order: str = "K",
        subok: bool = True,
    ) -> Any:
        # order and subok concern NumPy's memory layout and subclasses; neither exists
        # in a trace.
        if order != "K" or subok is not True:
            require_layout(order, subok)
        nin = self.ufunc.nin
        if len(inputs) > nin:  # NumPy takes outputs by position too
            inputs, out = inputs[:nin], inputs[nin:]
        if len(inputs) != nin:
            raise TypeError(f"takes {nin} operands, but received {len(inputs)}")
        ctx = get_hlo_context()
        operands = [as_operand(x) for x in inputs]
        loop = self.loop(tuple(map(kind_of, operands)), dtype, casting)
        results = self.apply(ctx, operands, loop)
        if out is None and where is True:
            wrapped = tuple(NKIPyTensorRef._wrap(ctx, r) for r in results)
        else:
            outs = self._destinations(out)
            wrapped = tuple(
                store_out(ctx, r, o, where, casting) for r, o in zip(results, outs)
            )
        return wrapped[0] if self.ufunc.nout == 1 else wrapped

    def modelled(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return tuple(map(as_operand, args)), kwargs

    def _written(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        yield from args[self.ufunc.nin :]
        yield kwargs.get("out")

    def _destinations(self, out: Any) -> tuple[Any, ...]:
        nout = self.ufunc.nout
        outs = out if isinstance(out, tuple) else (out,)
        if len(outs) == nout:
            return outs
        if nout > 1 and not isinstance(out, tuple):
            if out is None:
                return (None,) * nout
            raise TypeError(f"'out' must be a tuple of {nout} arrays")
        raise ValueError(
            f"the 'out' tuple must have exactly {nout} entries, but has {len(outs)}"
        )

    def apply(
        self, ctx: HLOTraceContext, operands: Sequence[Any], loop: Loop
    ) -> tuple[HLOInstruction, ...]:
        """Lower operands of any kind to results of the loop's output dtypes."""
        if len(operands) == 2:
            x, y = operands
            values: Sequence[HLOInstruction] = _pair(ctx, x, y, *loop.inputs)
        else:
            values = broadcast(
                ctx, [as_value(ctx, x, d) for x, d in zip(operands, loop.inputs)]
            )
        results = self.lower(ctx, *values)
        if isinstance(results, HLOInstruction):
            wanted = loop.outputs[0]
            if results.dtype is wanted:
                return (results,)
            return (ctx.convert(results, wanted),)
        return tuple([ctx.convert(r, d) for r, d in zip(results, loop.outputs)])


def require_layout(order: Any, subok: Any = True) -> None:
    """Check keywords that a trace has no use for as NumPy does.

    Raises:
        TypeError: the order is no text, or `subok` no bool.
        ValueError: the order is none of NumPy's.
    """
    np.empty(0).copy(order)
    if not isinstance(subok, bool):
        raise TypeError("'subok' must be a boolean")


def as_value(ctx: HLOTraceContext, operand: Any, dtype: np.dtype) -> HLOInstruction:
    """`operand` as an instruction of `ctx` in `dtype`."""
    if type(operand) is not NKIPyTensorRef:
        return as_hlo_tensor(ctx, operand, dtype)
    if operand._ctx is not ctx:
        raise leaked(operand)
    value = operand._value if operand._base is None else operand.backend_tensor
    return value if value.dtype is dtype else ctx.convert(value, dtype)


def _pair(
    ctx: HLOTraceContext, x: Any, y: Any, dx: np.dtype, dy: np.dtype
) -> tuple[HLOInstruction, HLOInstruction]:
    """Two operands as instructions of one shape and the given dtypes."""
    kind = type(y)
    if kind is float or kind is int:
        left = as_value(ctx, x, dx)
        return left, ctx.full(left.shape, y, dy)
    kind = type(x)
    if kind is float or kind is int:
        right = as_value(ctx, y, dy)
        return ctx.full(right.shape, x, dx), right
    left, right = as_value(ctx, x, dx), as_value(ctx, y, dy)
    if left.shape == right.shape:
        return left, right
    shape = broadcast_shape(left.shape, right.shape)
    return ctx.broadcast_to(left, shape), ctx.broadcast_to(right, shape)


def broadcast_shape(x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of two. Raises ValueError, as NumPy, if there is none."""
    if not y:
        return x
    if not x:
        return y
    if len(x) < len(y):
        x, y = y, x
    lead = len(x) - len(y)
    shape = list(x[:lead])
    for a, b in zip(x[lead:], y):
        if a != b and a != 1 and b != 1:
            raise ValueError(
                f"operands could not be broadcast together with shapes {x} {y}"
            )
        shape.append(b if a == 1 else a)
    return tuple(shape)


def broadcast(
    ctx: HLOTraceContext, values: Sequence[HLOInstruction]
) -> Sequence[HLOInstruction]:
    """The values, each broadcast to the shape that they share."""
    shape = values[0].shape
    for value in values:
        if value.shape != shape:
            shape = broadcast_shape(shape, value.shape)
    return [ctx.broadcast_to(v, shape) for v in values]


def opcode(name: str, on_bool: str | None = None) -> Lowering:
    """A lowering that is one HLO opcode: `on_bool` for bool, `name` otherwise."""

    def lower(b: HLOTraceContext, *operands: HLOInstruction) -> HLOInstruction:
        x = operands[0]
        chosen = on_bool if on_bool and x.dtype == dt.bool_ else name
        return b.emit(chosen, operands, x.shape, x.dtype)

    return lower


def in_float32(
    lower: Lowering, dtypes: Sequence[np.dtype] = (*dt.FLOATS, *dt.FP8)
) -> Lowering:
    """`lower` on operands widened to float32; the op rounds to its dtype once.

    Args:
        lower: the lowering.
        dtypes: the dtypes to widen; operands of others are taken as they are.
    """

    def widened(b: HLOTraceContext, *operands: HLOInstruction) -> Any:
        if operands[0].dtype in dtypes:
            operands = tuple([b.convert(x, dt.float32) for x in operands])
        return lower(b, *operands)

    return widened
