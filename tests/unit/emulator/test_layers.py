"""Equal layers as a loop: the same numbers, and the code of one layer."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import NKIPyKernel
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import float32, int32
from nkipy.hlo.ir import HLOModule
from nkipy_emulator import preparation
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.errors import SimulationError
from nkipy_emulator.handler_calls import call_on_memory, handler
from nkipy_emulator.preparation import with_store
from nkipy_emulator.products import has_blas
from tests.support.memory import shifted

WIDTH = 24


def layer(x, p):
    """More than thirty instructions, a product among them."""
    scale = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(1e-3))
    h = (x / scale * p["scale"]) @ p["weight"]
    h = h / (1 + np.exp(-h)) + np.tanh(h) * np.cos(h)
    for _ in range(6):
        h = h * np.float32(0.75) + np.maximum(h, x) - np.abs(x)
    return x + np.clip(h, -8, 8)


def stacked(x, layers):
    for p in layers:
        x = layer(x, p)
    return x


def hidden(x, layers):
    """All that layers make, which a loop would have to keep."""
    made = []
    for p in layers:
        x = layer(x, p)
        made.append(x)
    return made


def with_prologue(x, layers):
    x = np.sin(x) + 1
    y = stacked(x, layers)
    return y - x, y


def parameters(rng, count=6, width=WIDTH):
    def numbers(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    return [
        {"scale": numbers(width), "weight": numbers(width, width) / 4}
        for _ in range(count)
    ]


def arguments(rng, count=6):
    return rng.standard_normal((5, WIDTH)).astype(np.float32), parameters(rng, count)


def flat(x, layers):
    return [x, *(array for p in layers for array in p.values())]


def traced(function, *values):
    return NKIPyKernel.trace(function).specialize(*values)


def loops(module, mode="always"):
    made, _ = with_store(module, None, CustomCalls(), fast_calls=mode)
    return [i for i in made.instructions() if i.opcode == "while"]


def run(module, inputs, mode="always"):
    return XlaCpuEngine(fast_calls=mode).compile(module).run_new(inputs)


def run_without_loops(module, inputs, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "roll_layers", lambda module, *_: module)
        return run(module, inputs)


@pytest.mark.parametrize("kernel", [stacked, with_prologue])
def test_layers_are_a_loop_with_the_same_bits(kernel, rng, monkeypatch):
    x, layers = arguments(rng)
    module = traced(kernel, x, layers)
    assert len(loops(module)) == 1
    got = run(module, flat(x, layers))
    wanted = run_without_loops(module, flat(x, layers), monkeypatch)
    exact = kernel(x.astype(float), layers)
    exact = exact if isinstance(exact, tuple) else (exact,)
    for result, other, expected in zip(got, wanted, exact, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, other)
        np.testing.assert_allclose(result, expected, 1e-3, 1e-3)


@pytest.mark.parametrize("offset", [4, 16, 33])
def test_parameters_may_lie_anywhere(offset, rng):
    x, layers = arguments(rng)
    module = traced(stacked, x, layers)
    executable = XlaCpuEngine(fast_calls="always").compile(module)
    inputs = flat(x, layers)
    (wanted,) = executable.run_new(inputs)
    (got,) = executable.run_new([shifted(a, offset) for a in inputs])
    np.testing.assert_array_equal(got, wanted)


def test_a_result_may_be_where_a_parameter_was(rng):
    x, layers = arguments(rng)
    inputs = flat(x, layers)
    executable = XlaCpuEngine().compile(traced(stacked, x, layers))
    (wanted,) = executable.run_new(inputs)
    executable.run(inputs, [inputs[0]])
    np.testing.assert_array_equal(inputs[0], wanted)


def test_replicas_have_parameters_of_their_own(rng):
    ranks = [flat(*arguments(rng)) for _ in range(2)]
    module = traced(stacked, *arguments(rng))
    executable = XlaCpuEngine(fast_calls="auto").compile(module, num_replicas=2)
    outputs = [[np.empty((5, WIDTH), np.float32)] for _ in ranks]
    executable.run_replicas(ranks, outputs)
    for inputs, (got,) in zip(ranks, outputs):
        np.testing.assert_array_equal(got, run(module, inputs, "auto")[0])


def test_layers_may_share_parameters(rng, monkeypatch):
    x, (p, *others) = arguments(rng)

    def shared(x, p, others):
        for other in others:
            x = layer(x, {"scale": other["scale"], "weight": p["weight"]})
        return x

    module = traced(shared, x, p, others)
    assert len(loops(module)) == 1
    inputs = [x, p["scale"], p["weight"], *flat(x, others)[1:]]
    (wanted,) = run_without_loops(module, inputs, monkeypatch)
    np.testing.assert_array_equal(run(module, inputs)[0], wanted)


def test_what_is_no_loop(rng):
    x, layers = arguments(rng)
    assert not loops(traced(hidden, x, layers))
    assert not loops(traced(stacked, x, layers[:2]))

    def fused(x, layers):
        for p in layers * 6:
            for _ in range(20):
                x = np.abs(x - p["scale"])
        return x

    assert not loops(traced(fused, x, layers), "never")

    def unlike(x, layers):
        for number, p in enumerate(layers):
            x = layer(x, p) * np.float32(number)
        return x

    assert not loops(traced(unlike, x, layers))


def test_weights_are_not_copied(rng):
    x = rng.standard_normal((5, 96)).astype(np.float32)
    module = traced(stacked, x, parameters(rng, width=96))
    assert not loops(module, "never")
    (loop,) = loops(module)
    calls = [
        i.attributes["custom_call_target"]
        for i in loop.attributes["body"].instructions
        if i.opcode == "custom-call"
    ]
    assert calls.count("nkipy_products") == calls.count("nkipy_copy") == 1


@pytest.mark.skipif(not has_blas(), reason="NumPy's own products are slow")
def test_products_that_xla_would_do_as_fast_are_in_the_loop(rng):
    x = rng.standard_normal((40, 96)).astype(np.float32)
    layers = parameters(rng, width=96)
    module = traced(stacked, x, layers)
    assert len(loops(module, "auto")) == 1
    (got,) = run(module, flat(x, layers), "auto")
    np.testing.assert_allclose(got, stacked(x.astype(float), layers), 1e-3, 1e-3)


def test_a_number_that_is_out_of_its_table_is_refused(monkeypatch):
    # Which would refuse this call, as no module of others' may have one.
    monkeypatch.setattr(preparation, "lower_custom_calls", lambda module, *_: module)

    def module_of(place, words):
        module = HLOModule("chosen")
        b = HLOBuilder(module.entry)
        vector = module.add_parameter((2,), np.dtype(np.uint64), "vector")
        number = b.constant(np.int32(place), int32)
        call = b.emit(
            *("custom-call", (number,), (4,), float32),
            handler("nkipy_copy", "elements = 4 : i64"),
        )
        module.set_results([call_on_memory(call, (number, vector), words, b)])
        return module

    x = np.arange(4, dtype=np.float32)
    vector = np.array([0, x.ctypes.data], np.uint64)
    good = (-3, 1, 11, 4, 1)
    (got,) = run(module_of(0, good), [vector])
    np.testing.assert_array_equal(got, x)
    for place, words in (
        (1, good),
        (-1, good),
        (0, (-3, 1, 11, 4, 0)),  # lies nowhere
        (0, (-3, 1, 11, 4, 2)),  # no word of the vector's
        (0, (-3, 1, 11, 5, 1)),
        (0, (-3, 1, 12, 4, 1)),
        (0, (-3, 2, 11, 4, 1)),
        (0, (-9, 1, 11, 4, 1)),
        (0, (-3, 1)),
    ):
        with pytest.raises(SimulationError):
            run(module_of(place, words), [vector])
