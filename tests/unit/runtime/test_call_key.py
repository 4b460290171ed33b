"""What tells one call of a kernel from another."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from nkipy.runtime import simulate_jit
from nkipy.runtime.call_key import CallSignature, is_same_static

X = np.ones(2, np.float32)


def kernel(x, k=2.0, *, l=1.0):  # noqa: E741
    return x * k + l


def copied():
    made = functools.wraps(kernel)(lambda x: None)
    del made.__wrapped__
    made.__code__, made.__defaults__ = kernel.__code__, kernel.__defaults__
    made.__kwdefaults__ = dict(kernel.__kwdefaults__)
    return made


class Callable:
    def __init__(self):
        type(self).__call__ = lambda self, x, k=2.0: x * k


@pytest.mark.parametrize("by_keyword", [False, True])
def test_defaults_that_change_after_the_kernel_was_compiled(by_keyword):
    function = copied()
    jitted = simulate_jit(function)
    call = (lambda: jitted(x=X)) if by_keyword else (lambda: jitted(X))
    assert (call() == 3).all()
    function.__defaults__ = (np.full((3, 2), 4, np.float32),)
    np.testing.assert_array_equal(call(), np.full((3, 2), 5))
    function.__kwdefaults__["l"] = 2.0
    np.testing.assert_array_equal(call(), np.full((3, 2), 6))


def test_defaults_of_partial_functions_and_callable_objects():
    partial = functools.partial(kernel, k=X * 5)
    bound = Callable()
    jitted, called = simulate_jit(partial), simulate_jit(bound)
    assert (jitted(X) == 6).all() and (called(X) == 2).all()
    partial.keywords["k"] = X * 7
    Callable.__call__.__defaults__ = (9.0,)
    assert (jitted(X) == 8).all() and (called(X) == 9).all()


def test_functions_that_wrap_each_other():
    def one(x):
        return x

    one.__wrapped__ = one
    positional, by_keyword = CallSignature(one).arguments((X,), {})
    assert positional[0] is X and by_keyword == {}


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1, True, False),
        (0.0, -0.0, False),
        (float("nan"), float("nan"), True),
        (complex(0, 0.0), complex(0, -0.0), False),
        (1 + 2j, 1 + 2j, True),
        (np.float32(1), np.float64(1), False),
        (np.float32("nan"), np.float32("nan"), True),
        (slice(1, 2), slice(1, 2), True),
        ("1", 1, False),
    ],
)
def test_which_static_values_are_the_same(a, b, same):
    assert is_same_static(a, b) is same
