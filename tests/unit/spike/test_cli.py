"""spike-run, over the emulator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import spike
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation
from nkipy_emulator.cost_model.constants import SWITCH_NS
from spike import cli
from spike.rank_processes import RankResult, told_once
from tests.support.odd_files import files_of_at_most

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


def test_an_input_that_is_a_pipe_is_refused_and_not_waited_for(run, negate):
    os.mkfifo("pipe")
    status, out, err = run(negate, "-i", "x=pipe")
    assert (status, out) == (1, "") and "is no regular file: 'pipe'" in err


def test_benchmark_and_trace(run, negate, tmp_path):
    status, out, _ = run(
        negate, "--input=x=x.npy", "--benchmark", "--iterations=3", "--save-trace"
    )
    assert status == 0
    benchmark, trace, timeline, saved = out.splitlines()
    assert benchmark.startswith("Benchmark (device): BenchmarkResult(mean=")
    assert benchmark.endswith("iterations=3, warmup_iterations=5, estimated)")
    assert (trace, saved) == ("Trace saved: k.ntff", "Saved y.npy")
    hint = "Timeline (estimated): open k.ntff.json at https://ui.perfetto.dev"
    assert timeline == hint
    assert (tmp_path / "k.ntff").stat().st_size > 0
    assert json.loads((tmp_path / "k.ntff.json").read_text())["traceEvents"]


def test_switching(run, negate, neff):
    other = str(neff(lambda b, y: b.add(y, y), X, file="o.neff", names=["y"]))
    command = negate, "-ix=x.npy", "--benchmark", "--iterations=4", "--warmup=1"
    status, out, err = run(*command, "--switch", other, "--switch-input=y=x.npy")
    assert (status, err) == (0, "")
    alone, host, device, _ = out.splitlines()
    assert alone.startswith("Benchmark (device): BenchmarkResult(mean=")
    assert host.startswith("Switching with o (host, measured): SwitchTimes(first=")
    assert host.endswith("iterations=4)")
    switch = f"switch={SWITCH_NS / 1e6:.4f}ms, p50={SWITCH_NS / 1e6:.4f}ms, "
    assert (
        device.startswith("Switching with o (device): SwitchTimes(")
        and switch in device
    )
    assert device.endswith("iterations=4, estimated)")
    assert run(*command, "--switch", other)[0] == 0  # on zeros
    for wrong, text in (
        ([negate, "--switch", other], "--switch times alternating .*add --benchmark"),
        ([*command, "--switch-input=y=x.npy"], "an input of the NEFF of --switch"),
        (
            [*command, "--switch", other, "--switch-input=z=x.npy"],
            "'z' is not an input",
        ),
        ([*command, "--switch", "no.neff"], "no.neff"),
    ):
        status, _, err = run(*wrong)
        assert status == 1 and re.search(text, err), err


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
    assert status == 1 and f"not every value of this float32 is a {dtype}" in err


def ranks_and_their_sum(b, x):
    """The sum of `x` over two ranks, and the number of the rank."""
    computation = HLOComputation("sum")
    operands = [computation.add_parameter((), x.dtype) for _ in range(2)]
    computation.root = HLOBuilder(computation).add(*operands)
    groups = {"replica_groups": ((0, 1),), "to_apply": computation}
    total = b.emit("all-reduce", (x,), x.shape, x.dtype, groups)
    return total, b.emit("replica-id", (), (), np.dtype(np.uint32))


def test_cores_that_are_one_collective(run, neff):
    path = str(neff(ranks_and_their_sum, X, names=["x"], results=["sum", "rank"]))
    for rank in (0, 1):
        np.save(f"x{rank}.npy", X + rank)
    status, _, err = run(path, "-ix=x{rank}.npy", "--num-cores=2", "--collective")
    assert (status, err) == (0, "")
    for rank in (0, 1):
        np.testing.assert_array_equal(np.load(f"core_{rank}/sum.npy"), 2 * X + 1)
        assert np.load(f"core_{rank}/rank.npy") == rank
    command = path, "-ix=x{rank}.npy", "--num-cores=2", "--collective", "--save-trace"
    status, out, err = run(*command)
    assert (status, err) == (0, "") and os.path.exists("core_1/k.ntff")
    last = "Timeline of all ranks (estimated): open k.ranks.json at https://ui.perfetto.dev"
    assert out.splitlines()[-1] == last
    shown = json.loads(Path("k.ranks.json").read_text())
    assert {e["pid"] for e in shown["traceEvents"]} == {1, 2}
    assert run(*command)[0] == 0  # a timeline may be replaced, another file not
    Path("k.ranks.json").write_text("mine")
    status, out, err = run(*command)
    assert (status, out) == (
        1,
        "",
    ) and "k.ranks.json is no timeline, and would be" in err
    assert Path("k.ranks.json").read_text() == "mine"


def test_groups_that_are_not_those_of_the_world_are_named(run, neff):
    path = str(neff(ranks_and_their_sum, X, names=["x"], results=["sum", "rank"]))
    for how, ranks in (((), 1), (("--cc-enabled", "--world-size=4"), 4)):
        status, _, err = run(path, "-ix=x.npy", *how)
        assert status == 1
        assert f"over the ranks [0, 1], but the program is loaded for {ranks}" in err


def test_processes_that_are_one_collective(run, neff, tmp_path, monkeypatch):
    path = str(neff(ranks_and_their_sum, X, names=["x"], results=["sum", "rank"]))
    locks = tmp_path / "locks"
    locks.mkdir(mode=0o700)
    monkeypatch.setenv("NKIPY_EMULATOR_LOCK_DIR", str(locks))
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "2-3")
    for rank in (0, 1):
        np.save(f"x{rank}.npy", X + rank)
    command = path, "-ix=x{rank}.npy", "-oout", "--processes=2"
    status, out, err = run(*command, "--save-trace", "--ntff-name=all.json")
    assert (status, err) == (0, "") and "Rank 1: " in out
    assert "Timeline of all ranks (estimated): open all.json at " in out
    shown = json.loads(Path("all.json").read_text())["traceEvents"]
    arrows = [e for e in shown if e["ph"] in "stf"]
    assert [e["ph"] for e in arrows] == ["s", "f"] and arrows[0]["id"] == arrows[1][
        "id"
    ]
    assert {e["pid"] for e in arrows} == {e["pid"] for e in shown} == {1, 2}
    for rank in (0, 1):
        np.testing.assert_array_equal(np.load(f"out/rank_{rank}/sum.npy"), 2 * X + 1)
        assert np.load(f"out/rank_{rank}/rank.npy") == rank
    os.remove("x1.npy")
    monkeypatch.setenv("NEURON_RT_EXEC_TIMEOUT", "1")  # rank 0 may wait for the other
    status, out, err = run(*command)
    assert (status, out) == (1, "")
    assert re.search("rank 1 ended with status 1: .*x1.npy", err), err


def test_more_processes_than_cores_are_not_started(run, neff, monkeypatch):
    path = str(neff(ranks_and_their_sum, X, names=["x"], results=["sum", "rank"]))
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES", raising=False)
    monkeypatch.delenv("NEURON_RT_NUM_CORES", raising=False)
    monkeypatch.setattr(cli, "run_processes", lambda *_: pytest.fail("started"))
    status, _, err = run(path, "--processes=99")
    assert status == 1 and err.count("\n") == 1
    assert re.search(r"--processes=99 takes .* this machine has \d+: ask for", err)


def test_what_ranks_say_alike_is_said_once():
    results = [
        RankResult(rank, status, output, rank)
        for rank, (status, output) in enumerate(
            [(1, "no file\n"), (-9, ""), (1, "no file"), (1, "other")]
        )
    ]
    assert told_once(results) == [
        "ranks 0, 2 ended with status 1: no file",
        "rank 1 was killed by SIGKILL",
        "rank 3 ended with status 1: other",
    ]


# One core waits, as for a peer that never comes, when the signal does.
INTERRUPTED = """
import os, signal, sys, threading, time
from spike import cli
from spike.rank_processes import RankResult, told_once

signal.signal(signal.SIGINT, signal.default_int_handler)
execute, is_waiting = cli._Run.execute, threading.Event()

def wait_or_execute(run):
    if run.model.model_ref.core_id == 0:
        return execute(run)
    is_waiting.set()
    time.sleep(600)

def send():
    is_waiting.wait()
    os.kill(os.getpid(), signal.SIGINT)

cli._Run.execute = wait_or_execute
threading.Thread(target=send, daemon=True).start()
sys.exit(cli.console_main(sys.argv[1:]))
"""


def test_an_interrupted_run_waits_for_no_core(run, negate, tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, negate, "-ix=x.npy", "--num-cores=2"]
    environment = {**os.environ, "NKIPY_EMULATOR_LOCK_DIR": str(tmp_path / "own")}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert done.returncode in (130, -2), done.stderr


@pytest.mark.parametrize(
    ("flags", "loaded"),
    [
        ([], (0, False, 0, 1)),
        (["--core-id=1"], (1, False, 0, 1)),
        (["--cc-enabled", "--rank-id=2", "--world-size=4"], (0, True, 2, 4)),
        (["--collective", "--world-size=3"], (0, True, 0, 3)),
    ],
)
def test_where_and_as_which_rank_a_model_is_loaded(
    run, negate, monkeypatch, flags, loaded
):
    seen = []
    load = spike.SpikeModel.load_from_neff

    def note(path, name, *place):
        seen.append(place)
        return load(path, name, place[0])

    monkeypatch.setattr(spike.SpikeModel, "load_from_neff", note)
    assert run(negate, "-i", "x=x.npy", *flags)[0] == 0
    assert seen == [loaded]
    np.testing.assert_array_equal(np.load("y.npy"), -X)


def test_rank_in_paths_of_one_core(run, neff):
    neff(lambda b, x: b.negate(x), X, names=["x"], results=["y"], file="k3.neff")
    np.save("in3.npy", X)
    status, out, err = run(
        "k{rank}.neff", "-ix=in{rank}.npy", "-oout{rank}", "--rank-id=3",
        "--save-trace", "--ntff-name=t{rank}.ntff",
    )  # fmt: skip
    assert (status, err) == (0, "")
    hint = "Timeline (estimated): open t3.ntff.json at https://ui.perfetto.dev"
    assert out == f"Trace saved: t3.ntff\n{hint}\nSaved out3/y.npy\n"
    assert Path("t3.ntff").stat().st_size > 0


def test_warmup_executions_are_not_timed(run, negate):
    status, out, _ = run(
        negate, "-ix=x.npy", "--benchmark", "--warmup=2", "--iterations=4"
    )
    assert status == 0 and "iterations=4, warmup_iterations=2" in out


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["k.neff", "--no-such-flag"],
        ["k.neff", "another.neff"],
        ["k.neff", "--core-id=one"],
        ["k.neff", "--num-cores"],
        ["k.neff", "-i"],
    ],
)
def test_command_lines_that_cannot_be_understood(run, args, capsys):
    with pytest.raises(SystemExit) as raised:
        run(*args)
    assert raised.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("usage: spike-run")
    assert "spike-run: error: " in said.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (X.T, "Input x: expected shape [2, 3], got (3, 2)"),
        (X[0], "Input x: expected shape [2, 3], got (3,)"),
        (X.astype(np.float64) / 3, "x.npy: not every value of this float64 is a"),
        (X.view("V4"), None),
        (X.view("V2"), "x.npy: expected float32, got |V2"),
        (X.astype(complex), "x.npy: expected float32, got complex128"),
        (np.full((2, 3), 1e300), "x.npy: not every value of this float64 is a float32"),
        (np.array([None, 1]), "x.npy: Object arrays cannot be loaded"),
    ],
)
def test_files_that_do_not_fit(run, negate, array, text):
    np.save("x.npy", array)
    status, _, err = run(negate, "-i", "x=x.npy")
    assert status == (0 if text is None else 1)
    assert (text or "") in err and err.count("\n") == status


def headed(text, version=1):
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes((version, 0)) + size + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        b"\x93NUMPY\x01\x00",
        headed(b"(" * 5000),
        headed(b"[" * 9000 + b"]" * 900, 2),
        headed(b" " * 60000),
        headed(b"'" * 3),
        headed(b"print(1)"),
    ],
    ids=range(8),
)
def test_a_file_that_is_no_array(run, negate, content):
    Path("x.npy").write_bytes(content)
    status, _, err = run(negate, "-i", "x=x.npy")
    assert status == 1
    assert err.startswith("spike-run: error: x.npy: ") and err.count("\n") == 1


def test_several_arrays_in_a_file(run, negate):
    np.savez("x.npz", X, X)
    status, _, err = run(negate, "-i", "x=x.npz")
    assert status == 1 and "x.npz: the magic string is not correct" in err


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["-i", "x"], "--input takes NAME=PATH, got 'x'"),
        (["-i", "z=x.npy"], "'z' is not an input: x are"),
        (["-i", "x=x.npy", "-i", "x=y.npy"], "each name once, got 'x' twice"),
        (["-i", "x=no.npy"], "No such file or directory: 'no.npy'"),
        (["-i", "x=x.npy", "--core-id=7"], "NRT_INVALID(2): Failed to load model"),
        ([], "Missing input(s) {'x'}"),
        (["--num-cores=3"], "--num-cores=3 conflicts with NEURON_RT_VISIBLE_CORES=0-1"),
        (["--processes=3"], "--processes=3 conflicts with NEURON_RT_VISIBLE_CORES=0-1"),
        (["--processes=2", "--num-cores=2"], "each give ranks: take one"),
        (["--num-cores=2"], "Core 0 failed: Missing input(s) {'x'}"),
        (["-i", "x=x.npy", "--benchmark", "--iterations=0"], "must be at least 1"),
    ],
)
def test_mistakes_are_one_line(run, negate, args, text):
    status, out, err = run(negate, *args)
    assert (status, out) == (1, "")
    assert err.startswith("spike-run: error: ") and err.count("\n") == 1
    assert text in err


@pytest.mark.parametrize("count", ["0", "-2", "two"])
def test_numbers_of_cores_that_are_none(run, negate, capsys, count):
    with pytest.raises(SystemExit, match="2"):
        run(negate, "-i", "x=x.npy", f"--num-cores={count}")
    assert "argument --num-cores: " in capsys.readouterr().err
    assert not Path("y.npy").exists()


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


def test_doctor_without_a_libnrt(run, monkeypatch):
    from spike._spike import load_library

    load_library()
    monkeypatch.setenv("SPIKE_LIBNRT", "/no/libnrt.so.1")
    status, out, err = run("--doctor")
    assert (status, out) == (1, "")
    assert "Failed to load libnrt: /no/libnrt.so.1" in err and err.count("\n") == 1
    assert err.endswith("; SPIKE_LIBNRT names the one to load\n")


def call_command(*command: str) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    return done.returncode, done.stdout, done.stderr


def test_commands(run, negate):
    status, out, err = call_command(sys.executable, "-m", "spike")
    assert (status, err) == (0, "")
    assert out == run("--doctor")[1]
    spike_run = f"{sysconfig.get_path('scripts')}/spike-run"
    assert call_command(spike_run, negate, "-i", "x=x.npy") == (0, "Saved y.npy\n", "")
    np.testing.assert_array_equal(np.load("y.npy"), -X)
    status, out, err = call_command(spike_run, "no.neff")
    assert (status, out) == (1, "") and err.startswith("spike-run: error: ")


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


NAMES = ["/abs/x", "../x", "a/../../x", "a/x", ".", "..", "x" * 252]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_outputs_that_are_no_files_names(run, neff, tmp_path, name):
    path = str(neff(lambda b, x: b.negate(x), X, names=["x"], results=[name]))
    before = set(tmp_path.rglob("*.np*"))
    for more in ([], ["--num-cores=2"], ["--save-trace"]):
        status, out, err = run(path, "-i", "x=x.npy", "-o", "out/deep", *more)
        assert (status, out) == (1, "") and err.count("\n") == 1
        assert f"no file in --output-dir can have the name of output {name!r}" in err
    assert set(tmp_path.rglob("*.np*")) == before and not Path("out").exists()


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "\udc80"])
def test_names_that_libnrt_may_report(name):
    with pytest.raises(ValueError, match="no file in --output-dir can have the name"):
        cli.file_of(name)


def test_longest_names(run, neff):
    name = "x" * 251
    path = str(neff(lambda b, x: b.negate(x), X, names=["x"], results=[name]))
    assert run(path, "-i", "x=x.npy")[0] == 0
    np.testing.assert_array_equal(np.load(f"{name}.npy"), -X)


@pytest.mark.parametrize(
    ("args", "file"),
    [
        (["--save-trace", "--ntff-name=y.npy"], "y.npy"),
        (["--save-trace", "--ntff-name=z.npy"], "z.npy"),
        (["--save-trace", "--ntff-name=k.neff"], "k.neff"),
        (["--save-trace", "--ntff-name=t.ntff", "--num-cores=2"], "t.ntff"),
        (["--save-trace", "-o", "out", "--ntff-name=out/../out/y.npy"], "y.npy"),
    ],
)
def test_files_that_would_be_written_over(run, negate, args, file):
    Path("z.npy").symlink_to("y.npy")
    content = Path(negate).read_bytes()
    status, out, err = run(negate, "-i", "x=x.npy", *args)
    assert (status, out) == (1, "") and err.count("\n") == 1
    assert f"{file} would be written over what else is this file" in err
    assert Path(negate).read_bytes() == content
    assert not Path("y.npy").exists() and not Path("out").exists()


@pytest.mark.parametrize("size", [0, 140])  # nothing, and the header
def test_outputs_and_profiles_that_do_not_fit_on_the_disk(run, negate, size, tmp_path):
    Path("y.npy").write_bytes(b"old")
    Path("k.ntff").write_bytes(b"old")
    with files_of_at_most(size):
        status, out, err = run(negate, "-ix=x.npy")
        assert (status, out) == (1, "") and ": 'y.npy'" in err
        assert "File too large" in err
        traced = run(negate, "-ix=x.npy", "--save-trace", "--ntff-name=k.ntff")
        assert traced[0] == 1 and "Failed to stop profile: cannot write" in traced[2]
        assert f"'{tmp_path}/k.ntff': File too large; 'k.ntff'" in traced[2]
    assert {p.name: p.read_bytes()[:3] for p in tmp_path.iterdir() if p.is_file()} == {
        "k.neff": b"\x02\0\0",
        "x.npy": b"\x93NU",
        "y.npy": b"old",
        "k.ntff": b"old",
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_devices_without_room(run, negate):
    Path("y.npy").symlink_to("/dev/full")
    status, _, err = run(negate, "-ix=x.npy")
    assert status == 1 and "No space left on device: 'y.npy'" in err
    assert Path("y.npy").is_symlink() and Path("/dev/full").is_char_device()
    Path("y.npy").unlink()
    traced = run(negate, "-ix=x.npy", "--save-trace", "--ntff-name=/dev/full")
    assert traced[0] == 1 and "'/dev/full': No space left on device" in traced[2]


def test_a_link_stays_and_what_it_leads_to_is_replaced(run, negate):
    Path("kept.npy").write_bytes(b"old")
    Path("y.npy").symlink_to("kept.npy")
    assert run(negate, "-ix=x.npy")[0] == 0
    assert Path("y.npy").is_symlink()
    np.testing.assert_array_equal(np.load("kept.npy"), -X)


def test_a_working_directory_that_was_deleted(run, negate, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    inputs = f"-ix={tmp_path}/x.npy"
    status, _, err = run(negate, inputs)
    assert status == 1 and err.startswith("spike-run: error: [Errno 2] No such file")
    assert run(negate, inputs, f"-o{tmp_path}")[0] == 0
