"""Constants in protos: every element type, special values, both packings, cost."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.dtypes import FROM_HLO_NAME
from nkipy.hlo.errors import HLOProtoError
from nkipy.hlo.ir import HLOModule
from nkipy.third_party.xla import xla_data_pb2
from tests.support.xla import xla_hlo
from tests.unit.hlo.samples import instruction


def constant(values: np.ndarray, name: str) -> HLOModule:
    module = HLOModule("test")
    dims = ",".join(map(str, values.shape))
    op = instruction("constant", (), f"{name}[{dims}]", {"literal": values})
    module.set_results(module.add_operation(op))
    return module


def values_of(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Arbitrary bit patterns, NaNs included."""
    dtype = FROM_HLO_NAME[name]
    size = int(np.prod(shape))
    if name == "pred":
        return np.arange(size).reshape(shape) % 3 == 0
    data = np.random.default_rng(size).bytes(size * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape)


def literal_of(module: HLOModule) -> xla_data_pb2.LiteralProto:
    return module.to_proto().computations[0].instructions[0].literal


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3), (50, 40)], ids=str)
@pytest.mark.parametrize("name", FROM_HLO_NAME)
def test_every_bit_survives(name, shape):
    values = values_of(name, shape)
    module = HLOModule.from_proto(constant(values, name).serialize())
    found = module.operations[0].attributes["literal"]
    assert found.dtype == values.dtype and found.shape == values.shape
    assert found.tobytes() == values.tobytes()
    assert not found.flags.writeable


NUMBERS = {
    "pred": "preds",
    "s32": "s32s",
    "s64": "s64s",
    "u32": "u32s",
    "u64": "u64s",
    "f32": "f32s",
    "f64": "f64s",
}


@pytest.mark.parametrize("name", FROM_HLO_NAME)
def test_protobuf_reads_the_same(name):
    values = values_of(name, (7, 60))
    literal = literal_of(constant(values, name))
    assert list(literal.shape.dimensions) == [7, 60]
    field = NUMBERS.get(name, f"{name}s")
    found = getattr(literal, field)
    if name in NUMBERS:
        found = np.array(list(found), values.dtype).tobytes()
    if not name.startswith("f"):
        assert found == values.tobytes()
    else:  # a signalling NaN becomes a quiet one on its way through Python's float
        array = np.frombuffer(found, values.dtype).astype(np.float64)
        np.testing.assert_array_equal(array, values.reshape(-1).astype(np.float64))


def test_xla_reads_the_same():
    hlo = xla_hlo()
    for name in FROM_HLO_NAME:
        values = values_of(name, (5, 70))
        data = constant(values, name).serialize()
        module = hlo.HloModule.from_serialized_hlo_module_proto(data)
        again = HLOModule.from_proto(module.as_serialized_hlo_module_proto())
        found = again.operations[0].attributes["literal"]
        assert found.tobytes() == values.tobytes(), name


def test_unpacked_elements():
    data = constant(np.array([1, -2], np.int32), "s32").serialize()
    minus_two = b"\xfe" + b"\xff" * 8 + b"\x01"
    packed = b"\x22\x0b\x01" + minus_two
    # Of the same length, so that the messages around it stay as they are.
    unpacked = b"\x20\x01\x20" + minus_two
    assert packed in data and len(packed) == len(unpacked)
    again = HLOModule.from_proto(data.replace(packed, unpacked))
    found = again.operations[0].attributes["literal"]
    assert found.tolist() == [1, -2] and found.dtype == np.int32


@pytest.mark.parametrize("name", ["s8", "bf16", "u16"])
def test_bytes_of_another_length(name):
    module = constant(values_of(name, (4,)), name)
    proto = module.to_proto()
    literal = proto.computations[0].instructions[0].literal
    setattr(literal, f"{name}s", b"\0")
    with pytest.raises(
        HLOProtoError, match="a literal of 4 elements of .* has 1 bytes"
    ):
        HLOModule.from_proto(proto)


def test_floats_cut_off():
    data = constant(values_of("f32", (100,)), "f32").serialize()
    head = data.index(b"\x42\x90\x03")  # f32s, 400 bytes
    cut = data[:head] + b"\x42\x8f\x03" + data[head + 3 :]
    with pytest.raises(HLOProtoError):
        HLOModule.from_proto(cut)


def test_large_constants_are_copied_once():
    values = np.ones(4 << 20, np.float32)
    module = constant(values, "f32")
    import tracemalloc

    tracemalloc.start()
    data = module.serialize()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) > values.nbytes
    assert peak < values.nbytes * 1.1
