"""Reading modules back, and reading what no writer would write."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from nkipy.hlo import proto_reader
from nkipy.hlo.errors import (
    HLOProtoError,
    HLOUnsupportedError,
    HLOVerificationError,
)
from nkipy.hlo.ir import AliasInfo, HLOModule, Shape, SourceLocation
from nkipy.third_party.xla import xla_data_pb2
from nkipy.third_party.xla.service import hlo_pb2
from tests.support.xla import xla_hlo
from tests.unit.hlo.samples import SAMPLES, Sample, instruction, reducer

REFUSALS = (HLOProtoError, HLOVerificationError)


def row_sums() -> HLOModule:
    """A module with a callee, a constant, an alias, a source line, and odd names."""
    module = HLOModule("row_sums")
    x = module.add_parameter((2, 3), "float32", "tree['x']")
    zero = instruction("constant", (), "f32[]", {"literal": np.array(2, np.float32)})
    module.add_operation(zero)
    attributes = {"dimensions": (1,), "to_apply": reducer()}
    total = module.add_operation(instruction("reduce", (x, zero), "f32[2]", attributes))
    total.source_location = SourceLocation("kernel.py", 3)
    double = module.add_operation(instruction("add", (x, x), "f32[2,3]"))
    module.set_results([total, double], ["sums", "x"])
    module.aliases = [AliasInfo(1, 0, "tree['x']", True)]
    module.verify()
    return module


def message() -> hlo_pb2.HloModuleProto:
    return row_sums().to_proto()


def refuse(proto: hlo_pb2.HloModuleProto | bytes, text: str) -> None:
    with pytest.raises(REFUSALS) as caught:
        HLOModule.from_proto(proto)
    assert text in str(caught.value)


# -- what our writer writes ------------------------------------------------------------
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.label)
def test_round_trip(sample: Sample):
    data = sample.build().serialize()
    module = HLOModule.from_proto(data)
    assert module.serialize() == data
    assert module.content_hash() == sample.build().content_hash()
    assert HLOModule.from_proto(module.to_proto()).serialize() == data


def test_round_trip_keeps_the_interface():
    module = HLOModule.from_proto(row_sums().serialize())
    assert module.name == "row_sums"
    assert [p.name for p in module.parameters] == ["tree['x']"]
    assert module.output_names == ["sums", "x"]
    assert [r.opcode for r in module.results] == ["reduce", "add"]
    assert module.aliases == row_sums().aliases
    assert module.results[0].source_location == ("kernel.py", 3)
    assert [i.opcode for i in module.operations] == ["constant", "reduce", "add"]
    assert module.content_hash() == row_sums().content_hash()


def test_attributes_are_read_as_they_were():
    for sample in SAMPLES:
        module = HLOModule.from_proto(sample.build().serialize())
        op = next(
            i for i in module.entry.instructions[::-1] if i.opcode == sample.opcode
        )
        for name, value in sample.attributes.items():
            found = op.attributes[name]
            if isinstance(value, np.ndarray):
                assert found.dtype == value.dtype and found.shape == value.shape
                assert found.tobytes() == value.tobytes()
                assert not found.flags.writeable
            elif name not in ("to_apply", "condition", "body", "branches"):
                assert found == value and type(found) is type(value), (sample, name)


@pytest.mark.parametrize("count", [0, 1])
def test_round_trip_of_results_that_are_parameters(count):
    module = HLOModule("test")
    module.set_results([module.add_parameter((), "int32", "result")] * count)
    data = module.serialize()
    again = HLOModule.from_proto(data)
    assert again.serialize() == data
    assert again.results == again.parameters[:count]


# -- what XLA writes -------------------------------------------------------------------
@pytest.fixture(scope="module")
def xla():
    return xla_hlo()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.label)
def test_reads_what_xla_makes_of_it(xla, sample: Sample):
    module = xla.HloModule.from_serialized_hlo_module_proto(sample.build().serialize())
    again = HLOModule.from_proto(module.as_serialized_hlo_module_proto())
    written = xla.HloModule.from_serialized_hlo_module_proto(again.serialize())
    assert written.to_string() == module.to_string()


def from_text(xla, *lines: str) -> HLOModule:
    text = "\n".join(["HloModule test", "ENTRY main {", *lines, "}"])
    proto = xla.hlo_module_from_text(text).as_serialized_hlo_module_proto()
    return HLOModule.from_proto(proto)


def test_root_that_is_neither_copy_nor_tuple(xla):
    module = from_text(xla, "a = f32[2] parameter(0)", "ROOT b = f32[2] negate(a)")
    assert [r.opcode for r in module.results] == ["negate"]
    assert module.output_names == ["output0"]


def test_root_copy_of_another_writer_is_an_operation(xla):
    module = from_text(xla, "a = f32[2] parameter(0)", "ROOT b = f32[2] copy(a)")
    assert [r.opcode for r in module.results] == ["copy"]


def test_root_with_a_tuple_result_is_taken_apart(xla):
    module = from_text(
        xla,
        "a = f32[2] parameter(0)",
        'ROOT b = (f32[2], s32[]) custom-call(a), custom_call_target="T"',
    )
    assert [r.opcode for r in module.results] == ["get-tuple-element"] * 2
    assert [r.shape_text() for r in module.results] == ["f32[2]", "s32[]"]


def test_root_in_the_middle(xla):
    module = from_text(
        xla,
        "a = f32[2] parameter(0)",
        "ROOT t = (f32[2], f32[2]) tuple(a, a)",
        "e = f32[2] get-tuple-element(t), index=0",
        'c = f32[2] custom-call(e), custom_call_target="T"',
    )
    assert [r.opcode for r in module.results] == ["parameter"] * 2
    assert "tuple" in [i.opcode for i in module.operations]


def test_iota_replica_groups(xla):
    module = from_text(
        xla,
        "a = f32[2] parameter(0)",
        "ROOT g = f32[4] all-gather(a), replica_groups=[4,2]<=[2,4]T(1,0), "
        "dimensions={0}",
    )
    groups = module.results[0].attributes["replica_groups"]
    assert groups == ((0, 4), (1, 5), (2, 6), (3, 7))


@pytest.mark.parametrize(
    "lines",
    [
        ("ROOT a = (f32[], (f32[])) parameter(0)",),
        ("ROOT a = c64[2] parameter(0)",),
        ("ROOT a = f32[<=2] parameter(0)",),
        ("ROOT a = f32[2,3]{0,1} parameter(0)",),
        ("ROOT a = f32[2]{0:T(2)} parameter(0)",),
        ("ROOT a = token[] after-all()",),
        (
            "a = c64[2] parameter(0)",
            "ROOT b = c64[2] fft(a), fft_type=FFT, fft_length={2}",
        ),
        (
            "a = f32[2] parameter(0)",
            "b = f32[2] negate(a)",
            "ROOT c = f32[2] sign(a), control-predecessors={b}",
        ),
        (
            "a = f32[2] parameter(0)",
            "ROOT b = pred[2] compare(a, a), direction=LT, type=TOTALORDER",
        ),
        (
            "a = f32[2] parameter(0)",
            "ROOT b = f32[4] all-gather(a), replica_groups={{0,1}}, dimensions={0}, "
            "channel_id=1",
        ),
    ],
    ids=lambda lines: lines[-1],
)
def test_refuses_what_we_do_not_have(xla, lines):
    with pytest.raises(HLOProtoError):
        from_text(xla, *lines)


# -- malformed messages ----------------------------------------------------------------
def _entry(proto: hlo_pb2.HloModuleProto) -> hlo_pb2.HloComputationProto:
    return proto.computations[-1]


def _instruction(proto: hlo_pb2.HloModuleProto, opcode: str):
    return next(i for i in _entry(proto).instructions if i.opcode == opcode)


def _set(path: str, value: object) -> Callable[[hlo_pb2.HloModuleProto], None]:
    """``constant.literal.f32s`` and the like of the entry's instructions."""
    opcode, *names, last = path.split(".")

    def change(proto: hlo_pb2.HloModuleProto) -> None:
        target = _instruction(proto, opcode)
        for name in names:
            target = getattr(target, name)
        if isinstance(value, list):
            del getattr(target, last)[:]
            getattr(target, last).extend(value)
        else:
            setattr(target, last, value)

    return change


def _nest(proto: hlo_pb2.HloModuleProto) -> None:
    shape = _instruction(proto, "add").shape
    for _ in range(90):
        shape.element_type = xla_data_pb2.TUPLE
        shape = shape.tuple_shapes.add()


def _double_computation(proto: hlo_pb2.HloModuleProto) -> None:
    proto.computations.add().CopyFrom(proto.computations[0])


MALFORMED = {
    "cycle": (_set("add.operand_ids", [6, 6]), "no instruction of id 6 comes before"),
    "unknown operand": (_set("add.operand_ids", [99]), "no instruction of id 99"),
    "negative operand": (_set("add.operand_ids", [-1]), "no instruction of id -1"),
    "duplicate id": (_set("reduce.id", 4), "id 4 occurs twice"),
    "id of a callee": (_set("constant.id", 0), "id 0 occurs twice"),
    "unknown opcode": (_set("add.opcode", "fma"), "'add.6' (fma): unknown opcode"),
    "wrong shape": (_set("add.shape.dimensions", [3, 2]), "has to be f32[2,3]"),
    "negative dimension": (_set("add.shape.dimensions", [-2, 3]), "negative"),
    "huge rank": (_set("add.shape.dimensions", [1] * 100), "more than 64"),
    "huge array": (_set("parameter.shape.dimensions", [1 << 40, 1 << 40]), "declares"),
    "dynamic": (_set("add.shape.is_dynamic_dimension", [True, False]), "dynamic"),
    "flags of another rank": (_set("add.shape.is_dynamic_dimension", [False]), "dyn"),
    "no element type": (_set("add.shape.element_type", 0), "PRIMITIVE_TYPE_INVALID"),
    "wrong element type": (_set("add.shape.element_type", 4), "has to be f32[2,3]"),
    "unheard-of type": (_set("add.shape.element_type", 99), "element type 99"),
    "token": (_set("add.shape.element_type", 17), "TOKEN is no element type"),
    "nested tuples": (_nest, "nest deeper"),
    "column-major": (_set("add.shape.layout.minor_to_major", [0, 1]), "row-major"),
    "memory space": (_set("add.shape.layout.memory_space", 5), "row-major"),
    "literal too long": (
        _set("constant.literal.f32s", [1, 2]),
        "elements of f32 has 2",
    ),
    "literal too short": (_set("constant.literal.f32s", []), "elements of f32 has 0"),
    "literal of another type": (_set("constant.literal.s32s", [1]), "data in s32s"),
    "literal of another shape": (
        _set("constant.literal.shape.dimensions", [1]),
        "the literal's shape is not f32[]",
    ),
    "huge literal": (
        lambda p: (
            _set("constant.shape.dimensions", [1 << 30, 1 << 30])(p),
            _set("constant.literal.shape.dimensions", [1 << 30, 1 << 30])(p),
        ),
        "a literal of shape f32[1073741824,1073741824]",
    ),
    "literal elsewhere": (
        lambda p: _instruction(p, "add").literal.f32s.append(1),
        "literal is not supported here",
    ),
    "attribute elsewhere": (_set("add.dimensions", [1]), "dimensions is not supported"),
    "unknown callee": (_set("reduce.called_computation_ids", [7]), "of id 7 comes"),
    "calls itself": (_set("reduce.called_computation_ids", [1]), "of id 1 comes"),
    "too many callees": (_set("reduce.called_computation_ids", [0, 0]), "2 callees"),
    "no callee": (_set("reduce.called_computation_ids", []), "0 callees instead of 1"),
    "callees elsewhere": (_set("add.called_computation_ids", [0]), "1 callees"),
    "parameter gap": (_set("parameter.parameter_number", 3), "numbered [3]"),
    "negative parameter": (_set("parameter.parameter_number", -1), "numbered [-1]"),
    "no root": (lambda p: setattr(_entry(p), "root_id", 99), "no instruction of id 99"),
    "no entry": (
        lambda p: setattr(p, "entry_computation_id", 9),
        "computation of id 9",
    ),
    "no computations": (lambda p: p.ClearField("computations"), "no entry computation"),
    "computation twice": (_double_computation, "a second computation of id 0"),
    "empty callee": (lambda p: p.computations[0].ClearField("instructions"), "no root"),
    "fusion": (lambda p: setattr(_entry(p), "is_fusion_computation", True), "fusion"),
    "dynamic module": (lambda p: setattr(p, "is_dynamic", True), "dynamic"),
    "wrong interface": (
        lambda p: p.host_program_shape.parameters.add().CopyFrom(
            _instruction(p, "add").shape
        ),
        "the host program shape declares other parameters",
    ),
    "wrong result": (
        lambda p: p.host_program_shape.ClearField("result"),
        "PRIMITIVE_TYPE_INVALID",
    ),
    "names of outputs": (
        lambda p: _instruction(p, "tuple").frontend_attributes.map.update(
            neff_output_names="one"
        ),
        "1 names of outputs for 2 results",
    ),
    "alias of a part": (
        lambda p: p.input_output_alias.entries[0].parameter_shape_index.append(0),
        "part of a parameter",
    ),
    "alias of no parameter": (
        lambda p: setattr(p.input_output_alias.entries[0], "parameter_number", -1),
        "an alias of parameter -1",
    ),
    "alias of another output": (
        lambda p: p.input_output_alias.entries[0].output_shape_index.__setitem__(0, 0),
        "output 0 is f32[2], but parameter",
    ),
    "alias of a nested output": (
        lambda p: p.input_output_alias.entries[0].output_shape_index.append(0),
        "an alias of output [1, 0]",
    ),
}


#: Those that XLA may take: it is we who lack something.
UNSUPPORTED = {
    "unknown opcode",
    "dynamic",
    "unheard-of type",
    "token",
    "column-major",
    "memory space",
    "literal elsewhere",
    "attribute elsewhere",
    "fusion",
    "dynamic module",
    "alias of a part",
    "alias of a nested output",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    change, text = MALFORMED[name]
    proto = message()
    change(proto)
    refuse(proto, text)
    with pytest.raises(REFUSALS) as caught:
        HLOModule.from_proto(proto)
    assert isinstance(caught.value, HLOUnsupportedError) == (name in UNSUPPORTED)


def _several_operands(proto: hlo_pb2.HloModuleProto) -> None:
    add = _instruction(proto, "add")
    add.opcode = "all-gather"
    add.dimensions.append(0)


def test_more_operands_than_we_take_of_what_xla_takes_several():
    proto = message()
    _several_operands(proto)
    with pytest.raises(HLOUnsupportedError, match="2 operands instead of 1"):
        HLOModule.from_proto(proto)
    _instruction(proto, "all-gather").ClearField("operand_ids")
    with pytest.raises(HLOVerificationError, match="0 operands instead of 1") as caught:
        HLOModule.from_proto(proto)
    assert not isinstance(caught.value, HLOUnsupportedError)


def test_a_parameter_that_is_a_tuple_is_not_supported():
    module = HLOModule("m")
    shapes = (Shape(np.dtype(np.float32), (2,)),)
    pair = module.entry.add_parameter((), None, "p", tuple_shapes=shapes)
    module.set_results(
        module.add_operation(
            instruction("get-tuple-element", (pair,), "f32[2]", {"index": 0})
        )
    )
    with pytest.raises(HLOUnsupportedError, match="parameter 'p' is a tuple, which"):
        module.verify()


@pytest.mark.parametrize("count", [1, 2])
def test_a_root_of_another_shape_than_its_operands_is_refused(count):
    """Of the root that writers add, which is not kept, nothing else would tell."""
    module = HLOModule("m")
    x = module.add_parameter((2, 3), "float32", "x")
    names = [f"y{i}" for i in range(count)]
    values = [module.add_operation(instruction("negate", (x,), "f32[2,3]"))]
    values += [x] * (count - 1)
    module.set_results(values, names)
    module.verify()
    proto = module.to_proto()
    assert HLOModule.from_proto(proto).to_text() == module.to_text()
    root = next(i for i in _entry(proto).instructions if i.id == _entry(proto).root_id)
    programs = proto.host_program_shape, _entry(proto).program_shape
    shapes = [root.shape, *(p.result for p in programs)]
    for shape in shapes:
        array = shape.tuple_shapes[0] if count > 1 else shape
        array.dimensions[:] = [3, 2]
    refuse(proto, "the root %result is declared as")
    for shape in shapes:
        array = shape.tuple_shapes[0] if count > 1 else shape
        array.dimensions[:] = [2, 3]
        array.element_type = xla_data_pb2.S32
    refuse(proto, f"makes of its {count} operands")


@pytest.mark.parametrize("value", [None, "text", 3, [1]])
def test_neither_bytes_nor_message(value):
    with pytest.raises(TypeError, match="its bytes for 'proto'"):
        HLOModule.from_proto(value)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer(kind):
    data = row_sums().serialize()
    assert HLOModule.from_proto(kind(data)).serialize() == data


def test_unknown_fields():
    data = row_sums().serialize()
    refuse(data + b"\xf8\x07\x01", "the module has fields that are not supported: 127")
    assert HLOModule.from_proto(data + b"\xf8\x07\x00").serialize() == data
    # A schedule says nothing about results.
    assert HLOModule.from_proto(data + b"\x3a\x02\x08\x01").serialize() == data


# -- limits ----------------------------------------------------------------------------
def test_limits(monkeypatch):
    data = row_sums().serialize()
    monkeypatch.setattr(proto_reader, "MAX_INSTRUCTIONS", 7)
    refuse(data, "8 instructions; 7 is most")
    monkeypatch.setattr(proto_reader, "MAX_FIELDS", 50)
    refuse(data, "too many fields")
    monkeypatch.setattr(proto_reader, "MAX_MODULE_BYTES", 100)
    refuse(data, "100 is most")


def test_groups_of_too_many_devices():
    proto = next(s for s in SAMPLES if s.opcode == "all-gather").build().to_proto()
    inst = _instruction(proto, "all-gather")
    del inst.replica_groups[:]
    iota = inst.collective_device_list.iota_replica_group_list
    iota.num_replica_groups, iota.num_devices_per_group = 1, 1 << 62
    iota.iota_reshape_dims.extend([1 << 31, 1 << 31])
    refuse(proto, "malformed iota_replica_group_list")


def peak_of(call: Callable[[], None]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_small_message_cannot_claim_much_memory():
    def change(proto: hlo_pb2.HloModuleProto, dims: list[int]) -> None:
        _set("constant.shape.dimensions", dims)(proto)
        _set("constant.literal.shape.dimensions", dims)(proto)

    proto = message()
    change(proto, [1 << 40])
    assert peak_of(lambda: refuse(proto, "elements of f32 has 1")) < 1 << 20


@pytest.mark.parametrize("field", [b"\x1a\x00", b"\x1a\x02\x12\x00", b"\x22\x00"])
def test_a_million_empty_messages(monkeypatch, field):
    monkeypatch.setattr(proto_reader, "MAX_FIELDS", 1 << 14)
    assert peak_of(lambda: refuse(field * (1 << 20), "")) < 32 << 20


def test_long_varints_and_groups():
    refuse(b"\xff" * 20, "more than ten bytes")
    refuse(b"\x0b\x0c", "wire type 3 is not supported")
    refuse(b"\x00\x01", "field number 0")
    refuse(b"\x0a\x02\xff\xfe", "not UTF-8")
    refuse(b"\x0d\x00\x00\x00\x00", "wire type 5, not 2")


# -- fuzzing ---------------------------------------------------------------------------
def read_or_refuse(data: bytes) -> bool:
    try:
        module = HLOModule.from_proto(data)
    except REFUSALS:
        return False
    module.serialize()  # whatever passes is a module that can be written again
    module.to_text()
    return True


def test_truncated_anywhere():
    data = row_sums().serialize()
    read = [n for n in range(len(data)) if read_or_refuse(data[:n])]
    # Only where the fields that follow are optional.
    assert all(n > len(data) * 0.8 for n in read)


FUZZED = ["reduce", "constant", "dot", "convolution", "gather", "while", "custom-call"]


@pytest.mark.parametrize("opcode", FUZZED)
def test_flipped_bytes(opcode):
    data = next(s for s in SAMPLES if s.opcode == opcode).build().serialize()
    random = np.random.default_rng(len(opcode))
    start = time.perf_counter()
    for _ in range(300):
        mutated = bytearray(data)
        for _ in range(random.integers(1, 4)):
            mutated[random.integers(len(data))] = random.integers(256)
        read_or_refuse(bytes(mutated))
    assert time.perf_counter() - start < 30


def test_spliced_messages():
    random = np.random.default_rng(0)
    all_data = [s.build().serialize() for s in SAMPLES]
    for _ in range(300):
        a, b = (all_data[i] for i in random.integers(len(all_data), size=2))
        cut, paste = random.integers(len(a)), random.integers(len(b))
        read_or_refuse(a[:cut] + b[paste:])


def test_random_bytes():
    random = np.random.default_rng(1)
    for size in random.integers(0, 200, size=300):
        assert not read_or_refuse(random.bytes(size))
