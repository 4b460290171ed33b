"""A change of what a kernel captured, or of a static argument, is another program."""

from __future__ import annotations

import array
import collections
import contextvars
import copy
import functools
import itertools
import logging
import os
import random
import sys
import types
import weakref
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import pytest

from nkipy.distributed.collectives import all_reduce
from nkipy.runtime import PerRank, simulate_jit
from nkipy.runtime.guards import Guards

X = np.ones(2, np.float32)

SCALE = 1


def helper(x):
    return x * SCALE


def test_globals_of_helpers_and_the_helpers_themselves(monkeypatch):
    jitted = simulate_jit(lambda x: helper(x))
    assert (jitted(X) == 1).all()
    monkeypatch.setitem(globals(), "SCALE", 3)
    assert (jitted(X) == 3).all()
    monkeypatch.setitem(globals(), "helper", lambda x: x * 7)
    assert (jitted(X) == 7).all()


@pytest.mark.parametrize(
    ("captured", "change"),
    [
        ({"k": 1}, lambda c: c.update(k=3)),
        ({"k": X.copy()}, lambda c: c["k"].fill(3)),
        ({"k": [1]}, lambda c: c["k"].__setitem__(0, 3)),
        ({"k": 0.0}, lambda c: c.update(k=-0.0)),
    ],
)
def test_what_captured_containers_hold(captured, change):
    def kernel(x):
        k = captured["k"]
        return x / np.float32(k[0] if isinstance(k, list) else k)

    jitted = simulate_jit(kernel)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(jitted(X), kernel(X))
        change(captured)
        np.testing.assert_array_equal(jitted(X), kernel(X))


def test_attributes_of_objects_captured_passed_or_bound():
    class Layer:
        def __init__(self):
            self.config = types.SimpleNamespace(eps=1)
            self.weights = [X * 2]

        def apply(self, x):
            return x * self.weights[0] + self.config.eps

        jitted = simulate_jit(apply)

    layer = Layer()
    kernels = [
        layer.jitted,
        simulate_jit(layer.apply),
        simulate_jit(lambda x: layer.weights[0] * x + layer.config.eps),
    ]
    for kernel in kernels:
        assert (kernel(X) == layer.apply(X)).all()
    layer.config.eps = 5
    layer.weights[0][:] = 9
    for kernel in kernels:
        np.testing.assert_array_equal(kernel(X), X * 14)


class Gain:
    """An attribute of each kind, all reached through methods alone."""

    __slots__ = ("_factor", "table")
    offset = 0.0

    def __init__(self):
        self._factor = 2.0
        self.table = [[[[[1.0]]]]]

    @property
    def factor(self):
        return self._factor

    def apply(self, x):
        return x * self.factor * self.table[0][0][0][0][0] + self.offset


class Model:
    def __init__(self):
        self.gain = Gain()
        self.name = "gain"

    def __call__(self, x):
        return self.body(x)

    def body(self, x):
        return getattr(self, self.name).apply(x)


def elevenfold(self, x):
    return x * 11


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model.gain, "_factor", 5.0),
        lambda model: setattr(model, "gain", types.SimpleNamespace(apply=lambda x: x)),
        lambda model: setattr(model, "body", lambda x: x * 3),
        lambda model: model.gain.table[0][0][0][0].__setitem__(0, 7.0),
        lambda model, patch: patch.setattr(Gain, "offset", 4.0),
        lambda model, patch: patch.setattr(Gain, "apply", elevenfold),
        lambda model, patch: patch.setattr(Gain, "factor", 9.0),
        lambda model, patch: patch.setattr(Model, "__call__", elevenfold),
    ],
)
@pytest.mark.parametrize("is_argument", [False, True])
def test_what_only_methods_reach(change, is_argument, monkeypatch):
    model = Model()
    if is_argument:
        jitted = simulate_jit(lambda x, m: m(x))
        call = lambda: jitted(X, model)  # noqa: E731
    else:
        call = functools.partial(simulate_jit(lambda x: model(x)), X)
    np.testing.assert_array_equal(call(), X * 2)
    arguments = (model, monkeypatch)
    change(*arguments[: change.__code__.co_argcount])
    assert not (model(X) == 2).all()
    np.testing.assert_array_equal(call(), model(X))


@pytest.mark.parametrize(
    ("captured", "change"),
    [
        (collections.deque([1, 2]), lambda c: c.append(3)),
        ({1, 2}, lambda c: c.add(3)),
        (bytearray(b"ab"), lambda c: c.append(3)),
        (array.array("i", [1, 2]), lambda c: c.append(3)),
        (collections.UserDict({1: 2}), lambda c: c.update({3: 4})),
        ({1: 1, 2: 2}, lambda c: c.update({1: c.pop(1)})),
    ],
)
def test_containers_of_every_kind(captured, change):
    def kernel(x):
        return x * next(iter(captured)) + 1000 * len(captured) + sum(captured)

    jitted = simulate_jit(kernel)
    jitted(X)
    change(captured)
    np.testing.assert_array_equal(jitted(X), kernel(X))


class Block(dict):
    factor = 2

    def apply(self, x):
        return x * self["w"] * self.factor * SCALE


@dataclass
class Dense:
    w: np.ndarray
    factor = 2

    def apply(self, x):
        return x * self.w * self.factor * SCALE


@pytest.mark.parametrize(
    "change",
    [
        lambda layer, patch: setattr(layer, "factor", 3),
        lambda layer, patch: patch.setattr(type(layer), "factor", 5),
        lambda layer, patch: patch.setattr(type(layer), "apply", elevenfold),
        lambda layer, patch: patch.setitem(globals(), "SCALE", 7),
    ],
)
@pytest.mark.parametrize("layer", [Block(w=X), Dense(X)])
def test_classes_of_containers_and_what_they_hold_besides(
    layer, change, monkeypatch, caplog
):
    layer = copy.copy(layer)
    jitted = simulate_jit(lambda layers, x: layers[0].apply(x))
    jitted([layer], X)
    assert traces(caplog, jitted, [copy.copy(layer)], X) == 0
    change(layer, monkeypatch)
    np.testing.assert_array_equal(jitted([layer], X), layer.apply(X))


def test_structures_that_hold_themselves():
    ring = {"k": 1}
    ring["self"] = ring
    jitted = simulate_jit(lambda x: x * ring["self"]["self"]["k"])
    assert (jitted(X) == 1).all()
    ring["k"] = 2
    assert (jitted(X) == 2).all()


class Layers(list):
    gain = 1

    def __call__(self, x):
        for layer in self:
            x = layer(x)
        return x * self.gain * SCALE


class Base:
    scale = 2

    def _halve(self, by, x):
        return x * self.scale / by

    halve = functools.partialmethod(_halve, 2)


class Derived(Base):
    pass


class Table(np.ndarray):
    pass


def sevenfold(x):
    return x * 7


def tripled(x):
    return x * 3


@pytest.fixture
def settings(monkeypatch):
    module = types.ModuleType("settings_of_a_kernel")
    module.scale = 1
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def _import(x):
    from settings_of_a_kernel import scale

    return x * scale


def _environment(x):
    return x * int(os.environ["SCALE_OF_A_KERNEL"])


def _kept(kind, value=1):
    kept = kind()
    kept.scale = value
    return kept


def kinds_of_state(settings):
    """(kernel, change of what it captured), one for each kind of state."""
    helper = types.FunctionType(tripled.__code__, globals())
    default = types.FunctionType((lambda x, k: x * k).__code__, {}, argdefs=(2,))
    attribute = types.FunctionType(tripled.__code__, globals())
    layers, derived = Layers([tripled]), Derived()
    table = X.copy().view(Table)
    table.scale = 1
    objects = np.array([2.0, None], object)
    variable = contextvars.ContextVar("scale", default=1)
    target, read, dig = _kept(types.SimpleNamespace), getattr, attrgetter("scale")
    reference = weakref.ref(derived)
    yield lambda x: helper(x), lambda: setattr(helper, "__code__", sevenfold.__code__)
    yield lambda x: default(x), lambda: setattr(default, "__defaults__", (5,))
    yield (
        lambda x: x * getattr(attribute, "k", 1),
        lambda: setattr(attribute, "k", 4),
    )
    yield layers, lambda: setattr(layers, "gain", 4)
    yield lambda x: layers(x), lambda: layers.append(tripled)
    yield lambda x: x * table.scale, lambda: setattr(table, "scale", 4)
    yield lambda x: x * objects[0], lambda: objects.__setitem__(0, 4.0)
    yield lambda x: x * derived.scale, lambda: setattr(Derived, "scale", 4)
    yield lambda x: derived.halve(x), lambda: setattr(derived, "scale", 8)
    yield lambda x: x * reference().scale, lambda: setattr(derived, "scale", 16)
    yield lambda x: x * variable.get(), lambda: variable.set(4)
    yield lambda x: x * read(target, "scale"), lambda: setattr(target, "scale", 4)
    yield lambda x: x * dig(target), lambda: setattr(target, "scale", 5)
    yield _import, lambda: setattr(settings, "scale", 4)
    yield _environment, lambda: os.environ.update(SCALE_OF_A_KERNEL="4")


@pytest.mark.parametrize("number", range(15))
def test_state_of_every_kind(number, settings, monkeypatch, caplog):
    monkeypatch.setenv("SCALE_OF_A_KERNEL", "1")
    kernel, change = list(kinds_of_state(settings))[number]
    jitted = simulate_jit(kernel)
    try:
        assert [traces(caplog, jitted, X) for _ in range(3)] == [1, 0, 0]
        before = jitted(X)
        change()
        np.testing.assert_array_equal(jitted(X), kernel(X))
        assert (jitted(X) != before).all()
    finally:
        if "scale" in vars(Derived):
            del Derived.scale


def test_what_comes_next_is_not_known():
    steps, same = itertools.count(1), itertools.count(1)
    jitted = simulate_jit(lambda x: x * next(steps))
    with pytest.warns(UserWarning, match="anew at each call"):
        for _ in range(3):
            np.testing.assert_array_equal(jitted(X), X * next(same))


def test_a_long_chain_of_objects():
    first = last = types.SimpleNamespace(k=1, next=None)
    for _ in range(2000):
        last.next = types.SimpleNamespace(k=1, next=None)
        last = last.next

    def kernel(x):
        node, total = first, 0
        while node:
            total, node = total + node.k, node.next
        return x * total

    jitted = simulate_jit(kernel)
    np.testing.assert_array_equal(jitted(X), X * 2001)
    last.k = 5
    np.testing.assert_array_equal(jitted(X), X * 2005)


def test_defaults_and_arguments_bound_beforehand():
    weights = X.copy()

    def kernel(w, x, *, v=weights):
        return x * w + v

    jitted = [
        simulate_jit(functools.partial(kernel, weights)),
        simulate_jit(lambda x: kernel(X, x)),
    ]
    for one in jitted:
        assert (one(X) == 2).all()
    weights[:] = 5
    assert (jitted[0](X) == 10).all()
    assert (jitted[1](X) == 6).all()


@pytest.mark.parametrize(
    "draw",
    [
        functools.partial(np.random.default_rng(0).standard_normal, 2),
        functools.partial(np.random.RandomState(0).standard_normal, 2),
        lambda: np.random.standard_normal(2),
        lambda: random.random(),
    ],
)
@pytest.mark.filterwarnings("ignore:np.random")
def test_random_numbers_are_drawn_at_each_call(draw):
    jitted = simulate_jit(lambda x: x * 0 + np.asarray(draw(), np.float32))
    first, second = jitted(X), jitted(X)
    assert not (first == second).any()


def traces(caplog, jitted, *args):
    """How often a call traces."""
    caplog.clear()
    with caplog.at_level(logging.INFO, jitted.logger.name):
        jitted(*args)
    return len(caplog.records)


def test_what_pytest_writes_into_an_assert_is_not_captured():
    def kernel(x):
        assert x.ndim == 1, "a vector"
        return x

    assert "@pytest_ar" in kernel.__code__.co_names
    plain: dict = {}
    exec("def kernel(x):\n    assert x.ndim == 1\n    return x", plain)
    guards = [Guards(function) for function in (kernel, plain["kernel"])]
    assert len(guards[0]._values) == len(guards[1]._values)


def test_a_warm_call_does_not_trace_again(caplog):
    model = Model()
    jitted = simulate_jit(lambda x: model(x))
    assert [traces(caplog, jitted, X) for _ in range(3)] == [1, 0, 0]


class Optimizer:
    """State of each kind, which each call reads and changes."""

    total = 0

    def __init__(self):
        self.step = 0
        self.state = {"n": 1}
        self.seen = []
        self.first = True

    def __call__(self, x):
        self.step += 1
        self.state["n"] *= 2
        self.seen.append(self.step)
        type(self).total += 1
        if self.first:
            self.first = False
            return x * 0
        return x * self.step + 10 * self.state["n"] + 100 * len(self.seen) + self.total


@pytest.mark.parametrize("is_argument", [False, True])
def test_state_that_the_kernel_changes_itself(is_argument, monkeypatch):
    def run(wrapped):
        monkeypatch.setattr(Optimizer, "total", 0)
        optimizer = Optimizer()
        if is_argument:
            call = functools.partial(wrapped(lambda o, x: o(x)), optimizer)
        else:
            call = wrapped(optimizer)
        return [call(X) for _ in range(4)], vars(optimizer)

    with pytest.warns(UserWarning, match="anew at each call") as warned:
        results, state = run(simulate_jit)
    assert len(warned) == 1 and warned[0].filename == __file__
    expected, same = run(lambda function: function)
    np.testing.assert_array_equal(results, expected)
    assert state == same


def test_traced_values_kept_for_a_backward_pass(caplog):
    class Layer:
        def __init__(self):
            self.w, self.x = X * 2, None

        def __call__(self, x):
            self.x, self.made = x, np.zeros(2, np.float32)
            self.made[0] = x[0]
            return self.backward(x * self.w)

        def backward(self, g):
            self.dw = self.x * g
            return self.dw * self.w

    jitted = simulate_jit(Layer())
    assert [traces(caplog, jitted, X) for _ in range(4)] == [1, 1, 0, 0]
    np.testing.assert_array_equal(jitted(X), X * 4)


class Running:
    count = np.zeros(2, np.float32)

    def __init__(self):
        self.mean = X * 0
        self.table = {"mean": X * 0}
        self.cache = None

    def attribute(self, x):
        self.mean = self.mean * 0.5 + x

    def item(self, x):
        self.table["mean"] = self.table["mean"] * 0.5 + x

    def class_attribute(self, x):
        Running.count = Running.count + x

    def lazy(self, x):
        self.cache = x if self.cache is None else self.cache + x


@pytest.mark.parametrize(
    ("method", "place"),
    [
        ("attribute", "attribute 'mean' of a Running"),
        ("item", "item 'mean'"),
        ("class_attribute", "attribute 'count' of the class Running"),
    ],
)
def test_a_traced_value_in_the_place_of_captured_data(method, place):
    running = Running()
    jitted = simulate_jit(getattr(running, method))
    for _ in range(2):
        with pytest.raises(RuntimeError, match=rf"(?s){place}.*test_guards\.py:\d"):
            jitted(X)
        for kept in (running.mean, running.table["mean"], Running.count):
            np.testing.assert_array_equal(kept, X * 0)


class Recorder:
    last = None

    def __init__(self):
        self.seen = [1, 2]
        self.recent = collections.deque([0], maxlen=4)
        self.inner = types.SimpleNamespace()

    def missing(self, x):
        self.h = x * 2
        return x + 1

    def of_class(self, x):
        Recorder.last = [x * 2]
        return x + 1

    def nested(self, x):
        self.inner.h = {"h": (x, 1)}
        return x + 1

    def appended(self, x):
        self.seen.append(x * 2)
        return x + 1

    def queued(self, x):
        self.recent.append(x * 2)
        return x + 1


@pytest.mark.parametrize(
    ("method", "place"),
    [
        ("missing", "attribute 'h' of a Recorder"),
        ("of_class", "attribute 'last' of the class Recorder"),
        ("nested", "attribute 'h' of a SimpleNamespace"),
        ("appended", "into a list"),
        ("queued", "into a deque"),
    ],
)
def test_a_traced_value_left_where_the_kernel_never_reads(method, place):
    recorder = Recorder()
    before = copy.deepcopy(vars(recorder))
    jitted = simulate_jit(getattr(recorder, method))
    for _ in range(2):
        with pytest.raises(RuntimeError, match=rf"(?s){place}.*test_guards\.py:\d"):
            jitted(X)
        assert vars(recorder) == before and Recorder.last is None


def test_a_traced_value_appended_to_a_global_list():
    kept = []

    def kernel(x):
        kept.append(x * 2)
        return x

    with pytest.raises(RuntimeError, match="into a list"):
        simulate_jit(kernel)(X)
    assert kept == []


def test_a_tape_that_the_kernel_takes_from_may_keep_traced_values():
    tape = []

    def kernel(x):
        tape.clear()
        tape.append(x * 2)
        return tape[-1] + 1

    jitted = simulate_jit(kernel)
    for _ in range(3):
        np.testing.assert_array_equal(jitted(X), X * 3)


def test_a_value_kept_for_the_next_call_is_refused_there():
    jitted = simulate_jit(Running().lazy)
    jitted(X)
    with pytest.raises(RuntimeError, match=r"(?s)another trace.*test_guards\.py:\d"):
        jitted(X)


def test_static_values_are_told_apart():
    divided = simulate_jit(lambda x, s: x / s)
    assert (divided(X, np.float32(0.0)) == np.inf).all()
    assert (divided(X, np.float32(-0.0)) == -np.inf).all()
    for nan in (float("nan"), float("nan")):
        assert np.isnan(divided(X, nan)).all()
    assert divided.cache_size() == 3
    picked = simulate_jit(lambda d: d[1] if 1 in d else d["1"] * 2)
    assert (picked({1: X}) == 1).all()
    assert (picked({"1": X}) == 2).all()


def test_integers_that_32_bits_cannot_hold_are_refused_and_kept():
    def kernel(x):
        x[1] = 5

    x = np.array([2**40, 1])
    with (
        pytest.warns(UserWarning, match="int64"),
        pytest.raises(OverflowError, match="'x' holds values out of range for int32"),
    ):
        simulate_jit(kernel)(x)
    assert x.tolist() == [2**40, 1]


def test_a_jitted_kernel_within_a_kernel_is_part_of_it():
    @simulate_jit
    def inner(x, y):
        x += y
        return x * 2

    @simulate_jit
    def outer(x):
        made = np.zeros(2, np.float32)
        made[:] = x
        return inner(x, made), x

    x = X.copy()
    doubled, same = outer(x)
    assert same is x and (x == 2).all() and (doubled == 4).all()
    assert inner.cache_size() == 0


@pytest.mark.parametrize(("groups", "world"), [([[0, 1]], 1), ([[0, 1, 2]], 2)])
def test_collectives_over_other_ranks_than_those_that_run(groups, world):
    def kernel(x):
        return all_reduce(x, groups)

    with pytest.raises(ValueError, match=rf"(?s)world_size={world}.*test_guards.py"):
        simulate_jit(world_size=world)(kernel)(X)


def test_what_a_rank_writes_no_other_rank_sees():
    def kernel(x, y):
        x += all_reduce(y, [[0, 1]])

    x, y = X.copy(), X.copy()
    for first, second in (((x, x[:]), (X, X)), ((x, y), (y, x))):
        with pytest.raises(ValueError, match="which no other rank reads"):
            simulate_jit(world_size=2)(kernel)(PerRank(first), PerRank(second))
    assert (x == 1).all() and (y == 1).all()


# ------------------------------------------------------------- methods and data of C's


def array_of(*values):
    return np.array(values, np.float32)


def through_methods_of_an_array():
    w = array_of(1, 2)
    take, add = w.take, w.__add__
    yield lambda x: x + take([0, 1]) + add(np.float32(1)), lambda: w.fill(5)


def through_a_partial_of_a_method():
    w = array_of(1, 2)
    take = functools.partial(w.take)
    yield lambda x: x + take([0, 1]), lambda: w.fill(5)


def through_a_method_of_a_dict():
    d = {"w": array_of(1, 2)}
    get = d.get
    yield lambda x: x + get("w"), lambda: d.update(w=array_of(5, 5))


def through_a_method_of_a_list():
    held = [1.0]
    item = held.__getitem__
    yield lambda x: x + item(0), lambda: held.__setitem__(0, 5.0)


def through_a_view_of_a_dict():
    d = {"w": 1.0}
    viewed = d.values()
    yield lambda x: x + sum(viewed), lambda: d.update(w=3.0)


def through_a_view_of_a_dict_that_was_empty():
    d = {}
    keys, items = d.keys(), d.items()
    yield lambda x: x + len(keys) + len(items), lambda: d.update(w=3.0)


def through_a_view_of_items():
    d = {"w": array_of(1, 2)}
    items = d.items()
    yield lambda x: x + dict(items)["w"], lambda: d.update(w=array_of(5, 5))


def through_a_vectorized_function():
    w = array_of(1, 2)
    each = np.vectorize(lambda i: w[i])
    yield lambda x: x + each(np.arange(2)).astype(np.float32), lambda: w.fill(5)


def through_a_polynomial():
    p = np.poly1d([1.0, 2.0])

    def change():
        p.coeffs[0] = 5

    yield lambda x: x + np.float32(p(2.0)), change


def through_a_polynomial_of_the_newer_kind():
    p = np.polynomial.Polynomial([1.0, 2.0])
    yield lambda x: x + np.float32(p(2.0)), lambda: p.coef.fill(5)


def in_a_record_of_objects():
    w = np.zeros(2, [("a", object), ("b", "f4")])
    w["a"][0] = array_of(1, 2)
    yield lambda x: x + w["a"][0], lambda: w["a"][0].fill(5)


def in_a_record_of_objects_that_are_replaced():
    w = np.zeros(2, [("a", object), ("b", "f4")])
    w["a"][0] = array_of(1, 2)
    yield lambda x: x + w["a"][0], lambda: w["a"].__setitem__(0, array_of(5, 5))


def in_a_record_that_is_a_view():
    w = np.zeros(2, [("a", "f4"), ("b", "f4")])
    record = w[0]
    yield lambda x: x + record["a"], lambda: w["a"].fill(5)


@pytest.mark.parametrize(
    "case",
    [
        through_methods_of_an_array,
        through_a_partial_of_a_method,
        through_a_method_of_a_dict,
        through_a_method_of_a_list,
        through_a_view_of_a_dict,
        through_a_view_of_a_dict_that_was_empty,
        through_a_view_of_items,
        through_a_vectorized_function,
        through_a_polynomial,
        through_a_polynomial_of_the_newer_kind,
        in_a_record_of_objects,
        in_a_record_of_objects_that_are_replaced,
        in_a_record_that_is_a_view,
    ],
)
def test_what_is_reached_through_types_of_c_and_of_numpy(case):
    ((kernel, change),) = case()
    jitted = simulate_jit(kernel)
    before = kernel(X)
    for _ in range(2):
        np.testing.assert_array_equal(jitted(X), before)
    traced = jitted._programs.values()
    np.testing.assert_array_equal(jitted(X), before)
    assert jitted._programs.values() == traced  # nothing changed: not traced again
    change()
    assert not np.array_equal(kernel(X), before)
    np.testing.assert_array_equal(jitted(X), kernel(X))


def test_what_cannot_read_is_not_followed():
    seen = []
    note = seen.append

    def kernel(x):
        note(x.shape)
        return x + 1

    jitted = simulate_jit(kernel)
    for _ in range(3):
        jitted(X)
    assert seen == [(2,)]
