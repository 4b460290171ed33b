"""Structure, caching, mutation, guards, errors: alike simulated and on a device."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
import threading

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.core.compile import CompilationError
from nkipy.core.errors import LeakedTracerError, NKIPyTypeError, NKIPyValueError
from nkipy.core.trace import NKIPyKernel
from nkipy.runtime import (
    baremetal_jit,
    baremetal_run_traced_kernel,
    simulate_jit,
    simulate_traced_kernel,
)

F32 = np.float32


@pytest.fixture(
    params=["simulate", pytest.param("baremetal", marks=pytest.mark.device)]
)
def mode(request):
    return request.param


@pytest.fixture
def jit(mode):
    return {"simulate": simulate_jit, "baremetal": baremetal_jit}[mode]


def ones(*shape):
    return np.ones(shape, F32)


@dataclasses.dataclass
class Weights:
    w: np.ndarray
    scale: float


def test_result_keeps_the_structure_of_the_return_value(jit):
    @jit
    def kernel(tree):
        return {"sum": tree["a"] + tree["b"][0], "rest": (tree["b"][1] * 2, 7, None)}

    got = kernel({"a": ones(2), "b": [ones(2), ones(3)]})
    assert list(got) == ["sum", "rest"]
    np.testing.assert_array_equal(got["sum"], np.full(2, 2, F32))
    np.testing.assert_array_equal(got["rest"][0], np.full(3, 2, F32))
    assert got["rest"][1:] == (7, None)


def test_dataclass_arguments_are_trees(jit):
    @jit
    def kernel(p):
        return Weights(p.w * p.scale, p.scale)

    got = kernel(Weights(ones(3), 0.5))
    assert isinstance(got, Weights) and got.scale == 0.5
    np.testing.assert_array_equal(got.w, np.full(3, 0.5, F32))


def test_star_arguments_are_parameters_named_by_their_path(jit):
    @jit
    def kernel(*args, **kwargs):
        return args[0] + args[1] * kwargs["k"]

    module = kernel.lower(ones(2), ones(2), k=ones(2))
    assert [p.name for p in module.inputs] == ["args.0", "args.1", "kwargs.k"]
    np.testing.assert_array_equal(kernel(ones(2), ones(2), k=ones(2)), ones(2) * 2)


def test_one_program_for_equal_calls(jit):
    kernel = jit(lambda x, n=2: x * n)
    for _ in range(3):
        kernel(ones(2))
    assert kernel.cache_size() == 1
    kernel(ones(3))
    assert kernel.cache_size() == 2
    np.testing.assert_array_equal(kernel(ones(3), 5), ones(3) * 5)
    assert kernel.cache_size() == 3


def test_static_values_of_other_types_are_other_programs(jit):
    kernel = jit(lambda x, n: x * n)
    kernel(ones(2), 1)
    kernel(ones(2), True)
    kernel(ones(2), 1.0)
    assert kernel.cache_size() == 3
    assert np.signbit(kernel(ones(1), -0.0))[0]
    assert not np.signbit(kernel(ones(1), 0.0))[0]


def test_mutated_arguments_are_written_back(jit):
    @jit
    def kernel(x, y):
        x += y
        y[0] = 5
        return x

    x, y = ones(3), ones(3)
    got = kernel(x, y)
    assert got is x
    np.testing.assert_array_equal(x, [2, 2, 2])
    np.testing.assert_array_equal(y, [5, 1, 1])


def test_mutation_reaches_strided_and_64_bit_arrays(jit):
    @jit
    def kernel(x):
        x *= 3

    base = np.ones((4, 4), F32)
    kernel(base[::2, 1:3])
    expected = np.ones((4, 4), F32)
    expected[::2, 1:3] *= 3
    np.testing.assert_array_equal(base, expected)
    wide = np.ones(3)
    with pytest.warns(UserWarning, match="'x'.*float64.*float32"):
        kernel(wide)
    np.testing.assert_array_equal(wide, [3.0, 3.0, 3.0])


def test_read_only_and_shared_arguments_are_refused_before_anything_happens(jit):
    @jit
    def kernel(x, y):
        x += y

    frozen = ones(2)
    frozen.flags.writeable = False
    with pytest.raises(NKIPyValueError, match="'x'.*read-only"):
        kernel(frozen, ones(2))
    base = ones(4)
    with pytest.raises(NKIPyValueError, match="shares memory"):
        kernel(base[:3], base[1:])
    np.testing.assert_array_equal(base, ones(4))
    with pytest.raises(NKIPyValueError, match="shares memory"):
        kernel(base, base)
    windows = np.lib.stride_tricks.sliding_window_view(base, 2, writeable=True)
    with pytest.raises(NKIPyValueError, match="'x'.*elements that share memory"):
        kernel(windows, ones(3, 2))
    np.testing.assert_array_equal(base, ones(4))


@simulate_jit
def simulated_of_this_module(x):
    return x * 2


def plain_of_this_module(x):
    return x * 3


class Model:
    def __init__(self, jit):
        self.scale = 2
        self.call = jit(self.scaled)
        self.other = jit(lambda x: x * 3)

    def scaled(self, x):
        return x * self.scale

    @simulate_jit
    def method(self, x):
        return x * self.scale


def test_a_deep_copy_of_what_holds_a_kernel(jit):
    model = Model(jit)
    model.call(ones(2))
    made = copy.deepcopy(model)
    made.scale = 5
    np.testing.assert_array_equal(made.call(ones(2)), [5, 5])
    np.testing.assert_array_equal(model.call(ones(2)), [2, 2])
    np.testing.assert_array_equal(copy.deepcopy(model.method)(ones(2)), [2, 2])
    assert made.other.func is model.other.func
    assert repr(made.other) == repr(model.other)
    for copied in (copy.copy(model.call), copy.deepcopy(model.call)):
        assert copied is not model.call and type(copied) is type(model.call)
        assert copied.cache_size() == 0
        np.testing.assert_array_equal(copied(ones(2)), [2, 2])


def test_kernels_can_be_pickled_where_their_functions_can(jit):
    again = pickle.loads(pickle.dumps(simulated_of_this_module))
    assert again is simulated_of_this_module
    assert pickle.loads(pickle.dumps(Model.method)) is Model.method
    kernel = jit(plain_of_this_module)
    again = pickle.loads(pickle.dumps(kernel))
    assert again.func is plain_of_this_module and again is not kernel
    np.testing.assert_array_equal(again(ones(2)), [3, 3])
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(jit(lambda x: x))


def test_a_thread_inside_a_kernel_is_refused_by_name(jit):
    refused = []

    def kernel(x):
        def work():
            try:
                x * 2
            except LeakedTracerError as error:
                refused.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return x + 1

    np.testing.assert_array_equal(jit(kernel)(ones(2)), [2, 2])
    assert "in another thread" in refused[0]


SHARED = np.arange(6, dtype=F32)


class Stepped:
    def __init__(self):
        self.w = ones(3)
        self.table = {"b": [np.arange(4, dtype=F32)]}
        self.record = np.zeros(2, [("x", F32), ("y", F32)])
        self.memory = bytearray(16)

    def attribute(self, a):
        a -= 1
        return self.w.sum()

    def item(self, a):
        a[0] = 100
        return self.table["b"][0] * 1

    def field(self, a):
        a += 1
        return a + self.record[0]["x"]

    def buffer(self, a):
        a += 1
        return a + self.memory[0]


def add_and_read_global(a):
    a += 1
    return SHARED[1:3] * 1


def shared_arguments():
    held = Stepped()
    numbers = np.frombuffer(held.memory, F32)
    return [
        (add_and_read_global, SHARED, "the global 'SHARED'"),
        (add_and_read_global, SHARED[::-2], "the global 'SHARED'"),
        (held.attribute, held.w, "attribute 'w' of a Stepped"),
        (held.attribute, held.w[None, :2], "attribute 'w' of a Stepped"),
        (held.item, held.table["b"][0], "item 0"),
        (held.field, held.record["x"], "attribute 'record' of a Stepped"),
        (held.buffer, numbers, "attribute 'memory' of a Stepped"),
    ]


@pytest.mark.parametrize("place", range(7))
def test_a_written_argument_that_was_captured_too_is_refused(jit, place):
    function, shared, named = shared_arguments()[place]
    kernel, before, other = jit(function), shared.copy(), shared.copy()
    kernel(other)  # so that the next call is a warm one
    np.testing.assert_array_equal(shared, before)
    for _ in range(2):
        with pytest.raises(NKIPyValueError, match=f"'a', which shares.*{named}"):
            kernel(shared)
    np.testing.assert_array_equal(shared, before)
    kernel(before.copy())
    assert kernel.cache_size() == 1 or not shared.flags.c_contiguous
    with pytest.raises(NKIPyValueError, match="shares memory"):
        jit(function)(shared)  # nor on a first call


def test_one_of_many_captured_arrays_is_found(jit):
    base = np.zeros((8, 16), F32)
    many = [*base[::2, ::2], *(ones(n) for n in range(12)), base[1::2].T[::-1]]

    @jit
    def kernel(a):
        a += 1
        return sum(w.sum() for w in many)

    for free in (base[::2, 1::2], ones(3), np.zeros((0, 3), F32)):
        kernel(free)
    for shared in (*many[:4], many[-1], many[-1][-1:, 3], base[7, ::5], base):
        with pytest.raises(NKIPyValueError, match="'a', which shares.*item"):
            kernel(shared)
    kernel(many[4])  # which has no elements


def test_an_argument_whose_memory_lies_between_what_was_captured(jit):
    table = np.ones((4, 3), F32)
    even, odd = table[::2, 1], table[1::2, 1]

    @jit
    def kernel(a):
        a += 1
        return even + 0

    kernel(odd)
    kernel(odd[:0])
    np.testing.assert_array_equal(table[:, 1], [1, 2, 1, 2])
    with pytest.raises(NKIPyValueError, match="a variable"):
        kernel(even)


def test_an_argument_that_is_a_captured_array_which_the_kernel_writes(jit):
    state = np.zeros(3, F32)

    def kernel(a):
        before = a + 0
        state[0] = 5
        return before

    with pytest.raises(NKIPyValueError, match="reads argument 'a'.*written"):
        jit(kernel)(state)
    np.testing.assert_array_equal(jit(kernel)(ones(3)), ones(3))


def test_arguments_that_are_read_may_be_captured_too(jit):
    w = ones(3)
    kernel = jit(lambda a, b: a + b * w)
    np.testing.assert_array_equal(kernel(w, w), [2, 2, 2])


def test_a_default_that_is_written_is_an_argument(jit):
    total, table = np.zeros(2, F32), {"n": np.zeros(2, F32)}

    @jit
    def kernel(x, total=total, *, table=table):
        total += x
        table["n"] += 1

    kernel(ones(2))
    kernel(ones(2))
    np.testing.assert_array_equal(total, [2, 2])
    np.testing.assert_array_equal(table["n"], [2, 2])
    bound = jit(functools.partial(kernel.func, total=total))
    bound(ones(2), table={"n": ones(2)})
    np.testing.assert_array_equal(total, [3, 3])


def test_a_failing_call_leaves_the_arguments_alone(jit):
    @jit
    def kernel(x, y):
        x += 1
        return x @ y

    x = ones(2, 3)
    with pytest.raises(ValueError, match=r"float32\[2,3\], float32\[4,5\]"):
        kernel(x, ones(4, 5))
    np.testing.assert_array_equal(x, ones(2, 3))


SCALE = 2.0
TABLE = np.arange(3, dtype=F32)


def uses_globals(x):
    return x * SCALE + TABLE


def test_changed_globals_are_noticed(jit, monkeypatch):
    kernel = jit(uses_globals)
    np.testing.assert_array_equal(kernel(ones(3)), [2, 3, 4])
    monkeypatch.setitem(globals(), "SCALE", 4.0)
    np.testing.assert_array_equal(kernel(ones(3)), [4, 5, 6])
    TABLE[0] = 10
    try:
        np.testing.assert_array_equal(kernel(ones(3)), [14, 5, 6])
    finally:
        TABLE[0] = 0
    assert kernel.cache_size() == 1


def test_changed_closure_is_noticed(jit):
    weight = ones(3)
    kernel = jit(lambda x: x * weight)
    kernel(ones(3))
    weight *= 3
    np.testing.assert_array_equal(kernel(ones(3)), [3, 3, 3])


def test_a_traced_value_that_escapes_is_an_error(jit):
    leaked = {}

    @jit
    def leaks(x):
        leaked["x"] = x + 1
        return x

    leaks(ones(2))
    with pytest.raises(LeakedTracerError, match="another trace"):
        leaked["x"] + 1
    with pytest.raises(LeakedTracerError, match="another trace"):
        jit(lambda x: x + leaked["x"])(ones(2))


def test_kernel_objects_partials_and_methods(jit):
    class Model:
        def __init__(self):
            self.w = ones(2) * 3

        @jit
        def forward(self, x):
            return x * 2

    np.testing.assert_array_equal(Model().forward(ones(2)), [2, 2])
    scaled = jit(functools.partial(lambda n, x: x * n, 3))
    np.testing.assert_array_equal(scaled(ones(2)), [3, 3])
    np.testing.assert_array_equal(jit(np.add)(ones(2), ones(2)), [2, 2])


def test_a_kernel_traced_by_hand_is_run_and_remembers_its_program(mode):
    run = {
        "simulate": simulate_traced_kernel,
        "baremetal": baremetal_run_traced_kernel,
    }[mode]
    traced = NKIPyKernel.trace(lambda x: x + 1)
    np.testing.assert_array_equal(run(traced, ones(2)), [2, 2])
    assert traced._code is not None
    assert [o.op_name for o in traced._code.operations][-1] == "add"


def test_arrays_of_every_rank_and_no_elements(jit):
    @jit
    def kernel(scalar, empty, x):
        empty += 1
        return scalar + x, empty * 2, np.concatenate([empty, x]), np.sum(empty)

    x = np.arange(3, dtype=F32)
    empty = np.empty(0, F32)
    results = kernel(np.array(2, F32), empty, x)
    for got, want in zip(results, (x + 2, np.empty(0, F32), x, np.array(0, F32))):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(got, want)


def test_a_kernel_may_have_nothing_to_compute(jit):
    assert jit(lambda x: None)(ones(2)) is None
    assert jit(lambda x: 7)(ones(2)) == 7
    got = jit(lambda x: x * 2)(ones(0, 3))
    assert got.shape == (0, 3) and got.dtype == F32
    np.testing.assert_array_equal(jit(lambda: np.arange(3))(), [0, 1, 2])


@pytest.mark.parametrize("dtype", [*dt.SUPPORTED, dt.float64, dt.int64, dt.uint64])
@pytest.mark.filterwarnings("ignore:argument 'x' has dtype")
def test_arrays_of_every_dtype(jit, mode, dtype):
    kernel = jit(lambda x: (np.transpose(x[:, :1]), x == x))
    x = np.array([[0, 1], [1, 0]]).astype(dtype)
    if (mode, dtype) == ("baremetal", dt.float8_e4m3fn):  # trn2 does not have it
        with pytest.raises(CompilationError, match="NCC_EVRF051"):
            kernel(x)
        return
    got = kernel(x)
    assert got[0].dtype == dt.narrow(dtype) and got[0].shape == (1, 2)
    np.testing.assert_array_equal(got[0].astype(F32), [[0, 1]])
    assert got[1].dtype == np.bool_
    np.testing.assert_array_equal(got[1], np.ones((2, 2), bool))


def test_hlo_text_and_module_are_shown(jit):
    kernel = jit(lambda x: np.exp(x))
    text = kernel.hlo(ones(2))
    module = kernel.lower(ones(2))
    assert [o.op_name for o in module.operations] == ["exponential"]
    for shown in (text._repr_html_(), module._repr_html_()):
        assert shown.startswith('<pre style="font-family: monospace;')
        assert "exponential" in shown and "-&gt;" in shown


def test_a_masked_array_and_a_complex_one_are_refused(jit):
    kernel = jit(lambda x: x)
    with pytest.raises(NKIPyTypeError, match="'x'.*masked"):
        kernel(np.ma.masked_array([1.0, 2.0], [0, 1]))
    with pytest.raises(NKIPyTypeError, match="'x'.*complex64"):
        kernel(np.ones(2, np.complex64))


class Shifted(np.ndarray):
    def __mul__(self, other):
        return np.asarray(self) * other + 100


class Labelled(np.ndarray):
    unit = "m"

    def __array_finalize__(self, origin):
        self.label = getattr(origin, "label", "")

    def in_feet(self):
        return self * 3.28


@pytest.mark.parametrize("pack", [lambda x: x, lambda x: {"k": [x]}])
def test_an_array_of_a_class_that_overrides_operators_is_refused(jit, pack):
    kernel = jit(lambda x: (x["k"][0] if isinstance(x, dict) else x) * 2)
    np.testing.assert_array_equal(kernel(pack(ones(3))), [2, 2, 2])
    with pytest.raises(NKIPyTypeError, match="'x.*of class Shifted.*__mul__.*asarray"):
        kernel(pack(ones(3).view(Shifted)))
    np.testing.assert_array_equal(kernel(pack(ones(3).view(Labelled))), [2, 2, 2])


def test_a_captured_array_of_a_class_that_overrides_operators_is_refused(jit):
    captured = ones(3).view(Shifted)
    assert jit(lambda x: captured * x)(ones(3))[0] == 101  # its own operator's doing
    with pytest.raises(NKIPyTypeError, match="constant is of class Shifted"):
        jit(lambda x: x + captured)(ones(3))


def test_threads_share_one_kernel(jit):
    kernel = jit(lambda x, n: x * n)
    failures = []

    def work(n):
        for _ in range(50):
            got = kernel(ones(4), n % 3)
            if not (got == n % 3).all():
                failures.append(got)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert kernel.cache_size() == 3


@pytest.mark.device
def test_wrong_arguments_of_decorators_are_named_as_the_user_knows_them():
    with pytest.raises(
        TypeError, match=r"baremetal_jit\(\) takes an int for 'core_id'"
    ):
        baremetal_jit(core_id="a")(lambda x: x)
    with pytest.raises(ValueError, match="^the target is one of .*'trn99'"):
        baremetal_jit(target="trn99")(lambda x: x)
    with pytest.raises(TypeError, match=r"simulate_jit\(\) takes an int for 'world"):
        simulate_jit(world_size="2")(lambda x: x)
