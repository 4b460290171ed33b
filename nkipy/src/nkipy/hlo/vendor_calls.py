"""The custom calls that the vendor's compiler knows by name.

Of most of them, names are public and meanings are not: they compile, and run only where
something has given them a ``run``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.custom_call import CustomCall, Refusal, accept
from nkipy.hlo.custom_call_costs import UNKNOWN_COST, Cost, Passes, View
from nkipy.hlo.errors import CustomCallError
from nkipy.hlo.instruction import HLOComputation, HLOInstruction, Shape
from nkipy.hlo.opcodes.cost import SCALAR, VECTOR

_VERSION = "1"


# -- top-k -----------------------------------------------------------------------------
def _top_k_of(inst: HLOInstruction) -> HLOInstruction:
    """The array that a top-k is taken of.

    Raises:
        CustomCallError: operands and result are not those of a top-k.
    """
    shapes = inst.tuple_shapes or ()
    if len(inst.operands) == 1 and inst.operands[0].shape and len(shapes) == 2:
        (x,), (values, indices) = inst.operands, shapes
        *rows, count = x.shape
        dims = (*rows, min(count, *values.dims[-1:]))
        if values == Shape(x.dtype, dims) and indices.dims == dims:
            if indices.dtype.kind in "iu":
                return x
    operands = ", ".join(o.shape_text() for o in inst.operands)
    raise CustomCallError(
        "AwsNeuronTopK takes f32[...,n], or another dtype, to (f32[...,k], u32[...,k]) "
        f"with k up to n; received {inst.shape_text()} custom-call({operands})"
    )


def _check_top_k(inst: HLOInstruction, target: str) -> Iterator[Refusal]:
    try:
        dtype = _top_k_of(inst).dtype
    except CustomCallError as e:
        yield Refusal("NCC_EVRF064", f"{e}.")
        return
    if dt.is_integer(dtype) and dtype.itemsize >= 4:
        yield Refusal(
            "NCC_EVRF013",
            f"TopK does not support {dtype.name}. Cast its operand to a floating type.",
        )


def _sort_and_slice(
    inst: HLOInstruction, operands: tuple[HLOInstruction, ...], b: HLOBuilder
) -> HLOInstruction:
    """The k greatest along the last axis, in descending order, and where they were.

    The order is that of ``np.sort``, turned around: NaN is above every number. Equal
    values (both zeros are equal, and so are all NaNs) keep the order of their indices.
    """
    _top_k_of(inst)
    (x,) = operands
    assert inst.tuple_shapes is not None
    values, indices = inst.tuple_shapes
    axis = len(x.shape) - 1
    positions = b.iota(x.shape, axis, indices.dtype)
    both = b.tuple_result(
        "sort",
        (x, positions),
        (Shape(x.dtype, x.shape), Shape(indices.dtype, x.shape)),
        {
            "dimension": axis,
            "is_stable": True,
            "to_apply": _descending(x.dtype, indices.dtype),
        },
    )
    parts = tuple(b.slice_dim(part, axis, 0, values.dims[-1]) for part in both)
    return b.emit("tuple", parts, (), None, tuple_shapes=inst.tuple_shapes)


@lru_cache(maxsize=64)  # a module has one of each name; modules can share it
def _descending(dtype: np.dtype, index_dtype: np.dtype) -> HLOComputation:
    comparator = HLOComputation(f"descending_{dtype.name}_{index_dtype.name}")
    x, y = (comparator.add_parameter((), dtype) for _ in range(2))
    for _ in range(2):
        comparator.add_parameter((), index_dtype)
    b = HLOBuilder(comparator)
    before = b.compare(x, y, "GT")
    if dt.is_float(dtype):
        x_is_nan, y_is_number = b.compare(x, x, "NE"), b.compare(y, y, "EQ")
        before = b.or_(before, b.and_(x_is_nan, y_is_number))
    comparator.root = before
    return comparator


TOP_K = CustomCall(
    target="AwsNeuronTopK",
    version=_VERSION,
    check=_check_top_k,
    cost=Passes(VECTOR, 4, over="operand"),
    lowering=_sort_and_slice,
)

# -- those that only the vendor's compiler can do --------------------------------------
#: Costs are counted from what the instruction set has, as those of opcodes are.
_COMPILED: Mapping[Cost, str] = {
    Passes(SCALAR): """
        AwsNeuronErf AwsNeuronGelu AwsNeuronGeluApprxTanh AwsNeuronSilu
    """,
    Passes(SCALAR, 2): "AwsNeuronGeluBackward AwsNeuronSiluBackward",
    Passes(VECTOR, 4): "AwsNeuronRmsNorm AwsNeuronSoftmax",
    Passes(VECTOR, 3): "AwsNeuronSoftmaxBackward",
    Passes(VECTOR, 2, over="operand"): "AwsNeuronArgMax AwsNeuronArgMin",
    View(): """
        AwsNeuronLNCShardingConstraint AwsNeuronTransferWithStaticRing
        AwsNeuronModuleMarkerEnd-Backward AwsNeuronModuleMarkerEnd-Forward
        AwsNeuronModuleMarkerStart-Backward AwsNeuronModuleMarkerStart-Forward
        NeuronBoundaryMarker-End NeuronBoundaryMarker-Start
    """,
    UNKNOWN_COST: """
        AwsNeuronCollectiveMatmul AwsNeuronCustomNativeKernel AwsNeuronCustomOp
        AwsNeuronDevicePrint AwsNeuronDropoutMaskV1 AwsNeuronIntMatmult QuantizeMX
        ResizeBilinear ResizeNearest ResizeNearestGrad __op$block_scaled_dot
    """,
}


def _records() -> Iterator[CustomCall]:
    yield TOP_K
    common: dict[str, Any] = {"version": _VERSION, "check": accept}
    for cost, names in _COMPILED.items():
        for name in names.split():
            yield CustomCall(target=name, cost=cost, only_compiled=True, **common)


#: Their records, by target.
VENDOR_CALLS: Mapping[str, CustomCall] = MappingProxyType(
    {record.target: record for record in _records()}
)
