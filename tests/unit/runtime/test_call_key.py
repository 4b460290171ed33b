"""What tells one call of a kernel from another."""

from __future__ import annotations

import functools
import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest

from nkipy.runtime import baremetal_jit, simulate_jit
from nkipy.runtime.call_key import CallSignature, is_same_static

X = np.ones(2, np.float32)
NOON = datetime(2020, 1, 1, 12, tzinfo=timezone.utc)


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
        (slice(1, 2), slice(True, 2), False),
        (range(0, 3, 2), range(0, 3, 2), True),
        (range(0, 3, 2), range(0, 4, 2), False),
        (frozenset({1}), frozenset({True}), False),
        (frozenset({0.0}), frozenset({-0.0}), False),
        (Decimal("2"), Decimal("2.0"), False),
        (Fraction(1, 2), Fraction(2, 4), True),
        (NOON, datetime(2020, 1, 1, 12, tzinfo=timezone.utc), True),
        (NOON, NOON.astimezone(timezone(timedelta(hours=1))), False),
        (np.dtype("i4"), np.dtype(np.int32), True),
        ("1", 1, False),
    ],
)
def test_which_static_values_are_the_same(a, b, same):
    assert is_same_static(a, b) is same


@pytest.mark.parametrize("jit", [simulate_jit, baremetal_jit])
@pytest.mark.parametrize(
    ("read", "one", "other"),
    [
        (lambda by: by.stop, range(0, 3, 2), range(0, 4, 2)),
        (lambda by: len(str(by)), Decimal("2"), Decimal("2.00")),
        (lambda by: by.hour, NOON, NOON.astimezone(timezone(timedelta(hours=1)))),
        (lambda by: len(str([*by])), frozenset({1}), frozenset({True})),
        (lambda by: next(iter(by)).stop, {range(0, 3, 2): X}, {range(0, 4, 2): X}),
        (lambda by: math.copysign(2, next(iter(by))), {0.0: X}, {-0.0: X}),
    ],
)
def test_equal_arguments_that_tell_different_things(jit, read, one, other):
    kernel = jit(lambda x, by: x * read(by))
    for by in (one, other, one):
        np.testing.assert_array_equal(kernel(X, by), X * read(by))


# ------------------------------------------------------------------ odd static objects


class Named:
    """Equal by name, which it says in an array."""

    def __init__(self, name, scale):
        self.name, self.scale = np.array(name), scale

    def __eq__(self, other):
        return self.name == other.name

    def __hash__(self):
        return 1


class Config:
    """Equal by name; the scale, in a slot, is left out."""

    __slots__ = ("name", "scale")

    def __init__(self, name, scale):
        self.name, self.scale = name, scale

    def __eq__(self, other):
        return self.name == other.name

    def __hash__(self):
        return hash(self.name)


class Scale(float):
    pass


def scaled(value, scale):
    made = Scale(value)
    made.scale = scale
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda scale: Named([1, 2], scale),
        lambda scale: Config("a", scale),
        lambda scale: scaled(2, scale),
    ],
)
def test_objects_that_call_themselves_equal_and_are_not(make):
    jitted = simulate_jit(lambda x, config: x * config.scale)
    for scale in (2.0, 3.0, 2.0, -0.0):
        np.testing.assert_array_equal(jitted(X, make(scale)), X * scale)


def test_objects_that_are_equal_share_a_program():
    jitted = simulate_jit(lambda x, config: x * config.scale)
    for config in (Config("a", 2.0), Config("a", 2.0), Config("a", 3.0)):
        jitted(X, config)
    assert jitted.cache_size() == 2


@pytest.mark.filterwarnings("ignore:.*anew at each call")  # they note who asks
@pytest.mark.parametrize("kind", [Mock, MagicMock])
def test_mock_objects_are_static(kind):
    config = kind()
    config.scale = 2.0
    jitted = simulate_jit(lambda x, m: x * m.scale)
    captures = simulate_jit(lambda x: x * config.scale)
    for scale in (2.0, 5.0):
        config.scale = scale
        assert (jitted(X, config) == scale).all() and (captures(X) == scale).all()


@pytest.mark.parametrize("name", ["self", "args", "kwargs", "kernel", "key"])
def test_parameters_named_as_ours(name):
    space = {}
    exec(f"def kernel(x, {name}=2): return x * {name}", space)
    jitted = simulate_jit(space["kernel"])
    assert (jitted(X, **{name: 3}) == 3).all()
    assert "multiply" in jitted.hlo(X, **{name: 3})
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        jitted(X, other=1)
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        simulate_jit(lambda x: x)(X, **{name: 1})


def test_dict_keys_of_one_text():
    d = {1: X.copy(), "1": X * 10}

    def kernel(d):
        d["1"] += 5
        return d[1] + 2 * d["1"]

    np.testing.assert_array_equal(simulate_jit(kernel)(d), X * 31)
    np.testing.assert_array_equal(d[1], X)
    np.testing.assert_array_equal(d["1"], X * 15)

    def replacing(d):
        d[1] = d["1"]

    with pytest.raises(NotImplementedError, match="in the place of 'd.1'"):
        simulate_jit(replacing)(d)
    with pytest.raises(NotImplementedError, match="in the place of 'd.scale'"):
        simulate_jit(lambda d: d.update(scale=2))(d)


@pytest.mark.parametrize("jit", [simulate_jit, baremetal_jit])
def test_paths_of_arguments_longer_than_a_file_name(jit):
    one, other = "k" * 300, "k" * 300 + "l"
    arguments = {one: {one: [X]}, other: {one: [X * 10]}}

    def kernel(d):
        d[other][one][0] += 1
        return d[one][one][0] - d[other][one][0]

    np.testing.assert_array_equal(jit(kernel)(arguments), X * -10)
    np.testing.assert_array_equal(arguments[other][one][0], X * 11)
    names = [p.name for p in simulate_jit(kernel).lower(arguments).parameters]
    assert len(set(names)) == 2 and max(map(len, names)) < 255 - len("/.npy")


class Counting:
    total = 0

    def step(self):
        Counting.total += 1


def test_a_call_that_computes_nothing_is_not_compiled(monkeypatch):
    def refuse():
        raise AssertionError("compiles")

    monkeypatch.setattr("nkipy.runtime.simulate.find_engine", refuse)
    counting = Counting()
    assert simulate_jit(counting.step)() is None
    assert simulate_jit(lambda x: None)(X) is None
    assert Counting.total == 1
    with pytest.raises(AssertionError, match="compiles"):
        simulate_jit(lambda x: x)(X)


class Linked(list):
    """A list with an attribute that leads back to it."""


def holding_itself():
    held = [X]
    held.append({"back": held})
    return held


def deep():
    held = X
    for _ in range(5000):
        held = [held]
    return held


@pytest.mark.parametrize("jit", [simulate_jit, baremetal_jit])
@pytest.mark.parametrize(
    ("make", "match"),
    [(holding_itself, "list that holds itself"), (deep, "more than 100 containers")],
)
def test_containers_that_do_not_end(jit, make, match):
    held = make()
    with pytest.raises(ValueError, match=match):
        jit(lambda x, held: x)(X, held)
    with pytest.raises(ValueError, match=match):
        jit(lambda x: make())(X)
    if make is deep:
        with pytest.raises(ValueError, match="captures more than 100 containers"):
            jit(lambda x: x * len(held))(X)
    linked = Linked([X])
    linked.back = linked
    np.testing.assert_array_equal(jit(lambda held: held[0] + 1)(linked), X + 1)


@pytest.mark.parametrize("jit", [simulate_jit, baremetal_jit])
def test_arguments_that_do_not_fit_name_the_kernel(jit):
    def add(x, y):
        return x + y

    kernel = jit(add)
    for args, kwargs in (((X,), {}), ((X, X, X), {}), ((X, X), {"z": X})):
        with pytest.raises(TypeError, match=r"^add\(\) "):
            kernel(*args, **kwargs)


def test_a_mock_object_is_of_no_trace():
    for kernel in (lambda x: np.add(x, Mock()), lambda x: x @ MagicMock()):
        with pytest.raises(TypeError, match=r"\[(add|matmul)\]"):
            simulate_jit(kernel)(X)
