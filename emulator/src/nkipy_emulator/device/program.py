"""Reads the program in a NEFF, and decides whether it may run on a core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neff import Neff, TensorInfo, read_neff
from neff.container import EMULATOR_FEATURE_BIT, HEADER_SIZE, NeffHeader
from neff.status import NrtStatus
from nkipy.chips import find_chip
from nkipy.hlo.ir import HLOModule, TensorPlaceholder
from nkipy.hlo.written import read_written
from nkipy_emulator.device.options import LoadOptions
from nkipy_emulator.device.status import DeviceError

if TYPE_CHECKING:
    from nkipy.hlo.options import SimulationOptions

_EXACT = {"auto_cast": "none", "fast_compile": False}


@dataclass(frozen=True)
class Program:
    """What a NEFF asks to run: its description, and the module, verified."""

    neff: Neff
    numerics: SimulationOptions | None
    module: HLOModule


def read_program(content: Any, options: LoadOptions) -> Program:
    """The program in the bytes of a NEFF.

    Raises:
        NeffError: the container, or a member, is malformed.
        DeviceError: it holds machine code, was compiled for another core than this one,
            or its parts contradict each other.
        HLOProtoError, HLOVerificationError: the module is malformed.
    """
    # The header alone tells: what else the vendor's files have is not ours to judge.
    header = NeffHeader.unpack(bytes(content[:HEADER_SIZE]), len(content))
    if not header.feature_bits & EMULATOR_FEATURE_BIT:
        raise DeviceError(
            NrtStatus.UNSUPPORTED_NEFF_VERSION,
            "this NEFF holds machine code for a Neuron device, which the emulator "
            "cannot run; compile the kernel with the emulator's compiler "
            "(NKIPY_COMPILER=emulator)",
        )
    neff = read_neff(content, validate_hash=options.validate_hash)
    _check_target(neff.target or "", options)
    _check_lnc(neff.lnc, options)
    module = read_written(bytes(neff.hlo))
    _check_tensors("inputs", neff.inputs, module.inputs)
    _check_tensors("outputs", neff.outputs, module.outputs)
    return Program(neff, _numerics(neff), module)


def _generation(target: str) -> int:
    """Of the chip's cores; -1 of what is no target."""
    chip = find_chip(target)
    return chip.generation if chip is not None and target in chip.targets else -1


def _check_target(target: str, options: LoadOptions) -> None:
    if not options.target:
        return
    found, here = _generation(target), _generation(options.target)
    if found == here and found >= 0:
        return
    is_older = 0 <= found < here
    if is_older and options.allow_legacy:
        return
    hint = ", or set NEURON_RT_ALLOW_LEGACY_NEFF=1" if is_older else ""
    raise DeviceError(
        NrtStatus.UNSUPPORTED_NEFF_VERSION,
        f"the NEFF was compiled for {target}, and this core is a {options.target}; "
        f"compile it with --target {options.target}{hint}",
    )


def _check_lnc(lnc: int, options: LoadOptions) -> None:
    if options.lnc and lnc != options.lnc:
        raise DeviceError(
            NrtStatus.INVALID,
            f"the NEFF was compiled with --lnc {lnc}, and a logical core here has "
            f"{options.lnc} physical core(s); compile it with --lnc {options.lnc}, or "
            f"set NEURON_LOGICAL_NC_CONFIG={lnc}",
        )


def _check_tensors(
    what: str, described: Sequence[TensorInfo], actual: Sequence[TensorPlaceholder]
) -> None:
    """What clients are told must be what XLA reads and writes."""
    told = [(t.name, t.dtype, tuple(t.shape)) for t in described]
    true = [(t.name, t.dtype.name, t.shape) for t in actual]
    if told != true:
        raise DeviceError(
            NrtStatus.INVALID,
            f"the NEFF describes other {what} than its program has: {told} for {true}",
        )


def _numerics(neff: Neff) -> SimulationOptions | None:
    """How to compute; None is exactly."""
    numerics = dict(neff.numerics)
    if numerics.get("auto_cast", "none") == "none":
        numerics.pop("auto_cast_type", None)
    if all(_EXACT.get(name) == value for name, value in numerics.items()):
        return None
    # Not before it is needed: mostly it is not.
    from nkipy.hlo.options import SimulationOptions

    try:
        return SimulationOptions(**numerics)
    except (TypeError, ValueError) as e:
        raise DeviceError(NrtStatus.INVALID, f"the NEFF's numerics: {e}") from None
