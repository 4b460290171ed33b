"""What a kernel is called with: what is refused, and what stays as it is."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.language as nl
import nkipy_nki.neuronxcc.nki as first_nki
import nkipy_nki.neuronxcc.nki.language as first_nl

X = np.arange(128 * 64, dtype=np.float32).reshape(128, 64)


@nki.jit
def twice(x: Any) -> None:
    """Doubles an argument in place."""
    both = nl.add(nl.load(x), nl.load(x))
    nl.store(x, both)


@nki.jit
def copied(x: Any, out: Any) -> None:
    """Copies an argument."""
    nl.store(out, nl.load(x))


class FakeTorch:
    """As much of torch.Tensor as an argument takes: an array, or why there is none."""

    dtype, device = "torch.int64", SimpleNamespace(type="cpu")

    def __init__(self, holds: Any, requires_grad: bool = False) -> None:
        self.holds, self.requires_grad = holds, requires_grad

    def detach(self) -> FakeTorch:
        return self

    def numpy(self) -> np.ndarray:
        if isinstance(self.holds, str):
            raise RuntimeError(self.holds)
        return self.holds

    __array__ = numpy


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of torch's name, which has that tensor."""
    made = SimpleNamespace(Tensor=FakeTorch, is_grad_enabled=lambda: True)
    monkeypatch.setitem(sys.modules, "torch", made)  # type: ignore[misc]


def locked(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


# -- read-only arrays ------------------------------------------------------------------
@pytest.mark.parametrize(
    "array",
    [
        locked(X.copy()),
        locked(X.copy())[:64],
        locked(X.copy())[:, ::2],  # which is copied, as it is not in C's order
        locked(X.astype(ml_dtypes.bfloat16)),
        np.broadcast_to(X[0], (4, 64)),
    ],
)
def test_a_read_only_argument_is_not_written(array: np.ndarray) -> None:
    before = array.copy()
    with pytest.raises(nki.NkiValidationError, match="dst is the argument x") as raised:
        twice(array)
    assert "read-only" in str(raised.value)
    store = inspect.getsourcelines(twice.func)[1] + 4
    assert f"at {__file__}:{store}" in str(raised.value)
    np.testing.assert_array_equal(array, before)


def test_it_is_read_and_returned() -> None:
    array = locked(X.copy())
    assert nki.jit(lambda x: x)(array) is array


def test_one_that_is_not_written_beside_one_that_is() -> None:
    out = np.zeros_like(X)
    copied(locked(X.copy()), out)
    np.testing.assert_array_equal(out, X)


def test_the_first_generation_does_not_write_it() -> None:
    def kernel(x: Any) -> None:
        first_nl.store(x, first_nl.load(x))

    with pytest.raises(nki.NkiValidationError, match="read-only"):
        first_nki.simulate_kernel(kernel, locked(X.copy()))


def test_no_rank_writes_it() -> None:
    with pytest.raises(nki.NkiValidationError, match="read-only"):
        nki.simulate_ranks(twice, [(X.copy(),), (locked(X.copy()),)])


# -- arrays whose elements share memory ------------------------------------------------
def strided(shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Of float32, with strides in elements."""
    room = np.arange(200, dtype=np.float32)[100:]
    in_bytes = [4 * s for s in strides]
    return np.lib.stride_tricks.as_strided(room, shape, in_bytes)


@pytest.mark.parametrize(
    "array",
    [
        strided((3, 4), (0, 1)),
        strided((2, 4), (-1, 1)),
        strided((3, 4), (3, 2)),  # no stride is the other's multiple
    ],
)
def test_an_argument_whose_elements_share_memory_is_not_written(array) -> None:
    before = array.copy()
    with pytest.raises(nki.NkiValidationError, match="dst is the argument x") as raised:
        twice(array)
    assert "share memory" in str(raised.value)
    assert "np.ascontiguousarray(x)" in str(raised.value)
    np.testing.assert_array_equal(array, before)
    out = np.zeros(array.shape, np.float32)
    copied(array, out)  # which reads it
    np.testing.assert_array_equal(out, before)


@nki.jit
def added_to(x: Any, y: Any) -> None:
    """``x += y``."""
    nl.store(x, nl.add(nl.load(x), nl.load(y)))


@pytest.mark.parametrize(
    "others", [lambda x: x, lambda x: x.T, lambda x: x[::-1], lambda x: x.copy().T]
)
def test_arguments_that_share_memory_are_read_and_not_written(
    others: Callable[[np.ndarray], np.ndarray],
) -> None:
    x = np.arange(16, dtype=np.float32).reshape(4, 4)
    y, out = others(x), np.zeros((4, 4), np.float32)
    before, total = x.copy(), x + y
    added_to(out, y)
    np.testing.assert_array_equal(out, y)
    if np.shares_memory(x, y):
        text = "dst is the argument x, whose array shares memory with the argument y"
        with pytest.raises(nki.NkiValidationError, match=text):
            added_to(x, y)
        np.testing.assert_array_equal(x, before)
    else:
        added_to(x, y)
        np.testing.assert_array_equal(x, total)


@pytest.mark.parametrize("others", [lambda x: x, lambda x: x.T, lambda x: x[::-1]])
def test_an_array_of_several_ranks_is_read_and_not_written(
    others: Callable[[np.ndarray], np.ndarray],
) -> None:
    x = np.arange(16, dtype=np.float32).reshape(4, 4)
    y, out = others(x), np.zeros((2, 4, 4), np.float32)
    nki.simulate_ranks(added_to, [(out[0], x), (out[1], y)])
    np.testing.assert_array_equal(out, [x, y])
    text = "dst is the argument x, whose array shares memory with .* x of rank 0"
    with pytest.raises(nki.NkiValidationError, match=text) as raised:
        nki.simulate_ranks(added_to, [(x, out[0]), (y, out[1])])
    assert "rank 1" in str(raised.value)


def test_one_whose_elements_only_lie_between_each_other_is_written() -> None:
    array = strided((3, 3), (2, 3))
    before = array.copy()
    twice(array)
    np.testing.assert_array_equal(array, 2 * before)


def test_a_torch_tensor_whose_elements_share_memory_is_not_written() -> None:
    with pytest.raises(nki.NkiValidationError, match=r"give x.contiguous\(\)"):
        twice(FakeTorch(strided((3, 4), (0, 1))))


def test_a_torch_tensor_of_which_no_gradients_are_computed_is_taken() -> None:
    sys.modules["torch"].is_grad_enabled = lambda: False
    array = np.ones((2, 64), np.float32)
    twice(FakeTorch(array, True))
    assert (array == 2).all()


# -- arrays on a device ----------------------------------------------------------------
class Memory:
    """A device's, as much of it as spike's tensors tell."""

    va = 4096

    def __init__(self, size: int) -> None:
        self.data = np.zeros(size, np.uint8)

    def read_into(self, target: np.ndarray, offset: int, size: int) -> None:
        target.view(np.uint8).reshape(-1)[:] = self.data[offset : offset + size]

    def write(self, source: np.ndarray, offset: int) -> None:
        self.data[offset : offset + source.nbytes] = source.view(np.uint8).reshape(-1)


class OnDevice:
    """An array by spike's protocol; one that is `here` is on no device."""

    def __init__(
        self, memory: Memory, offset: int, shape: tuple[int, ...], step: int = 1
    ) -> None:
        self.memory, self.written, self.here = memory, 0, False
        strides = (4 * step * shape[1], 4 * step)
        self.answer = SimpleNamespace(
            tensor=memory,
            offset=offset,
            shape=shape,
            strides=strides,
            dtype=np.dtype(np.float32),
            core_id=0,
        )

    @property
    def values(self) -> np.ndarray:
        numbers = self.memory.data[self.answer.offset :].view(np.float32)
        step = self.answer.strides[1] // 4
        count = self.answer.shape[0] * self.answer.shape[1]
        return numbers[: step * count : step].reshape(self.answer.shape)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        assert self.here, "a copy by NumPy, which nothing would be written back from"
        return np.ones((2, 3), np.float32)

    def __spike_array__(self) -> Any:
        return None if self.here else self.answer

    def __spike_written__(self) -> None:
        self.written += 1

    def __spike_empty__(self, shape: tuple[int, ...], dtype: np.dtype) -> OnDevice:
        assert dtype == np.float32
        return OnDevice(Memory(24), 0, shape)


@pytest.mark.parametrize("step", [1, 2])
def test_an_array_on_a_device_is_read_and_written_there(step: int) -> None:
    memory = Memory(160)
    x, out = OnDevice(memory, 16, (2, 3), step), OnDevice(memory, 88, (2, 3))
    x.values[:] = np.arange(6).reshape(2, 3)
    before = memory.data.copy()
    copied(x, out)
    assert out.values.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (x.written, out.written) == (0, 1)
    twice(x)
    assert x.values.tolist() == [[0, 2, 4], [6, 8, 10]] and x.written == 1
    x.values[:] = np.arange(6).reshape(2, 3)
    out.values[:] = 0
    assert (memory.data == before).all()  # nothing else was written


def test_arrays_on_a_device_that_share_memory() -> None:
    memory = Memory(160)
    x, out = OnDevice(memory, 0, (2, 3)), OnDevice(memory, 20, (2, 3))
    with pytest.raises(nki.NkiValidationError, match="shares memory with the argument"):
        copied(x, out)
    assert not memory.data.any()
    shared = OnDevice(memory, 0, (2, 3))
    shared.answer.strides = (0, 4)
    with pytest.raises(nki.NkiValidationError, match="elements that share memory"):
        twice(shared)


def test_results_are_where_the_arguments_are() -> None:
    @nki.jit
    def doubled(x: Any, y: Any) -> Any:
        made = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nl.store(made, nl.add(nl.load(x), nl.load(y)))
        return made

    x, here = OnDevice(Memory(24), 0, (2, 3)), OnDevice(Memory(24), 0, (2, 3))
    x.values[:] = 2
    here.here = True
    for arguments in ((x, here), (here, x)):
        made = doubled(*arguments)
        assert isinstance(made, OnDevice) and made.values.tolist() == [[3] * 3] * 2
    assert type(doubled(here, here)) is np.ndarray
    assert twice(x) is None and x.values.tolist() == [[4] * 3] * 2


# -- calls that cannot be --------------------------------------------------------------
@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: twice(X.astype(complex)), "argument x: "),
        (lambda: twice(np.array(1.0)), "argument x has no dimension"),
        (lambda: twice([X, X[0:0]]), r"argument x.1. has the shape .0, 64."),
        (lambda: twice(np.ma.masked_array(X, X > 3)), "argument x is a masked array"),
        (lambda: twice(np.broadcast_to(X[:1, :1], (1 << 20, 1 << 20))), "no chip has"),
        (lambda: twice(FakeTorch("negative")), "argument x is .* torch.*negative"),
        (lambda: twice(FakeTorch(X.astype(int))), r"as in x.to\(torch.int32\)"),
        (lambda: twice(FakeTorch(X, True)), r"x requires grad, .* give x.detach\(\)"),
        (lambda: twice[3], "1 or 2 cores"),
        (lambda: twice(), "kernel twice: missing a required argument: 'x'"),
        (lambda: twice(X, X), "kernel twice: too many positional arguments"),
        (lambda: twice(X, y=X), "kernel twice: .* unexpected keyword argument 'y'"),
        (lambda: nki.simulate_ranks(twice, [()]), "kernel twice: missing a required"),
        (lambda: first_nki.jit(twice.func)(), "kernel twice: missing a required"),
    ],
)
def test_a_wrong_call_of_a_kernel_names_its_line(
    call: Callable[[], Any], text: str
) -> None:
    with pytest.raises((nki.NkiValidationError, TypeError), match=text) as raised:
        call()
    assert f"\n  at {__file__}:{call.__code__.co_firstlineno}" in str(raised.value)
