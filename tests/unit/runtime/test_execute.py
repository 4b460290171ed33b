"""``nkipy.runtime.execute``: kernels traced by hand, and the two halves of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nkipy.core.compile import get_ir
from nkipy.core.errors import NKIPyNotImplementedError
from nkipy.core.trace import NKIPyKernel
from nkipy.runtime.execute import (
    _compile_kernel,
    _execute_neff,
    baremetal_run_traced_kernel,
    simulate_traced_kernel,
)

F32 = np.float32


def ones(*shape):
    return np.ones(shape, F32)


def update(a, b):
    a += b
    return a * 2, a


def no_result(a):
    a[0] = 5


def empties(x):
    return x[:0], x + 1


def only_empty(x):
    return x[:0]


def two_halves(kernel, *args, **kwargs):
    neff, name, ir, arrays = _compile_kernel(kernel, *args, **kwargs)
    assert name == kernel.__name__ and ir is get_ir(traced_kernel=kernel)
    return _execute_neff(neff, name, ir, arrays)


WAYS = {
    "simulate": simulate_traced_kernel,
    "whole": baremetal_run_traced_kernel,
    "halves": two_halves,
}


@pytest.fixture(params=WAYS)
def run(request):
    return WAYS[request.param]


pytestmark = pytest.mark.device


def test_results_and_arguments_that_are_written_into(run):
    a, b = ones(3), ones(3) * 2
    doubled, same = run(NKIPyKernel.trace(update), a, b=b)
    np.testing.assert_array_equal(doubled, [6, 6, 6])
    np.testing.assert_array_equal(same, [3, 3, 3])
    np.testing.assert_array_equal(a, [3, 3, 3])
    np.testing.assert_array_equal(b, [2, 2, 2])


def test_a_kernel_without_a_result(run):
    a = ones(2)
    assert run(NKIPyKernel.trace(no_result), a) is None
    np.testing.assert_array_equal(a, [5, 1])


def test_results_without_elements(run):
    empty, rest = run(NKIPyKernel.trace(empties), ones(2, 3))
    assert empty.shape == (0, 3) and empty.dtype == F32
    np.testing.assert_array_equal(rest, np.full((2, 3), 2))
    only = run(NKIPyKernel.trace(only_empty), ones(2, 3))
    assert only.shape == (0, 3) and only.dtype == F32


@pytest.mark.filterwarnings("ignore:argument 'x' has dtype")
def test_dtypes_that_the_device_does_not_have(run):
    x, flags = np.arange(3.0), np.array([True, False, True])
    got, other = run(NKIPyKernel.trace(lambda x, flags: (x + 1, ~flags)), x, flags)
    assert got.dtype == F32 and other.dtype == np.bool_
    np.testing.assert_array_equal(got, [1, 2, 3])
    np.testing.assert_array_equal(other, ~flags)


def test_a_directory_and_a_profile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "artifacts" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("kept")
    kernel = NKIPyKernel.trace(update)
    neff, name, ir, arrays = _compile_kernel(
        kernel, ones(2), ones(2), artifacts_dir=mine.parent
    )
    assert Path(neff).is_relative_to(mine.parent) and mine.read_text() == "kept"
    _execute_neff(neff, name, ir, arrays, save_trace=True)
    assert (tmp_path / "profile.ntff").stat().st_size


def test_what_does_not_fit_is_refused():
    kernel = NKIPyKernel.trace(update)
    neff, name, ir, arrays = _compile_kernel(kernel, ones(2), ones(2))
    with pytest.raises(ValueError, match=r"for arrays of shapes \[\(2,\), \(2,\)\]"):
        _execute_neff(neff, name, ir, [ones(2), ones(3)])
    with pytest.raises(ValueError, match="was traced for"):
        _execute_neff(neff, name, ir, [ones(2)])
    with pytest.warns(UserWarning, match="nothing to trace"):
        with pytest.raises(NKIPyNotImplementedError, match="backend 'cpu'"):
            _compile_kernel(NKIPyKernel.trace(update, backend="cpu"), ones(2), ones(2))
