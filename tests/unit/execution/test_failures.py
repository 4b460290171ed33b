"""What is raised on an emulated device reaches who called it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import spike
from nkipy.execution import build, load
from nkipy.hlo import HLOBuilder, HLOModule, run_errors
from nkipy_emulator import register_custom_call, unregister_custom_call
from tests.support.faults import injected

pytestmark = pytest.mark.device
X = np.arange(4, dtype=np.float32)


@pytest.fixture(autouse=True)
def fragile():
    """A custom call that fails for what is negative."""

    def run(inputs, outputs, config):
        if inputs[0].min() < 0:
            raise KeyError("negative values")
        outputs[0][...] = inputs[0]

    register_custom_call("Fragile", run)
    yield
    unregister_custom_call("Fragile")


@pytest.fixture
def program():
    module = HLOModule("fragile")
    x = module.add_parameter((4,), "float32", "x")
    attributes = {"custom_call_target": "Fragile"}
    b = HLOBuilder(module.entry)
    module.set_results(b.emit("custom-call", (x,), x.shape, x.dtype, attributes), ["y"])
    return load(build(module))


def _check(error: spike.NrtError) -> None:
    assert error.status == spike.NrtStatus.EXEC_COMPLETED_WITH_ERR
    assert isinstance(error.__cause__, KeyError)
    assert str(error).endswith("says); KeyError: 'negative values'")


def test_of_a_bound_call(program):
    bound = program.bind()
    for _ in range(2):
        with pytest.raises(spike.NrtError) as raised:
            bound({"x": X - 9})
        _check(raised.value)
    np.testing.assert_array_equal(bound({"x": X})["y"].numpy(), X)


def test_of_a_call_with_arrays_of_the_host(program):
    call, out = program.host_call(), np.zeros(4, np.float32)
    with pytest.raises(spike.NrtError) as raised:
        call.run([X - 9], [out])
    _check(raised.value)
    assert not out.any()


def test_what_others_failed_for_is_no_cause(program):
    model = spike.SpikeModel.load_from_neff(str(program.neff))
    tensor = spike.SpikeTensor.from_numpy(X - 9, "x")
    bound = program.bind()
    call, out = program.host_call(), np.zeros(4, np.float32)
    bound({"x": X})
    for run in (lambda: bound({"x": X}), lambda: call.run([X], [out])):
        with pytest.raises(spike.NrtError):
            model({"x": tensor})  # nobody asks for its cause
        with injected("nrt_execute=1004@once"), pytest.raises(spike.NrtError) as raised:
            run()
        assert raised.value.status == spike.NrtStatus.EXEC_COMPLETED_WITH_ERR
        assert raised.value.__cause__ is None and "KeyError" not in str(raised.value)


def test_a_failure_is_that_of_its_thread_its_status_and_no_other():
    error = KeyError("x")
    run_errors.note(error, 4)
    others = []
    thread = threading.Thread(target=lambda: others.append(run_errors.take(4)))
    thread.start()
    thread.join()
    assert others == [None]
    assert run_errors.take(4) is error and run_errors.take(4) is None
    run_errors.note(error, 4)
    assert run_errors.take(5) is None and run_errors.take(4) is None
