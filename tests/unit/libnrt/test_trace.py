"""The system trace: what is captured, what fetching takes, what the JSON says."""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref, c_bool, c_char_p, c_size_t, c_uint32, c_uint64, c_void_p

import numpy as np
import pytest

from nkipy_emulator.cost_model import estimate
from nkipy_emulator.cost_model.constants import SWITCH_NS
from tests.support import nrt_client
from tests.support.libnrt import INVALID, INVALID_HANDLE, UNINITIALIZED, load
from tests.support.nrt_client import Nrt, NrtFailure, make_module, make_neff

X = np.arange(8, dtype=np.float32)
HARDWARE = "nc_exec_running"


def negate(b, x):
    return b.negate(x)


@pytest.fixture
def nrt(tmp_path):
    with nrt_client.session(tmp_path, cores=2) as nrt:
        yield nrt


class Config:
    """A configuration, or fetch options, with their setters as methods."""

    def __init__(self, lib, kind: str) -> None:
        self.lib, self.kind = lib, kind
        self.handle = c_void_p()
        assert self.call("allocate", byref(self.handle)) == 0

    def call(self, function: str, *args) -> int:
        return getattr(self.lib, f"nrt_sys_trace_{self.kind}_{function}")(*args)

    def set(self, function: str, *args) -> Config:
        self.call(f"set_{function}", self.handle, *args)
        return self

    def free(self) -> None:
        self.call("free", self.handle)


def start(nrt: Nrt, config: Config | None = None) -> None:
    nrt.call("sys_trace_start", config.handle if config else None)


def fetch(nrt: Nrt, options: Config | None = None) -> dict:
    buffer, written = c_void_p(), c_size_t()
    args = (byref(buffer), byref(written), options.handle if options else None)
    nrt.call("sys_trace_fetch_events", *args)
    text = ctypes.string_at(buffer.value)
    assert len(text) == written.value
    nrt.lib.nrt_sys_trace_buffer_free(buffer)
    return json.loads(text)


def events(nrt: Nrt, options: Config | None = None) -> list[dict]:
    return fetch(nrt, options)["events"]


def loaded(nrt: Nrt, core: int = 0, like: np.ndarray = X):
    """A model with its tensor sets."""
    model = nrt.load(make_neff(negate, like), core=core)
    name_in, name_out = (info[0] for info in nrt.tensor_info(model))
    inputs = nrt.tensor_set({name_in: nrt.tensor(like, core)})
    outputs = nrt.tensor_set({name_out: nrt.empty(like.nbytes, core)})
    return model, inputs, outputs


def touch(nrt: Nrt, core: int = 0, times: int = 1) -> None:
    """Events of a transfer: two each."""
    tensor = nrt.empty(64, core)
    for _ in range(times):
        nrt.write(tensor, np.zeros(16, np.float32))


def writes(found: list[dict]) -> list[dict]:
    return [e for e in found if e["event_type"] == "nrt_tensor_write"]


def test_an_execution_has_modelled_device_time(nrt):
    run = loaded(nrt)
    start(nrt)
    begin = time.time_ns()
    for _ in range(3):
        nrt.execute(*run)
    found = [e for e in events(nrt) if e["event_type"] == HARDWARE]
    assert [e["phase"] for e in found] == ["start", "stop"] * 3
    stamps = [e["data"]["nc_timestamp_ns"] for e in found]
    durations = [b - a for a, b in zip(stamps[::2], stamps[1::2])]
    expected = estimate(make_module(negate, X), "trn2").total_ns
    assert durations == [expected] * 3
    # The core's clock is the host's, unless the core is still at work.
    assert stamps == sorted(stamps)
    assert begin <= stamps[0] < begin + 10**10
    assert all(e["data"]["estimated"] is True for e in found)
    ids = [e["tracking_id"] for e in found]
    assert ids[::2] == ids[1::2] and len(set(ids)) == 3
    assert {e["nc_idx"] for e in found} == {0}


def test_going_over_to_another_model_takes_time(nrt):
    one, other, elsewhere = loaded(nrt), loaded(nrt), loaded(nrt, core=1)
    nrt.execute(*other)  # is known before anything is traced
    start(nrt)
    for run in (one, elsewhere, one, other, one):
        nrt.execute(*run)
    switches = [e for e in events(nrt) if e["event_type"] == "nrt_model_switch"]
    assert {e["nc_idx"] for e in switches} == {0}
    assert [e["phase"] for e in switches] == ["start", "stop"] * 3
    assert all(e["data"]["estimated"] is True for e in switches)
    stamps = [e["data"]["nc_timestamp_ns"] for e in switches]
    assert [b - a for a, b in zip(stamps[::2], stamps[1::2])] == [int(SWITCH_NS)] * 3
    models = [e["data"]["model_id"] for e in switches[::2]]
    assert models[0] == models[2] != models[1]


def test_a_switch_comes_before_the_run_that_needs_it(nrt, monkeypatch):
    monkeypatch.setenv("NKIPY_EMULATOR_SWITCH_NS", "7000000000")
    one, other = loaded(nrt), loaded(nrt)
    nrt.execute(*one)
    start(nrt)
    nrt.execute(*other)
    nrt.execute(*other)
    stamps = [
        (e["event_type"], e["data"]["nc_timestamp_ns"])
        for e in events(nrt)
        if e["event_type"] in (HARDWARE, "nrt_model_switch")
    ]
    kinds, times = zip(*stamps)
    assert kinds == ("nrt_model_switch",) * 2 + (HARDWARE,) * 4
    assert times[1] - times[0] == 7_000_000_000
    # One after the other without a pause, as the host is long done with both.
    assert times[2] == times[1] and times[4] == times[3]


def test_calls_appear_in_pairs(nrt):
    start(nrt)
    run = loaded(nrt)
    nrt.execute(*run)
    tensor = nrt.tensor(X)
    nrt.read(tensor, X.shape, X.dtype)
    nrt.free(tensor)
    nrt.unload(run[0])
    found = events(nrt)
    counts = Counter((e["event_type"], e["phase"]) for e in found)
    for name in (
        "nrt_load",
        "nrt_execute",
        "nrt_tensor_write",
        "nrt_tensor_read",
        "nrt_tensor_allocate",
        "nrt_tensor_free",
        "nrt_unload",
    ):
        assert counts[name, "start"] == counts[name, "stop"] >= 1, name
    (read, _) = (e for e in found if e["event_type"] == "nrt_tensor_read")
    assert read["data"]["size"] == X.nbytes
    assert [e["timestamp_ns"] for e in found] == sorted(
        e["timestamp_ns"] for e in found
    )


def test_a_queued_execution_appears_too(nrt):
    run = loaded(nrt)
    start(nrt)
    sequence = nrt.schedule(*run)
    deadline = time.monotonic() + 60
    while not nrt.is_completed(sequence) and time.monotonic() < deadline:
        time.sleep(0.001)
    counts = Counter(e["event_type"] for e in events(nrt))
    assert counts[HARDWARE] == 2
    assert counts["nrt_model_submit"] == 2


def test_nan_is_an_event_where_it_is_an_error(tmp_path):
    with nrt_client.session(tmp_path, NEURON_FAIL_ON_NAN="1") as nrt:
        run = loaded(nrt, like=np.full(8, np.nan, np.float32))
        start(nrt)
        with pytest.raises(NrtFailure):
            nrt.execute(*run)
        counts = Counter(e["event_type"] for e in events(nrt))
    assert counts["numerical_err"] == 2
    assert counts[HARDWARE] == 2  # the run did complete


def test_fetching_consumes(nrt):
    start(nrt)
    touch(nrt)
    first = fetch(nrt)
    assert first["emulated"] is True
    assert "estimated" in first["nc_timestamps"]
    assert len(writes(first["events"])) == 2
    assert fetch(nrt)["events"] == []
    touch(nrt)
    assert len(writes(events(nrt))) == 2


def test_a_full_ring_loses_the_oldest(nrt):
    config = Config(nrt.lib, "config").set("max_events_per_nc", c_uint64(6))
    start(nrt, config)
    config.free()
    touch(nrt, core=0, times=10)
    touch(nrt, core=1)
    found = fetch(nrt)
    by_core = Counter(e["nc_idx"] for e in found["events"])
    assert by_core[0] == 6 and by_core[1] > 1
    assert found["dropped_events"] > 0
    stamps = [e["timestamp_ns"] for e in found["events"] if e["nc_idx"] == 0]
    assert stamps == sorted(stamps)
    assert fetch(nrt)["dropped_events"] == 0


def test_cores_can_be_left_out(nrt):
    config = Config(nrt.lib, "config")
    config.set("capture_enabled_for_nc", c_uint32(0), c_bool(False))
    start(nrt, config)
    touch(nrt, core=0)
    touch(nrt, core=1)
    assert {e["nc_idx"] for e in writes(events(nrt))} == {1}


def test_enabling_one_core_does_not_disable_others(nrt):
    config = Config(nrt.lib, "config")
    config.set("capture_enabled_for_nc", c_uint32(1), c_bool(True))
    start(nrt, config)
    touch(nrt, core=0)
    touch(nrt, core=1)
    only = Config(nrt.lib, "fetch_options").set("nc_idx", c_uint64(1))
    assert {e["nc_idx"] for e in writes(events(nrt, only))} == {1}
    assert {e["nc_idx"] for e in writes(events(nrt))} == {0}


def test_a_fetch_can_be_bounded(nrt):
    start(nrt)
    touch(nrt, times=3)
    few = Config(nrt.lib, "fetch_options").set("max_events_per_nc", c_uint64(2))
    first = events(nrt, few)
    rest = events(nrt)
    assert len(first) == 2
    assert len(writes(first + rest)) == 6
    assert first[0]["timestamp_ns"] <= rest[0]["timestamp_ns"]


def names(lib, function: str, *args) -> list[str]:
    array, count = ctypes.POINTER(c_char_p)(), c_size_t()
    assert getattr(lib, function)(*args, byref(array), byref(count)) == 0
    found = [array[i].decode() for i in range(count.value)]
    lib.nrt_sys_trace_free_event_types(array, count)
    return found


def test_event_types_can_be_chosen(nrt):
    everything = names(nrt.lib, "nrt_sys_trace_get_event_types")
    assert {HARDWARE, "nrt_execute", "nrt_load"} <= set(everything)
    config = Config(nrt.lib, "config")
    for name in everything:
        wanted = c_bool(name == HARDWARE)
        config.set("capture_enabled_for_event_type", name.encode(), wanted)
    enabled = "nrt_sys_trace_config_get_enabled_event_types"
    assert names(nrt.lib, enabled, config.handle) == [HARDWARE]
    run = loaded(nrt)
    start(nrt, config)
    nrt.execute(*run)
    assert {e["event_type"] for e in events(nrt)} == {HARDWARE}
    config.call("set_defaults", config.handle)
    assert names(nrt.lib, enabled, config.handle) == everything
    unknown = config.call(
        "set_capture_enabled_for_event_type", config.handle, b"nonsense", c_bool(True)
    )
    assert unknown == INVALID


def test_order_of_calls(nrt):
    def status(function: str, *args) -> int:
        with pytest.raises(NrtFailure) as failure:
            nrt.call(function, *args)
        return failure.value.status

    assert status("sys_trace_stop") == INVALID
    assert status("sys_trace_fetch_events", byref(c_void_p()), byref(c_size_t()), None)
    start(nrt)
    assert status("sys_trace_start", None) == INVALID
    assert status("sys_trace_fetch_events", None, byref(c_size_t()), None) == INVALID
    nrt.call("sys_trace_stop")
    assert status("sys_trace_stop") == INVALID
    assert status("sys_trace_start", c_void_p(12345)) == INVALID_HANDLE
    start(nrt)
    assert events(nrt) == []


def test_handles_that_were_freed_are_refused(nrt):
    config = Config(nrt.lib, "config")
    config.free()
    config.free()  # nothing happens
    nrt.lib.nrt_sys_trace_config_free(None)
    with pytest.raises(NrtFailure) as failure:
        start(nrt, config)
    assert failure.value.status == INVALID_HANDLE
    config.set("max_events_per_nc", c_uint64(1))  # nothing happens


def test_no_event_is_lost_or_doubled_by_threads(nrt):
    threads, times = 4, 200
    tensors = [nrt.empty(64, core=i % 2) for i in range(threads)]
    start(nrt)

    def write(tensor: c_void_p) -> None:
        for _ in range(times):
            nrt.write(tensor, np.zeros(16, np.float32))

    with ThreadPoolExecutor(threads) as pool:
        pending = [pool.submit(write, tensor) for tensor in tensors]
        found = []
        while not all(p.done() for p in pending):
            found += events(nrt)
        for p in pending:
            p.result()
    found += events(nrt)
    assert len(writes(found)) == 2 * threads * times
    ids = Counter(e["tracking_id"] for e in found)
    assert set(ids.values()) == {2}
    phases = {(e["tracking_id"], e["phase"]) for e in found}
    assert len(phases) == len(found)


def test_starting_and_stopping_while_others_run(nrt):
    run = loaded(nrt)
    over = threading.Event()

    def execute() -> int:
        count = 0
        while not over.is_set():
            nrt.execute(*run)
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        pending = [pool.submit(execute) for _ in range(2)]
        for _ in range(50):
            start(nrt)
            events(nrt)
            nrt.call("sys_trace_stop")
        over.set()
        assert all(p.result() > 0 for p in pending)


def test_closing_ends_the_trace(tmp_path):
    with nrt_client.session(tmp_path) as nrt:
        start(nrt)
        touch(nrt)
    assert load().nrt_sys_trace_stop() in (UNINITIALIZED, 14)
    with nrt_client.session(tmp_path) as nrt:
        start(nrt)  # not "started already"
        assert events(nrt) == []
