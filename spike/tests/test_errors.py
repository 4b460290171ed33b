"""Statuses become exceptions that carry them."""

from __future__ import annotations

import os

import pytest

import spike
from spike import NrtError, NrtStatus, SpikeError
from spike._spike import NeffFileError, Spike, SpikeRuntimeError

STATUSES = {status.value: status.nrt_name for status in NrtStatus if status}
UNKNOWN = {4711: "UNKNOWN STATUS"}

SEE_LOG = "(libnrt's log says why; NEURON_RT_LOG_LEVEL sets how much it says)"


@pytest.mark.parametrize(("status", "name"), (STATUSES | UNKNOWN).items())
def test_every_status_is_named(fake, status, name):
    runtime = Spike()
    fake.inject("nrt_tensor_allocate", status)
    with pytest.raises(NrtError) as raised:
        runtime.allocate_tensor(16)
    assert str(raised.value) == (
        f"NRT Error {name}({status}): Failed to allocate tensor: 16 bytes on core 0 of "
        f"2 visible ones {SEE_LOG}"
    )
    assert raised.value.status == raised.value.error_code == raised.value.code == status
    assert raised.value.status_name == name
    assert isinstance(raised.value.status, NrtStatus) == (status in STATUSES)
    assert runtime.allocate_tensor(16).size == 16


def test_hierarchy():
    assert SpikeRuntimeError.__bases__ == (RuntimeError,)
    assert SpikeError.__bases__ == (SpikeRuntimeError,)
    assert NrtError.__bases__ == (SpikeRuntimeError,)
    assert NeffFileError.__bases__ == (SpikeError, NrtError)


# What fails, and with which text.
SITES = {
    "nrt_init": "Failed to initialize NRT runtime",
    "nrt_get_visible_nc_count": "Failed to get visible NC count",
    "nrt_load": "Failed to load model",
    "nrt_load_collectives": "Failed to load model",
    "nrt_unload": "Failed to unload model",
    "nrt_get_model_tensor_info": "Failed to get tensor info",
    "nrt_free_model_tensor_info": "Failed to free tensor info",
    "nrt_tensor_allocate": "Failed to allocate tensor",
    "nrt_tensor_allocate_slice": "Failed to allocate tensor slice",
    "nrt_tensor_write": "Failed to write tensor",
    "nrt_tensor_read": "Failed to read tensor",
    "nrt_tensor_copy": "Failed to copy tensor",
    "nrt_tensor_memset": "Failed to fill tensor",
    "nrt_allocate_tensor_set": "Failed to allocate tensor set",
    "nrt_add_tensor_to_tensor_set": "Failed to add tensor to set",
    "nrt_execute": "Failed to execute model",
    "nrt_profile_start": "Failed to start profile",
    "nrt_profile_stop": "Failed to stop profile",
    "nrt_sys_trace_config_allocate": "Failed to allocate sys trace config",
    "nrt_sys_trace_start": "Failed to start sys trace",
    "nrt_sys_trace_stop": "Failed to stop sys trace",
    "nrt_sys_trace_fetch_options_allocate": "Failed to allocate fetch options",
    "nrt_sys_trace_fetch_events": "Failed to drain trace events",
}


def use_everything(fake) -> None:
    """A program that calls every function in SITES."""
    Spike.get_visible_neuron_core_count()
    runtime = Spike()
    tensor = runtime.allocate_tensor(64)
    try:
        tensor.slice(0, 8)
        runtime.tensor_write(tensor, b"1234")
        runtime.tensor_read(tensor)
        tensor.copy_from(tensor, 0, 32, 32)
        tensor.fill(0)
        model = runtime.load_model(str(fake.neff()))
        collective = runtime.load_model(str(fake.neff()), cc_enabled=True)
        runtime.get_tensor_info(model)
        tensors = {"x": tensor, "y": tensor}, {"sum": tensor}
        runtime.execute(model, *tensors)
        runtime.execute(model, *tensors, "file.ntff", save_trace=True)
        with spike.SystemTraceSession(0) as trace:
            trace.fetch_events_json()
            trace.drain_events()
        for loaded in (model, collective):
            runtime.unload_model(loaded)
            assert loaded.is_unloaded
    finally:
        runtime.close()


@pytest.mark.parametrize("function", SITES)
def test_every_call_is_checked_and_the_next_one_works(fake, function):
    fake.inject(function, 1006)
    text = SITES[function].replace("drain", "fetch")
    with pytest.raises(NrtError, match=rf"NRT_EXEC_OOB\(1006\): {text}(: |$)"):
        use_everything(fake)
    use_everything(fake)


def test_errors_say_what_was_asked_for(fake, monkeypatch):
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "1,0")
    monkeypatch.delenv("NEURON_RT_NUM_CORES", raising=False)
    neff = str(fake.neff())
    cores = "NEURON_RT_VISIBLE_CORES=1,0, NEURON_RT_NUM_CORES is not set"
    for function, use, text in (
        ("nrt_get_visible_nc_count", Spike.get_visible_neuron_core_count, cores),
        ("nrt_init", Spike, cores),
        (
            "nrt_load",
            lambda: Spike().load_model(neff, 1),
            f"Failed to load model: '{neff}' on core 1 of 2 visible ones",
        ),
        (
            "nrt_load_collectives",
            lambda: Spike().load_model(neff, 0, True, 3, 4),
            f"Failed to load model: '{neff}' on core 0 of 2 visible ones, rank 3 of 4",
        ),
        (
            "nrt_execute",
            lambda: (s := Spike()).execute(s.load_model(neff), {}, {}),
            f"Failed to execute model: '{neff}' on core 0 of 2 visible ones",
        ),
    ):
        fake.inject(function, 2)
        with pytest.raises(NrtError) as raised:
            use()
        assert f"{text} {SEE_LOG}" in str(raised.value)


def test_a_core_that_libnrt_chooses_but_does_not_tell(fake):
    with pytest.raises(SpikeError, match="no function nrt_get_model_info"):
        Spike().load_model(str(fake.neff()), -1)
    assert "nrt_unload" in fake.calls()


def test_a_missing_neff_is_both_errors(fake, tmp_path):
    runtime = Spike()
    missing = tmp_path / "no.neff"
    with pytest.raises(NeffFileError, match="Failed to open NEFF file: .*no.neff") as e:
        runtime.load_model(str(missing))
    assert e.value.status_name == "NRT_FAILURE"
    with pytest.raises(SpikeError, match="it is not a regular file"):
        runtime.load_model(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpikeError, match="pipe: it is not a regular file"):
        runtime.load_model(str(tmp_path / "pipe"))
    assert "nrt_load" not in fake.calls()
    (tmp_path / "empty.neff").touch()
    with pytest.raises(NrtError, match="Failed to load model"):
        runtime.load_model(str(tmp_path / "empty.neff"))


def test_missing_functions_are_named(fake, tmp_path, build_fake):
    import ctypes.util

    from spike._spike import load_library

    other = ctypes.util.find_library("c")
    with pytest.raises(SpikeError, match="It lacks: nrt_init nrt_close .*nrt_execute"):
        load_library(other)
    with pytest.raises(
        SpikeError, match="Failed to load libnrt: .*no such|cannot open"
    ):
        load_library(str(tmp_path / "libnrt.so.1"))
