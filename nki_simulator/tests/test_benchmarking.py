"""nki.benchmark and nki.profile: the estimated time of a kernel that is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl

X = np.arange(128 * 64, dtype=np.float32).reshape(128, 64)


def doubled(x: Any) -> Any:
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, x)
    nisa.tensor_tensor(tile, tile, tile, op=nl.add)
    nisa.dma_copy(result, tile)
    return result


def test_a_benchmark_tells_what_the_schedule_estimates(capsys) -> None:
    timed = nki.benchmark(nki.jit(doubled))
    np.testing.assert_array_equal(timed(X), 2 * X)
    expected = nki.simulate(doubled).run(X).report().total
    latency = timed.benchmark_result.nc_latency
    assert expected > 0 and latency.estimate
    for percentile in (0, 1, 10, 25, 50, 90, 99, 100):
        assert latency.get_latency_percentile(percentile) == expected / 1000
    said = capsys.readouterr().out
    assert "doubled on trn2" in said
    assert f"latency {expected / 1000:.2f} us (estimate)" in said
    for line in said.splitlines():
        if " us" in line and "latency" in line:
            assert "(estimate)" in line


def test_it_decorates_with_and_without_arguments(capsys) -> None:
    for decorate in (nki.benchmark, nki.benchmark(warmup=1, iters=2)):
        np.testing.assert_array_equal(decorate(doubled)(X), 2 * X)
    assert nki.benchmark(doubled).__name__ == "doubled"


def test_another_chip_takes_another_time(capsys) -> None:
    times = []
    for target in ("trn1", "trn3"):
        timed = nki.benchmark(doubled, target=target)
        timed(X)
        times.append(timed.benchmark_result.nc_latency.ns)
        assert timed.benchmark_result.reports[0].target == target
    assert times[0] != times[1]


def test_what_is_asked_before_a_run_or_of_another_percentile(capsys) -> None:
    timed = nki.benchmark(doubled)
    with pytest.raises(nki.NkiValidationError, match="doubled has not run yet"):
        _ = timed.benchmark_result
    timed(X)
    with pytest.raises(ValueError, match="no percentile 95"):
        timed.benchmark_result.nc_latency.get_latency_percentile(95)


def test_a_benchmark_writes_its_timeline_and_no_neff(tmp_path: Path, capsys) -> None:
    trace = tmp_path / "trace.ntff"
    with pytest.warns(UserWarning, match="no NEFF is made here"):
        timed = nki.benchmark(
            doubled, save_trace_name=str(trace), save_neff_name="file.neff"
        )
    timed(X)
    assert [file.name for file in tmp_path.iterdir()] == ["trace.json"]
    made = json.loads((tmp_path / "trace.json").read_text())
    assert made == json.loads(json.dumps(timed.benchmark_result.reports[0].timeline()))


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"iters": 0}])
def test_counts_of_runs_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="warmup >= 0 and iters >= 1"):
        nki.benchmark(doubled, **wrong)


def test_in_a_kernel_it_is_part_of_that() -> None:
    part = nki.benchmark(doubled)

    def kernel(x: Any) -> Any:
        return part(x)

    np.testing.assert_array_equal(nki.simulate(kernel)(X), 2 * X)
    with pytest.raises(nki.NkiValidationError, match="has not run"):
        _ = part.benchmark_result


def test_two_cores_take_as_long_as_the_slower(capsys) -> None:
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(tile, x)
        for _ in range(3 * nl.program_id(0)):
            nisa.tensor_tensor(tile, tile, tile, op=nl.maximum)
        rows = nl.ds(64 * nl.program_id(0), 64)
        nisa.dma_copy(result[rows], tile[rows])
        return result

    timed = nki.benchmark(kernel)[2]
    timed(X)
    result = timed.benchmark_result
    first, second = (report.total for report in result.reports)
    assert first < second == result.nc_latency.ns


def test_a_profile_writes_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    profiled = nki.profile(working_directory=str(folder), profile_nth=2)(doubled)
    np.testing.assert_array_equal(profiled(X), 2 * X)
    names = {"profile.json", "profile.html", "profile_summary.json"}
    assert {file.name for file in folder.iterdir()} == names
    summary = json.loads((folder / "profile_summary.json").read_text())
    assert summary["estimate"] is True
    assert summary["total_ns"] == profiled.benchmark_result.nc_latency.ns
    assert "doubled" in (folder / "profile.html").read_text()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        profiled(X)
    nki.profile(doubled, working_directory=folder, overwrite=True)(X)
    assert {file.name for file in folder.iterdir()} == names


@pytest.mark.parametrize("folder", [None, "profiles"])
def test_a_profile_needs_an_absolute_path(folder: str | None) -> None:
    with pytest.raises(ValueError, match="an absolute path, and received"):
        nki.profile(doubled, working_directory=folder)
    with pytest.raises(ValueError, match="profile_nth >= 1"):
        nki.profile(doubled, working_directory="/tmp/p", profile_nth=0)
