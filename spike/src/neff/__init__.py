"""Reads a NEFF and describes it, without a Neuron device and without libnrt.

A NEFF is a header and a tar. The vendor's hold machine code and descriptions of it;
those of our emulator hold the program as HLO. :func:`read_neff` reads the descriptions
of both, and runs nothing. It needs no more than the standard library.
"""

from neff.container import NeffHeader, read_header
from neff.description import (
    HLO_MEMBER,
    PROGRAM_FORMAT,
    PROGRAM_MEMBER,
    PROGRAM_VERSION,
    Neff,
    read_neff,
)
from neff.errors import NeffError
from neff.interface import INTERFACE_MEMBER
from neff.tar import Limits
from neff.tensors import Alias, TensorInfo

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

__version__ = "0.1.0"
