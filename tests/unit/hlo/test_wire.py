"""The wire format against protobuf's own encoder and decoder."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from nkipy.hlo.errors import HLOProtoError
from nkipy.hlo.wire import (
    WIRE_TYPES,
    encode,
    packed_array,
    packed_ints,
    schema_of,
    tag,
    varint,
)
from nkipy.hlo.wire_reader import Reader, read_varint, signed, unpack_array
from nkipy.third_party.xla import xla_data_pb2
from nkipy.third_party.xla.service import hlo_pb2, metrics_pb2
from nkipy.third_party.xla.wire_fields import ENUMS, MESSAGES

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64)
def test_varint(value):
    data = varint(value)
    # Field 1 of a message with an int64, as protobuf writes it.
    message = xla_data_pb2.SourceTarget(source=value).SerializeToString()
    assert message == (b"\x08" + data if value else b"")
    found, end = read_varint(memoryview(data), 0)
    assert (signed(found), end) == (value, len(data))


@given(st.lists(INT64 | st.integers(-3, 300)))
def test_packed_ints(values):
    message = xla_data_pb2.ReplicaGroup(replica_ids=values)
    schema = schema_of(message.DESCRIPTOR.name)
    data = encode(schema, {"replica_ids": values})
    assert data == message.SerializeToString()
    fields = Reader(1000).decode(schema, memoryview(data))
    assert Reader(10000).ints(fields, "replica_ids") == tuple(values)
    assert b"".join(map(varint, values)) == packed_ints(values)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
@pytest.mark.parametrize("size", [1, 7, 70000])
@pytest.mark.parametrize("spread", [1, 100, 1 << 20, 1 << 40])
def test_packed_array(dtype, size, spread):
    random = np.random.default_rng(size)
    info = np.iinfo(dtype)
    low, high = max(info.min, -spread), min(info.max, spread)
    values = random.integers(low, high, size, dtype, endpoint=True)
    values[: min(size, 2)] = [info.max, info.min][: min(size, 2)]
    data = packed_array(values)
    field = {"int32": "s32s", "int64": "s64s", "uint32": "u32s", "uint64": "u64s"}
    message = xla_data_pb2.LiteralProto(**{field[dtype]: values.tolist()})
    assert message.SerializeToString().endswith(data.tobytes())
    found = unpack_array(data, values.dtype)
    assert found.dtype == values.dtype
    assert (found == values).all()


def test_unpack_array_refuses():
    with pytest.raises(HLOProtoError, match="ends inside a number"):
        unpack_array(np.array([1, 0x80], np.uint8), np.dtype("i4"))
    with pytest.raises(HLOProtoError, match="more than ten bytes"):
        unpack_array(np.array([0xFF] * 11 + [1], np.uint8), np.dtype("i4"))
    with pytest.raises(HLOProtoError, match="more than ten bytes"):
        unpack_array(np.array([0xFF] * (1 << 17) + [1], np.uint8), np.dtype("i4"))


def test_unpack_array_across_windows():
    values = np.full(1 << 15, 1 << 30, np.int64)  # five bytes each: windows cut them
    data = packed_array(values)
    assert (unpack_array(data, values.dtype) == values).all()


@given(
    st.builds(
        hlo_pb2.HloInstructionProto,
        name=st.text(max_size=200),
        opcode=st.text(max_size=5),
        parameter_number=INT64,
        exponent_bits=st.integers(-(2**31), 2**31 - 1),
        dimensions=st.lists(INT64, max_size=5),
        is_stable=st.booleans(),
        backend_config=st.binary(max_size=300),
        source_target_pairs=st.lists(
            st.builds(xla_data_pb2.SourceTarget, source=INT64, target=INT64)
        ),
    )
)
def test_decode_is_what_protobuf_decodes(message):
    schema = schema_of(message.DESCRIPTOR.name)
    reader = Reader(10000)
    fields = reader.decode(schema, memoryview(message.SerializeToString()))
    assert fields.get("name", "") == message.name
    assert fields.get("parameter_number", 0) == message.parameter_number
    assert fields.get("exponent_bits", 0) == message.exponent_bits
    assert list(reader.ints(fields, "dimensions")) == list(message.dimensions)
    assert fields.get("is_stable", False) is message.is_stable
    assert bytes(fields.get("backend_config", b"")) == message.backend_config
    pairs = [
        (p.get("source", 0), p.get("target", 0))
        for p in fields.get("source_target_pairs", ())
    ]
    assert pairs == [(p.source, p.target) for p in message.source_target_pairs]


def test_unpacked_numbers_are_read_too():
    schema = schema_of("ReplicaGroup")
    data = b"\x08\x05" + b"\x0a\x02\x06\x07" + b"\x08\x80\x01"
    assert list(xla_data_pb2.ReplicaGroup.FromString(data).replica_ids) == [
        5,
        6,
        7,
        128,
    ]
    reader = Reader(100)
    fields = reader.decode(schema, memoryview(data))
    assert reader.ints(fields, "replica_ids") == (5, 6, 7, 128)


def test_budgets():
    schema = schema_of("ReplicaGroup")
    data = memoryview(b"\x08\x05" * 20)
    with pytest.raises(HLOProtoError, match="too many fields"):
        Reader(19).decode(schema, data)
    fields = Reader(20).decode(schema, data)
    with pytest.raises(HLOProtoError, match="more than 10 elements"):
        Reader(100).ints(fields, "replica_ids", limit=10)


#: Field numbers as XLA has them, so that an edit of our .proto files is noticed.
FIELD_NUMBERS = {
    "HloModuleProto": "name=1 entry_computation_name=2 computations=3 "
    "host_program_shape=4 id=5 entry_computation_id=6 input_output_alias=8 "
    "is_dynamic=11 frontend_attributes=19",
    "HloComputationProto": "name=1 instructions=2 program_shape=4 id=5 root_id=6 "
    "is_fusion_computation=7 execution_thread=8",
    "HloInstructionProto": "name=1 opcode=2 shape=3 metadata=7 literal=8 "
    "parameter_number=9 tuple_index=13 dimensions=14 window=15 "
    "convolution_dimension_numbers=16 slice_dimensions=17 exponent_bits=18 "
    "mantissa_bits=19 dynamic_slice_sizes=20 padding_config=21 channel_id=26 "
    "custom_call_target=28 dot_dimension_numbers=30 gather_dimension_numbers=33 "
    "gather_slice_sizes=34 id=35 operand_ids=36 control_predecessor_ids=37 "
    "called_computation_ids=38 sharding=40 backend_config=43 "
    "scatter_dimension_numbers=48 replica_groups=49 feature_group_count=50 "
    "precision_config=51 source_target_pairs=52 constrain_layout=56 "
    "operand_shapes_with_layout=57 batch_group_count=58 "
    "triangular_solve_options=59 is_stable=60 cholesky_options=62 "
    "comparison_direction=63 custom_call_has_side_effect=65 indices_are_sorted=67 "
    "frontend_attributes=68 unique_indices=69 use_global_device_ids=71 "
    "comparison_type=72 output_operand_aliasing=74 custom_call_schedule=76 "
    "custom_call_api_version=77 collective_device_list=87 "
    "iota_collective_device_list=92",
}


@pytest.mark.parametrize("name", FIELD_NUMBERS)
def test_field_numbers(name):
    fields = getattr(hlo_pb2, name).DESCRIPTOR.fields
    assert " ".join(f"{f.name}={f.number}" for f in fields) == FIELD_NUMBERS[name]


def _descriptors(file):
    """All messages of a generated module, those inside others too."""
    pending = list(file.DESCRIPTOR.message_types_by_name.values())
    while pending:
        message = pending.pop()
        yield message
        pending += message.nested_types


def test_the_table_of_fields_is_what_protobuf_says():
    prefix = f"{hlo_pb2.DESCRIPTOR.package}."
    files = (hlo_pb2, xla_data_pb2, metrics_pb2)
    found = [m for file in files for m in _descriptors(file)]
    assert {m.full_name.removeprefix(prefix) for m in found} == set(MESSAGES)
    for message in found:
        schema = schema_of(message.full_name.removeprefix(prefix))
        assert list(schema.by_name) == [f.name for f in message.fields]
        for field in message.fields:
            row = schema.by_name[field.name]
            name = field.message_type and field.message_type.full_name
            assert row is schema.by_number[field.number]
            assert row.message == (name or "").removeprefix(prefix)
            assert row.tag == _tag_of(field)


def _tag_of(field) -> bytes:
    kinds = {
        value: name.removeprefix("TYPE_").lower()
        for name, value in vars(FieldDescriptor).items()
        if name.startswith("TYPE_")
    }
    kind = kinds[field.type]
    wire_type = WIRE_TYPES["int32" if kind == "enum" else kind]
    return tag(field.number, 2 if field.is_packed else wire_type)


def test_the_table_of_enumerations_is_what_protobuf_says():
    types = xla_data_pb2.PrimitiveType
    assert dict(types.items()) == ENUMS["PrimitiveType"]


def test_writing_and_reading_need_no_protobuf():
    code = (
        "import sys\n"
        "from nkipy.hlo.ir import HLOModule\n"
        "module = HLOModule('m')\n"
        "module.set_results(module.add_parameter((2,), 'float32', 'x'))\n"
        "module.content_hash()\n"
        "HLOModule.from_proto(module.serialize()).to_text()\n"
        "assert 'google.protobuf' not in sys.modules\n"
        "module.to_proto()\n"
        "assert 'google.protobuf' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_messages_have_names_of_their_own():
    # TensorFlow and libneuronxla register xla.* in the same pool.
    assert hlo_pb2.HloModuleProto.DESCRIPTOR.full_name == "nkipy.xla.HloModuleProto"
