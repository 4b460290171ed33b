# SPDX-License-Identifier: MIT-0
"""The sample kernels in a NumPy model, run as it is and through `simulate_jit`."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest

import spike
from nki_simulator.test.expected import DTYPES, wide
from nki_simulator.test.integration import model
from nkipy.hlo.kernel_languages import TARGET
from nkipy.runtime import baremetal_jit, simulate_jit


def in_numpy(x: Any, cos: Any, sin: Any, weights: model.Weights) -> np.ndarray:
    """The layer without kernels, in float32."""
    wider = model.Weights(*wide(*weights))
    return model.layer(model.IN_NUMPY, *wide(x), cos, sin, wider)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_layer_is_the_one_in_numpy(dtype):
    arguments = model.arguments(dtype)
    expected = in_numpy(*arguments)
    limit = 1e-4 if dtype is np.float32 else 5e-2
    for function in (model.decoder_layer, simulate_jit(model.decoder_layer)):
        result = function(*arguments)
        assert result.dtype == dtype
        largest = float(np.abs(expected).max())
        np.testing.assert_allclose(*wide(result, expected), atol=limit * largest)


def test_kernels_give_the_same_within_the_program():
    x, _, _, weights = model.arguments(np.float32)
    norm = model.SAMPLES.rmsnorm
    inside = simulate_jit(lambda x, weight: norm(x, weight))(x, weights.norm1)
    np.testing.assert_array_equal(inside, norm(x, weights.norm1))


@pytest.fixture
def engine(request, monkeypatch):
    """The emulated device with its engine in this process, or in another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what becomes invalid
        spike.reset()
        monkeypatch.setenv("NKIPY_EMULATOR_ENGINE", request.param)
        monkeypatch.setenv("NKIPY_EMULATOR_PYTHON", sys.executable)
        yield
        spike.reset()


@pytest.mark.device
@pytest.mark.parametrize(
    ("engine", "dtype"),
    list(zip(("inprocess", "child"), DTYPES)),
    indirect=["engine"],
)
@pytest.mark.usefixtures("engine")
def test_the_emulated_device_gives_the_same(dtype):
    arguments = model.arguments(dtype)
    on_device = baremetal_jit(model.decoder_layer)(*arguments)
    simulated = simulate_jit(model.decoder_layer)(*arguments)
    assert on_device.dtype == simulated.dtype == dtype
    assert on_device.tobytes() == simulated.tobytes()
    expected = in_numpy(*arguments)
    limit = 1e-4 if dtype is np.float32 else 5e-2
    atol = limit * float(np.abs(expected).max())
    np.testing.assert_allclose(*wide(on_device, expected), atol=atol)


def test_each_kernel_is_a_custom_call():
    module = simulate_jit(model.decoder_layer).lower(*model.arguments(np.float32))
    calls = [i for i in module.instructions() if i.opcode == "custom-call"]
    targets = [call.attributes["custom_call_target"] for call in calls]
    assert targets == [TARGET] * 11
