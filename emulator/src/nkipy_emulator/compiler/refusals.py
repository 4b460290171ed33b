"""Why a module could not be read, in the vendor's terms.

The reader of modules takes what the emulator can run, and says what it found of
everything else. Here the file is looked at once more, by protobuf's own parser and for
types and opcodes only, to tell what it was that the vendor's compiler has a code for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from nkipy.hlo.errors import HLOProtoError, HLOUnsupportedError
from nkipy.hlo.ir import SourceLocation
from nkipy.hlo.opcodes import OPCODES
from nkipy.hlo.proto_shapes import DTYPES
from nkipy.third_party.xla import xla_data_pb2
from nkipy.third_party.xla.service import hlo_pb2
from nkipy_emulator.compiler.diagnostics import Diagnostic

_TYPE = xla_data_pb2.PrimitiveType
_COMPLEX = {_TYPE.Value("C64"), _TYPE.Value("C128")}
_FNUZ = {_TYPE.Value(name) for name in ("F8E4M3FNUZ", "F8E4M3B11FNUZ", "F8E5M2FNUZ")}
_OTHER_FP8 = {_TYPE.Value("F8E3M4"), 33}  # 33 is F8E8M0FNU, younger than our .proto
_NO_ARRAYS = {_TYPE.Value(name) for name in ("TUPLE", "OPAQUE_TYPE", "TOKEN")}
#: Known to the vendor's compiler by its published list, and not to us.
_VENDORS_OPCODES = frozenset(
    """
    all-gather-start all-gather-done all-reduce-start all-reduce-done
    batch-norm-grad batch-norm-inference batch-norm-training
    collective-permute-start collective-permute-done map rng rng-bit-generator
    select-and-scatter
    """.split()
)
_RNG_ALGORITHM_FIELD = 70
_MAX_TUPLE_DEPTH = 8


def explain_refusal(raw: bytes, refusal: HLOProtoError) -> Diagnostic:
    """Why the module in `raw` was refused.

    Args:
        raw: the file's bytes.
        refusal: what the reader said; the answer if nothing better is found. What it
            lacks itself is the emulator's fault, and not the module's.
    """
    try:
        proto = hlo_pb2.HloModuleProto.FromString(raw)
    except DecodeError:
        message = f"The file is no HloModuleProto: {refusal}."
        return Diagnostic("NCC_EVRF064", message)
    if proto.is_dynamic:
        return _dynamic()
    for computation in proto.computations:
        for inst in computation.instructions:
            found = _first_finding(inst)
            if found is not None:
                return found
    if isinstance(refusal, HLOUnsupportedError):
        message = f"The module cannot be run by the emulator: {refusal}."
        return Diagnostic("NKIPY_EMU001", message)
    return Diagnostic("NCC_EVRF064", f"HLO verification failed: {refusal}.")


def _dynamic(inst: Any = None) -> Diagnostic:
    message = (
        "Dynamic shape is not supported: all dimensions have to be static. Compile "
        "for one shape at a time."
    )
    return _of("NCC_EMOD025", message, inst)


def _of(code: str, message: str, inst: Any) -> Diagnostic:
    if inst is None:
        return Diagnostic(code, message)
    location = None
    if inst.metadata.source_file:
        metadata = inst.metadata
        location = SourceLocation(metadata.source_file, metadata.source_line)
    text = f"%{inst.name} = {_shape_text(inst.shape)} {inst.opcode}"
    return Diagnostic(code, message, text, location)


def _shape_text(shape: Any) -> str:
    return f"{_type_name(shape.element_type)}{list(shape.dimensions)[:16]}"


def _type_name(number: int) -> str:
    try:
        return _TYPE.Name(number).lower()
    except ValueError:
        return f"element type {number}"


def _first_finding(inst: Any) -> Diagnostic | None:
    for find in _FINDERS:
        found = find(inst)
        if found is not None:
            return found
    return None


def _find_dynamic(inst: Any) -> Diagnostic | None:
    if any(any(s.is_dynamic_dimension) for s in _shapes(inst.shape)):
        return _dynamic(inst)
    return None


def _find_type(inst: Any) -> Diagnostic | None:
    for shape in _shapes(inst.shape):
        found = _type_finding(inst, shape.element_type)
        if found is not None:
            return found
    return None


def _shapes(shape: Any, depth: int = 0) -> Iterator[Any]:
    yield shape
    if depth < _MAX_TUPLE_DEPTH:
        for element in shape.tuple_shapes:
            yield from _shapes(element, depth + 1)


def _type_finding(inst: Any, number: int) -> Diagnostic | None:
    name = _type_name(number)
    if number in _COMPLEX:
        message = f"Complex data type {name} is not supported: use two real arrays."
        return _of("NCC_EVRF004", message, inst)
    if number in _FNUZ:
        message = f"Data type {name} is not supported: use float16 or bfloat16."
        return _of("NCC_EVRF005", message, inst)
    if number in _OTHER_FP8:
        message = f"8-bit floating type {name} is not supported: use float16."
        return _of("NCC_ESPP047", message, inst)
    if number not in _NO_ARRAYS and number not in DTYPES:
        message = f"Data type {name} is not supported for code generation."
        return _of("NCC_ESPP004", message, inst)
    return None


def _find_opcode(inst: Any) -> Diagnostic | None:
    if inst.opcode in OPCODES:
        return None
    if inst.opcode == "rng-bit-generator" and _rng_algorithm(inst):
        message = "RngBitGenerator supports the algorithm RNG_DEFAULT only."
        return _of("NCC_EVRF006", message, inst)
    if inst.opcode in _VENDORS_OPCODES:
        message = f"Operator {inst.opcode} cannot be run by the emulator."
        return _of("NKIPY_EMU001", message, inst)
    message = (
        f"Operator {inst.opcode!r} is not supported. list-operators prints those that "
        "are."
    )
    return _of("NCC_EVRF001", message, inst)


def _rng_algorithm(inst: Any) -> int:
    """A field that our .proto does not have; 0 is RNG_DEFAULT."""
    unknown = UnknownFieldSet(inst)
    for item in (unknown[i] for i in range(len(unknown))):
        if item.field_number == _RNG_ALGORITHM_FIELD and isinstance(item.data, int):
            return item.data
    return 0


_FINDERS: tuple[Callable[[Any], Diagnostic | None], ...] = (
    _find_dynamic,
    _find_type,
    _find_opcode,
)
