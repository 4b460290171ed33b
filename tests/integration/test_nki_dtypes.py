"""Arrays of every dtype that NumPy has, given to kernels of both generations.

Each way that a kernel runs gives the same bytes, and leaves the same in arrays that it
writes to; or refuses the array by its argument's name, and says what to give instead.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.core import nki_op
from nkipy.core.errors import NKIPyTypeError
from nkipy.hlo import kernel_languages
from nkipy.hlo.ir import Shape
from nkipy.runtime import simulate_jit
from nkipy.testing import check_kernel
from nkipy_nki.neuronxcc import nki as first_nki
from nkipy_nki.neuronxcc.nki import language as first_nl
from nkipy_nki.neuronxcc.nki import typing as nt
from tests.support import nrt_client
from tests.support.nrt_client import make_neff

TAKEN = [
    *map(np.dtype, "bool int8 int16 int32 uint8 uint16 uint32 float16 float32".split()),
    *map(np.dtype, (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2)),
]
#: What a kernel alone refuses, and the way out; whether a program converts it.
REFUSED: list[tuple[Any, str, bool]] = [
    ("int64", "as in x.astype(np.int32)", True),
    ("uint64", "as in x.astype(np.uint32)", True),
    ("float64", "as in x.astype(np.float32)", True),
    (">f4", "as in x.astype(np.float32)", True),
    (">i4", "as in x.astype(np.int32)", True),
    ("complex64", "two arrays, x.real and x.imag", False),
    ("complex128", "two arrays, x.real and x.imag", False),
    ("U3", "an array of numbers", False),
    ("S3", "an array of numbers", False),
    ("M8[s]", "an array of numbers", False),
    ("m8[s]", "an array of numbers", False),
    ("O", "an array of numbers", False),
    ([("a", "f4"), ("b", "i4")], "an array for each field, as x['a']", False),
    (ml_dtypes.float8_e4m3fnuz, "as in x.astype(np.float32)", False),
    (ml_dtypes.float8_e4m3b11fnuz, "as in x.astype(np.float32)", False),
    (ml_dtypes.int4, "as in x.astype(np.float32)", False),
]


@nki.jit
def copied(x, y):
    """`x`, which `y` is set to as well, and where it is not 0."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    truth = nl.ndarray(x.shape, nl.bool_, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nisa.dma_copy(result, tile)
    nisa.dma_copy(y, tile)
    nisa.dma_copy(truth, nl.not_equal(tile, 0.0, dtype=nl.bool_))
    return result, truth


@first_nki.jit
def first_copied(x, y: nt.mutable_tensor):
    result = first_nl.ndarray(x.shape, x.dtype, buffer=first_nl.shared_hbm)
    truth = first_nl.ndarray(x.shape, first_nl.bool_, buffer=first_nl.shared_hbm)
    tile = first_nl.load(x)
    first_nl.store(result, tile)
    first_nl.store(y, tile)
    first_nl.store(truth, first_nl.not_equal(tile, 0.0, dtype=first_nl.bool_))
    return result, truth, y


KERNELS = [copied, first_copied]
both = pytest.mark.parametrize("kernel", KERNELS, ids=["today", "first"])


def _array(dtype: Any) -> np.ndarray:
    numbers = np.arange(8 * 16).reshape(8, 16) % 3
    try:
        return numbers.astype(dtype)
    except TypeError:
        return np.zeros((8, 16), dtype)


def _called(call: Callable[..., Any], dtype: Any) -> tuple[Any, ...]:
    """What a call gives for an array, with the one that it writes to."""
    x = _array(dtype)
    y = np.zeros_like(x)
    result, truth, *_ = call(x, y)
    assert truth.dtype == np.bool_
    np.testing.assert_array_equal(truth, x != 0)
    return result, y


@both
@pytest.mark.parametrize("dtype", TAKEN, ids=str)
def test_an_array_is_itself_in_a_kernel(kernel, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in (kernel, simulate_jit(lambda x, y: kernel(x, y)[:2])):
            for found in _called(call, dtype):
                assert found.dtype == dtype
                assert found.tobytes() == _array(dtype).tobytes()


@pytest.mark.device
@both
@pytest.mark.parametrize("dtype", TAKEN, ids=str)
def test_an_array_is_itself_on_the_emulated_core(kernel, dtype):
    x = _array(dtype)
    check_kernel(lambda x, y: kernel(x, y)[:2], x, np.zeros_like(x))


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_an_array_is_itself_in_a_neff(tmp_path, engine):
    environment = {"NKIPY_EMULATOR_ENGINE": engine}
    environment["NKIPY_EMULATOR_PYTHON"] = sys.executable
    with nrt_client.session(tmp_path, **environment) as nrt:
        for dtype in TAKEN:
            given = _array(dtype)
            model = nrt.load(make_neff(_embedded, given))
            x, out = nrt.tensor(given), nrt.empty(given.nbytes)
            inputs = nrt.tensor_set({"x0": x})
            nrt.execute(model, inputs, nrt.tensor_set({"output0": out}))
            found = nrt.read(out, given.shape, given.dtype)
            assert found.tobytes() == given.tobytes(), dtype


@nki.jit
def only_copied(x):
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(result, x)
    return result


def _embedded(b, x):
    language = nki_op.language()
    spec = language.ArraySpec(x.shape, x.dtype)
    made = language.embed(only_copied, (spec,), {}, "trn2")
    ((dims, dtype),) = made.interface.outputs
    shape = Shape(dtype, dims)
    attributes = {
        "custom_call_target": kernel_languages.TARGET,
        "backend_config": made.program,
    }
    return b.emit("custom-call", (x,), shape.dims, shape.dtype, attributes)


@both
@pytest.mark.parametrize(("dtype", "way", "converts"), REFUSED, ids=str)
def test_what_a_kernel_does_not_take_is_refused_by_name(kernel, dtype, way, converts):
    x = _array(dtype)
    with pytest.raises(nki.NkiValidationError, match="argument x: ") as raised:
        kernel(x, np.zeros_like(x))
    assert way in str(raised.value)
    program = simulate_jit(lambda x, y: kernel(x, y)[:2])
    if not converts:
        with pytest.raises(NKIPyTypeError, match="argument 'x': unsupported dtype"):
            program(x, np.zeros_like(x))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the program's arguments are converted
        result, y = _called(program, dtype)
    np.testing.assert_array_equal(result, x)
    np.testing.assert_array_equal(y, x)


@both
@pytest.mark.parametrize("dtype", [row[0] for row in REFUSED], ids=str)
def test_an_array_of_a_program_s_own_is_refused_as_alone(kernel, dtype):
    x = _array(dtype)
    program = simulate_jit(lambda y: kernel(x, y)[0])
    with pytest.raises(nki.NkiValidationError, match="argument x: "):
        program(_array(np.float32))


def test_bytes_that_a_kernel_makes_truth_values_of_are_0_and_1():
    @nki.jit
    def kernel(x, y):
        result = nl.ndarray(x.shape, nl.bool_, buffer=nl.shared_hbm)
        nisa.dma_copy(result.view(nl.uint8), x)
        nisa.dma_copy(y.view(nl.uint8), x)
        return result

    x = _array(np.uint8) * np.uint8(3)
    for call in (kernel, simulate_jit(lambda x, y: kernel(x, y))):
        y = np.zeros(x.shape, np.bool_)
        for found in (call(x, y), y):
            assert found.view(np.uint8).tobytes() == (x != 0).tobytes()


def test_a_result_that_a_program_cannot_have_is_refused(monkeypatch):
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn3")

    @nki.jit
    def scales(x):
        result = nl.ndarray(x.shape, nl.float8_e8m0fnu, buffer=nl.shared_hbm)
        nisa.dma_copy(result.view(nl.uint8), x)
        return result

    x = _array(np.uint8)
    assert scales(x).dtype == ml_dtypes.float8_e8m0fnu
    with pytest.raises(NKIPyTypeError, match=r"result 0 .*: return its bits, as in"):
        simulate_jit(lambda x: scales(x))(x)
