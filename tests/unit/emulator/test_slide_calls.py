"""np.convolve and np.correlate by the handler, and by XLA's convolution."""

from __future__ import annotations

from functools import partial

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.opcodes.windows import WindowDim
from nkipy.testing import check_kernel
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import DirectExecutable
from nkipy_emulator.handler_programs import handler_program
from tests.support.fast_calls import MODES, by_handlers, run, targets, traced

TARGET = "nkipy_slide"
FUNCTIONS = (np.convolve, np.correlate)
PLACES = ("full", "same", "valid")
#: Around the sizes at which tiles, sums of terms and pieces of work end.
SIZES = [
    (1, 1),
    (7, 3),
    (31, 32),
    (33, 32),
    (64, 1),
    (100, 65),
    (97, 96),
    (300, 129),
    (5000, 130),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_integers_exactly(function, sizes, rng):
    """Products of small integers are exact in floats, whatever the order of sums."""
    x, w = (rng.integers(-9, 9, n).astype(np.float32) for n in sizes)
    for mode in PLACES:
        kernel = partial(function, mode=mode)
        expected = kernel(x, w)
        module = traced(kernel, x, w)
        assert targets(module) == [TARGET]
        results = [by_handlers(module).run_new([x, w])[0]]
        results += [run(module, [x, w], way)[0] for way in MODES]
        for result in results:
            assert (result.dtype, result.shape) == (np.float32, expected.shape)
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_terms_are_rounded_as_little_as_numpys(dtype, rng):
    """All positive, so that errors of one long sum would add up."""
    x, w = rng.random(9000).astype(dtype), rng.random(4000).astype(dtype)
    module = built(x, w, WindowDim(4000, pad_low=3999, pad_high=3999, reverse=True))
    exact = np.convolve(x.astype(np.longdouble), w.astype(np.longdouble))
    (result,) = by_handlers(module).run_new([x, w])
    assert result.dtype == dtype
    errors, numpys = (
        np.max(np.abs(y.reshape(-1) - exact) / exact)
        for y in (result, np.convolve(x, w))
    )
    assert errors < max(4 * numpys, 8 * np.finfo(dtype).eps)


def built(x, w, window, labels="bf0_oi0->bf0"):
    module = HLOModule("convolution")
    given = [module.add_parameter(a.shape, a.dtype) for a in (x, w)]
    b = HLOBuilder(module.entry)
    three = [b.reshape(a, (1, 1, a.shape[0])) for a in given]
    size = x.size + window.pad_low + window.pad_high - window.rhs_dilate * (w.size - 1)
    shape = (1, 1, (size - 1) // window.stride + 1)
    attributes = {"window": (window,), "dim_labels": labels}
    made = b.emit("convolution", tuple(three), shape, x.dtype, attributes)
    module.set_results([b.reshape(made, (shape[-1],))])
    return module


def test_what_is_not_finite_does_not_leave_its_place():
    """No element beside the vector is multiplied with."""
    x = np.array([1, np.inf, 2, 3, np.nan, 4, 5] + [1] * 60, np.float32)
    w = np.array([np.inf, 1, -1], np.float32)
    for mode in PLACES:
        for function in FUNCTIONS:
            kernel = partial(function, mode=mode)
            (result,) = by_handlers(traced(kernel, x, w)).run_new([x, w])
            with np.errstate(invalid="ignore"):
                np.testing.assert_array_equal(result, kernel(x, w))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("sizes", [(5, 3), (300, 40)], ids=str)
def test_nor_in_programs_of_xla_whatever_the_size(dtype, sizes):
    x, w = (np.ones(n, dtype) for n in sizes)
    w[0] = w[-1] = np.inf
    for mode in PLACES:
        for function in FUNCTIONS:

            def kernel(x, w, function=function, mode=mode):
                return np.exp(function(x, w, mode) - x[0])

            module = traced(kernel, x, w)
            (result,) = XlaCpuEngine(fast_calls="auto").compile(module).run_new([x, w])
            expected = kernel(*(v.astype(np.float32) for v in (x, w)))
            assert result.dtype == dtype
            np.testing.assert_allclose(result.astype(np.float32), expected, rtol=0.01)


def test_subnormal_numbers_are_kept():
    tiny = np.finfo(np.float32).smallest_subnormal
    x, w = np.full(70, tiny, np.float32), np.array([3, 1], np.float32)
    module = traced(np.convolve, x, w)
    for result in (
        by_handlers(module).run_new([x, w])[0],
        run(module, [x, w], "always")[0],
    ):
        np.testing.assert_array_equal(result, np.convolve(x, w))


@pytest.mark.parametrize(
    "window",
    [
        WindowDim(5, stride=2),
        WindowDim(5, rhs_dilate=2),
        WindowDim(5, pad_low=5),
        WindowDim(5, pad_high=6),
        WindowDim(5, pad_low=-1),
    ],
    ids=str,
)
def test_other_windows_are_left_to_xla(window, rng):
    x, w = (rng.integers(-9, 9, n).astype(np.float32) for n in (60, 5))
    module = built(x, w, window)
    assert targets(module) == []
    assert handler_program(module, mode="always") is None
    (result,) = run(module, [x, w], "always")
    padded = np.pad(x, (max(window.pad_low, 0), max(window.pad_high, 0)))
    padded = padded[max(-window.pad_low, 0) :]
    spread = np.zeros((w.size - 1) * window.rhs_dilate + 1, np.float32)
    spread[:: window.rhs_dilate] = w
    expected = np.correlate(padded, spread, "valid")[:: window.stride]
    np.testing.assert_array_equal(result, expected)


def test_of_many_multiplications_it_is_chosen_everywhere(rng):
    x, w = (rng.standard_normal(n).astype(np.float32) for n in (4000, 50))
    executable = XlaCpuEngine(fast_calls="auto").compile(traced(np.convolve, x, w))
    assert isinstance(executable, DirectExecutable)
    module = traced(lambda x, w: np.tanh(np.convolve(x, w)) + 1, x, w)
    assert TARGET in targets(module, "auto")


def test_simulated_and_on_the_device(rng):
    x, w = (rng.standard_normal(n).astype(np.float32) for n in (3000, 40))
    for mode in PLACES:
        check_kernel(lambda x, w, mode=mode: np.convolve(x, w, mode), x, w)
        check_kernel(lambda x, w, mode=mode: np.correlate(x, w, mode), x, w)


@pytest.mark.parametrize("before", [-1, 5, 2**40])
def test_places_without_terms_are_refused(before, rng):
    x, w = (rng.standard_normal(n).astype(np.float32) for n in (60, 5))
    module = traced(np.convolve, x, w)
    program = handler_program(module, mode="always")
    assert program is not None
    ((target, attributes, operands, results),) = program.steps
    changed = tuple(sorted({**dict(attributes), "before": before}.items()))
    step = (target, changed, operands, results)
    executable = DirectExecutable(module, "handlers", program._replace(steps=(step,)))
    with pytest.raises(Exception, match="terms") as raised:
        executable.run_new([x, w])
    assert type(raised.value).__name__ == "SimulationError"
