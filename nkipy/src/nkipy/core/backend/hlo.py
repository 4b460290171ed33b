"""The HLO backend: the trace context that ops emit instructions into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend import _active_ctx
from nkipy.core.backend._source import caller_location
from nkipy.core.compatibility import names_for
from nkipy.core.errors import LeakedTracerError, refuse_other_meaning
from nkipy.core.promotion import scalar_dtype
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.instruction import Attributes
from nkipy.hlo.interface import NEFF_INPUT_NAMES, NEFF_OUTPUT_NAMES
from nkipy.hlo.ir import (
    NO_ATTRIBUTES,
    HLOInstruction,
    HLOModule,
    Shape,
    SourceLocation,
)

__all__ = [
    "HLOModule",
    "HLOTraceContext",
    "NEFF_INPUT_NAMES",
    "NEFF_OUTPUT_NAMES",
    "as_hlo_tensor",
    "get_hlo_context",
]

_FLOATS = frozenset((*dt.FLOATS, *dt.FP8))

__getattr__ = names_for(__name__)


class HLOTraceContext(HLOBuilder):
    """One trace: a builder at the end of a module's entry computation.

    Args:
        module: the module that receives the instructions.

    Attributes:
        current_op: the op that is being lowered for the user, if one is.
        variables: of the environment, whose values the trace depends on.
    """

    backend_name = "hlo"

    def __init__(self, module: HLOModule) -> None:
        super().__init__(module.entry)
        self.module = module
        self.current_op: Any = None
        self.thread: int | None = None
        self.variables: set[str] = set()

    def set_source_location(self, location: tuple[str, int] | None) -> None:
        """Attribute what follows to a (file, line); None ends that."""
        self.current_source_location = location and SourceLocation(*location)

    def get_source_location(self) -> SourceLocation | None:
        return self.current_source_location

    def build_op(
        self,
        op_name: str,
        operands: Sequence[HLOInstruction],
        result_shape: Sequence[int],
        result_dtype: Any,
        attributes: Mapping[str, Any] | None = None,
        source_location: tuple[str, int] | None = None,
    ) -> HLOInstruction:
        """Append an instruction of any opcode: the extension point for custom ops.

        Args:
            op_name: HLO opcode, as in its text form (``"add"``, ``"custom-call"``).
            operands: instructions of this trace.
            result_shape: the result's dimensions.
            result_dtype: anything that names a supported dtype.
            attributes: by the names of the opcode's record, or by those that it has
                for clients; lists may stand for tuples.
            source_location: (file, line), if not the current one.

        Returns:
            The instruction. The verifier checks it at the end of the trace.
        """
        result = Shape(dt.as_dtype(result_dtype), tuple(int(d) for d in result_shape))
        made = _attributes(op_name, attributes or NO_ATTRIBUTES, result)
        inst = self.emit(op_name, tuple(operands), result.dims, result.dtype, made)
        if source_location is not None:
            inst.source_location = SourceLocation(*source_location)
        elif inst.source_location is None:
            inst.source_location = caller_location()
        return inst


def _attributes(
    opcode: str, given: Mapping[str, Any], result: Shape
) -> Mapping[str, Any]:
    from nkipy.hlo.opcodes import OPCODES  # takes a while

    record = OPCODES.get(opcode)
    made = given if record is None else record.taken(given, result)
    return Attributes(opcode, made) if made else NO_ATTRIBUTES


def get_hlo_context() -> HLOTraceContext:
    """The active HLO trace. Raises RuntimeError outside of one."""
    ctx = _active_ctx.get()
    if ctx is None or ctx.backend_name != "hlo":
        raise RuntimeError("No HLO context available.")
    return ctx


def as_hlo_tensor(
    ctx: HLOTraceContext, value: Any, dtype: Any = None
) -> HLOInstruction:
    """`value` as an instruction of `ctx`, converted to `dtype` if one is given.

    Args:
        ctx: the trace.
        value: traced tensor, array, or scalar.
        dtype: dtype of the result; by default that of `value`, narrowed.

    Raises:
        LeakedTracerError: `value` belongs to another trace.
        OverflowError: an integer constant does not fit the dtype.
        NKIPyTypeError: a constant is a matrix, a masked array, or of a class that
            overrides what ndarrays do.
    """
    wanted = None if dtype is None else dt.narrow(dtype)
    owner = getattr(value, "_ctx", None)
    if isinstance(owner, HLOTraceContext):  # a mock object has every attribute
        if owner is not ctx:
            raise leaked(value)
        inst = value.backend_tensor
        return inst if wanted is None else ctx.convert(inst, wanted)
    if isinstance(value, HLOInstruction):
        return value if wanted is None else ctx.convert(value, wanted)
    if isinstance(value, (bool, int, float)):
        return ctx.scalar(value, wanted or scalar_dtype(value))
    if isinstance(value, np.integer) and wanted in _FLOATS:  # not through 32 bits
        return ctx.scalar(int(value), dt.as_dtype(wanted))
    if type(value) is not np.ndarray:
        refuse_other_meaning(value, "a constant")
    return ctx.constant(narrow_constant(np.asarray(value), wanted))


def leaked(value: Any) -> LeakedTracerError:
    """The error for a traced value used outside of its trace, or of its thread."""
    if value._ctx.thread not in (None, get_ident()):
        return LeakedTracerError(
            f"{value!r} is used in another thread than the one that traces its kernel: "
            "a kernel is traced in one thread; do the work there, one part after the "
            "other, or call a jitted kernel with arrays in each thread",
            location=caller_location(),
        )
    made = value.backend_tensor.source_location
    origin = f"; it was made at {made}" if made else ""
    return LeakedTracerError(
        f"{value!r} belongs to another trace{origin}. Pass it to the kernel as an "
        "argument, or return it from the one that made it",
        location=caller_location(),
    )


def narrow_constant(array: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """`array` in `dtype` (by default its own, narrowed), without losing its values.

    Raises:
        OverflowError: an integer, or a finite 64-bit float, is out of its range.
        TypeError: the array's dtype has no counterpart on the device.
    """
    target = dt.narrow(array.dtype)
    if array.dtype != target and array.dtype.itemsize == 8 and array.size:
        _check_fits(array, target)
    array = array.astype(target, copy=False)
    return array if dtype is None else array.astype(dtype, copy=False)


def _check_fits(array: np.ndarray, target: np.dtype) -> None:
    if array.dtype.kind == "f":
        finite = np.abs(array[np.isfinite(array)])
        limit = float(np.finfo(target).max)
        if finite.size and float(finite.max()) > limit:
            raise OverflowError(
                f"constant {finite.max()} is out of range for {target.name}, to which "
                "float64 is narrowed"
            )
        return
    info = np.iinfo(target)
    low, high = int(array.min()), int(array.max())
    if low < info.min or high > info.max:
        worst = low if low < info.min else high
        raise OverflowError(
            f"constant {worst} is out of range for {target.name}, to which "
            f"{array.dtype.name} is narrowed"
        )
