"""From a kernel to a NEFF through whichever compiler is chosen."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neff import read_neff
from nkipy.compiler.discovery import VARIABLE, default_target, find_compiler
from nkipy.core import compile as nkc
from nkipy.core import tensor_apis
from nkipy.hlo.ir import HLOModule
from nkipy_emulator.compiler import EmulatorCompiler
from tests.support.odd_files import device, files_of_at_most

EMULATOR_COMMAND = shlex.join([sys.executable, "-m", "nkipy_emulator.compiler"])


@pytest.fixture(autouse=True)
def no_vendor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No choice by variable, and no vendor's compiler on the PATH but by a test."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn2")
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return directory


def _kernel() -> Any:
    kernel = nkc.trace(lambda a, b: a @ b + 1)
    kernel.specialize(np.zeros((2, 3), np.float32), np.zeros((3, 4), np.float32))
    return kernel


def _refused_kernel() -> Any:
    """The device takes the greatest of floats only."""
    kernel = nkc.trace(lambda a: tensor_apis.topk(a, 2))
    kernel.specialize(np.arange(4, dtype=np.int32))
    return kernel


def _install(directory: Path, name: str, body: str) -> Path:
    """A compiler command of our own making."""
    script = directory / name
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


# ------------------------------------------------------------------ choosing


def test_the_emulators_compiler_runs_in_process_by_default() -> None:
    found = find_compiler()
    assert found.in_process is not None and not found.is_vendor
    assert nkc.compiler_identity() == f"nkipy-emulator {EmulatorCompiler().version}"


def test_the_vendors_compiler_is_preferred(no_vendor: Path) -> None:
    script = _install(no_vendor, "neuronx-cc", "exit 0")
    found = find_compiler()
    assert found.is_vendor and found.in_process is None
    assert found.command == (str(script),)
    assert nkc.compiler_identity().startswith("neuronx-cc ")


def test_the_emulator_can_be_chosen_all_the_same(
    no_vendor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(no_vendor, "neuronx-cc", "exit 0")
    monkeypatch.setenv(VARIABLE, "emulator")
    assert find_compiler().in_process is not None


def test_a_command_line_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, EMULATOR_COMMAND)
    found = find_compiler()
    assert found.in_process is None
    assert found.command == (sys.executable, "-m", "nkipy_emulator.compiler")


@pytest.mark.parametrize("choice", ["neuronx-cc", "no-such-command -x", "''"])
def test_what_was_chosen_has_to_be_there(
    choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, choice)
    with pytest.raises(nkc.CompilerNotFoundError, match="PATH; NKIPY_COMPILER names"):
        nkc.compiler_identity()
    assert default_target() is None


def test_no_compiler_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("nkipy.hlo.entry_points.offers", lambda group: ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(nkc.CompilerNotFoundError) as caught:
        nkc.compile_to_neff(_kernel(), tmp_path)
    assert "AWS Neuron SDK" in str(caught.value)
    assert "install the wheel of nkipy-emulator" in str(caught.value)


def test_the_identity_changes_with_the_command(no_vendor: Path) -> None:
    _install(no_vendor, "neuronx-cc", "exit 0")
    first = nkc.compiler_identity()
    assert nkc.compiler_identity() == first
    find_compiler.__globals__["_find"].cache_clear()  # as in another process
    _install(no_vendor, "neuronx-cc", "exit 0 # another release")
    assert nkc.compiler_identity() != first


# ------------------------------------------------------------------ compiling


@pytest.mark.parametrize("target", list(nkc.CompilationTarget))
def test_compile_to_neff(target: nkc.CompilationTarget, tmp_path: Path) -> None:
    path = nkc.compile_to_neff(_kernel(), tmp_path / "out", target=target)
    assert path == str(tmp_path / "out" / "file.neff")
    assert os.listdir(tmp_path / "out") == ["file.neff"]
    neff = read_neff(path, validate_hash=True)
    assert neff.target == nkc.resolve_target(target).value
    assert neff.lnc == 1
    assert [t.name for t in neff.inputs] == ["a", "b"]
    assert HLOModule.from_proto(neff.hlo).to_text() == _kernel()._code.to_text()


def test_both_ways_make_the_same_neff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = _kernel()
    trn2 = nkc.CompilationTarget.TRN2
    here = nkc.compile_to_neff(kernel, tmp_path / "a", "k.neff", trn2)
    monkeypatch.setenv(VARIABLE, EMULATOR_COMMAND)
    there = nkc.compile_to_neff(kernel, tmp_path / "b", "k.neff", trn2)
    assert Path(here).read_bytes() == Path(there).read_bytes()


def test_artifacts_stay_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    path = nkc.compile_to_neff(_kernel(), tmp_path, "k.neff", save_artifacts=True)
    assert {"k.neff", "hlo_module.pb", "log-neuron-cc.txt", "mine.txt"} <= set(
        os.listdir(tmp_path)
    )
    config = nkc.CompilationConfig(additional_args="--lnc 1")
    done = nkc.Compiler(config).compile_in_directory(_kernel()._code, tmp_path / "w")
    assert done.neff_path == tmp_path / "w" / "file.neff"
    done.save_artifacts(tmp_path / "copy")
    assert (tmp_path / "copy" / "file.neff").read_bytes() != b""
    assert Path(path).exists()


def test_additional_arguments_come_last(tmp_path: Path) -> None:
    path = nkc.compile_to_neff(
        _kernel(), tmp_path, additional_compiler_args="--lnc 2 --auto-cast 'all'"
    )
    neff = read_neff(path)
    assert neff.lnc == 2 and neff.numerics["auto_cast"] == "all"


def test_a_kernel_has_to_be_traced_first(tmp_path: Path) -> None:
    kernel = nkc.trace(lambda a: a)
    for action in (nkc.compile_to_neff, nkc.lower_to_nki):
        with pytest.raises(ValueError, match="must be traced before compilation"):
            action(kernel, tmp_path)


def test_other_programs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Unknown IR type: str"):
        nkc.Compiler().compile("module", tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["in process", "command"])
def test_a_refused_program(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "command":
        monkeypatch.setenv(VARIABLE, EMULATOR_COMMAND)
    with pytest.raises(nkc.CompilationError) as caught:
        nkc.compile_to_neff(_refused_kernel(), tmp_path)
    error = caught.value
    assert error.returncode == 70
    assert error.stderr.startswith("[ERROR] [NCC_EVRF013] ")
    text = str(error)
    assert "Compilation failed (exit code 70)." in text
    assert f"Command: {EMULATOR_COMMAND} compile --framework XLA" in text
    assert "stderr:\n[ERROR]" in text and "stdout:" not in text
    assert os.listdir(tmp_path) == ["bin"]


def test_a_command_that_fails(no_vendor: Path, tmp_path: Path) -> None:
    _install(no_vendor, "neuronx-cc", "echo out; echo wrong >&2; exit 1")
    with pytest.raises(RuntimeError) as caught:
        nkc.compile_to_neff(_kernel(), tmp_path / "o")
    text = str(caught.value)
    assert "exit code 1" in text and "neuronx-cc" in text
    assert "stderr:\nwrong" in text and "stdout:\nout" in text


def test_a_command_that_writes_nothing(no_vendor: Path, tmp_path: Path) -> None:
    _install(no_vendor, "neuronx-cc", "exit 0")
    (tmp_path / "file.neff").write_text("of an earlier compilation")
    with pytest.raises(RuntimeError, match="expected but not generated"):
        nkc.Compiler().compile(_kernel()._code, tmp_path)
    assert (tmp_path / "file.neff").read_text() == "of an earlier compilation"


def test_an_earlier_result_is_replaced(tmp_path: Path) -> None:
    for lnc in (1, 2, 2):
        config = nkc.CompilationConfig(additional_args=f"--lnc {lnc}")
        path = nkc.Compiler(config).compile(_kernel()._code, tmp_path)
        assert read_neff(path).lnc == lnc


def test_the_command_line_of_the_vendors(no_vendor: Path, tmp_path: Path) -> None:
    _install(no_vendor, "neuronx-cc", 'pwd > cwd; printf "%s\\n" "$@" > argv; exit 3')
    with pytest.raises(nkc.CompilationError):
        nkc.compile_to_neff(
            _kernel(),
            tmp_path,
            "k.neff",
            nkc.CompilationTarget.TRN1,
            "--verbose 'a b'",
            save_artifacts=True,
        )
    directory = tmp_path.resolve()
    assert (tmp_path / "cwd").read_text().strip() == str(directory)
    assert (tmp_path / "argv").read_text().splitlines() == [
        *("compile", "--framework", "XLA", f"{directory}/hlo_module.pb"),
        *("--pipeline", "compile", "SaveTemps", "--target", "trn1"),
        *(f"--output={directory}/k.neff", "--lnc", "1"),
        *("--internal-tensorizer-opt-level=2", "--verbose", "a b"),
    ]


def test_the_result_is_the_path_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w").mkdir()
    made = nkc.Compiler().compile(_kernel()._code, Path("w"), "file.neff")
    assert made == Path("w") / "file.neff" and made.exists()
    assert Path.cwd() == tmp_path


def test_threads_compile_side_by_side(tmp_path: Path) -> None:
    kernel, failures = _kernel(), []

    def work(i: int) -> None:
        try:
            nkc.compile_to_neff(kernel, tmp_path / str(i % 2), f"{i}.neff")
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    made = [tmp_path / str(i % 2) / f"{i}.neff" for i in range(8)]
    assert all(read_neff(p).is_emulated for p in made)


def test_a_link_in_the_place_of_the_neff_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "k.neff").symlink_to("elsewhere/k.neff")
    nkc.compile_to_neff(_kernel(), tmp_path, "k.neff")
    assert os.readlink(tmp_path / "k.neff") == "elsewhere/k.neff"
    assert read_neff(tmp_path / "elsewhere" / "k.neff").is_emulated
    assert os.listdir(tmp_path / "elsewhere") == ["k.neff"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "hlo_module.pb").write_bytes(b"old")
    with files_of_at_most(100):
        with pytest.raises(OSError, match="too large: '.*/hlo_module.pb'"):
            nkc.compile_to_neff(_kernel(), tmp_path, "k.neff", save_artifacts=True)
    assert (tmp_path / "hlo_module.pb").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["bin", "hlo_module.pb"]


def test_copies_of_artifacts_are_whole_or_missing(tmp_path: Path) -> None:
    done = nkc.Compiler().compile_in_directory(_kernel()._code, tmp_path / "w")
    done.neff_path.chmod(0o640)
    copies = tmp_path / "copies"
    copies.mkdir()
    (copies / "file.neff").write_bytes(b"old")
    with files_of_at_most(100), pytest.raises(OSError, match=f"{copies}/file.neff"):
        done.save_artifacts(copies)
    assert (copies / "file.neff").read_bytes() == b"old"
    assert set(os.listdir(copies)) <= {"file.neff", "log-neuron-cc.txt"}
    done.save_artifacts(copies)
    assert (copies / "file.neff").read_bytes() == done.neff_path.read_bytes()
    assert stat.S_IMODE((copies / "file.neff").stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["hlo_module.pb", "k.neff"])
def test_a_device_stays_one(tmp_path: Path, name: str) -> None:
    full = device(tmp_path, "full")
    (tmp_path / name).symlink_to(full)
    with pytest.raises(OSError, match=f"No space left on device: '.*/{name}'"):
        nkc.compile_to_neff(
            _kernel(), tmp_path, "k.neff", save_artifacts=name[0] == "h"
        )
    assert full.is_char_device() and (tmp_path / name).is_symlink()


# ------------------------------------------------------------------ NKI source


def test_lower_to_nki_needs_the_vendors_compiler(tmp_path: Path) -> None:
    with pytest.raises(nkc.CompilerNotFoundError, match="vendor's compiler"):
        nkc.lower_to_nki(_kernel(), tmp_path)


def test_lower_to_nki_with_a_stand_in(no_vendor: Path, tmp_path: Path) -> None:
    body = 'echo "$@" > argv; echo "def kernel(): pass" > nki.py'
    _install(no_vendor, "neuronx-cc", body)
    source = nkc.lower_to_nki(_kernel(), tmp_path / "o", save_artifacts=True)
    assert source == "def kernel(): pass\n"
    assert (tmp_path / "o" / "nki.py").read_text() == source
    argv = (tmp_path / "o" / "argv").read_text()
    assert "--pipeline tensorize SaveTemps" in argv
    assert "--tensorizer-options=--print-nki" in argv


def test_a_command_that_no_shell_could_read_is_told_with_its_variable(monkeypatch):
    monkeypatch.setenv("NKIPY_COMPILER", "'neuronx-cc")
    with pytest.raises(ValueError, match="^NKIPY_COMPILER is .*No closing quotation"):
        find_compiler()
