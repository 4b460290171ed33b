"""What is written is what XLA and neuronx-cc expect, and is identified by its hash."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import FROM_HLO_NAME
from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.ir import (
    AliasInfo,
    Form,
    HLOInstruction,
    HLOModule,
    SourceLocation,
    instruction_of,
)
from nkipy.hlo.proto_writer import digest_module, serialize_to_run
from nkipy.third_party.xla import xla_data_pb2
from nkipy.third_party.xla.service import hlo_pb2
from tests.support.xla import xla_hlo
from tests.unit.hlo.samples import (
    SAMPLES,
    Sample,
    computation,
    instruction,
    reducer,
)


def message_of(module: HLOModule) -> hlo_pb2.HloModuleProto:
    module.verify()
    message = module.to_proto()
    # All fields are ones that we know: nothing is hidden in unknown fields.
    before = message.SerializeToString(deterministic=True)
    message.DiscardUnknownFields()
    assert message.SerializeToString(deterministic=True) == before
    return message


def small(**changes) -> HLOModule:
    """``sqrt(x * x)`` of a parameter, with `changes` to what may not matter."""
    module = HLOModule(changes.get("name", "norm"))
    line = changes.get("line", 3)
    x = module.add_parameter((2, 3), "float32", changes.get("parameter", "x"))
    square = instruction("multiply", (x, x), "f32[2,3]")
    square.source_location = SourceLocation(changes.get("file", "a.py"), line)
    square.name = changes.get("square", "")
    module.add_operation(square)
    root = instruction(changes.get("opcode", "sqrt"), (square,), "f32[2,3]")
    module.set_results(module.add_operation(root), changes.get("outputs"))
    return module


def shape_message(name: str, dims: list[int]) -> xla_data_pb2.ShapeProto:
    return xla_data_pb2.ShapeProto(
        element_type=xla_data_pb2.PrimitiveType.Value(name.upper()),
        dimensions=dims,
        is_dynamic_dimension=[False] * len(dims),
        layout=xla_data_pb2.LayoutProto(
            minor_to_major=list(range(len(dims)))[::-1],
            tail_padding_alignment_in_elements=1,
        ),
    )


def test_a_small_module_field_by_field():
    module = small()
    module.aliases = [AliasInfo(0, 0, "x", False)]
    shape = shape_message("f32", [2, 3])
    signature = xla_data_pb2.ProgramShapeProto(
        parameters=[shape], result=shape, parameter_names=["x"]
    )
    instructions = [
        hlo_pb2.HloInstructionProto(
            name="x",
            opcode="parameter",
            shape=shape,
            id=0,
            frontend_attributes={"map": {"neff_input_names": "x"}},
        ),
        hlo_pb2.HloInstructionProto(
            name="multiply.1",
            opcode="multiply",
            shape=shape,
            id=1,
            operand_ids=[0, 0],
            metadata=xla_data_pb2.OpMetadata(
                op_type="NKIPy_Op",
                op_name="hlo__multiply",
                source_file="a.py",
                source_line=3,
            ),
        ),
        hlo_pb2.HloInstructionProto(
            name="sqrt.2", opcode="sqrt", shape=shape, id=2, operand_ids=[1]
        ),
        hlo_pb2.HloInstructionProto(
            name="result",
            opcode="copy",
            shape=shape,
            id=3,
            operand_ids=[2],
            frontend_attributes={"map": {"neff_output_names": "output0"}},
        ),
    ]
    main = hlo_pb2.HloComputationProto(
        name="main", instructions=instructions, program_shape=signature, root_id=3
    )
    alias = hlo_pb2.HloInputOutputAliasProto.AliasEntryProto(parameter_number=0)
    assert message_of(module) == hlo_pb2.HloModuleProto(
        name="norm",
        entry_computation_name="main",
        computations=[main],
        host_program_shape=signature,
        input_output_alias=hlo_pb2.HloInputOutputAliasProto(entries=[alias]),
    )


def test_several_results_are_a_tuple():
    module = small()
    module.set_results([module.results[0], module.parameters[0]], ["y", "x"])
    module.aliases = [AliasInfo(1, 0, "x", False)]
    message = message_of(module)
    root = message.computations[-1].instructions[-1]
    assert (root.name, root.opcode, list(root.operand_ids)) == (
        "result",
        "tuple",
        [2, 0],
    )
    shape = shape_message("f32", [2, 3])
    assert root.shape == xla_data_pb2.ShapeProto(
        element_type=xla_data_pb2.TUPLE, tuple_shapes=[shape, shape]
    )
    assert message.host_program_shape.result == root.shape
    assert dict(root.frontend_attributes.map) == {"neff_output_names": "y,x"}
    assert list(message.input_output_alias.entries[0].output_shape_index) == [1]


def test_no_results_are_an_empty_tuple():
    module = small()
    module.set_results([])
    root = message_of(module).computations[-1].instructions[-1]
    assert (root.opcode, list(root.operand_ids)) == ("tuple", [])
    assert root.shape == xla_data_pb2.ShapeProto(element_type=xla_data_pb2.TUPLE)


def test_callees_come_first_and_ids_increase():
    negate = computation("negate", "f32[2]", ("negate", (0,), "f32[2]"))
    outer = computation(
        "outer", "f32[2]", ("call", (0,), "f32[2]", {"to_apply": negate})
    )
    module = HLOModule("test")
    x = module.add_parameter((2,), "float32", "x")
    call = instruction("call", (x,), "f32[2]", {"to_apply": outer})
    module.set_results(module.add_operation(call))
    message = message_of(module)
    assert [c.name for c in message.computations] == ["negate", "outer", "main"]
    assert [c.id for c in message.computations] == [0, 1, 2]
    assert message.entry_computation_id == 2
    ids = [i.id for c in message.computations for i in c.instructions]
    assert ids == list(range(len(ids)))
    assert [c.root_id for c in message.computations] == [1, 3, 6]
    calls = [c.instructions[1].called_computation_ids for c in message.computations]
    assert [list(c) for c in calls] == [[], [0], [1]]


def test_names_are_unique_and_parameters_keep_theirs():
    add = reducer()  # its parameters are p0 and p1
    module = HLOModule("test")
    names = ["p0", "result", "add.9", "tree['w']", "tree('w')"]
    for name in names:
        module.add_parameter((2,), "float32", name)
    x, y = module.parameters[:2]
    attributes = {"replica_groups": (), "to_apply": add}
    z = module.add_operation(instruction("all-reduce", (x,), "f32[2]", attributes))
    z = module.add_operation(instruction("add", (z, y), "f32[2]"))
    module.set_results(z)
    message = message_of(module)
    entry = message.computations[-1].instructions
    assert [i.name for i in entry] == [
        "p0",
        "result",
        "add.9",
        "tree__w__",
        "tree__w__.1",
        "all-reduce.8",
        "add.9.1",
        "result.1",
    ]
    given = [i.frontend_attributes.map["neff_input_names"] for i in entry[:5]]
    assert given == names
    inner = [i.name for i in message.computations[0].instructions]
    assert inner == ["p0.1", "p1", "add.2"]
    assert list(message.computations[0].program_shape.parameter_names) == inner[:2]


def test_long_names_ids_and_lines():
    module = HLOModule("n" * 300)
    x = module.add_parameter((2,), "float32", "x" * 200)
    for _ in range(3000):
        x = module.add_operation(instruction("negate", (x,), "f32[2]"))
        x.source_location = SourceLocation("f" * 200, 1 << 20)
    module.set_results(x)
    message = message_of(module)
    assert message.name == "n" * 300
    instructions = message.computations[0].instructions
    assert instructions[0].name == "x" * 200
    assert [list(i.operand_ids) for i in instructions[1:]] == [[i] for i in range(3001)]
    assert instructions[3000].name == "negate.3000"
    assert instructions[1].metadata.source_file == "f" * 200
    assert instructions[1].metadata.source_line == 1 << 20


# -- XLA's opinion ---------------------------------------------------------------------
@pytest.fixture(scope="module")
def xla():
    pytest.importorskip("jaxlib")
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jaxlib._jax as jax

    hlo = xla_hlo()

    class XLA:
        client = jax.get_tfrt_cpu_client(asynchronous=False)
        module = staticmethod(hlo.HloModule.from_serialized_hlo_module_proto)

        def compile(self, data: bytes) -> None:
            program = jax.mlir.hlo_to_stablehlo(data)
            devices = jax.DeviceList((self.client.devices()[0],))
            self.client.compile_and_load(program, devices, jax.CompileOptions())

    return XLA()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.label)
def test_xla_accepts(xla, sample: Sample):
    module = sample.build()
    message_of(module)
    data = module.serialize()
    text = xla.module(data).to_string()
    assert f" {sample.opcode}(" in text
    if sample.compiles:
        xla.compile(data)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_xla_accepts_results_that_are_parameters_or_none(xla, count):
    module = small()
    module.set_results(module.parameters * count, [f"o{i}" for i in range(count)])
    module.verify()
    xla.compile(module.serialize())


def test_xla_sees_the_alias_as_a_must(xla):
    module = small()
    module.aliases = [AliasInfo(0, 0, "x", False)]
    assert "must-alias" in xla.module(module.serialize()).to_string()
    xla.compile(module.serialize())


# -- the hash --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {"file": "/elsewhere/b.py"},
        {"line": 99},
        {"name": "other"},
        {"square": "squared"},
    ],
)
def test_hash_ignores(changes):
    assert small(**changes).content_hash("-O1") == small().content_hash("-O1")


@pytest.mark.parametrize(
    "changes", [{"opcode": "rsqrt"}, {"parameter": "y"}, {"outputs": ["z"]}]
)
def test_hash_depends_on(changes):
    assert small(**changes).content_hash() != small().content_hash()


def test_hash_has_12_hex_digits_and_depends_on_the_arguments():
    first, second = small().content_hash("-O1"), small().content_hash("-O2")
    assert first != second
    assert len(first) == 12 and int(first, 16) >= 0


def test_hash_depends_on_aliases_and_on_roots():
    module, first = small(), small().content_hash()
    module.aliases = [AliasInfo(0, 0, "x", True)]
    assert module.content_hash() != first

    def call(index: int) -> str:
        body = computation(
            "f", "f32[2]", ("negate", (0,), "f32[2]"), ("sign", (0,), "f32[2]")
        )
        body.root = body.instructions[index]
        outer = HLOModule("test")
        x = outer.add_parameter((2,), "float32", "x")
        attributes = {"to_apply": body}
        result = instruction("call", (x,), "f32[2]", attributes)
        outer.set_results(outer.add_operation(result))
        outer.verify()
        return outer.content_hash()

    assert len({call(0), call(1), call(2)}) == 3


def test_hash_depends_on_the_operands_of_each_instruction():
    def chain(*operands: tuple[int, ...]) -> str:
        """Concatenations of what was there before, by number."""
        module = HLOModule("test")
        values = [module.add_parameter((2,), "float32", name) for name in "xy"]
        for numbers in operands:
            chosen = tuple(values[n] for n in numbers)
            size = sum(v.shape[0] for v in chosen)
            op = instruction("concatenate", chosen, f"f32[{size}]", {"dimension": 0})
            values.append(module.add_operation(op))
        module.set_results(values[-1])
        module.verify()
        return module.content_hash()

    hashes = [
        chain((0, 1)),
        chain((1, 0)),
        chain((0, 0)),
        chain((0,), (1,), (2, 3)),
        chain((0,), (1,), (3, 2)),
        chain((0,), (0,), (2, 3)),
        chain((0, 1), (0,), (2, 3)),
        chain((0,), (0, 1), (2, 3)),
    ]
    assert len(set(hashes)) == len(hashes)
    assert chain((0,), (1,), (2, 3)) == hashes[3]


@pytest.mark.parametrize("count", [9, 10, 11, 99, 100, 101, 127, 128, 129, 1001])
def test_ids_and_names_of_any_number_of_digits(count):
    module = HLOModule("test")
    x = module.add_parameter((2,), "float32", "x")
    form = Form("negate", ((x.shape, x.dtype),), x.shape, x.dtype)
    for _ in range(count):
        x = module.add_operation(instruction_of(form, (x,)))
    module.set_results(x)
    module.verify()
    *made, root = module.to_proto().computations[0].instructions
    assert [i.id for i in made] == list(range(count + 1))
    assert [i.name for i in made[1:]] == [f"negate.{n}" for n in range(1, count + 1)]
    assert [list(i.operand_ids) for i in made[1:]] == [[n] for n in range(count)]
    assert (root.id, list(root.operand_ids)) == (count + 1, [count])


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("name", FROM_HLO_NAME)
def test_hash_depends_on_constants(name, size):
    def constant(last: int) -> HLOModule:
        values = np.zeros(size, FROM_HLO_NAME[name])
        values[-1] = last
        module = HLOModule("test")
        attributes = {"literal": values}
        op = instruction("constant", (), f"{name}[{size}]", attributes)
        module.set_results(module.add_operation(op))
        return module

    assert constant(0).content_hash() == constant(0).content_hash()
    assert constant(0).content_hash() != constant(1).content_hash()


# -- the cache -------------------------------------------------------------------------
def count_encodings(monkeypatch) -> list:
    from nkipy.hlo import proto_writer

    encoded = []
    original = proto_writer._Encoder.encode
    monkeypatch.setattr(
        proto_writer._Encoder, "encode", lambda e: (encoded.append(e), original(e))[1]
    )
    return encoded


@pytest.mark.parametrize("order", ["serialize hash", "hash serialize"])
def test_bytes_and_hash_come_from_one_pass(monkeypatch, order):
    encoded, module = count_encodings(monkeypatch), small()
    module.verify()
    calls = {"serialize": module.serialize, "hash": module.content_hash}
    for name in order.split():
        calls[name]()
    module.content_hash("-O2")
    assert len(encoded) == 1


def _append(module: HLOModule) -> None:
    module.add_operation(instruction("sign", (module.results[0],), "f32[2,3]"))


def _return_more(module: HLOModule) -> None:
    module.results.append(module.parameters[0])
    module.output_names.append("more")


CHANGES = {
    "instruction": _append,
    "result": lambda m: m.set_results(m.parameters[0]),
    "results": _return_more,
    "output name": lambda m: m.set_results(m.results, ["z"]),
    "alias": lambda m: m.aliases.append(AliasInfo(0, 0, "x", True)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_cache_does_not_outlive_a_change(name):
    module = small()
    module.verify()
    first = module.serialize(), module.content_hash()
    CHANGES[name](module)
    fresh = small()
    CHANGES[name](fresh)
    assert module.content_hash() == fresh.content_hash() != first[1]
    assert module.serialize() == fresh.serialize() != first[0]


def test_cache_sees_a_change_in_a_callee():
    body = computation("f", "f32[2]", ("negate", (0,), "f32[2]"))
    module = HLOModule("test")
    x = module.add_parameter((2,), "float32", "x")
    attributes = {"to_apply": body}
    call = instruction("call", (x,), "f32[2]", attributes)
    module.set_results(module.add_operation(call))
    module.verify()
    first = module.content_hash()
    body.instructions.append(instruction("sign", (body.root,), "f32[2]"))
    body.root = body.instructions[-1]
    assert module.content_hash() != first


def less_than(direction: str) -> HLOModule:
    module = HLOModule("m")
    x, y = (module.add_parameter((4,), "float32", name) for name in "xy")
    made = instruction("compare", (x, y), "pred[4]", {"direction": direction})
    module.set_results(module.add_operation(made), ["z"])
    return module


@pytest.mark.parametrize("verifies", [False, True])
def test_cache_does_not_outlive_a_field_set_in_place(verifies):
    module = less_than("LT")
    module.verify()
    first = module.content_hash()
    for direction in ("GE", "EQ"):  # once changed, it is encoded each time
        module.results[0].attributes = {"direction": direction}
        if verifies:
            module.verify()
        assert module.content_hash() == less_than(direction).content_hash() != first
        assert module.serialize() == less_than(direction).serialize()


def test_attributes_that_were_verified_cannot_be_written_into():
    module, attributes = less_than("LT"), {"direction": "LT"}
    module.results[0].attributes = attributes
    module.verify()
    attributes["direction"] = "GE"
    with pytest.raises(TypeError):
        module.results[0].attributes["direction"] = "GE"
    assert module.is_verified
    assert module.content_hash() == less_than("LT").content_hash()


@pytest.mark.parametrize("verifies", [False, True])
def test_what_is_no_longer_of_its_form_is_written_as_it_is(verifies):
    def square() -> HLOModule:
        module = HLOModule("m")
        x = module.add_parameter((2,), "float32", "x")
        made = HLOBuilder(module.entry).broadcast_to(x, (2, 2))
        module.set_results(made, ["z"])
        return module

    changed, other = square(), square()
    other.serialize()  # which encodes the form
    assert changed.results[0].form is other.results[0].form is not None
    changed.results[0].attributes = {"dimensions": (0,)}
    if verifies:
        changed.verify()
    (read,) = HLOModule.from_proto(changed.serialize()).results
    assert read.attributes["dimensions"] == (0,)
    assert changed.content_hash() != other.content_hash()


@pytest.mark.parametrize("of", ["array", "read-only view", "read-only array"])
def test_cache_sees_what_is_written_into_a_constant(of):
    own = np.ones(1000, np.float32)
    literal = own.view() if of == "read-only view" else own
    literal.flags.writeable = of == "array"
    module = HLOModule("m")
    made = instruction("constant", (), "f32[1000]", {"literal": literal})
    module.set_results(module.add_operation(made), ["z"])
    module.verify()
    first = module.content_hash()
    module.serialize()
    own.flags.writeable = True
    own[:] = 7
    own.flags.writeable = of == "array"
    (read,) = HLOModule.from_proto(module.serialize()).results
    assert (read.attributes["literal"] == 7).all()
    assert module.content_hash() != first


def test_a_constant_of_an_array_of_another_shape_is_not_written():
    literal = np.ones((3, 2), np.float32)
    module = HLOModule("m")
    made = instruction("constant", (), "f32[2,3]", {"literal": literal})
    module.set_results(module.add_operation(made), ["z"])
    with pytest.raises(HLOVerificationError, match=r"of an array \(3, 2\)"):
        module.serialize()


def test_cache_does_not_keep_modules():
    module = small()
    module.verify()
    module.content_hash()
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None


def test_invalid_module_is_an_error_not_garbage():
    module = small()
    stranger = HLOInstruction("negate", (small().results[0],), (2, 3), np.dtype("f4"))
    module.add_operation(stranger)
    with pytest.raises(HLOVerificationError, match=r"verify\(\) says where"):
        module.serialize()


def _sum_of(line: int, constant: float = 2.0, name: str = "m") -> HLOModule:
    module = HLOModule(name)
    x = module.add_parameter((3,), np.float32, "x")
    builder = HLOBuilder(module.entry)
    total = builder.binary("add", x, builder.constant(np.full(3, constant, "f4")))
    for inst in module.entry.instructions:
        inst.source_location = SourceLocation("kernel.py", line)
    module.set_results(builder.binary("multiply", total, x))
    return module


def test_what_is_run_says_all_but_where_it_comes_from():
    module = _sum_of(7)
    expected = module.to_proto()
    assert "kernel.py" in str(expected)
    for written_in in expected.computations:
        for inst in written_in.instructions:
            inst.ClearField("metadata")
    written = serialize_to_run(module)
    assert hlo_pb2.HloModuleProto.FromString(written) == expected
    assert "kernel.py" in str(module.to_proto())


def test_a_program_is_known_by_what_it_computes():
    known = digest_module(_sum_of(7))
    assert digest_module(_sum_of(8, name="elsewhere")) == known
    assert digest_module(_sum_of(7, constant=3.0)) != known


def _of_large(value: np.ndarray) -> HLOModule:
    module = HLOModule("large")
    builder = HLOBuilder(module.entry)
    x = module.add_parameter(value.shape, np.dtype(np.float32), "x")
    module.set_results(builder.binary("add", x, builder.constant(value)))
    return module


@pytest.mark.parametrize("at", [0, 1 << 18, 2_000_000, -1])
def test_each_element_of_a_large_constant_counts(at, monkeypatch):
    value = np.zeros((5 << 20) // 4 * 2 + 3, np.float32)
    known = digest_module(_of_large(value.copy()))

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert digest_module(_of_large(value.copy())) == known
    value[at] = 1
    assert digest_module(_of_large(value)) != known
