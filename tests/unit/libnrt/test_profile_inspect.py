"""Inspection: by the environment and by calls."""

from __future__ import annotations

import ctypes
import json
import os
from contextlib import ExitStack
from ctypes import byref, c_bool, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

import numpy as np
import pytest

from tests.support import nrt_client
from tests.support.libnrt import FAILURE, INVALID, INVALID_HANDLE
from tests.support.nrt_client import Nrt, NrtFailure, make_neff
from tests.support.odd_files import files_of_at_most

X = np.ones((4, 4), np.float32)
SYSTEM, PROFILE = "emulator_system_trace.json", "emulator_profile.json"
PREFIX = "NEURON_RT_INSPECT_"


def run_once(nrt: Nrt, core: int = 0) -> None:
    model = nrt.load(make_neff(lambda b, x: b.negate(x), X), core=core)
    name_in, name_out = (info[0] for info in nrt.tensor_info(model))
    nrt.execute(
        model,
        nrt.tensor_set({name_in: nrt.tensor(X, core)}),
        nrt.tensor_set({name_out: nrt.empty(X.nbytes, core)}),
    )


def inspected(tmp_path: Path, **variables: str) -> dict[str, dict]:
    """What a session with these NEURON_RT_INSPECT_* writes, by file name."""
    output = tmp_path / "output"
    own = {f"{PREFIX}{name}": value for name, value in variables.items()}
    own |= {f"{PREFIX}ENABLE": "1", f"{PREFIX}OUTPUT_DIR": str(output)}
    with nrt_client.session(tmp_path / "locks", cores=2, **own) as nrt:
        run_once(nrt)
        run_once(nrt, core=1)
    return read(output)


def read(output: Path) -> dict[str, dict]:
    (directory,) = output.iterdir()
    assert directory.name == f"trn2_pid_{os.getpid()}"
    return {p.name: json.loads(p.read_text()) for p in directory.iterdir()}


def names_of(trace: dict) -> set[str]:
    return {e["event_type"] for e in trace["events"]}


def test_the_environment_asks_for_a_system_trace(tmp_path):
    files = inspected(tmp_path)
    assert set(files) == {SYSTEM}
    assert files[SYSTEM]["emulated"] is True
    expected = {"nrt_load", "nrt_execute", "nc_exec_running", "nrt_tensor_write"}
    assert expected <= names_of(files[SYSTEM])


@pytest.mark.parametrize("value", ["1", "model", "session"])
def test_the_environment_asks_for_a_device_profile(tmp_path, value):
    files = inspected(tmp_path, SYSTEM_PROFILE="0", DEVICE_PROFILE=value)
    assert set(files) == {PROFILE}
    assert files[PROFILE]["otherData"]["emulated"] is True
    host = [e for e in files[PROFILE]["traceEvents"] if e.get("cat") == "host"]
    assert len(host) == 2


@pytest.mark.parametrize(("cores", "seen"), [("1", {1}), ("0-1", {0, 1}), ("0", {0})])
def test_cores_can_be_chosen(tmp_path, cores, seen):
    trace = inspected(tmp_path, EVENT_FILTER_NC=cores)[SYSTEM]
    found = {e["nc_idx"] for e in trace["events"] if e["event_type"] == "nrt_execute"}
    assert found == seen


def test_event_types_can_be_chosen(tmp_path):
    def names(text: str) -> set[str]:
        directory = tmp_path / text
        return names_of(inspected(directory, EVENT_FILTER_TYPE=text)[SYSTEM])

    everything = names("hardware,software")
    assert names("hardware") == {"nc_exec_running"}
    assert names("software") == everything - {"nc_exec_running"}
    assert names("nrt_load,nrt_execute") == {"nrt_load", "nrt_execute"}
    assert names("^nrt_load") == everything - {"nrt_load"}


def test_the_number_of_events_can_be_bounded(tmp_path):
    trace = inspected(tmp_path, SYS_TRACE_MAX_EVENTS_PER_NC="2")[SYSTEM]
    per_core = [e["nc_idx"] for e in trace["events"]]
    assert per_core.count(0) == per_core.count(1) == 2
    assert trace["dropped_events"] > 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EVENT_FILTER_NC", "one"),
        ("DEVICE_PROFILE", "maybe"),
        ("SYSTEM_PROFILE", "2"),
        ("SYS_TRACE_MAX_EVENTS_PER_NC", "-1"),
    ],
)
def test_malformed_variables(tmp_path, variable, value):
    with pytest.raises(NrtFailure) as failure:
        inspected(tmp_path, **{variable: value})
    assert failure.value.status == INVALID
    inspected(tmp_path)  # the failure left nothing behind


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(NrtFailure) as failure:
        with nrt_client.session(
            tmp_path,
            NEURON_RT_INSPECT_ENABLE="1",
            NEURON_RT_INSPECT_OUTPUT_DIR=str(tmp_path / "file" / "output"),
        ):
            pass
    assert failure.value.status == FAILURE


def test_files_that_do_not_fit_on_the_disk_are_named(tmp_path, capfd):
    output = tmp_path / "output"
    own = {"ENABLE": "1", "DEVICE_PROFILE": "1", "OUTPUT_DIR": str(output)}
    variables = {f"{PREFIX}{name}": value for name, value in own.items()}
    with ExitStack() as stack:
        nrt = stack.enter_context(nrt_client.session(tmp_path / "locks", **variables))
        (directory,) = output.iterdir()
        (directory / SYSTEM).write_text("old")
        (directory / PROFILE).write_text("old")
        run_once(nrt)
        with files_of_at_most(900):  # what is logged is captured in a file, too
            stack.close()
    assert {p.name: p.read_text() for p in directory.iterdir()} == {
        SYSTEM: "old",
        PROFILE: "old",
    }
    (said,) = capfd.readouterr().err.splitlines()
    for name in (SYSTEM, PROFILE):
        assert f"cannot write '{directory}/{name}': File too large" in said


def test_a_file_that_cannot_be_written_takes_no_other_with_it(nrt, tmp_path):
    config = Config(nrt)
    config.set("output_dir", os.fsencode(tmp_path / "output"))
    config.set("activity", b"device_profile", c_bool(True))
    nrt.call("inspect_begin_with_options", config.handle)
    run_once(nrt)
    (directory,) = (tmp_path / "output").iterdir()
    (directory / SYSTEM).mkdir()
    assert status_of(nrt.call, "inspect_stop") == FAILURE
    assert sorted(p.name for p in directory.iterdir()) == [PROFILE, SYSTEM]
    json.loads((directory / PROFILE).read_text())


# ------------------------------------------------------------------ by calls


@pytest.fixture
def nrt(tmp_path):
    with nrt_client.session(tmp_path / "locks", cores=2) as nrt:
        yield nrt


class Config:
    def __init__(self, nrt: Nrt) -> None:
        self.nrt = nrt
        self.handle = c_void_p()
        nrt.call("inspect_config_allocate", byref(self.handle))

    def set(self, what: str, *args) -> None:
        self.nrt.call(f"inspect_config_set_{what}", self.handle, *args)

    def activities(self, which: str = "enabled") -> list[str]:
        array, count = ctypes.POINTER(c_char_p)(), c_size_t()
        args = (self.handle,) if which == "enabled" else ()
        function = f"inspect_config_get_{which}_activity_types"
        self.nrt.call(function, *args, byref(array), byref(count))
        names = [array[i].decode() for i in range(count.value)]
        self.nrt.lib.nrt_inspect_config_free_activity_types(array, count)
        return names


def status_of(function, *args) -> int:
    with pytest.raises(NrtFailure) as failure:
        function(*args)
    return failure.value.status


def test_calls_ask_for_both(nrt, tmp_path):
    config = Config(nrt)
    config.set("output_dir", os.fsencode(tmp_path / "output"))
    config.set("activity", b"device_profile", c_bool(True))
    config.set("session_id", c_int(3))
    nrt.call("inspect_begin_with_options", config.handle)
    run_once(nrt)
    assert status_of(nrt.call, "inspect_begin") == INVALID
    nrt.call("inspect_stop")
    assert set(read(tmp_path / "output")) == {SYSTEM, PROFILE}
    assert status_of(nrt.call, "inspect_stop") == INVALID


def test_begin_reads_the_environment(nrt, tmp_path, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}OUTPUT_DIR", str(tmp_path / "output"))
    monkeypatch.setenv(f"{PREFIX}EVENT_FILTER_TYPE", "nrt_execute")
    nrt.call("inspect_begin")
    run_once(nrt)
    nrt.call("inspect_stop")
    assert names_of(read(tmp_path / "output")[SYSTEM]) == {"nrt_execute"}


def test_begin_with_options_does_not(nrt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}OUTPUT_DIR", str(tmp_path / "elsewhere"))
    nrt.call("inspect_begin_with_options", None)
    run_once(nrt)
    nrt.call("inspect_stop")
    assert set(read(tmp_path / "output")) == {SYSTEM}
    assert not (tmp_path / "elsewhere").exists()


def test_inspection_that_is_disabled_writes_nothing(nrt, tmp_path):
    config = Config(nrt)
    config.set("output_dir", os.fsencode(tmp_path / "output"))
    config.set("enable_inspect", c_bool(False))
    nrt.call("inspect_begin_with_options", config.handle)
    assert not (tmp_path / "output").exists()
    assert status_of(nrt.call, "inspect_stop") == INVALID


def test_activities(nrt):
    config = Config(nrt)
    everything = ["system_profile", "device_profile", "host_memory", "cpu_util"]
    assert config.activities("all") == everything
    assert config.activities() == ["system_profile"]
    config.set("activity", b"all", c_bool(True))
    assert config.activities() == everything
    config.set("activity", b"cpu_util", c_bool(False))
    assert config.activities() == everything[:-1]
    nrt.call("inspect_config_set_defaults", config.handle)
    assert config.activities() == ["system_profile"]
    assert status_of(config.set, "activity", b"sleeping", c_bool(True)) == INVALID
    kind = "capture_enabled_for_event_type_string"
    assert status_of(config.set, kind, b"nonsense", c_bool(True)) == INVALID
    nrt.call("inspect_config_free", config.handle)
    assert status_of(config.set, "session_id", c_int(1)) == INVALID_HANDLE
