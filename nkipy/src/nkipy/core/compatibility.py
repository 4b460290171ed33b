"""Names that programs written for earlier versions of NKIPy import.

Each is found where it always was, in ``nkipy.core.backend`` or
``nkipy.core.backend.hlo``, which get it from here. Nothing in nkipy uses one itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nkipy.core.promotion import kind_of, resolve_loop, scalar_dtype
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.interface import OP_TYPE
from nkipy.hlo.ir import AliasInfo, HLOInstruction, TensorPlaceholder

__all__ = [
    "ComputationIR",
    "HLOOp",
    "HLOTensor",
    "NKIPY_OP_TYPE",
    "TOPK_CUSTOM_CALL",  # noqa: F822  (by __getattr__)
    "broadcast_operands_hlo",
    "broadcast_to_shape_hlo",
    "find_common_type_hlo",
    "prepare_io_mapping",
    "scalar_dtype_hlo",
]


def names_for(module: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module that gives out the names of this one."""

    def find(name: str) -> Any:
        if name in __all__:
            return globals()[name] if name in globals() else __getattr__(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


def __getattr__(name: str) -> Any:
    if name == "TOPK_CUSTOM_CALL":  # whose record takes a while to import
        from nkipy.hlo.vendor_calls import TOP_K

        return TOP_K.target
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


#: An HLO instruction is its own result, so that one class answers to both names.
HLOOp = HLOInstruction
HLOTensor = HLOInstruction

NKIPY_OP_TYPE = OP_TYPE
scalar_dtype_hlo = scalar_dtype


def find_common_type_hlo(a: Any, b: Any) -> np.dtype:
    """The dtype that ``a + b`` has: NumPy's (NEP 50), narrowed.

    Args:
        a, b: tensors, arrays, dtypes' scalars, or Python scalars (which are weak).

    Raises:
        TypeError: NumPy knows no common dtype.
    """
    return resolve_loop(np.add, (kind_of(a), kind_of(b))).outputs[0]


def broadcast_to_shape_hlo(
    ctx: HLOBuilder, tensor: HLOInstruction, shape: Sequence[int]
) -> HLOInstruction:
    """`tensor` broadcast to `shape` by NumPy's rule.

    Raises:
        ValueError: the shapes do not agree.
    """
    shape = tuple(shape)
    if np.broadcast_shapes(tensor.shape, shape) != shape:
        raise ValueError(f"cannot broadcast {tensor.shape} to {shape}")
    return ctx.broadcast_to(tensor, shape)


def broadcast_operands_hlo(
    ctx: HLOBuilder, *operands: HLOInstruction | Sequence[HLOInstruction]
) -> list[HLOInstruction]:
    """All operands broadcast to their common shape.

    Args:
        ctx: the trace.
        operands: ``x, y, ...``, or one sequence of them.

    Raises:
        ValueError: there is no such shape.
    """
    values: list[HLOInstruction] = []
    for operand in operands:
        values += [operand] if isinstance(operand, HLOInstruction) else operand
    shape = np.broadcast_shapes(*(x.shape for x in values))
    return [ctx.broadcast_to(x, shape) for x in values]


@runtime_checkable
class ComputationIR(Protocol):
    """What compilation needs to know of a traced program."""

    @property
    def inputs(self) -> list[TensorPlaceholder]: ...

    @property
    def outputs(self) -> list[TensorPlaceholder]: ...

    aliases: list[AliasInfo]

    @property
    def auto_aliased_indices(self) -> set[int]: ...

    def content_hash(self, compiler_args: str) -> str: ...


def prepare_io_mapping(
    inputs: Sequence[TensorPlaceholder],
    aliases: Sequence[AliasInfo],
    original_inputs: Sequence[Any],
) -> tuple[Mapping[str, Any], dict[int, str]]:
    """Pair the arrays of a call with the names that the program knows them by.

    Args:
        inputs: the program's inputs.
        aliases: its aliases.
        original_inputs: one array per input, in order.

    Returns:
        Input name to array, and output index to the name of the input it aliases.

    Raises:
        RuntimeError: the number of arrays is not the number of inputs.
    """
    if len(inputs) != len(original_inputs):
        raise RuntimeError(
            f"Expected {len(inputs)} tensor arguments, got {len(original_inputs)}"
        )
    by_name = {p.name: array for p, array in zip(inputs, original_inputs)}
    return by_name, {a.output_index: inputs[a.param_index].name for a in aliases}
