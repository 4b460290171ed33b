"""Modules that the emulator cannot even read: what the compiler says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo.ir import HLOModule
from nkipy.third_party.xla import xla_data_pb2
from nkipy.third_party.xla.service import hlo_pb2
from tests.unit.compiler.conftest import Compile


def _proto() -> Any:
    def kernel(a: Any) -> Any:
        return np.exp(a)  # line of the instruction

    return trace_function(kernel, (np.zeros((2, 3), np.float32),), {}).module.to_proto()


def _instruction(proto: Any, opcode: str) -> Any:
    (computation,) = proto.computations
    return next(i for i in computation.instructions if i.opcode == opcode)


def _with_type(name: str) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        number = xla_data_pb2.PrimitiveType.Value(name)
        _instruction(proto, "exponential").shape.element_type = number

    return change


def _with_opcode(name: str, extra: bytes = b"") -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        inst = _instruction(proto, "exponential")
        inst.opcode = name
        inst.MergeFromString(inst.SerializeToString() + extra)

    return change


def _dynamic(proto: Any) -> None:
    _instruction(proto, "exponential").shape.is_dynamic_dimension[0] = True


def _dynamic_module(proto: Any) -> None:
    proto.is_dynamic = True


def _no_operand(proto: Any) -> None:
    _instruction(proto, "exponential").operand_ids.clear()


def _wrong_shape(proto: Any) -> None:
    _instruction(proto, "exponential").shape.dimensions[0] = 7


def _unknown_field(proto: Any) -> None:
    proto.MergeFromString(b"\xf8\x07\x01")


def _column_major(proto: Any) -> None:
    shape = _instruction(proto, "exponential").shape
    shape.dimensions[:] = [2, 2]
    shape.is_dynamic_dimension[:] = [False, False]
    shape.layout.minor_to_major[:] = [0, 1]


def _no_root(proto: Any) -> None:
    proto.computations[0].root_id = 12345


#: Field 70, XLA's rng_algorithm, with value 1 (Threefry).
_THREEFRY = bytes([0xB0, 0x04, 0x01])


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (_dynamic, "NCC_EMOD025", "Dynamic shape"),
        (_dynamic_module, "NCC_EMOD025", "Dynamic shape"),
        (_with_type("C64"), "NCC_EVRF004", "c64"),
        (_with_type("C128"), "NCC_EVRF004", "c128"),
        (_with_type("F8E4M3FNUZ"), "NCC_EVRF005", "f8e4m3fnuz"),
        (_with_type("F8E5M2FNUZ"), "NCC_EVRF005", "f8e5m2fnuz"),
        (_with_type("F8E4M3B11FNUZ"), "NCC_EVRF005", "f8e4m3b11fnuz"),
        (_with_type("F8E3M4"), "NCC_ESPP047", "f8e3m4"),
        (_with_type("S4"), "NCC_ESPP004", "s4"),
        (_with_type("U2"), "NCC_ESPP004", "u2"),
        (_with_opcode("fft"), "NCC_EVRF001", "'fft'"),
        (_with_opcode("no-such-thing"), "NCC_EVRF001", "'no-such-thing'"),
        (_with_opcode("rng-bit-generator"), "NKIPY_EMU001", "rng-bit-generator"),
        (_with_opcode("select-and-scatter"), "NKIPY_EMU001", "select-and-scatter"),
        (_with_opcode("rng-bit-generator", _THREEFRY), "NCC_EVRF006", "RNG_DEFAULT"),
        (_unknown_field, "NKIPY_EMU001", "cannot be run by the emulator"),
        (_column_major, "NKIPY_EMU001", "row-major"),
        (_no_operand, "NCC_EVRF064", "0 operands instead of 1"),
        (_wrong_shape, "NCC_EVRF064", "has to be"),
        (_no_root, "NCC_EVRF064", "no root"),
    ],
)
def test_refused(
    change: Callable[[Any], None], code: str, text: str, compile_module: Compile
) -> None:
    proto = _proto()
    change(proto)
    done = compile_module(proto.SerializeToString())
    message = done.stderr.decode()
    assert done.returncode == 70
    assert message.startswith(f"[ERROR] [{code}] ") and text in message


def test_the_source_line_is_named(compile_module: Compile) -> None:
    proto = _proto()
    _with_type("C64")(proto)
    done = compile_module(proto.SerializeToString())
    line = _proto.__code__.co_firstlineno + 2
    assert f"exponential\n    at {__file__}:{line}\n" in done.stderr.decode()


@pytest.mark.parametrize(
    "raw", [b"", b"\xff" * 100, b"\x0a\x04abc", b"not a proto", b"\x1a" * 1000]
)
def test_noise(raw: bytes, compile_module: Compile) -> None:
    done = compile_module(raw)
    assert done.returncode == 70
    assert done.stderr.startswith(b"[ERROR] [NCC_EVRF064] ")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"ML\xefR\0rest", "MLIR bytecode"),
        (b"HloModule m\n", "HLO in text form"),
        (b"module @m {", "MLIR in text form"),
        (b"\x1f\x8b\x08rest", "a gzip file"),
    ],
)
def test_other_kinds_of_file_are_named(
    raw: bytes, text: str, compile_module: Compile
) -> None:
    done = compile_module(raw)
    assert done.returncode == 1
    assert f"is {text}" in done.stderr.decode()


def test_names_cannot_drive_a_terminal(compile_module: Compile) -> None:
    proto = _proto()
    inst = _instruction(proto, "exponential")
    inst.name = "\x1b]0;owned\x07"
    inst.opcode = "fft"
    done = compile_module(proto.SerializeToString())
    assert b"\x1b" not in done.stderr and rb"\x1b]0;owned" in done.stderr


def test_a_deeply_nested_proto(compile_module: Compile) -> None:
    shape = b""
    for _ in range(10_000):
        shape = b"\x22" + _varint(len(shape)) + shape  # tuple_shapes
    inst = b"\x1a" + _varint(len(shape)) + shape
    computation = b"\x12" + _varint(len(inst)) + inst
    done = compile_module(b"\x1a" + _varint(len(computation)) + computation)
    assert done.returncode == 70 and b"[NCC_EVRF064]" in done.stderr


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_a_message_of_another_module_is_a_refusal(compile_module: Compile) -> None:
    assert compile_module(HLOModule("empty").serialize()).returncode in (0, 70)
    message = hlo_pb2.HloModuleProto(name="x", entry_computation_id=7)
    assert compile_module(message.SerializeToString()).returncode == 70
