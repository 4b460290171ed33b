"""Tracing: parameters, aliases, results, contexts, errors."""

from __future__ import annotations

import gc
import inspect
import threading
import tracemalloc
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest

import nkipy
from nkipy.core.arguments import ShapeDtype
from nkipy.core.backend import get_backend, tracing
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.errors import ConcretizationError, LeakedTracerError, NKIPyError
from nkipy.core.ops import Op
from nkipy.core.trace import NKIPyKernel, _sanitize_array_dtype, trace_function
from nkipy.hlo.ir import HLOModule
from nkipy.runtime import simulate_jit

F32 = np.float32


def ones(*shape, dtype=F32):
    return np.ones(shape, dtype)


def module_of(func, *args, **kwargs):
    return trace_function(func, args, kwargs).module


class Pair(NamedTuple):
    left: np.ndarray
    right: np.ndarray


# -- parameters ------------------------------------------------------------------------
def of_a_later_release(function, *more: inspect.Parameter):
    """A function of NumPy's with parameters that no op has."""

    def newer(*args, **kwargs):
        return function(*args, **kwargs)

    known = inspect.signature(function)
    parameters = (*known.parameters.values(), *more)
    newer.__signature__ = known.replace(parameters=parameters)
    return newer


UNHEARD_OF = inspect.Parameter("unheard_of", inspect.Parameter.KEYWORD_ONLY, default=2)


@pytest.mark.parametrize("function", [np.sort, np.argsort, np.quantile, np.sum])
def test_a_function_of_numpy_s_may_have_parameters_that_no_op_has(function):
    x = np.random.default_rng(0).random((3, 5), F32)
    given = [x, 0.5] if function is np.quantile else [x]
    newer = of_a_later_release(function, UNHEARD_OF)
    got = simulate_jit(newer)(*given)
    np.testing.assert_allclose(got, function(*given), 1e-6)
    with pytest.raises(TypeError, match="unheard_of"):
        trace_function(newer, tuple(given), {"unheard_of": 3})


def test_defaults_are_passed_where_others_come_behind_them():
    def kernel(x, scale=2, /, shift=1, *more, **options):
        return x * scale + shift + sum(more) + options.get("last", 0)

    x = ones(3)
    for args, kwargs in [
        ((), {}),
        ((2,), {"last": 4}),
        ((2, 5), {}),
        ((2, 1, 7, 8), {"last": 1}),
        ((), {"shift": 3}),
    ]:
        got = simulate_jit(kernel)(x, *args, **kwargs)
        np.testing.assert_array_equal(got, kernel(x, *args, **kwargs))


def test_parameters_are_named_after_the_signature_or_their_path():
    def kernel(x, tree, pair, n, *rest, **more):
        return x + tree["layers"][1]["w"] + pair.left * n + rest[0] + more["bias"]

    tree = {"layers": [{"w": ones(2)}, {"w": ones(2)}]}
    module = module_of(
        kernel, ones(2), tree, Pair(ones(2), ones(2)), 3, ones(2), bias=ones(2)
    )
    assert [p.name for p in module.inputs] == [
        "x",
        "tree.layers.0.w",
        "tree.layers.1.w",
        "pair.left",
        "pair.right",
        "rest.0",
        "more.bias",
    ]


def test_keys_that_collide_get_distinct_names():
    module = module_of(lambda d: d["a b"] + d["a_b"], {"a b": ones(1), "a_b": ones(1)})
    names = [p.name for p in module.inputs]
    assert len(set(names)) == 2


def test_array_defaults_are_parameters_and_scalars_are_not():
    def kernel(x, bias=np.ones(2, F32), scale=np.float32(2)):  # noqa: B008
        return x * scale + bias

    assert [p.name for p in module_of(kernel, ones(2)).inputs] == ["x", "bias"]


def test_parameter_names_of_hlo_do_not_collide_with_ours():
    def kernel(result, output1):
        output1 += result
        return result * 2, result + 1

    module = module_of(kernel, ones(2), ones(2))
    names = [o.name for o in module.outputs]
    assert len(set(names)) == len(names)
    module.serialize()


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [("float64", "float32"), ("int64", "int32"), ("uint64", "uint32")],
)
def test_64_bit_arguments_are_narrowed_with_one_warning(wide, narrow):
    with pytest.warns(UserWarning) as caught:
        module = module_of(lambda weird: weird + 1, ones(2, dtype=wide))
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "weird" in text and wide in text and narrow in text
    assert module.parameters[0].dtype == np.dtype(narrow)


def test_sanitize_returns_the_same_object_where_nothing_changes():
    x = ones(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _sanitize_array_dtype(x, "x") is x


# -- results and aliases ---------------------------------------------------------------
def test_a_returned_mutated_parameter_is_its_alias():
    def kernel(a, b):
        a += b
        return a, b

    module = module_of(kernel, ones(2), ones(2))
    (alias,) = module.aliases
    assert (alias.output_index, alias.param_index) == (0, 0)
    assert alias.param_name == "a" and alias.is_user_returned
    assert [p.name for p in module.inputs] == ["a.must_alias_input", "b"]
    assert [p.original_name for p in module.inputs] == ["a", "b"]
    assert [o.name for o in module.outputs] == ["a", "output1"]
    assert module.results[1].op_name == "copy"
    assert module.auto_aliased_indices == set()


def test_an_unreturned_mutated_parameter_is_appended():
    def kernel(a, b):
        b *= 2
        return a + 1

    module = module_of(kernel, ones(2), ones(2))
    assert [o.name for o in module.outputs] == ["output0", "b"]
    assert module.auto_aliased_indices == {1}
    assert module.input_output_alias == {1: 1}


def test_one_value_returned_twice_is_two_outputs():
    def kernel(a):
        y = a + 1
        a += 1
        return y, y, a, a

    module = module_of(kernel, ones(2))
    names = [o.name for o in module.outputs]
    assert names == ["output0", "output1", "a", "output3"]
    module.verify()


def test_no_result_and_no_write_is_an_empty_module():
    module = module_of(lambda a: None, ones(2))
    assert module.outputs == [] and len(module.inputs) == 1
    module.serialize()


def test_dead_instructions_are_dropped():
    def kernel(a):
        np.exp(a)
        return a + 1

    assert "exponential" not in [
        o.op_name for o in module_of(kernel, ones(2)).operations
    ]


def test_unexpected_results_say_where():
    with pytest.raises(NKIPyError, match="object at a.0"):
        module_of(lambda x: {"a": [object()]}, ones(2))


# -- source lines and hashes -----------------------------------------------------------
def test_instructions_carry_the_users_line():
    def kernel(x):
        return x + 1

    line = kernel.__code__.co_firstlineno + 1
    add = module_of(kernel, ones(2)).operations[-1]
    assert add.source_location.filename == __file__
    assert add.source_location.line == line


def test_tracing_again_gives_the_same_program_at_its_own_lines():
    def kernel(x):
        a = x * 2.0
        b = x * 2.0
        view = a.T[:, 1]
        view[:] = np.where(np.array([True, False, True]), b[0], -0.0)
        return a, np.sum(b, axis=0), np.sum(b, 0, keepdims=True)

    first, *others = (module_of(kernel, ones(2, 3)) for _ in range(3))
    for module in others:
        assert module.to_text() == first.to_text()
        assert module.serialize() == first.serialize()
        assert module.content_hash() == first.content_hash()
    lines = [i.source_location.line for i in first.operations if i.opcode == "multiply"]
    start = kernel.__code__.co_firstlineno
    assert lines == [start + 1, start + 2]


@pytest.mark.parametrize(("seen", "other"), [(0.0, -0.0), (1, True), (1, 1.0)])
def test_equal_scalars_are_told_apart(seen, other):
    x = ones(2, 3, dtype=np.int8)
    alone = module_of(lambda x: x + other, x)
    module_of(lambda x: x + seen, x)
    both = module_of(lambda x: (x + seen, x + other), x)
    assert module_of(lambda x: x + other, x).to_text() == alone.to_text()
    assert both.results[1].dtype == alone.results[0].dtype


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (lambda x: np.sum(x, 1), lambda x: np.sum(x, 1.0)),
        (lambda x: np.sum(x, (0, 1)), lambda x: np.sum(x, (0, 1.0))),
        (lambda x: np.reshape(x, (3, 2)), lambda x: np.reshape(x, (3, 2.0))),
        (lambda x: x[0:1], lambda x: x[0.0:1.0]),
        (lambda x: x[0, 1], lambda x: x[0.0, 1.0]),
        (lambda x: x[1], lambda x: x[True]),
    ],
)
def test_equal_arguments_of_other_types_are_refused_after_good_ones(good, bad):
    module_of(good, ones(2, 3))
    with pytest.raises((TypeError, IndexError, NotImplementedError)):
        module_of(bad, ones(2, 3))


def test_an_implementation_registered_later_is_used():
    op = Op("twice", register=False)
    op.impl("hlo")(lambda x: x + x)
    assert "add" in module_of(lambda x: op(x), ones(2)).to_text()
    op.impl("hlo")(lambda x: x * x)
    assert "multiply" in module_of(lambda x: op(x), ones(2)).to_text()


def test_the_content_hash_ignores_source_lines_but_not_arguments():
    namespaces = [{"np": np}, {"np": np}]
    body = "def kernel(x):\n    return np.exp(x)\n"
    exec(compile(body, "one.py", "exec"), namespaces[0])
    exec(compile("\n\n" + body, "two.py", "exec"), namespaces[1])
    first, second = (module_of(n["kernel"], ones(2)) for n in namespaces)
    assert first.content_hash("a") == second.content_hash("a")
    assert first.content_hash("a") != first.content_hash("b")
    assert len(first.content_hash("a")) == 12
    assert (
        first.content_hash()
        != module_of(namespaces[0]["kernel"], ones(3)).content_hash()
    )


# -- contexts --------------------------------------------------------------------------
def test_traces_nest_and_restore():
    inner_modules = []

    def inner(x):
        return x * 3

    def outer(x):
        y = x + 1
        inner_modules.append(module_of(inner, ones(4)))
        return y * 2

    module = module_of(outer, ones(2))
    assert [o.op_name for o in module.operations if o.shape == (2,)][-1] == "multiply"
    assert inner_modules[0].results[0].shape == (4,)
    assert get_backend() == "cpu"


def test_a_failing_trace_restores_the_context():
    def kernel(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        module_of(kernel, ones(1))
    assert get_backend() == "cpu"
    with pytest.raises(RuntimeError, match="No HLO context"):
        get_hlo_context()


def test_tensors_of_an_outer_trace_are_refused_in_an_inner_one():
    def outer(x):
        return module_of(lambda y: y + x, ones(2))

    with pytest.raises(LeakedTracerError, match="another trace"):
        module_of(outer, ones(2))


def test_a_context_can_be_driven_by_hand():
    module = HLOModule("by_hand")
    ctx = HLOTraceContext(module)
    x = module.add_parameter((2,), F32, "x")
    with tracing(ctx):
        assert get_backend() == "hlo"
        y = ctx.build_op("add", [x, x], (2,), F32)
    module.set_results(y)
    module.verify()
    assert module.operations[-1].op_name == "add"


def test_threads_trace_at_once():
    hashes, errors = {}, []
    start = threading.Barrier(4)

    def kernel(x):
        for _ in range(200):
            x = x * 2 + 1
        return x

    def work(n):
        try:
            start.wait()
            hashes[n] = {module_of(kernel, ones(n)).content_hash() for _ in range(5)}
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert {n: len(h) for n, h in hashes.items()} == dict.fromkeys(range(1, 5), 1)
    assert hashes[3] == {module_of(kernel, ones(3)).content_hash()}


@pytest.mark.parametrize("times", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_traces_do_not_grow(times):
    def kernel(x, y):
        return np.exp(x + y) * 2.0

    def run(times):
        for _ in range(times):
            module_of(kernel, ones(3), ones(3)).serialize()
        gc.collect()

    run(100)
    tracemalloc.start()
    try:
        run(10)
        before = tracemalloc.get_traced_memory()[0]
        run(times)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 8 * 1024 + 56 * times


def test_errors_name_op_shapes_line_and_reason():
    def kernel(x, y):
        return x + y

    with pytest.raises(ValueError) as caught:
        module_of(kernel, ones(2, 3), ones(4))
    text = str(caught.value)
    line = kernel.__code__.co_firstlineno + 1
    assert text.startswith("[add]")
    assert "float32[2,3], float32[4]" in text
    assert f"{__file__}:{line}" in text


def test_unknown_functions_name_themselves_and_the_way_out():
    with pytest.raises(NotImplementedError, match="'nonzero'.*np.where"):
        module_of(lambda x: np.nonzero(x), ones(3))
    with pytest.raises(NotImplementedError, match="fft"):
        module_of(lambda x: np.fft.fft(x), ones(4))


# -- the kernel object -----------------------------------------------------------------
def test_kernel_object():
    @NKIPyKernel.trace
    def plain(x):
        return x + 1

    @NKIPyKernel.trace(backend="hlo")
    def configured(x):
        return x + 1

    assert (
        plain.__name__ == "plain"
        and repr(plain) == "<NKIPyKernel 'plain' backend='hlo'>"
    )
    assert plain._code is None
    assert plain.specialize(ones(2)) is plain._code
    assert configured.specialize(ones(2)).name == "configured"
    assert not callable(plain)
    with pytest.warns(UserWarning, match="cpu"):
        assert NKIPyKernel(lambda x: x, "cpu").specialize(ones(1)) is None
    with pytest.raises(ValueError, match="Unknown backend nope"):
        NKIPyKernel(lambda x: x, "nope").specialize(ones(1))


def test_a_store_into_an_array_that_tracing_cannot_see_says_so():
    zeros = np.zeros  # bound before tracing, as `from numpy import zeros` would

    def kernel(x):
        plain = zeros(3, np.float32)
        plain[0] = x[0]
        return plain

    with pytest.raises(ConcretizationError, match="np.zeros"):
        module_of(kernel, ones(3))


# -- what newcomers try ----------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_matrices_are_refused_as_their_products_are_others():
    with pytest.raises(TypeError, match=r"'x' is an np.matrix.*np.asarray"):
        module_of(lambda x: x * x, np.matrix([[1.0, 2.0]], dtype=F32))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (np.array([2**40]), OverflowError, "constant 1099511627776 is out of range"),
        (np.array([None]), TypeError, "unsupported dtype object"),
    ],
)
def test_a_constant_that_cannot_be_returned_names_the_kernel(value, error, text):
    with pytest.raises(error, match=rf"(?s)\[return\] {text}.*at .*test_trace.py"):
        module_of(lambda x: (x, value), ones(2))


def test_a_traced_array_as_argument_of_another_trace_says_what_to_call():
    def outer(x):
        made = np.zeros(2, F32)
        made[:] = x
        return module_of(lambda x: x, made)

    with pytest.raises(LeakedTracerError, match=r"(?s)call the plain function.*\.func"):
        module_of(outer, ones(2))


@dataclass(frozen=True, slots=True)
class Slotted:
    left: np.ndarray
    factor: int


class Registry(dict):
    scale = 1


def test_containers_keep_their_type_and_state():
    registry = Registry(w=ones(2))
    registry.scale = 3
    seen = []

    def kernel(pair, registry):
        seen.append((type(pair), registry.scale))
        return Slotted(pair.left * registry["w"], pair.factor), registry

    result = trace_function(kernel, (Slotted(ones(2), 4), registry), {}).result
    assert seen == [(Slotted, 3)]
    assert type(result[0]) is Slotted and result[0].factor == 4
    assert type(result[1]) is Registry and result[1].scale == 3


def test_narrowing_is_announced_at_the_line_that_passes_the_array():
    for call in (lambda x: module_of(lambda x: x, x), simulate_jit(lambda x: x)):
        with pytest.warns(UserWarning, match="float64") as warned:
            call(np.ones(2))
        assert [w.filename for w in warned] == [__file__]


class _AnswersToNothing:
    value = 2.0

    def __getattr__(self, name):
        raise KeyError(name)


def test_objects_whose_attributes_fail_are_static():
    arguments = np.ones(2, np.float32), _AnswersToNothing()
    made = trace_function(lambda x, s: x * s.value, arguments, {})
    assert len(made.module.parameters) == 1
    with pytest.raises(TypeError, match="_AnswersToNothing"):
        trace_function(lambda x, s: s, arguments, {})


# -- shapes and dtypes in place of arrays ----------------------------------------------
def test_a_shape_and_dtype_stands_for_an_array():
    def kernel(x, tree):
        x += tree["w"]
        return x.sum()

    described = {"w": ShapeDtype(3, "float32")}
    found = module_of(kernel, ShapeDtype((2, 3), F32), described)
    assert found.to_text() == module_of(kernel, ones(2, 3), {"w": ones(3)}).to_text()
    assert [p.name for p in found.inputs] == ["x.must_alias_input", "tree.w"]


def test_no_array_of_that_size_is_made():
    large, column = ShapeDtype((1 << 21, 1 << 21), F32), ShapeDtype((1 << 21, 1), F32)
    kernel = NKIPyKernel.trace(lambda x, y: np.tanh(x) @ y)
    module = kernel.specialize(large, column)
    assert module.parameters[0].shape == (1 << 21, 1 << 21)  # 16 TiB
    assert module.results[0].shape == (1 << 21, 1)
    jitted = simulate_jit(kernel.func)
    assert jitted.lower(large, column).to_text() == module.to_text()
    assert "f32[2097152,2097152]" in jitted.hlo(large, column)


def test_any_object_with_a_shape_and_a_dtype_is_one():
    class Described:
        shape, dtype = (2, 3), np.dtype(np.int8)

    assert module_of(lambda x: x + 1, Described()).results[0].dtype == np.int8


def test_64_bit_dtypes_are_narrowed_as_those_of_arrays():
    with pytest.warns(UserWarning, match="'x' has dtype float64"):
        module = module_of(lambda x: x + 1, ShapeDtype((2,), np.float64))
    assert module.parameters[0].dtype == F32


def test_shapes_and_dtypes_are_values():
    one = nkipy.ShapeDtype([2, np.int64(3)], "bfloat16")
    assert one.shape == (2, 3) and one.ndim == 2
    assert one.dtype == ml_dtypes.bfloat16
    assert one == ShapeDtype((2, 3), ml_dtypes.bfloat16) != ShapeDtype((2, 3), F32)
    assert len({one, ShapeDtype((2, 3), "bfloat16")}) == 1
    assert repr(one) == "ShapeDtype((2, 3), bfloat16)"
    with pytest.raises(AttributeError):
        one.shape = (3,)


@pytest.mark.parametrize(
    ("shape", "dtype", "error", "text"),
    [
        ((2, -1), F32, ValueError, "negative"),
        ((2.5,), F32, TypeError, "integer"),
        ((2,), "no such dtype", TypeError, "no such dtype"),
    ],
)
def test_what_is_no_shape_or_dtype_is_refused(shape, dtype, error, text):
    with pytest.raises(error, match=text):
        ShapeDtype(shape, dtype)


def test_a_shape_and_dtype_cannot_be_computed_with():
    with pytest.raises(TypeError, match="has no values"):
        simulate_jit(lambda x: x + 1)(ShapeDtype((2,), F32))
