"""``simulate_jit``: structure, caching, mutation, guards, errors."""

from __future__ import annotations

import dataclasses
import functools
import threading

import numpy as np
import pytest

from nkipy.core.errors import LeakedTracerError, NKIPyTypeError, NKIPyValueError
from nkipy.core.trace import NKIPyKernel
from nkipy.runtime import PerRank, simulate_jit, simulate_traced_kernel

F32 = np.float32


def ones(*shape):
    return np.ones(shape, F32)


@dataclasses.dataclass
class Weights:
    w: np.ndarray
    scale: float


def test_result_keeps_the_structure_of_the_return_value():
    @simulate_jit
    def kernel(tree):
        return {"sum": tree["a"] + tree["b"][0], "rest": (tree["b"][1] * 2, 7, None)}

    got = kernel({"a": ones(2), "b": [ones(2), ones(3)]})
    assert list(got) == ["sum", "rest"]
    np.testing.assert_array_equal(got["sum"], np.full(2, 2, F32))
    np.testing.assert_array_equal(got["rest"][0], np.full(3, 2, F32))
    assert got["rest"][1:] == (7, None)


def test_dataclass_arguments_are_trees():
    @simulate_jit
    def kernel(p):
        return Weights(p.w * p.scale, p.scale)

    got = kernel(Weights(ones(3), 0.5))
    assert isinstance(got, Weights) and got.scale == 0.5
    np.testing.assert_array_equal(got.w, np.full(3, 0.5, F32))


def test_star_arguments_are_parameters_named_by_their_path():
    @simulate_jit
    def kernel(*args, **kwargs):
        return args[0] + args[1] * kwargs["k"]

    module = kernel.lower(ones(2), ones(2), k=ones(2))
    assert [p.name for p in module.inputs] == ["args.0", "args.1", "kwargs.k"]
    np.testing.assert_array_equal(kernel(ones(2), ones(2), k=ones(2)), ones(2) * 2)


def test_one_program_for_equal_calls():
    kernel = simulate_jit(lambda x, n=2: x * n)
    for _ in range(3):
        kernel(ones(2))
    assert kernel.cache_size() == 1
    kernel(ones(3))
    assert kernel.cache_size() == 2
    np.testing.assert_array_equal(kernel(ones(3), 5), ones(3) * 5)
    assert kernel.cache_size() == 3


def test_static_values_of_other_types_are_other_programs():
    kernel = simulate_jit(lambda x, n: x * n)
    kernel(ones(2), 1)
    kernel(ones(2), True)
    kernel(ones(2), 1.0)
    assert kernel.cache_size() == 3
    assert np.signbit(kernel(ones(1), -0.0))[0]
    assert not np.signbit(kernel(ones(1), 0.0))[0]


def test_mutated_arguments_are_written_back():
    @simulate_jit
    def kernel(x, y):
        x += y
        y[0] = 5
        return x

    x, y = ones(3), ones(3)
    got = kernel(x, y)
    assert got is x
    np.testing.assert_array_equal(x, [2, 2, 2])
    np.testing.assert_array_equal(y, [5, 1, 1])


def test_mutation_reaches_strided_and_64_bit_arrays():
    @simulate_jit
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


def test_read_only_and_shared_arguments_are_refused_before_anything_happens():
    @simulate_jit
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


def test_a_failing_call_leaves_the_arguments_alone():
    @simulate_jit
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


def test_changed_globals_are_noticed(monkeypatch):
    kernel = simulate_jit(uses_globals)
    np.testing.assert_array_equal(kernel(ones(3)), [2, 3, 4])
    monkeypatch.setitem(globals(), "SCALE", 4.0)
    np.testing.assert_array_equal(kernel(ones(3)), [4, 5, 6])
    TABLE[0] = 10
    try:
        np.testing.assert_array_equal(kernel(ones(3)), [14, 5, 6])
    finally:
        TABLE[0] = 0
    assert kernel.cache_size() == 1


def test_changed_closure_is_noticed():
    weight = ones(3)
    kernel = simulate_jit(lambda x: x * weight)
    kernel(ones(3))
    weight *= 3
    np.testing.assert_array_equal(kernel(ones(3)), [3, 3, 3])


def test_a_traced_value_that_escapes_is_an_error():
    leaked = []

    @simulate_jit
    def leaks(x):
        leaked.append(x + 1)
        return x

    leaks(ones(2))
    with pytest.raises(LeakedTracerError, match="another trace"):
        leaked[0] + 1
    with pytest.raises(LeakedTracerError, match="another trace"):
        simulate_jit(lambda x: x + leaked[0])(ones(2))


def test_kernel_objects_partials_and_methods():
    class Model:
        def __init__(self):
            self.w = ones(2) * 3

        @simulate_jit
        def forward(self, x):
            return x * 2

    np.testing.assert_array_equal(Model().forward(ones(2)), [2, 2])
    scaled = simulate_jit(functools.partial(lambda n, x: x * n, 3))
    np.testing.assert_array_equal(scaled(ones(2)), [3, 3])
    np.testing.assert_array_equal(simulate_jit(np.add)(ones(2), ones(2)), [2, 2])
    traced = NKIPyKernel.trace(lambda x: x + 1)
    np.testing.assert_array_equal(simulate_traced_kernel(traced, ones(2)), [2, 2])
    assert traced._code is not None


def test_hlo_text_and_module_are_shown():
    kernel = simulate_jit(lambda x: np.exp(x))
    text = kernel.hlo(ones(2))
    assert "exponential" in text and "<pre>" in text._repr_html_()
    module = kernel.lower(ones(2))
    assert [o.op_name for o in module.operations] == ["exponential"]
    assert "exponential" in module._repr_html_()


def test_a_masked_array_and_a_complex_one_are_refused():
    kernel = simulate_jit(lambda x: x)
    with pytest.raises(NKIPyTypeError, match="'x'.*masked"):
        kernel(np.ma.masked_array([1.0, 2.0], [0, 1]))
    with pytest.raises(NKIPyTypeError, match="'x'.*complex64"):
        kernel(np.ones(2, np.complex64))


def test_threads_share_one_kernel():
    kernel = simulate_jit(lambda x, n: x * n)
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


def test_ranks_take_their_own_arguments():
    kernel = simulate_jit(world_size=2)(lambda x, y: x + y)
    first, second = kernel(PerRank([ones(2), ones(2) * 2]), ones(2))
    np.testing.assert_array_equal(first, [2, 2])
    np.testing.assert_array_equal(second, [3, 3])
    with pytest.raises(NKIPyValueError, match="1 values for 2 ranks"):
        kernel(PerRank([ones(2)]), ones(2))


def test_ranks_that_write_need_their_own_arrays():
    @simulate_jit(world_size=2)
    def kernel(x):
        x += 1

    with pytest.raises(NKIPyValueError, match="PerRank"):
        kernel(ones(2))
    xs = [ones(2), ones(2) * 5]
    kernel(PerRank(xs))
    np.testing.assert_array_equal(xs, [[2, 2], [6, 6]])
