"""Vendor calls lowered to HLO, and handlers written in Python."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkipy.core import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOModule, Shape
from nkipy_emulator import (
    SimulationError,
    UnsupportedCustomCallError,
    custom_calls,
    register_custom_call,
    unregister_custom_call,
)
from nkipy_emulator.engine import XlaCpuEngine


def topk(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """AwsNeuronTopK of `x`, simulated."""
    module = HLOModule("topk")
    p = module.add_parameter(x.shape, x.dtype, "x")
    shape = (*x.shape[:-1], k)
    results = HLOBuilder(module.entry).tuple_result(
        "custom-call",
        (p,),
        (Shape(p.dtype, shape), Shape(dt.uint32, shape)),
        {"custom_call_target": "AwsNeuronTopK", "backend_config": str(k).encode()},
    )
    module.set_results(results)
    values, indices = np.empty(shape, x.dtype), np.empty(shape, np.uint32)
    XlaCpuEngine().compile(module).run([x], [values, indices])
    return values, indices


def descending(x: np.ndarray) -> np.ndarray:
    """Stable order from the greatest down, NaN above all, by NumPy alone."""
    wide = x.astype(np.float64)
    order = np.lexsort(
        (np.arange(len(x)), -np.nan_to_num(wide, nan=0), ~np.isnan(wide))
    )
    return order


@pytest.mark.parametrize("dtype", dt.SUPPORTED, ids=str)
def test_topk_of_every_dtype(rng, dtype):
    x = rng.integers(0, 2 if dtype == dt.bool_ else 6, (3, 2, 20)).astype(dtype)
    values, indices = topk(x, 5)
    rows = x.reshape(6, 20)
    expected = np.array([descending(row)[:5] for row in rows]).reshape(3, 2, 5)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, -1))


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0]


@given(st.lists(st.sampled_from(SPECIAL), min_size=9, max_size=9), st.data())
def test_topk_orders_nan_and_zeros_as_numpy(values, data):
    x = np.array(values, np.float32)
    k = data.draw(st.sampled_from([1, 4, 9]))
    found, indices = topk(x, k)
    expected = descending(x)[:k]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(found.view(np.uint32), x[expected].view(np.uint32))
    np.testing.assert_array_equal(found, np.sort(x)[::-1][:k])


@pytest.mark.parametrize("shape", [(0, 4), (2, 0, 4)])
def test_topk_of_nothing(shape):
    values, indices = topk(np.empty(shape, np.float32), 2)
    assert values.shape == indices.shape == (*shape[:-1], 2)


@pytest.fixture
def double():
    seen = []

    def handler(inputs, outputs, config):
        seen.append((config, inputs[0].flags.writeable, threading.get_ident()))
        if config == b"fail":
            raise KeyError("no such kernel")
        for source, target in zip(inputs, outputs):
            target[...] = source + source

    register_custom_call("Double", handler)
    yield seen
    unregister_custom_call("Double")


def calls(b: HLOBuilder, x, config: bytes = b""):
    attributes = {"custom_call_target": "Double", "backend_config": config}
    return b.emit("custom-call", (x,), x.shape, x.dtype, attributes)


@pytest.mark.parametrize("dtype", dt.SUPPORTED, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 2), (3, 5)], ids=str)
def test_handler_gets_and_fills_arrays(execute, double, dtype, shape):
    x = np.ones(shape, dtype)
    (out,) = execute(lambda b, p: b.add(calls(b, p, b"\x00cfg"), p), x)
    np.testing.assert_array_equal(out, x + x + x)
    assert out.dtype == dtype
    # XLA drops a call that has nothing to compute.
    assert [s[:2] for s in double] == [(b"\x00cfg", False)] * (x.size > 0)


def test_handler_with_several_results(execute, double):
    x, y = np.arange(3, dtype=np.float32), np.arange(4, dtype=np.int8)

    def body(b, p, q):
        shapes = [Shape(v.dtype, v.shape) for v in (p, q)]
        return b.tuple_result(
            "custom-call", (p, q), shapes, {"custom_call_target": "Double"}
        )

    first, second = execute(body, x, y)
    np.testing.assert_array_equal(first, 2 * x)
    np.testing.assert_array_equal(second, 2 * y)


def test_error_of_a_handler_is_raised_and_nothing_is_written(
    engine, double, module_of, results_of
):
    x = np.arange(4, dtype=np.float32)
    module = module_of(lambda b, p: (calls(b, p, b"fail"), b.negate(p)), x)
    outputs = results_of(module)
    untouched = [o.copy() for o in outputs]
    executable = engine.compile(module)
    for _ in range(3):
        with pytest.raises(KeyError, match="no such kernel") as error:
            executable.run([x], outputs)
    assert error.traceback[-1].name == "handler"
    for out, before in zip(outputs, untouched):
        np.testing.assert_array_equal(out.view(np.uint8), before.view(np.uint8))


def test_a_failed_call_skips_later_handlers(engine, double, module_of, results_of):
    x = np.arange(4, dtype=np.float32)
    module = module_of(lambda b, p: calls(b, calls(b, p, b"fail")), x)
    with pytest.raises(KeyError):
        engine.compile(module).run([x], results_of(module))
    assert len(double) == 1


def conditional(b: HLOBuilder, flag, x, config: bytes):
    branches = []
    for branch_config in (b"", config):
        branch = HLOComputation(f"branch_{len(branches)}")
        p = branch.add_parameter(x.shape, x.dtype)
        branch.root = calls(HLOBuilder(branch), p, branch_config)
        branches.append(branch)
    attributes = {"branches": tuple(branches)}
    return b.emit("conditional", (flag, x, x), x.shape, x.dtype, attributes)


def test_handler_within_a_branch(engine, double, module_of, results_of):
    x = np.arange(4, dtype=np.float32)
    flag = np.array(0, np.int32)
    module = module_of(lambda b, f, p: conditional(b, f, p, b"fail"), flag, x)
    executable, (out,) = engine.compile(module), results_of(module)
    executable.run([flag, x], [out])
    np.testing.assert_array_equal(out, 2 * x)
    with pytest.raises(SimulationError, match="no such kernel"):
        executable.run([np.array(1, np.int32), x], [out])
    np.testing.assert_array_equal(out, 2 * x)


def test_unknown_target_is_refused_by_name(execute, double):
    def body(b, p):
        attributes = {"custom_call_target": "AwsNeuronFoo"}
        return b.emit("custom-call", (p,), p.shape, p.dtype, attributes)

    with pytest.raises(UnsupportedCustomCallError, match="'AwsNeuronFoo'") as error:
        execute(body, np.zeros(3, np.float32))
    assert isinstance(error.value, NotImplementedError)
    assert "AwsNeuronTopK, Double" in str(error.value)


def test_lowered_targets_cannot_be_registered():
    with pytest.raises(ValueError, match="AwsNeuronTopK"):
        register_custom_call("AwsNeuronTopK", lambda i, o, c: None)


def test_a_handler_outlives_its_registration(engine, double, module_of, results_of):
    x = np.ones(2, np.float32)
    module = module_of(lambda b, p: calls(b, p), x)
    executable, (out,) = engine.compile(module), results_of(module)
    unregister_custom_call("Double")
    executable.run([x], [out])
    np.testing.assert_array_equal(out, [2, 2])


def test_call_sites_go_with_the_executable(engine, double, module_of):
    gc.collect()
    before = len(custom_calls._sites)
    executable = engine.compile(module_of(lambda b, p: calls(b, p), np.ones(2)))
    assert len(custom_calls._sites) == before + 1
    del executable
    gc.collect()
    assert len(custom_calls._sites) == before
