"""The package :mod:`neff`, under the name that it has within spike."""

from neff import (
    HLO_MEMBER,
    INTERFACE_MEMBER,
    PROGRAM_FORMAT,
    PROGRAM_MEMBER,
    PROGRAM_VERSION,
    Alias,
    Limits,
    Neff,
    NeffError,
    NeffHeader,
    TensorInfo,
    read_header,
    read_neff,
)

__all__ = [
    "Alias",
    "HLO_MEMBER",
    "INTERFACE_MEMBER",
    "Limits",
    "Neff",
    "NeffError",
    "NeffHeader",
    "PROGRAM_FORMAT",
    "PROGRAM_MEMBER",
    "PROGRAM_VERSION",
    "TensorInfo",
    "read_header",
    "read_neff",
]
