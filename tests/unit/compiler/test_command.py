"""The command: exit codes, streams, log, and one result by every way to call it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from neff import read_neff
from nkipy.hlo.opcodes import OPCODES
from nkipy.hlo.options import SimulationOptions
from nkipy_emulator.compiler import EmulatorCompiler, compile_in_process, main
from tests.support.neffs import small_module

ARGUMENTS = (
    "compile --framework XLA hlo_module.pb --pipeline compile SaveTemps --target trn2 "
    "--output=k.neff --lnc 1 --internal-tensorizer-opt-level=2 --auto-cast matmult"
).split()
MODULE = [sys.executable, "-m", "nkipy_emulator.compiler"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "hlo_module.pb").write_bytes(small_module().serialize())
    return tmp_path


def _script() -> list[str]:
    beside = shutil.which("nkipy-neuronx-cc", path=os.path.dirname(sys.executable))
    return [beside or shutil.which("nkipy-neuronx-cc") or pytest.skip("no script")]


@pytest.mark.parametrize("way", ["script", "module"])
def test_processes_and_in_process_make_the_same_neff(way: str, work: Path) -> None:
    done = compile_in_process(ARGUMENTS, work)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    here = (work / "k.neff").read_bytes()
    (work / "k.neff").unlink()
    command = _script() if way == "script" else MODULE
    other = subprocess.run([*command, *ARGUMENTS], cwd=work, capture_output=True)
    assert (other.returncode, other.stdout, other.stderr) == (0, b"", b"")
    assert (work / "k.neff").read_bytes() == here
    assert sorted(os.listdir(work)) == ["hlo_module.pb", "k.neff", "log-neuron-cc.txt"]


def test_what_the_neff_says(work: Path) -> None:
    assert compile_in_process(ARGUMENTS, work).returncode == 0
    neff = read_neff(work / "k.neff", validate_hash=True)
    assert (neff.header.name, neff.target, neff.lnc) == ("k.neff", "trn2", 1)
    assert neff.compiler == f"nkipy-emulator {EmulatorCompiler().version}"
    assert bytes(neff.hlo) == (work / "hlo_module.pb").read_bytes()
    assert [t.name for t in neff.outputs] == ["output0", "a"]


@pytest.mark.parametrize(
    ("options", "numerics"),
    [
        ("", ("none", "bf16", False)),
        ("--auto-cast=all --auto-cast-type=tf32", ("all", "tf32", False)),
        (
            "--auto-cast matmult --auto-cast-type fp8_e4m3",
            ("matmult", "fp8_e4m3", False),
        ),
        ("-O1", ("none", "bf16", True)),
        ("-O3", ("none", "bf16", False)),
    ],
)
def test_numerics(options: str, numerics: tuple, work: Path) -> None:
    base = "compile --framework XLA hlo_module.pb --target trn1".split()
    assert compile_in_process([*base, *options.split()], work).returncode == 0
    found = SimulationOptions(**read_neff(work / "file.neff").numerics)
    assert (found.auto_cast, found.auto_cast_type, found.fast_compile) == numerics


def test_fast_loading_neffs_are_not_compressed(work: Path) -> None:
    flag = "--enable-fast-loading-neuron-binaries"
    assert compile_in_process([*ARGUMENTS, flag], work).returncode == 0
    assert (work / "k.neff").read_bytes()[1024:1036] == b"neff.json\0\0\0"
    read_neff(work / "k.neff", validate_hash=True)


def test_lnc_against_the_target(work: Path) -> None:
    done = compile_in_process([*ARGUMENTS, "--target=trn1", "--lnc=2"], work)
    assert done.returncode == 70
    assert done.stderr.startswith(b"[ERROR] [NCC_EARG001] --lnc 2 is not supported")
    done = compile_in_process([*ARGUMENTS, "--lnc=2"], work)
    assert done.returncode == 0 and read_neff(work / "k.neff").lnc == 2


def test_log(work: Path) -> None:
    compile_in_process(ARGUMENTS, work)
    log = (work / "log-neuron-cc.txt").read_text()
    assert " INFO " in log and "--auto-cast matmult" in log
    assert "--internal-tensorizer-opt-level=2 has no effect" in log
    compile_in_process([*ARGUMENTS, "--logfile", "other.txt", "--lnc", "9"], work)
    assert "ERROR" in (work / "other.txt").read_text()
    assert (work / "log-neuron-cc.txt").read_text() == log


def test_verbosity(work: Path) -> None:
    def stderr(*options: str) -> bytes:
        return compile_in_process([*ARGUMENTS, *options], work).stderr

    assert stderr() == b""
    assert b"[INFO] wrote k.neff" in stderr("--verbose", "info")
    assert stderr("--verbose=35") == b""


def test_a_directory_that_cannot_be_written(work: Path) -> None:
    done = compile_in_process([*ARGUMENTS, "--output", "no/such/k.neff"], work)
    assert done.returncode == 1
    assert b"the NEFF cannot be written: " in done.stderr
    done = compile_in_process([*ARGUMENTS, "--logfile", "no/such/log"], work)
    assert done.returncode == 0 and b"[WARNING] no log file: " in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_does_not_end_the_log(work: Path) -> None:
    done = compile_in_process([*ARGUMENTS, "--logfile", "/dev/full"], work)
    assert done.returncode == 0
    assert done.stderr.count(b"the log file cannot be written") == 1


def test_a_missing_file(tmp_path: Path) -> None:
    done = compile_in_process(ARGUMENTS, tmp_path)
    assert done.returncode == 1
    assert b"the HLO file cannot be read: " in done.stderr


def test_pipeline_tensorize_is_the_vendors(work: Path) -> None:
    done = compile_in_process([*ARGUMENTS, "--pipeline", "tensorize"], work)
    assert done.returncode == 1 and b"only the vendor's neuronx-cc" in done.stderr


def test_version_says_what_it_is() -> None:
    done = subprocess.run([*MODULE, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    first, *rest = done.stdout.splitlines()
    assert first.startswith(f"NeuronX Compiler version {EmulatorCompiler().version}")
    assert "nkipy-emulator" in first and "stand-in" in first
    assert any(line.startswith("Python version 3.") for line in rest)
    assert any(line.startswith("NumPy version ") for line in rest)


def test_list_operators() -> None:
    done = compile_in_process(["list-operators", "--framework", "XLA"], ".")
    names = done.stdout.decode().split()
    assert done.returncode == 0 and names == sorted(names)
    assert set(OPCODES) - set(names) == {"collective-broadcast", "triangular-solve"}


def test_help() -> None:
    for argv in (["--help"], ["compile", "--help"], ["-h"]):
        done = compile_in_process(argv, ".")
        assert done.returncode == 0 and b"--auto-cast-type" in done.stdout


@pytest.mark.parametrize("argv", [[], ["run"], ["compile", "--bad"]])
def test_usage_errors(argv: list[str], tmp_path: Path) -> None:
    done = compile_in_process(argv, tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(b"[ERROR] ")
    assert done.stdout == b""


def test_the_process_is_left_alone(work: Path, capsys: pytest.CaptureFixture) -> None:
    before = os.getcwd(), list(sys.argv), dict(os.environ)
    compile_in_process([*ARGUMENTS, "--lnc", "9"], work)
    assert (os.getcwd(), sys.argv, dict(os.environ)) == before
    assert capsys.readouterr() == ("", "")


def test_main_writes_to_the_process_streams(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("NeuronX Compiler version")
    assert main(["nonsense"]) == 1
    assert "[ERROR]" in capsys.readouterr().err


def test_compiling_does_not_load_xla(work: Path) -> None:
    code = (
        "import sys; from nkipy_emulator.compiler import main; "
        f"assert main({ARGUMENTS!r}) == 0; "
        "assert not {'jaxlib', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=work, check=True)


def test_the_entry_point() -> None:
    (found,) = entry_points(group="nkipy.compilers", name="emulator")
    assert found.load() is EmulatorCompiler
    compiler = EmulatorCompiler()
    assert compiler.name == "nkipy-emulator" and compiler.version
    done = subprocess.run([*compiler.command, "--version"], capture_output=True)
    assert done.returncode == 0
