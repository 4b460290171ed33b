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
