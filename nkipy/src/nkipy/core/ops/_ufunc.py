"""Element-wise ops: records whose dtype rule is that of a NumPy ufunc."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.hlo.ir import HLOInstruction
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import Sampler, binary_sampler, unary_sampler
from nkipy.core.promotion import Kind, Loop, kind_of, resolve_loop
from nkipy.core.tensor import NKIPyTensorRef, as_operand, store_out

#: Makes the result of operands that share a shape and have the loop's input dtypes.
Lowering = Callable[..., HLOInstruction | tuple[HLOInstruction, ...]]


class UFuncOp(Op):
    """An op that answers a ufunc: NumPy's loop dtypes, broadcasting, out and where.

    Args:
        ufunc: the ufunc. Its resolver decides the dtypes, which are then narrowed.
        lower: ``lower(builder, *operands)``, with operands broadcast and converted.
        name: the op's name, if not the ufunc's.
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
        **record: Any,
    ) -> None:
        samples = samples or (unary_sampler() if ufunc.nin == 1 else binary_sampler())
        super().__init__(
            name or ufunc.__name__, numpy=[ufunc, *also], samples=samples, **record
        )
        self.ufunc = ufunc
        self.lower = lower
        self.__doc__ = f"``numpy.{ufunc.__name__}``, element by element."
        self.category = self.category or lower.__module__.rpartition(".")[2]
        self._impls["hlo"] = self._elementwise

    def loop(self, kinds: tuple[Kind, ...], dtype: Any, casting: str) -> Loop:
        """The dtypes to compute in. Raises TypeError if NumPy has none."""
        return resolve_loop(self.ufunc, kinds, dtype, casting)

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
            outs = out if isinstance(out, tuple) else (out,) * len(results)
            wrapped = tuple(
                store_out(ctx, r, o, where, casting) for r, o in zip(results, outs)
            )
        return wrapped[0] if self.ufunc.nout == 1 else wrapped

    def apply(
        self, ctx: HLOTraceContext, operands: Sequence[Any], loop: Loop
    ) -> tuple[HLOInstruction, ...]:
        """Lower operands of any kind to results of the loop's output dtypes."""
        values = [as_hlo_tensor(ctx, x, d) for x, d in zip(operands, loop.inputs)]
        results = self.lower(ctx, *_broadcast(ctx, values))
        if not isinstance(results, tuple):
            results = (results,)
        return tuple(ctx.convert(r, d) for r, d in zip(results, loop.outputs))


def _broadcast(
    ctx: HLOTraceContext, values: list[HLOInstruction]
) -> list[HLOInstruction]:
    first = values[0].shape
    for value in values:
        if value.shape != first:
            break
    else:
        return values
    shape = np.broadcast_shapes(*[v.shape for v in values])
    return [ctx.broadcast_to(v, shape) for v in values]


def opcode(name: str) -> Lowering:
    """A lowering that is one HLO opcode, whatever the dtype."""

    def lower(b: HLOTraceContext, *operands: HLOInstruction) -> HLOInstruction:
        return b.emit(name, operands, operands[0].shape, operands[0].dtype)

    return lower


def in_float32(lower: Lowering) -> Lowering:
    """`lower` on operands widened to float32; the op rounds to its dtype once."""

    def widened(b: HLOTraceContext, *operands: HLOInstruction) -> Any:
        return lower(b, *(b.convert(x, dt.float32) for x in operands))

    return widened
