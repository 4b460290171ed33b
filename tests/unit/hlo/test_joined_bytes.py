"""Long buffers as one."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.joined_bytes import join
from nkipy.third_party.xla.service import hlo_pb2


@pytest.mark.parametrize("count", [0, 7, (1 << 22) - 1, 1 << 22, (1 << 22) + 4099])
def test_all_parts_follow_each_other(count):
    numbers = np.random.default_rng(0).integers(0, 256, count).astype(np.uint8)
    wide = np.arange(1000, dtype=np.float64).reshape(10, 100)
    parts = [b"", b"head", numbers, memoryview(b"between"), wide, b"end"]
    made = join(parts)
    expected = b"head" + numbers.tobytes() + b"between" + wide.tobytes() + b"end"
    assert type(made) is bytes
    assert made == expected
    assert hash(made) == hash(expected)


def test_a_module_with_a_large_constant_is_what_protobuf_reads():
    constant = np.random.default_rng(0).standard_normal(3 << 20).astype(np.float32)
    module = HLOModule("large")
    x = module.add_parameter(constant.shape, constant.dtype)
    b = HLOBuilder(module.entry)
    module.set_results(b.add(x, b.constant(constant)))
    proto = hlo_pb2.HloModuleProto.FromString(module.serialize())
    (found,) = (
        i.literal.f32s
        for c in proto.computations
        for i in c.instructions
        if i.opcode == "constant"
    )
    np.testing.assert_array_equal(np.array(found, np.float32), constant)
