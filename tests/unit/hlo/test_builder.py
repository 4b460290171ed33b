"""Constants are shared where their bits are the same, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule

SMALL, LARGE = (3, 5), (300, 50)


@pytest.fixture
def builder() -> HLOBuilder:
    return HLOBuilder(HLOModule("test").entry)


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_equal_arrays_are_one_constant(builder, shape):
    array = numbers(shape)
    first = builder.constant(array)
    assert builder.constant(array.copy(order="F")) is first
    literal = first.attributes["literal"]
    assert literal.dtype == np.float32
    assert literal.flags.c_contiguous and not literal.flags.writeable
    np.testing.assert_array_equal(literal, array)


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_a_constant_does_not_follow_its_array(builder, shape):
    array = numbers(shape)
    first = builder.constant(array)
    kept = array.copy()
    array[1, 1] += 1  # for large ones, not among the elements that are probed
    second = builder.constant(array)
    assert second is not first
    np.testing.assert_array_equal(first.attributes["literal"], kept)
    np.testing.assert_array_equal(second.attributes["literal"], array)
    assert builder.constant(kept) is first


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_bits_count_and_not_values(builder, shape):
    array = numbers(shape)
    array[-1, -2:] = [0.0, np.nan]
    other = array.copy()
    other[-1, -2] = -0.0
    first = builder.constant(array)
    assert builder.constant(other) is not first
    assert builder.constant(array.copy()) is first  # in spite of the NaN
    assert builder.constant(array.view(np.int32)) is not first


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_one_value_everywhere_is_a_scalar(builder, shape):
    full = builder.constant(np.full(shape, 2.5, np.float32))
    assert (full.opcode, full.shape) == ("broadcast", shape)
    (scalar,) = full.operands
    assert scalar.attributes["literal"] == np.float32(2.5)
    assert builder.constant(np.broadcast_to(np.float32(2.5), shape)) is full


def test_reducers_are_the_same_in_all_modules_and_nobody_can_change_them(builder):
    x = builder.full((2,), 1, np.dtype(np.float32))
    builder.reduce(x, "add", 0.0, (0,))
    reducer = builder.reducer("add", x.dtype)
    assert HLOBuilder(HLOModule("other").entry).reducer("add", x.dtype) is reducer
    root = reducer.root
    for name, value in (("name", "x"), ("root", None), ("instructions", [])):
        with pytest.raises(TypeError, match="'add_f32' cannot be changed"):
            setattr(reducer, name, value)
    with pytest.raises(TypeError, match="opcode of <HLO add.* cannot be set"):
        root.opcode = "multiply"
    with pytest.raises(TypeError, match="'add_f32' cannot be changed"):
        reducer.add_parameter((), "float32")
    with pytest.raises(TypeError, match="'add_f32' cannot be changed"):
        HLOBuilder(reducer)
    for values in (reducer.instructions, reducer.parameters, root.operands):
        assert type(values) is tuple
    with pytest.raises(TypeError):
        root.attributes["x"] = 1
    assert (reducer.root, root.opcode, root.form) == (root, "add", None)


def test_a_module_with_a_shared_reducer_stays_verified():
    module = HLOModule("sum")
    x = module.add_parameter((2,), "float32", "x")
    module.set_results(HLOBuilder(module.entry).reduce(x, "add", 0.0, (0,)), ["s"])
    module.verify()
    assert module.is_verified
    again = HLOModule.from_proto(module.serialize())
    assert again.content_hash() == module.content_hash()
