"""Vendor calls lowered to HLO, and handlers written in Python."""

from __future__ import annotations

import gc
import threading
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkipy.core import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.custom_calls import (
    CustomCall,
    Passes,
    accept,
    emit,
    register,
    unregister,
)
from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.ir import HLOComputation, HLOModule, Shape
from nkipy_emulator import (
    SimulationError,
    UnsupportedCustomCallError,
    call_sites,
    register_custom_call,
    unregister_custom_call,
)
from nkipy_emulator.code_cache import CodeCache
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


def test_handler_computes_subnormal_numbers(execute, double):
    """In threads of XLA's, which flush them to zero in its own code."""
    x = np.array([1e-40, -3e-41], np.float32)
    called, plain = execute(lambda b, p: (calls(b, p), b.add(p, p)), x)
    np.testing.assert_array_equal(called, x + x)
    assert called.all() and not plain.any()


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


def test_a_traceback_keeps_no_array_of_xlas(engine, module_of, results_of):
    """Its memory is freed, and pytest shows the arguments of frames."""

    def fail(inputs, outputs, config):
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from None

    register_custom_call("Fail", fail)
    x = np.ones(4, np.float32)
    attributes = {"custom_call_target": "Fail"}
    module = module_of(
        lambda b, p: b.emit("custom-call", (p,), p.shape, p.dtype, attributes), x
    )
    try:
        with pytest.raises(ValueError, match="second") as raised:
            engine.compile(module).run([x], results_of(module))
    finally:
        unregister_custom_call("Fail")
    for error in (raised.value, raised.value.__context__):
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        assert [f.f_locals for f in frames if f.f_code is fail.__code__] == [{}]


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
    with pytest.raises(KeyError, match="no such kernel") as raised:
        executable.run([np.array(1, np.int32), x], [out])
    assert raised.traceback[-1].name == "handler"
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
    before = len(call_sites._sites)
    executable = engine.compile(module_of(lambda b, p: calls(b, p), np.ones(2)))
    assert len(call_sites._sites) == before + 1
    del executable
    gc.collect()
    assert len(call_sites._sites) == before


# -- records ---------------------------------------------------------------------------
@pytest.fixture
def registered():
    """Registers records for one test."""
    targets = []

    def add(target: str, **parts) -> CustomCall:
        given = {"version": "1", "check": accept, "cost": Passes("VectorE")}
        record = CustomCall(target=target, **(given | parts))
        register(record)
        targets.append(target)
        return record

    yield add
    for target in targets:
        unregister(target)


def calling(record: CustomCall):
    """The body of a program that calls it on (x, y), for a result like y."""

    def body(b, x, y):
        return emit(b, record, (x, y), Shape(y.dtype, y.shape))

    return body


def test_an_aliased_output_begins_as_its_operand(execute, registered):
    def add_to_output(inputs, outputs, config):
        outputs[0][...] += inputs[0]

    record = registered("Accumulate", run=add_to_output, aliases={0: 1})
    x, y = np.arange(4, dtype=np.float32), np.full(4, 10, np.float32)
    np.testing.assert_array_equal(execute(calling(record), x, y)[0], x + y)
    np.testing.assert_array_equal(y, np.full(4, 10, np.float32))


def test_an_alias_of_one_call_alone(execute, registered):
    record = registered("Keep", run=lambda inputs, outputs, config: None)

    def body(b, x, y):
        attributes = {
            "custom_call_target": record.target,
            "output_operand_aliasing": ((0, 1), (1, 0)),
        }
        shapes = [Shape(v.dtype, v.shape) for v in (y, x)]
        return b.tuple_result("custom-call", (x, y), shapes, attributes)

    x, y = np.arange(4, dtype=np.float32), np.arange(3, dtype=np.int32)
    first, second = execute(body, x, y)
    np.testing.assert_array_equal(first, y)
    np.testing.assert_array_equal(second, x)


def test_an_alias_after_a_tuple_is_of_its_own_array(execute, registered):
    record = registered("Keep", run=lambda inputs, outputs, config: None)

    def body(b, x, y):
        shapes = (Shape(x.dtype, x.shape),) * 2
        pair = b.emit("tuple", (x, x), (), None, tuple_shapes=shapes)
        attributes = {
            "custom_call_target": record.target,
            "output_operand_aliasing": ((None, 1),),
        }
        return b.emit("custom-call", (pair, y), y.shape, y.dtype, attributes)

    x, y = np.arange(4, dtype=np.float32), np.arange(3, dtype=np.int32)
    np.testing.assert_array_equal(execute(body, x, y)[0], y)


def test_a_lowering_comes_before_run_and_may_call_others(execute, registered):
    def greatest(call, operands, b):
        shape = (1,)
        shapes = (Shape(operands[1].dtype, shape), Shape(dt.uint32, shape))
        attributes = {"custom_call_target": "AwsNeuronTopK", "backend_config": b"1"}
        values, _ = b.tuple_result("custom-call", operands[1:], shapes, attributes)
        return b.broadcast_to(b.add(values, b.full_like(values, 1)), call.shape)

    record = registered("Greatest", lowering=greatest, run=lambda *_: 1 / 0)
    x, y = np.zeros(4, np.float32), np.array([3, 9, 4], np.float32)
    np.testing.assert_array_equal(execute(calling(record), x, y)[0], [10, 10, 10])


def test_lowerings_that_are_wrong_never_reach_xla(engine, registered, module_of):
    def other_shape(call, operands, b):
        return operands[0]

    def other_operand(call, operands, b):
        return b.emit("add", operands, call.shape, call.dtype)

    def itself(call, operands, b):
        return emit(b, again, operands, Shape(call.dtype, call.shape))

    x, y = np.zeros(4, np.float32), np.zeros(3, np.float32)
    shape = registered("OtherShape", lowering=other_shape)
    with pytest.raises(SimulationError, match=r"'OtherShape' has the result f32\[3\]"):
        engine.compile(module_of(calling(shape), x, y))
    invalid = registered("Invalid", lowering=other_operand)
    with pytest.raises(HLOVerificationError, match="add"):
        engine.compile(module_of(calling(invalid), x, y))
    again = registered("Again", lowering=itself)
    with pytest.raises(SimulationError, match="calls them again: Again"):
        engine.compile(module_of(calling(again), x, y))


def test_an_alias_that_does_not_fit_the_call_is_refused(engine, registered, module_of):
    record = registered("Keep", run=lambda *_: None)
    x, y = np.zeros(4, np.float32), np.zeros(3, np.float32)
    module = module_of(calling(record), x, y)
    registered("Keep", run=lambda *_: None, aliases={0: 0})
    with pytest.raises(SimulationError, match="'Keep': output 0 cannot be operand 0"):
        engine.compile(module)


def test_an_alias_that_contradicts_the_record_is_refused(engine, registered, module_of):
    record = registered("Keep", run=lambda *_: None, aliases={0: 0})
    x = np.zeros(3, np.float32)
    module = module_of(calling(record), x, x)
    registered("Keep", run=lambda *_: None, aliases={0: 1})
    with pytest.raises(SimulationError, match="'Keep': output 0 cannot be operand 0"):
        engine.compile(module)


def test_a_version_enters_the_key_of_compiled_code(registered, module_of, tmp_path):
    def twice(call, operands, b):
        return b.add(operands[1], operands[1])

    engine = XlaCpuEngine(CodeCache(tmp_path))
    record = registered("Twice", lowering=twice)
    x, y = np.zeros(4, np.float32), np.ones(3, np.float32)
    module = module_of(calling(record), x, y)
    for version, entries in (("1", 1), ("1", 1), ("2", 2)):
        registered("Twice", lowering=twice, version=version)
        engine.compile(module)
        assert len(list(tmp_path.iterdir())) == entries
