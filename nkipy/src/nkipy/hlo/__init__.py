"""HLO, the programs that compilers and simulators take: built, checked, written, read.

Nothing here needs a tracer, a compiler or a device, and importing this package imports
nothing: names are looked up where they are used first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder
    from nkipy.hlo.errors import (
        HLOArgumentError,
        HLOArgumentIndexError,
        HLOArgumentValueError,
        HLOProtoError,
        HLORecordError,
        HLOUnsupportedError,
        HLOVerificationError,
    )
    from nkipy.hlo.interface import (
        MUST_ALIAS_SUFFIX,
        NEFF_INPUT_NAMES,
        NEFF_OUTPUT_NAMES,
    )
    from nkipy.hlo.ir import (
        AliasInfo,
        HLOComputation,
        HLOInstruction,
        HLOModule,
        Shape,
        SourceLocation,
        TensorPlaceholder,
    )
    from nkipy.hlo.opcodes import OPCODES, Opcode, WindowDim
    from nkipy.hlo.options import SimulationOptions
    from nkipy.hlo.printer import print_module
    from nkipy.hlo.proto_reader import read_module
    from nkipy.hlo.proto_writer import digest_module, hash_module, serialize_module
    from nkipy.hlo.verifier import verify_module

__all__ = [
    "MUST_ALIAS_SUFFIX",
    "NEFF_INPUT_NAMES",
    "NEFF_OUTPUT_NAMES",
    "OPCODES",
    "AliasInfo",
    "HLOArgumentError",
    "HLOArgumentIndexError",
    "HLOArgumentValueError",
    "HLOBuilder",
    "HLOComputation",
    "HLOInstruction",
    "HLOModule",
    "HLOProtoError",
    "HLORecordError",
    "HLOUnsupportedError",
    "HLOVerificationError",
    "Opcode",
    "Shape",
    "SimulationOptions",
    "SourceLocation",
    "TensorPlaceholder",
    "WindowDim",
    "digest_module",
    "hash_module",
    "print_module",
    "read_module",
    "serialize_module",
    "verify_module",
]

#: Where the public names are.
_HOMES = {
    "builder": "HLOBuilder",
    "errors": "HLOArgumentError HLOArgumentIndexError HLOArgumentValueError "
    "HLOProtoError HLORecordError HLOUnsupportedError HLOVerificationError",
    "interface": "MUST_ALIAS_SUFFIX NEFF_INPUT_NAMES NEFF_OUTPUT_NAMES",
    "ir": "AliasInfo HLOComputation HLOInstruction HLOModule Shape SourceLocation "
    "TensorPlaceholder",
    "opcodes": "OPCODES Opcode WindowDim",
    "options": "SimulationOptions",
    "printer": "print_module",
    "proto_reader": "read_module",
    "proto_writer": "digest_module hash_module serialize_module",
    "verifier": "verify_module",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
