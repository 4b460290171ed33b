"""Feeds damaged modules to the reader and to the compiler.

The reader returns a module that can be printed, checked, written and read again, or it
raises HLOProtoError or HLOVerificationError; the compiler has a word for each of these.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from nkipy.hlo.errors import HLOProtoError, HLOVerificationError
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.opcodes import OPCODES
from nkipy.third_party.xla.service import hlo_pb2
from nkipy_emulator.compiler.checks import check_module
from nkipy_emulator.compiler.options import read_options, take_apart
from nkipy_emulator.compiler.refusals import explain_refusal
from tests.fuzz.harness import main
from tests.fuzz.mutate import damage
from tests.support.neffs import small_module
from tests.unit.hlo.samples import SAMPLES

CORPUS = [
    small_module().serialize(),
    *(sample.build().serialize() for sample in SAMPLES),
]
OPTIONS = read_options(take_apart("compile m.pb --framework XLA --target trn1".split()))
_NUMBERS = (0, 1, 2, 3, 5, 7, 64, 255, 1 << 20, 1 << 31, (1 << 63) - 1, -1, -(1 << 63))


def make(rng: random.Random) -> bytes:
    """A damaged module: in its bytes, or in fields that stay well-formed."""
    raw = rng.choice(CORPUS)
    if rng.random() < 0.4:
        return damage(rng, raw, CORPUS)
    proto = hlo_pb2.HloModuleProto.FromString(raw)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _alter(rng, proto)
    return proto.SerializeToString()


def _alter(rng: random.Random, message: Any) -> None:
    """Change one field, of this message or of one inside of it."""
    present = [field for field, _ in message.ListFields()]
    anything = list(message.DESCRIPTOR.fields)
    field = rng.choice(present if present and rng.random() < 0.9 else anything)
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return
    if not field.is_repeated:
        _alter_single(rng, message, field, value)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        _alter_messages(rng, value)
    else:
        _alter_list(rng, field, value)


def _alter_single(rng: random.Random, message: Any, field: Any, value: Any) -> None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if rng.random() < 0.1:
            message.ClearField(field.name)
        else:
            _alter(rng, value)
        return
    try:
        setattr(message, field.name, _odd(rng, field))
    except (ValueError, TypeError, OverflowError):
        message.ClearField(field.name)  # a value beyond the field's range


def _alter_messages(rng: random.Random, values: Any) -> None:
    action = rng.random()
    if not len(values) or action < 0.05:
        values.add()
    elif action < 0.15:
        del values[rng.randrange(len(values))]
    elif action < 0.25:
        values.add().CopyFrom(rng.choice(values))
    else:
        _alter(rng, rng.choice(values))


def _alter_list(rng: random.Random, field: Any, values: Any) -> None:
    try:
        if len(values) and rng.random() < 0.3:
            del values[rng.randrange(len(values))]
        elif len(values) and rng.random() < 0.7:
            values[rng.randrange(len(values))] = _odd(rng, field)
        else:
            values.append(_odd(rng, field))
    except (ValueError, TypeError, OverflowError):
        del values[:]


def _odd(rng: random.Random, field: Any) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = rng.choice(("", "x", "main", "\x1b[2J", "a" * 300, *OPCODES))
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return rng.choice((0.0, -1.0, float("inf"), float("nan")))
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice(list(field.enum_type.values_by_number))
    return rng.choice(_NUMBERS)


def attempt(raw: bytes) -> str:
    """Read, check and write it. Raises what these should not."""
    try:
        module = HLOModule.from_proto(raw)
    except (HLOProtoError, HLOVerificationError) as e:
        explained = str(explain_refusal(raw, str(e)))
        if len(explained) > 20_000:
            raise AssertionError(f"{len(explained)} characters of explanation") from e
        return "refused"
    module.to_text()
    check_module(module, OPTIONS)
    again = HLOModule.from_proto(module.serialize())
    assert again.to_text() == module.to_text()
    return "read"


if __name__ == "__main__":
    sys.exit(main(make, attempt))
