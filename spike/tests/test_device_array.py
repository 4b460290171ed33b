"""Objects of any class in device memory: the device-array protocol."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import spike
from spike import SpikeArray, SpikeError, SpikeModel, SpikeTensor, spike_array
from spike.device_array import contiguous_strides

FLOAT = np.dtype(np.float32)


class Resizable:
    """A part of some memory, which may become another part."""

    def __init__(self, tensor: SpikeTensor, offset: int = 0) -> None:
        self.tensor, self.offset, self.version = tensor, offset, 0
        self.strides = contiguous_strides((4, 4), FLOAT)

    def move(self, offset: int) -> None:
        self.offset, self.version = offset, self.version + 1

    def __spike_array__(self) -> SpikeArray:
        ref, token = self.tensor.tensor_ref, (id(self), self.version)
        return SpikeArray(ref, self.offset, (4, 4), self.strides, FLOAT, 0, token)

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared by element, as some arrays are")


@pytest.fixture
def model(fake) -> SpikeModel:
    return SpikeModel.load_from_neff(fake.neff())


def matrix(value: int = 0) -> SpikeTensor:
    return SpikeTensor.from_numpy(np.full((4, 4), value, np.uint32).view(FLOAT))


def rows(*values: int) -> SpikeTensor:
    """One matrix after another, of each value."""
    return SpikeTensor.from_numpy(np.repeat(np.array(values, np.uint8), 64))


def test_what_a_tensor_answers(fake):
    tensor = SpikeTensor.zeros((2, 3), "bfloat16", core_id=1)
    array = spike_array(tensor)
    assert array is not None
    assert array[1:4] == (0, (2, 3), (6, 2)) and array.tensor is tensor.tensor_ref
    assert (array.dtype.name, array.core_id, array.token) == ("bfloat16", 1, None)
    assert (array.nbytes, array.is_contiguous) == (12, True)
    assert spike_array(tensor) is array
    assert spike_array(np.zeros(3)) is None and spike_array(SpikeTensor) is None
    assert spike.spike_array is spike_array


@pytest.mark.parametrize(
    ("shape", "strides", "contiguous"),
    [
        ((2, 3), (12, 4), True),
        ((2, 3), (4, 8), False),
        ((1, 3), (99, 4), True),
        ((2, 0), (1, 2), True),
        ((), (), True),
        ((3,), (8,), False),
    ],
)
def test_contiguous(fake, shape, strides, contiguous):
    ref = matrix().tensor_ref
    assert SpikeArray(ref, 0, shape, strides, FLOAT, 0).is_contiguous is contiguous


def test_a_part_of_a_memory_is_executed_with(fake, model):
    memory, y, out = rows(1, 2, 3), matrix(), rows(0, 0)
    x, made = Resizable(memory, 64), Resizable(out, 64)
    model({"x": x, "y": y}, {"sum": made})
    assert out.numpy().tolist() == [0] * 64 + [3] * 64
    fake.reset()
    model({"x": x, "y": y}, {"sum": made})
    assert fake.calls() == ["nrt_execute"]


def test_a_token_tells_that_something_else_is_meant(fake, model):
    x, y, out = Resizable(rows(1, 7)), matrix(), matrix()
    for offset, value in ((0, 2), (64, 8), (0, 2)):
        x.move(offset)
        model({"x": x, "y": y}, {"sum": out})
        assert set(out.numpy().tobytes()) == {value}
        (made,) = model({"x": x, "y": y}).values()
        assert set(made.numpy().tobytes()) == {value}
        model.execute_async({"x": x, "y": y}, {"sum": out}).wait()
        assert set(out.numpy().tobytes()) == {value}


def test_memory_goes_with_its_last_owner(fake, model):
    memory, y, out = rows(1, 2), matrix(), matrix()
    x = Resizable(memory, 64)
    model({"x": x, "y": y}, {"sum": out})
    gone = weakref.ref(memory), weakref.ref(x)
    fake.reset()
    del memory, x
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert fake.calls().count("nrt_tensor_free") == 2  # the slice and what it was of


def test_memory_that_is_freed_is_not_executed_with(fake, model):
    memory, y, out = rows(1, 2), matrix(), matrix()
    x = Resizable(memory, 64)
    for _ in range(2):
        model({"x": x, "y": y}, {"sum": out})
    memory.close()
    with pytest.raises(SpikeError, match="freed"):
        model({"x": x, "y": y}, {"sum": out})


def test_what_does_not_fit(fake, model):
    y, out = matrix(), matrix()
    beyond, spread = Resizable(rows(1), 32), Resizable(rows(1))
    spread.strides = (4, 16)
    with pytest.raises(SpikeError, match="exceeds the tensor bound"):
        model({"x": beyond, "y": y}, {"sum": out})
    with pytest.raises(ValueError, match=r"Input x: expected contiguous .*\(4, 16\)"):
        model({"x": spread, "y": y}, {"sum": out})


def test_an_alias_is_the_same_memory(fake):
    names = "input s.must_alias_input float32 64 4 4\noutput s float32 64 4 4"
    model = SpikeModel.load_from_neff(fake.neff(names))
    memory = rows(1, 2)
    first, again, other = (Resizable(memory, n) for n in (64, 64, 0))
    model({"s.must_alias_input": first}, {"s": again})
    with pytest.raises(ValueError, match="Output s: expected the tensor of input"):
        model({"s.must_alias_input": first}, {"s": other})
    assert model({"s.must_alias_input": first}) == {"s": first}
    assert memory.numpy().tolist() == [1] * 64 + [4] * 64
