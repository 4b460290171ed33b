"""spike-run, over the emulator."""

from __future__ import annotations

import sys

import ml_dtypes
import numpy as np
import pytest

import spike
from spike import cli

pytestmark = pytest.mark.usefixtures("emulator")

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def negate(neff) -> str:
    return str(neff(lambda b, x: b.negate(x), X, names=["x"], results=["y"]))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs in a directory of its own; gives the exit status and what was printed."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)

    def call(*args: str) -> tuple[int, str, str]:
        status = cli.main(args)
        out, err = capsys.readouterr()
        return status, out, err

    return call


def test_run(run, negate):
    status, out, err = run(negate, "-i", "x=x.npy", "-o", "out", "-v", "--name", "N")
    assert (status, err) == (0, "")
    assert out == "Model: N\nInputs: ['x']\nSaved out/y.npy\n"
    np.testing.assert_array_equal(np.load("out/y.npy"), -X)


def test_benchmark_and_trace(run, negate, tmp_path):
    status, out, _ = run(
        negate, "--input=x=x.npy", "--benchmark", "--iterations=3", "--save-trace"
    )
    assert status == 0
    benchmark, trace, saved = out.splitlines()
    assert benchmark.startswith("Benchmark (device): BenchmarkResult(mean=")
    assert benchmark.endswith("iterations=3, warmup_iterations=5, estimated)")
    assert (trace, saved) == ("Trace saved: k.ntff", "Saved y.npy")
    assert (tmp_path / "k.ntff").stat().st_size > 0


def test_several_cores(run, negate):
    for rank in (0, 1):
        np.save(f"x{rank}.npy", X + rank)
    status, out, err = run(
        negate, "-i", "x=x{rank}.npy", "-o", "r{rank}", "--num-cores=2", "--benchmark",
        "--save-trace", "--ntff-name=t{rank}.ntff", "-v",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "Core 1: Benchmark (host): BenchmarkResult(" in out
    for rank in (0, 1):
        assert f"Core {rank}: Trace saved: t{rank}.ntff\n" in out
        np.testing.assert_array_equal(np.load(f"r{rank}/core_{rank}/y.npy"), -X - rank)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e5m2"])
def test_dtypes_without_a_name_in_files(run, neff, dtype):
    array = np.array([0.5, -2, 3]).astype(getattr(ml_dtypes, dtype))
    path = str(neff(lambda b, x: b.negate(x), array, names=["x"], results=["x"]))
    np.save("x.npy", array.view(f"V{array.itemsize}"))
    status, out, _ = run(path, "-i", "x=x.npy", "-o", "out")
    assert (status, out) == (0, f"Saved out/x.npy ({dtype} as float32)\n")
    assert np.load("out/x.npy").tolist() == [-0.5, 2, -3]
    assert run(path, "-i", "x=out/x.npy", "-o", "out")[0] == 0
    assert np.load("out/x.npy").tolist() == [0.5, -2, 3]
    np.save("x.npy", np.array([0.1, 1e9, 0], np.float32))
    status, _, err = run(path, "-i", "x=x.npy")
    assert status == 1 and f"x.npy is float32: not every value is a {dtype}" in err


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["-i", "x"], "--input takes NAME=PATH, got 'x'"),
        (["-i", "z=x.npy"], "'z' is not an input: x are"),
        (["-i", "x=no.npy"], "No such file or directory: 'no.npy'"),
        (["-i", "x=x.npy", "--core-id=7"], "NRT_INVALID(2): Failed to load model"),
        ([], "Missing input(s) {'x'}"),
        (["--num-cores=3"], "--num-cores=3 conflicts with NEURON_RT_VISIBLE_CORES=0-1"),
        (["--num-cores=2"], "Core 0 failed: Missing input(s) {'x'}"),
        (["-i", "x=x.npy", "--benchmark", "--iterations=0"], "must be at least 1"),
    ],
)
def test_mistakes_are_one_line(run, negate, args, text):
    status, out, err = run(negate, *args)
    assert (status, out) == (1, "")
    assert err.startswith("spike-run: error: ") and err.count("\n") == 1
    assert text in err


def test_files_that_are_no_neff(run, tmp_path):
    for args in (["no.neff"], ["x.npy"], ["no.neff", "--info"], ["x.npy", "--info"]):
        status, out, err = run(*args)
        assert (status, out) == (1, "")
        assert err.startswith("spike-run: error: ") and err.count("\n") == 1
    with pytest.raises(SystemExit):
        run()


def test_info_needs_no_runtime(run, negate, monkeypatch):
    monkeypatch.setattr(cli, "run_single_core", None)
    monkeypatch.setitem(sys.modules, "spike._spike", None)
    status, out, _ = run(negate, "--info")
    lines = out.splitlines()
    assert status == 0
    assert "Inputs:" in lines and "Outputs:" in lines
    assert "  x: float32[2, 3], 24 bytes" in lines
    assert "  y: float32[2, 3], 24 bytes" in lines
    assert "the emulator: runs only there" in out


def test_doctor(run):
    status, out, _ = run("--doctor")
    assert status == 0
    assert "nkipy_emulator/lib/libnrt.so.1" in out
    assert "entry point 'emulator' offers it" in out
    assert "visible cores:           2\n" in out


def test_cores_of_the_environment(monkeypatch):
    assert cli.parse_visible_cores("0-3,8-9, 11") == [0, 1, 2, 3, 8, 9, 11]
    for wrong in ("", "a", "1-", "-1", "0,,1", "0-b"):
        with pytest.raises(ValueError, match="not a list of cores"):
            cli.parse_visible_cores(wrong)
    cli.validate_core_config(2)
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES")
    monkeypatch.setenv("NEURON_RT_NUM_CORES", "0")
    cli.validate_core_config(64)
    monkeypatch.setenv("NEURON_RT_NUM_CORES", "2")
    with pytest.raises(ValueError, match="conflicts with NEURON_RT_NUM_CORES=2"):
        cli.validate_core_config(3)


def test_cores_are_chosen_where_the_environment_does_not(run, negate, monkeypatch):
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES")
    monkeypatch.delenv("NEURON_RT_NUM_CORES", raising=False)
    assert run(negate, "-i", "x=x.npy", "--num-cores=2")[0] == 0
    assert spike.get_spike_singleton().get_visible_neuron_core_count() == 2
