"""Which line executed which kernel."""

from __future__ import annotations

import os
import resource

import pytest

from spike import SpikeProfiler


def test_lines_are_noted(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profiler = SpikeProfiler(target_file="test_profiler")
    model = profiler.load_model(str(fake.neff()))
    x = profiler.allocate_tensor(64)
    profiler.execute(model, {"x": x, "y": x}, {"sum": x})
    pid, source, kernel, end = (tmp_path / "debug_rank_0.txt").read_text().splitlines()
    assert (pid, kernel, end) == (f"PID: {os.getpid()}", "KERNEL: add", "---")
    assert source == f"SOURCE: {__file__}:18"
    assert "nrt_execute" in fake.calls()


def test_a_link_in_its_place_is_not_followed(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "debug_rank_0.txt").symlink_to("mine")
    profiler = SpikeProfiler(target_file="test_profiler")
    model = profiler.load_model(str(fake.neff()))
    x = profiler.allocate_tensor(64)
    with pytest.raises(OSError, match="symbolic links.*debug_rank_0.txt"):
        profiler.execute(model, {"x": x, "y": x}, {"sum": x})
    assert (tmp_path / "mine").read_text() == "mine"
    assert "nrt_execute" not in fake.calls()


def test_a_record_that_does_not_fit_on_the_disk_is_left_out(
    fake, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    profiler = SpikeProfiler(target_file="test_profiler")
    model = profiler.load_model(str(fake.neff()))
    x = profiler.allocate_tensor(64)
    call = model, {"x": x, "y": x}, {"sum": x}
    profiler.execute(*call)
    report = tmp_path / "debug_rank_0.txt"
    noted = report.read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(noted) + 9, limits[1]))
    try:
        with pytest.raises(OSError, match="too large: 'debug_rank_0.txt'"):
            profiler.execute(*call)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert report.read_text() == noted
    profiler.execute(*call)
    assert report.read_text().count("---") == 2


def test_other_ranks_note_nothing(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "1")
    profiler = SpikeProfiler(target_file="none")
    model = profiler.load_model(str(fake.neff()))
    x = profiler.allocate_tensor(64)
    profiler.execute(model, {"x": x, "y": x}, {"sum": x})
    assert not list(tmp_path.glob("debug*"))
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(
        RuntimeError, match="no caller is in a file whose name contains"
    ):
        profiler.execute(model, {"x": x, "y": x}, {"sum": x})
