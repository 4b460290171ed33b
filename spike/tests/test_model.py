"""Loading, validation, calls."""

from __future__ import annotations

import weakref

import ml_dtypes
import numpy as np
import pytest

import spike
from spike import NrtError, SpikeError, SpikeModel, SpikeTensor
from spike._spike import Spike


@pytest.fixture
def model(fake) -> SpikeModel:
    return SpikeModel.load_from_neff(fake.neff())


def matrix(value: int = 0, core_id: int = 0) -> SpikeTensor:
    array = np.full(64, value, np.uint8).view(np.float32).reshape(4, 4)
    return SpikeTensor.from_numpy(array, core_id=core_id)


def byte(tensor: SpikeTensor) -> int:
    (value,) = set(tensor.numpy().tobytes())
    return value


def test_description(fake, model):
    names = "".join(f"input in{i} float32 4 {i + 1}\n" for i in range(20))
    many = SpikeModel.load_from_neff(fake.neff(names + "output o int8 4 4", "b.neff"))
    assert list(many.input_tensors_info) == [f"in{i}" for i in range(20)]
    assert repr(many.output_tensors_info["o"]) == (
        "TensorMetadata(size=4, dtype='int8', shape=[4])"
    )
    info = spike.get_spike_singleton().get_tensor_info(model.model_ref)
    assert repr(info) == "ModelTensorInfo(inputs=2 tensors, outputs=1 tensors)"
    assert (model.name, many.neff_path.name) == ("add", "b.neff")
    ref = SpikeModel.load_from_neff(fake.neff(), "n", 1, True, 2, 4).model_ref
    assert (ref.core_id, ref.rank_id, ref.world_size, ref.is_collective) == (1, 2, 4, 1)
    assert repr(ref).endswith(
        ", core_id=1, rank_id=2, world_size=4, is_collective=True, is_owner=True)"
    )
    assert "nrt_load_collectives" in fake.calls()


def test_too_many_dimensions(fake):
    shape = " ".join("1" for _ in range(65))
    with pytest.raises(SpikeError, match="unreasonably large ndim: 65"):
        SpikeModel.load_from_neff(fake.neff(f"input x float32 4 {shape}"))
    assert fake.calls()[-2:] == ["nrt_free_model_tensor_info", "nrt_unload"]


def test_calls(fake, model):
    x, y, out = matrix(4), matrix(7), matrix()
    made = model({"x": x, "y": y})
    assert list(made) == ["sum"] and made["sum"].name == "sum"
    assert byte(made["sum"]) == 5
    assert model(inputs={"x": x, "y": y}, outputs={"sum": out}) is None
    assert byte(out) == 5


def test_a_repeated_call_is_one_call_of_libnrt(fake, model):
    inputs, outputs = {"x": matrix(), "y": matrix()}, {"sum": matrix()}
    model(inputs, outputs)
    fake.reset()
    model(inputs, outputs)
    model(inputs=dict(inputs), outputs=dict(outputs))
    assert fake.calls() == ["nrt_execute"] * 2


def test_a_repeated_call_allocates_outputs_without_looking_at_inputs(fake, model):
    inputs = {"x": matrix(4), "y": matrix()}
    first = model(inputs)
    fake.reset()
    second = model(inputs)
    assert fake.calls() == [
        "nrt_tensor_allocate",
        "nrt_allocate_tensor_set",
        "nrt_add_tensor_to_tensor_set",
        "nrt_execute",
        "nrt_destroy_tensor_set",
    ]
    assert repr(second) == repr(first)
    assert (byte(first["sum"]), byte(second["sum"])) == (5, 5)
    assert second["sum"].tensor_ref is not first["sum"].tensor_ref
    assert second["sum"].tensor_ref.name == "sum"
    inputs["x"].close()
    with pytest.raises(SpikeError, match="Tensor 'x' is freed"):
        model(inputs)


class Name(str):
    """A string of another class."""


def test_a_call_is_known_by_what_its_names_say(fake, model):
    x, y, out = matrix(1), matrix(7), matrix()
    model({"x": x, "y": y}, {"sum": out})
    fake.reset()
    made = ["".join(letters) for letters in (["x", ""], ["", "y"], ["su", "m"])]
    model({made[0]: x, made[1]: y}, {made[2]: out})
    assert fake.calls() == ["nrt_execute"] and byte(out) == 2
    # Names of a class of their own are new each time, and may be where others were.
    for a, b in (("y", "x"), (Name("x"), Name("y")), (Name("y"), Name("x"))):
        fake.reset()
        model({a: x, b: y}, {"sum": out})
        assert fake.calls().count("nrt_add_tensor_to_tensor_set") == 3


def test_calls_without_outputs_are_no_calls_with_none(fake):
    model = SpikeModel.load_from_neff(fake.neff("input x float32 64 4 4"))
    x = matrix()
    assert model({"x": x}) == {} and model({"x": x}, {}) is None
    fake.reset()
    assert model({"x": x}) == {} and model({"x": x}, {}) is None


def test_calls_are_forgotten_with_their_tensors(fake, model):
    y, out = matrix(), matrix()
    for value in range(6):
        x = matrix(value)
        model({"x": x, "y": y}, {"sum": out})
        assert len(model._calls) == 1
        del x
        assert not model._calls
    kept = [matrix(value) for value in range(6)]
    for x in kept:
        model({"x": x, "y": y}, {"sum": out})
    assert len(model._calls) == 4


def test_alternating_buffers_stay_prepared(fake, model):
    a, b, y = matrix(1), matrix(2), matrix()
    for _ in range(2):
        fake.reset()
        model({"x": a, "y": y}, {"sum": b})
        model({"x": b, "y": y}, {"sum": a})
    assert fake.calls() == ["nrt_execute"] * 2
    assert (byte(a), byte(b)) == (5, 4)


def test_prepared_calls_keep_nothing_alive(fake, model):
    inputs, outputs = {"x": matrix(), "y": matrix()}, {"sum": matrix()}
    model(inputs, outputs)
    gone = weakref.ref(inputs["x"])
    inputs["x"] = matrix(8)
    assert gone() is None
    calls = fake.calls()
    # The set that held the tensor goes before it does.
    assert calls.index("nrt_destroy_tensor_set") < calls.index("nrt_tensor_free")
    model(inputs, outputs)
    assert byte(outputs["sum"]) == 9


def test_many_bindings_of_one_tensor(fake, model):
    y, out = matrix(), matrix()
    for value in range(40):
        x = matrix(value)
        model({"x": x, "y": y}, {"sum": out})
        assert byte(out) == value + 1
    model.close()
    del x, y, out
    calls = fake.calls()
    for allocate, free in (
        ("nrt_allocate_tensor_set", "nrt_destroy_tensor_set"),
        ("nrt_tensor_allocate", "nrt_tensor_free"),
    ):
        assert calls.count(allocate) == calls.count(free)


def test_prepared_call(fake, model):
    x, y, out = matrix(1), matrix(), matrix()
    call = model.model_ref.prepare(
        {"x": x.tensor_ref, "y": y.tensor_ref},
        {"sum": out.tensor_ref},
    )
    call.execute()
    assert call.is_valid and byte(out) == 2
    x.close()
    assert not call.is_valid
    with pytest.raises(SpikeError, match="unloaded model or with a freed tensor"):
        call.execute()


def test_names(model):
    x, y = matrix(), matrix()
    with pytest.raises(
        ValueError, match=r"Unknown input\(s\) {'z'} for model 'add'. Exp"
    ):
        model({"x": x, "y": y, "z": x})
    with pytest.raises(ValueError, match=r"Missing input\(s\) .* inputs: \['x', 'y'\]"):
        model({"x": x})
    with pytest.raises(ValueError, match=r"Unknown output\(s\) {'o'} for model 'add'"):
        model({"x": x, "y": y}, {"sum": x, "o": y})
    with pytest.raises(ValueError, match=r"Missing output\(s\) {'sum'}"):
        model({"x": x, "y": y}, {})


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            lambda: matrix(core_id=1),
            "same core, got model core_id 0 and tensor core_id 1",
        ),
        (lambda: matrix().reshape(16), r"shape \[4, 4\], got \(16,\)"),
        (lambda: matrix().view(np.int32), "dtype float32, got int32"),
    ],
)
def test_tensors_that_do_not_fit(fake, model, wrong, text):
    tensor, good = wrong(), matrix()
    for error in (ValueError, AssertionError):
        with pytest.raises(error, match=f"Input y: expected .*{text}"):
            model({"x": good, "y": tensor})
    with pytest.raises(ValueError, match=f"Output sum: expected .*{text}"):
        model({"x": good, "y": good}, {"sum": tensor})
    assert "nrt_execute" not in fake.calls()
    model({"x": good, "y": good})


def test_dtypes_may_be_classes_and_names(fake, model):
    for dtype in (np.float32, "float32", np.dtype("f4"), "f"):
        x = SpikeTensor.zeros((4, 4), dtype)
        assert byte(model({"x": x, "y": x})["sum"]) == 1


@pytest.mark.parametrize(
    ("reported", "actual", "fits"),
    [
        *(("int8", n, True) for n in ("float8_e4m3", "float8_e5m2", "float8_e4m3fn")),
        ("int8", "int8", True),
        ("int8", "uint8", False),
        ("uint8", "bool", True),
        ("uint8", "int8", False),
        ("unknown", "int8", True),
    ],
)
def test_dtypes_that_libnrt_has_no_name_for(fake, reported, actual, fits):
    neff = f"input x {reported} 4 4\noutput o {reported} 4 4"
    model = SpikeModel.load_from_neff(fake.neff(neff))
    tensor = SpikeTensor.zeros((4,), getattr(ml_dtypes, actual, actual))
    if fits:
        (result,) = model({"x": tensor}).values()
        assert result.dtype == (np.uint8 if reported == "unknown" else reported)
    else:
        with pytest.raises(ValueError, match=f"dtype {reported}, got {actual}"):
            model({"x": tensor})


def test_scalars_may_have_a_dimension_or_none(fake):
    model = SpikeModel.load_from_neff(fake.neff("input x int8 1\noutput o int8 1 1"))
    x, o = SpikeTensor.zeros((1,), "int8"), SpikeTensor.zeros((), "int8")
    model({"x": x}, {"o": o})
    assert byte(o) == 1


def test_outputs_that_are_written_into_inputs(fake):
    neff = "input s.must_alias_input int8 4 4\noutput s int8 4 4\noutput r int8 4 4"
    model = SpikeModel.load_from_neff(fake.neff(neff + "\ninput x int8 4 4"))
    state, x = SpikeTensor.zeros((4,), "int8"), SpikeTensor.zeros((4,), "int8")
    inputs = {"s.must_alias_input": state, "x": x}
    made = model(inputs)
    assert made["s"] is state and byte(state) == 1
    assert [t is state for t in model.allocate_output_tensors(inputs)] == [True, False]
    assert model.allocate_output_tensors()[0] is not state
    model(inputs, {"s": state, "r": x})
    with pytest.raises(
        ValueError, match="Output s: expected the tensor of input s.must"
    ):
        model(inputs, {"s": x, "r": x})


def test_outputs_that_overlap(fake):
    neff = "input x int8 4 4\noutput a int8 4 4\noutput b int8 4 4"
    model = SpikeModel.load_from_neff(fake.neff(neff))
    tensor = SpikeTensor.zeros((8,), "int8")
    low, middle, high = (tensor.slice(i, i + 4) for i in (0, 3, 4))
    again = tensor.slice(2).slice(2, 6)  # the bytes of `high`
    for a, b in ((low, low), (low, middle), (middle, high), (again, high)):
        for use in (model, model.execute_async, model.benchmark):
            with pytest.raises(ValueError, match="Outputs a and b: expected .* of the"):
                use({"x": low}, {"a": a, "b": b})
        with pytest.raises(ValueError, match="the same or overlapping tensors"):
            outputs = {"a": a.tensor_ref, "b": b.tensor_ref}
            model.model_ref.prepare({"x": low.tensor_ref}, outputs)
    assert "nrt_execute" not in fake.calls()
    # Inputs are read first; tensors that only touch share nothing.
    model({"x": middle}, {"a": low, "b": high})
    assert "nrt_execute" in fake.calls()


def test_one_tensor_for_two_inputs_that_are_written_into(fake):
    pair = "input {0}.must_alias_input int8 4 4\noutput {0} int8 4 4\n"
    model = SpikeModel.load_from_neff(fake.neff(pair.format("a") + pair.format("b")))
    tensor = SpikeTensor.zeros((4,), "int8")
    with pytest.raises(ValueError, match="Outputs a and b: expected tensors of memory"):
        model({"a.must_alias_input": tensor, "b.must_alias_input": tensor})


def test_freed_tensors(fake, model):
    x, y, out = matrix(), matrix(), matrix()
    inputs, outputs = {"x": x, "y": y}, {"sum": out}
    model(inputs, outputs)
    y.close()
    with pytest.raises(
        SpikeError, match="Tensor 'y' is freed. Unable to add it into the"
    ):
        model(inputs, outputs)
    model.close()
    with pytest.raises(SpikeError, match="Unable to execute an unloaded model"):
        model({"x": x, "y": x}, outputs)
    with pytest.raises(SpikeError, match="tensor info from an unloaded model"):
        spike.get_spike_singleton().get_tensor_info(model.model_ref)
    assert fake.calls().count("nrt_unload") == 1


def test_context_manager_and_idempotent_close(fake):
    with SpikeModel.load_from_neff(fake.neff()) as model:
        assert not model.model_ref.is_unloaded
    model.close()
    assert model.model_ref.is_unloaded
    assert repr(model.model_ref).endswith("is_owner=False)")


def test_failure_of_execution(fake, model):
    inputs, outputs = {"x": matrix(), "y": matrix()}, {"sum": matrix()}
    for _ in range(2):
        fake.inject("nrt_execute", 1006)
        with pytest.raises(
            NrtError, match=r"NRT_EXEC_OOB\(1006\): Failed to execute m"
        ):
            model(inputs, outputs)
        model(inputs, outputs)


def test_profiles(fake, model, tmp_path):
    inputs, outputs = {"x": matrix(), "y": matrix()}, {"sum": matrix()}
    fake.reset()
    model(inputs, outputs, save_trace=True)
    wanted = ["nrt_profile_start", "nrt_execute", "nrt_profile_stop"]
    assert [c for c in fake.calls() if c in wanted] == wanted
    fake.inject("nrt_execute", 1005)
    with pytest.raises(NrtError, match="NRT_EXEC_NC_BUSY"):
        model(inputs, outputs, save_trace=True, ntff_name="p.ntff")
    assert fake.calls().count("nrt_profile_stop") == 2


def test_low_level(fake):
    runtime = Spike()
    model = runtime.load_model(str(fake.neff()))
    x = runtime.allocate_tensor(64)
    runtime.execute(model, {"x": x, "y": x}, {"sum": x})
    assert runtime.tensor_read(x, 0, 2) == b"\1\1"
    result = runtime.benchmark(model, {"x": x, "y": x}, {"sum": x}, 2, 3)
    assert (result.iterations, result.warmup_iterations) == (3, 2)
    assert fake.calls().count("nrt_execute") == 6
    runtime.free_tensor(x)
    with pytest.raises(SpikeError, match="Tensor 'x' is freed"):
        runtime.execute(model, {"x": x}, {})
    for wrong in ({"x": 1}, {1: x}):
        with pytest.raises(TypeError, match="dict of NrtTensor by name"):
            runtime.execute(model, wrong, {})
