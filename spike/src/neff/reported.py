"""What libnrt reports of a loaded NEFF's tensors, completed by what the file says.

libnrt has no name for some element types, and does not say which outputs are written
into inputs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from neff.container import EMULATOR_FEATURE_BIT, read_header
from neff.description import read_neff
from neff.errors import NeffError
from neff.interface import Interface, aliases_by_name
from neff.tensors import UNKNOWN_DTYPE, TensorInfo

logger = logging.getLogger("neff")

# What libnrt calls a dtype, and what a tensor of that may really be.
_REPORTED_AS = {"int8": ("float8_",), "uint8": ("bool", "float8_")}


def _is_ambiguous(reported: str) -> bool:
    """Whether a tensor that libnrt calls `reported` may be of another dtype."""
    return reported in _REPORTED_AS or reported == UNKNOWN_DTYPE


def is_same_dtype(expected: str, reported: str, actual: str) -> bool:
    """Whether a tensor of dtype `actual` is one of `expected`, which libnrt calls
    `reported`. Bytes under libnrt's name are taken for what they are."""
    if actual in (expected, reported) or expected == UNKNOWN_DTYPE:
        return True
    # All that is known is what libnrt says, which may stand for another dtype.
    return expected == reported and actual.startswith(_REPORTED_AS.get(reported, ()))


class Metadata(Protocol):
    """What libnrt says of a tensor: its size in bytes, dtype and shape."""

    @property
    def size(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> Sequence[int]: ...


class Reported(NamedTuple):
    """What a model takes and gives, in libnrt's order, and of each output that is
    written into an input, that input's name."""

    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    aliased: dict[str, str]


def complete(
    path: str | os.PathLike[str],
    reported_inputs: Mapping[str, Metadata],
    reported_outputs: Mapping[str, Metadata],
) -> Reported:
    """What libnrt reported of a file's tensors, with the file's own dtypes where libnrt
    has no name for them, and with aliases: by the file, or else by the names."""
    inputs, outputs = _infos(reported_inputs), _infos(reported_outputs)
    described = _described(path, [t.dtype for t in (*inputs, *outputs)])
    if described is None:
        by_name = aliases_by_name(inputs, outputs)
        described = Interface(inputs, outputs, by_name)
    return Reported(
        _refine(inputs, described.inputs),
        _refine(outputs, described.outputs),
        described.aliased_names,
    )


def _infos(reported: Mapping[str, Metadata]) -> list[TensorInfo]:
    return [
        TensorInfo(name, tensor.dtype, tuple(tensor.shape), tensor.size)
        for name, tensor in reported.items()
    ]


def _described(
    path: str | os.PathLike[str], reported: Iterable[str]
) -> Interface | None:
    """The file's description, if it says more than libnrt, and can be read."""
    try:
        is_emulated = read_header(path).feature_bits & EMULATOR_FEATURE_BIT
        # The vendor's files are large, and mostly say no more than libnrt.
        if is_emulated or any(map(_is_ambiguous, reported)):
            neff = read_neff(path)
            return Interface(neff.inputs, neff.outputs, neff.aliases)
    except (NeffError, OSError) as error:
        logger.info("%s has no description: %s", path, error)
    return None


def _refine(
    reported: Sequence[TensorInfo], described: Sequence[TensorInfo]
) -> list[TensorInfo]:
    dtypes = {tensor.name: tensor.dtype for tensor in described}
    return [
        replace(tensor, dtype=dtypes[tensor.name])
        if _is_ambiguous(tensor.dtype) and tensor.name in dtypes
        else tensor
        for tensor in reported
    ]


def examine(path: str | os.PathLike[str]) -> str:
    """What there is to say of a NEFF that libnrt refused."""
    try:
        neff = read_neff(path, validate_hash=True)
    except (NeffError, OSError) as error:
        return f"Reading the NEFF: {error}"
    device = os.environ.get("NEURON_LOGICAL_NC_CONFIG", "not set")
    return (
        f"The NEFF is for {neff.target or 'an unknown target'}, LNC {neff.lnc}; "
        f"NEURON_LOGICAL_NC_CONFIG is {device}"
    )
