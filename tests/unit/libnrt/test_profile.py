"""Profiles: the files written, what they say, what is refused."""

from __future__ import annotations

import json
import os
import time
from ctypes import byref, c_uint32, c_void_p
from pathlib import Path

import numpy as np
import pytest

from nkipy_emulator.cost_model import estimate
from nkipy_emulator.cost_model.constants import SWITCH_NS
from tests.support import libnrt, nrt_client
from tests.support.libnrt import FAILURE, INVALID, INVALID_HANDLE, load
from tests.support.nrt_client import Nrt, NrtFailure, make_module, make_neff

X = np.ones((128, 256), np.float32)
HOST = 1


def body(b, x):
    return b.unary("exponential", b.add(x, x))


@pytest.fixture
def nrt(tmp_path):
    with nrt_client.session(tmp_path / "locks", cores=2) as nrt:
        yield nrt


class Loaded:
    """A model on a core, ready to run."""

    def __init__(self, nrt: Nrt, core: int = 0) -> None:
        self.nrt = nrt
        self.model = nrt.load(make_neff(body, X), core=core)
        name_in, name_out = (info[0] for info in nrt.tensor_info(self.model))
        self.inputs = nrt.tensor_set({name_in: nrt.tensor(X, core)})
        self.outputs = nrt.tensor_set({name_out: nrt.empty(X.nbytes, core)})

    def run(self, times: int = 1) -> None:
        for _ in range(times):
            self.nrt.execute(self.model, self.inputs, self.outputs)


def start(nrt: Nrt, model: c_void_p, path: Path) -> None:
    nrt.call("profile_start", model, os.fsencode(path))


def stop(nrt: Nrt, path: Path) -> None:
    nrt.call("profile_stop", os.fsencode(path))


def status_of(function, *args) -> int:
    with pytest.raises(NrtFailure) as failure:
        function(*args)
    return failure.value.status


def slices(trace: dict, category: str) -> list[dict]:
    return [e for e in trace["traceEvents"] if e.get("cat") == category]


def lane_names(trace: dict) -> dict[tuple[int, int], str]:
    return {
        (e["pid"], e["tid"]): e["args"]["name"]
        for e in trace["traceEvents"]
        if e["name"] == "thread_name"
    }


def test_a_profile_has_estimated_lanes_and_the_host(nrt, tmp_path):
    loaded = Loaded(nrt, core=1)
    path = tmp_path / "model.ntff"
    start(nrt, loaded.model, path)
    loaded.run(2)
    stop(nrt, path)
    trace = json.loads(path.read_text())
    names = lane_names(trace)
    expected = estimate(make_module(body, X), "trn2")

    host = slices(trace, "host")
    assert len(host) == 2 and {e["pid"] for e in host} == {HOST}
    assert all(e["dur"] > 0 for e in host)

    lanes: dict[str, list[dict]] = {}
    for event in slices(trace, "estimate"):
        lanes.setdefault(names[event["pid"], event["tid"]], []).append(event)
    executions = lanes.pop("execution (estimate)")
    assert [round(e["dur"] * 1000) for e in executions] == [expected.total_ns] * 2
    assert set(lanes) == {f"{e.engine} (estimate)" for e in expected.events}
    vector = lanes["VectorE (estimate)"]
    (add,) = (e for e in expected.events if e.opcode == "add")
    assert [e["args"]["opcode"] for e in vector] == ["add", "add"]
    assert round(vector[0]["dur"] * 1000) == add.duration_ns
    begin = vector[0]["ts"] - executions[0]["ts"]
    assert round(begin * 1000) == add.start_ns
    processes = {
        e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"
    }
    assert processes == {
        "host (measured wall clock)",
        "core 1 (ESTIMATE of a cost model)",
    }


def test_the_first_bytes_say_what_the_file_is(nrt, tmp_path):
    loaded = Loaded(nrt)
    path = tmp_path / "model.ntff"
    start(nrt, loaded.model, path)
    stop(nrt, path)
    head = path.read_bytes()[:300]
    assert head.startswith(b'{"otherData":{"emulated":true,')
    assert b"ESTIMATES of a cost model" in head
    trace = json.loads(path.read_text())
    assert slices(trace, "host") == slices(trace, "estimate") == []


def test_the_clock_is_one_that_processes_have_in_common(nrt, tmp_path):
    loaded = Loaded(nrt)
    path = tmp_path / "model.ntff"
    start(nrt, loaded.model, path)
    begin = time.monotonic_ns()
    loaded.run()
    end = time.monotonic_ns()
    stop(nrt, path)
    trace = json.loads(path.read_text())
    about, (call,) = trace["otherData"], slices(trace, "host")
    assert about["clock"] == "CLOCK_MONOTONIC"
    assert (
        about["machine"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    )
    called = about["origin_ns"] + round(call["ts"] * 1000)
    assert begin <= called <= called + round(call["dur"] * 1000) <= end


def test_a_switch_is_in_the_lane_of_executions(nrt, tmp_path):
    one, other = Loaded(nrt), Loaded(nrt)
    one.run()
    path = tmp_path / "model.ntff"
    start(nrt, other.model, path)
    other.run(2)
    stop(nrt, path)
    trace = json.loads(path.read_text())
    names = lane_names(trace)
    switch, *runs = sorted(
        (
            event
            for event in slices(trace, "estimate")
            if names[event["pid"], event["tid"]] == "execution (estimate)"
        ),
        key=lambda event: event["ts"],
    )
    assert switch["name"] == f"switch to {runs[0]['name']}" and len(runs) == 2
    assert round(switch["dur"] * 1000) == SWITCH_NS
    assert round((switch["ts"] + switch["dur"]) * 1000) == round(runs[0]["ts"] * 1000)


def test_only_runs_of_the_model_while_it_is_profiled_are_in_it(nrt, tmp_path):
    one, other = Loaded(nrt), Loaded(nrt)
    path = tmp_path / "one.json"
    one.run()
    start(nrt, one.model, path)
    one.run(3)
    other.run(2)
    stop(nrt, path)
    one.run()
    assert len(slices(json.loads(path.read_text()), "host")) == 3


def test_two_models_at_once(nrt, tmp_path):
    models = [Loaded(nrt, core) for core in range(2)]
    paths = [tmp_path / f"{core}.json" for core in range(2)]
    for loaded, path in zip(models, paths):
        start(nrt, loaded.model, path)
    for loaded in models:
        loaded.run()
    for path in paths:
        stop(nrt, path)
        assert len(slices(json.loads(path.read_text()), "host")) == 1


def test_a_file_that_was_there_is_replaced(nrt, tmp_path):
    loaded = Loaded(nrt)
    path = tmp_path / "model.ntff"
    path.write_bytes(b"old" * 10**6)
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    start(nrt, loaded.model, link)
    stop(nrt, link)
    assert link.is_symlink()
    assert json.loads(path.read_text())["otherData"]["emulated"] is True
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "link",
        "locks",
        "model.ntff",
        "model.ntff.json",
    ]


def profile_once(nrt: Nrt, path: Path, runs: int = 1) -> dict:
    loaded = Loaded(nrt)
    start(nrt, loaded.model, path)
    loaded.run(runs)
    stop(nrt, path)
    return json.loads(path.read_text())


def test_the_file_has_a_name_that_says_json(nrt, tmp_path):
    path, name = tmp_path / "model.ntff", tmp_path / "model.ntff.json"
    for runs in (1, 2):
        profile_once(nrt, path, runs)
        assert name.samefile(path)
        assert len(slices(json.loads(name.read_text()), "host")) == runs
    profile_once(nrt, tmp_path / "other.json")
    assert not (tmp_path / "other.json.json").exists()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_file_of_somebody_elses_keeps_that_name(nrt, tmp_path):
    name = tmp_path / "model.ntff.json"
    name.write_text("{}")
    profile_once(nrt, tmp_path / "model.ntff")
    assert name.read_text() == "{}"
    name.unlink()
    name.symlink_to(tmp_path / "elsewhere")
    profile_once(nrt, tmp_path / "model.ntff")
    assert name.is_symlink() and not (tmp_path / "elsewhere").exists()


#: What the trace event format requires of an event of each phase, beyond its name.
REQUIRED = {"X": {"ts", "dur", "pid", "tid", "cat"}, "M": {"pid", "tid", "args"}}


def test_events_are_as_the_trace_event_format_requires(nrt, tmp_path):
    trace = profile_once(nrt, tmp_path / "model.ntff", runs=3)
    assert trace["displayTimeUnit"] in ("ms", "ns")
    for event in trace["traceEvents"]:
        assert REQUIRED[event["ph"]] <= event.keys()
        assert isinstance(event["name"], str) and event["name"]
        assert type(event["pid"]) is type(event["tid"]) is int
        if event["ph"] == "X":
            assert all(isinstance(event[t], (int, float)) for t in ("ts", "dur"))
            assert event["ts"] >= 0 and event["dur"] >= 0
    metadata = [e for e in trace["traceEvents"] if e["ph"] == "M"]
    for what, member in (("name", str), ("sort_index", int)):
        for kind in ("process", "thread"):
            found = [e for e in metadata if e["name"] == f"{kind}_{what}"]
            assert found and all(type(e["args"][what]) is member for e in found)
    named = {(e["pid"], e["tid"]) for e in metadata if e["name"] == "thread_name"}
    assert {(e["pid"], e["tid"]) for e in trace["traceEvents"] if "ts" in e} <= named


def test_lanes_are_in_the_order_in_which_a_program_goes_through_them(nrt, tmp_path):
    trace = profile_once(nrt, tmp_path / "model.ntff")
    order = {
        (e["pid"], e["tid"]): e["args"]["sort_index"]
        for e in trace["traceEvents"]
        if e["name"] == "thread_sort_index"
    }
    names = lane_names(trace)
    assert order.keys() == names.keys()
    device = sorted((i, names[at]) for at, i in order.items() if at[0] != HOST)
    assert [name.removesuffix(" (estimate)") for _, name in device] == [
        "execution",
        "launch",
        "DMA",
        "TensorE",
        "VectorE",
        "ScalarE",
        "GpSimd",
        "collectives",
    ]
    (call,) = slices(trace, "host")
    assert call["name"].endswith(" (host call)")
    assert call["name"] not in {e["name"] for e in slices(trace, "estimate")}


def test_a_device_is_written_to_not_replaced(nrt):
    loaded = Loaded(nrt)
    start(nrt, loaded.model, Path("/dev/null"))
    stop(nrt, Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


def test_what_is_refused(nrt, tmp_path):
    loaded, other = Loaded(nrt), Loaded(nrt)
    path = tmp_path / "model.ntff"
    assert status_of(stop, nrt, path) == INVALID
    start(nrt, loaded.model, path)
    assert status_of(start, nrt, loaded.model, path) == INVALID
    assert status_of(start, nrt, other.model, path) == INVALID
    assert status_of(start, nrt, loaded.model, tmp_path / "other") == INVALID
    assert status_of(stop, nrt, tmp_path / "other") == INVALID
    loaded.run()
    stop(nrt, path)
    assert status_of(stop, nrt, path) == INVALID
    assert status_of(start, nrt, None, path) == INVALID
    assert status_of(start, nrt, c_void_p(77), path) == INVALID_HANDLE
    assert status_of(nrt.call, "profile_start", loaded.model, None) == INVALID
    assert status_of(nrt.call, "profile_start", loaded.model, b"") == INVALID
    assert status_of(nrt.call, "profile_stop", None) == INVALID
    assert path.exists()


def test_a_path_that_cannot_be_written_is_refused_at_once(nrt, tmp_path):
    loaded = Loaded(nrt)
    file = tmp_path / "file"
    file.write_text("not a directory")
    for path in (tmp_path, tmp_path / "missing" / "x", file / "x", Path("/proc/x")):
        assert status_of(start, nrt, loaded.model, path) == FAILURE
    loaded.run()
    start(nrt, loaded.model, tmp_path / "good")  # the failures left nothing behind


def test_a_directory_that_vanishes_is_an_error_at_the_end(nrt, tmp_path):
    loaded = Loaded(nrt)
    directory = tmp_path / "gone"
    directory.mkdir()
    start(nrt, loaded.model, directory / "x")
    directory.rmdir()
    assert status_of(stop, nrt, directory / "x") == FAILURE
    assert status_of(stop, nrt, directory / "x") == INVALID
    loaded.run()


def test_a_profile_that_nobody_stops_ends_with_the_runtime(tmp_path):
    path = tmp_path / "model.ntff"
    with nrt_client.session(tmp_path / "locks") as nrt:
        loaded = Loaded(nrt)
        start(nrt, loaded.model, path)
        loaded.run()
    assert not path.exists()
    with nrt_client.session(tmp_path / "locks") as nrt:
        loaded = Loaded(nrt)
        start(nrt, loaded.model, path)
        stop(nrt, path)
    assert path.exists()


def test_a_model_may_be_unloaded_while_it_is_profiled(nrt, tmp_path):
    loaded = Loaded(nrt)
    path = tmp_path / "model.ntff"
    start(nrt, loaded.model, path)
    loaded.run()
    nrt.unload(loaded.model)
    stop(nrt, path)
    assert len(slices(json.loads(path.read_text()), "host")) == 1


def test_failed_runs_are_not_in_it(nrt, tmp_path):
    loaded = Loaded(nrt)
    path = tmp_path / "model.ntff"
    start(nrt, loaded.model, path)
    assert load().nkipy_emulator_inject(b"nrt_execute=1201@1") == 0
    assert status_of(loaded.run) == 1201
    loaded.run()
    load().nkipy_emulator_inject(None)
    stop(nrt, path)
    assert len(slices(json.loads(path.read_text()), "host")) == 1


def test_continuous_profiles(nrt, tmp_path):
    options = c_void_p()
    nrt.call("profile_continuous_options_allocate", byref(options))
    directory = tmp_path / "deep" / "down"
    nrt.call(
        "profile_continuous_options_set_output_dir", options, os.fsencode(directory)
    )
    models = [Loaded(nrt, core) for core in range(2)]
    save = ("profile_continuous_save", c_uint32(1), options)
    assert status_of(nrt.call, *save) == INVALID
    nrt.call("profile_continuous_start", options)
    assert status_of(nrt.call, "profile_continuous_start", options) == INVALID
    models[0].run(3)
    models[1].run(2)
    nrt.call(*save)
    models[1].run()
    nrt.call(*save)
    no_core = ("profile_continuous_save", c_uint32(2), options)
    assert status_of(nrt.call, *no_core) == INVALID
    nrt.call("profile_continuous_stop")
    assert status_of(nrt.call, "profile_continuous_stop") == INVALID
    nrt.lib.nrt_profile_continuous_options_free(options)
    counts = [
        len(slices(json.loads(path.read_text()), "host"))
        for path in sorted(directory.iterdir())
    ]
    assert counts == [2, 3]


def test_the_older_tracer(nrt, tmp_path):
    loaded = Loaded(nrt)
    path = tmp_path / "trace.json"
    assert status_of(nrt.call, "trace_stop", os.fsencode(path)) == INVALID
    nrt.call("trace_start", False)
    assert status_of(nrt.call, "trace_start", False) == INVALID
    loaded.run()
    nrt.call("trace_stop", os.fsencode(path))
    assert len(slices(json.loads(path.read_text()), "host")) == 1


def test_the_library_is_the_one_under_test():
    assert libnrt.library_path().name == "libnrt.so.1"
