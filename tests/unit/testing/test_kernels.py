"""A kernel is compared with NumPy however it runs, and what differs is told."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from nkipy.runtime import baremetal_jit, simulate_jit
from nkipy.testing import MODES, check_kernel, kernels, run_python

X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)


def is_traced(x):
    return not isinstance(x, np.ndarray)


@pytest.mark.device
def test_results_and_written_arguments_are_compared_in_every_mode():
    def step(params, rate, positions, *, scale):
        for name in params:
            params[name] -= rate * scale[name]
        return {"norm": np.abs(params["w"]).sum(), "at": params["w"][positions]}

    params = {"w": X.copy(), "none": np.zeros((0, 2), np.float32)}
    scale = {"w": np.ones_like(X), "none": np.zeros((0, 2), np.float32)}
    before = X.copy()
    check_kernel(step, params, 0.5, np.array([2, 0], np.int32), scale=scale)
    np.testing.assert_array_equal(params["w"], before)


@pytest.mark.device
def test_one_array_passed_twice_is_one_array():
    def kernel(x, y):
        x += y
        return x * y

    check_kernel(kernel, X, np.ones((), np.float32))
    shared = np.ones(3, np.float32)
    check_kernel(lambda x, y: x * y, shared, shared)


@pytest.mark.parametrize("decorator", [simulate_jit, baremetal_jit])
def test_a_decorated_kernel_is_compared_with_its_function(decorator):
    check_kernel(decorator(lambda x: x + 1), X, modes="simulate")


@pytest.mark.device
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda x: x + np.float32(1e-3), "result.*(?s:.)*Mismatched elements"),
        (lambda x: x.astype(np.float16), "result: dtype float16 instead of float32"),
        (lambda x: x[None], r"result: shape \(1, 3, 4\) instead of \(3, 4\)"),
        (lambda x: (x, x), "result"),
        (lambda x: x.__setitem__((0, 0), 7) or x, "arguments.0|result"),
    ],
    ids=["value", "dtype", "shape", "structure", "written"],
)
def test_what_differs_is_told_with_its_mode(mode, wrong, told):
    def kernel(x):
        return wrong(x) if is_traced(x) else x

    with pytest.raises(AssertionError, match=rf"kernel \[{mode}\]") as caught:
        check_kernel(kernel, X, modes=mode)
    assert caught.match(told)


def test_a_second_call_is_compared_too(monkeypatch):
    def forgetful(function):
        """Right at first, like a program that keeps what it was called with."""
        factors = iter((1, 2))
        return lambda x: x * np.float32(next(factors))

    monkeypatch.setitem(kernels._WAYS, "simulate", forgetful)
    with pytest.raises(AssertionError, match=r"\[simulate, called again\]"):
        check_kernel(lambda x: x, X, modes="simulate")


def test_tolerances_can_be_given():
    def kernel(x):
        return x + np.float32(1e-3) if is_traced(x) else x

    check_kernel(kernel, X, modes="simulate", atol=1e-2)
    with pytest.raises(AssertionError):
        check_kernel(kernel, X, modes="simulate", atol=1e-4)


def test_a_mode_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="modes are simulate, baremetal, resident"):
        check_kernel(lambda x: x, X, modes="device")
    with pytest.raises(ValueError, match="nothing would be checked"):
        check_kernel(lambda x: x, X, modes=())


def test_it_needs_no_pytest_and_imports_no_engine():
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "import numpy as np, nkipy.testing as t\n"
        "assert not {'spike', 'jaxlib'} & set(sys.modules)\n"
        "t.check_kernel(lambda x: x + 1, np.ones(3, np.float32), modes='simulate')"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert sys.modules["pytest"] is pytest
