"""Custom calls: those that the vendor's compiler knows, and those that run here."""

from __future__ import annotations

from collections.abc import Iterator

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.compiler.diagnostics import Diagnostic, about
from nkipy_emulator.compiler.options import CompileOptions

TOP_K = "AwsNeuronTopK"
#: The targets that the documentation lists.
RECOGNIZED = frozenset(
    """
    AwsNeuronArgMax AwsNeuronArgMin AwsNeuronCollectiveMatmul
    AwsNeuronCustomNativeKernel AwsNeuronCustomOp AwsNeuronDevicePrint
    AwsNeuronDropoutMaskV1 AwsNeuronErf AwsNeuronGelu AwsNeuronGeluApprxTanh
    AwsNeuronGeluBackward AwsNeuronIntMatmult AwsNeuronLNCShardingConstraint
    AwsNeuronModuleMarkerEnd-Backward AwsNeuronModuleMarkerEnd-Forward
    AwsNeuronModuleMarkerStart-Backward AwsNeuronModuleMarkerStart-Forward
    AwsNeuronRmsNorm AwsNeuronSilu AwsNeuronSiluBackward AwsNeuronSoftmax
    AwsNeuronSoftmaxBackward AwsNeuronTopK AwsNeuronTransferWithStaticRing
    NeuronBoundaryMarker-End NeuronBoundaryMarker-Start QuantizeMX ResizeBilinear
    ResizeNearest ResizeNearestGrad __op$block_scaled_dot
    """.split()
)


def target(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF015; a warning where a handler has to be registered to run the call."""
    name = inst.attributes["custom_call_target"]
    if name == TOP_K or name in _runnable():
        return
    if name in RECOGNIZED:
        yield about(
            inst,
            "NKIPY_EMU001",
            f"Custom call to {name!r}: the emulator runs it only if "
            "nkipy_emulator.register_custom_call has given it a handler by then.",
            is_warning=True,
        )
        return
    yield about(
        inst,
        "NCC_EVRF015",
        f"Custom call to {name!r}, a target that is not recognized. Recognized are "
        f"{', '.join(sorted(RECOGNIZED))}.",
    )


def _runnable() -> list[str]:
    # Imported here: it loads XLA, which compiling needs for nothing else.
    try:
        from nkipy_emulator.custom_calls import known_targets
    except ImportError:
        return []
    return known_targets()


def top_k(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF013."""
    if inst.attributes["custom_call_target"] != TOP_K or not inst.operands:
        return
    dtype = inst.operands[0].dtype
    if dtype is not None and dt.is_integer(dtype) and dtype.itemsize >= 4:
        yield about(
            inst,
            "NCC_EVRF013",
            f"TopK does not support {dtype.name}. Cast its operand to a floating type.",
        )
