"""What ``--output`` and ``--logfile`` may name, and what happens to what is there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from neff import read_neff
from nkipy_emulator.compiler import compile_in_process, main
from tests.support.neffs import small_module
from tests.support.odd_files import device
from tests.support.users import OTHER, needs_root, run_as_other, shared_place

INPUT = "hlo_module.pb"
WORDS = ["compile", "--framework=XLA", "--target=trn2", INPUT]
COMMAND = [sys.executable, "-m", "nkipy_emulator.compiler"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / INPUT).write_bytes(small_module().serialize())
    return tmp_path


def arguments(output: str | Path, *more: str) -> list[str]:
    return [*WORDS, f"--output={output}", *more]


def compile_to(work: Path, output: str | Path, *more: str) -> str:
    """What the command said; it must have worked."""
    done = compile_in_process(arguments(output, *more), work)
    assert done.returncode == 0, done.stderr
    return done.stderr.decode()


def refusal(work: Path, output: str | Path, *more: str) -> str:
    """What the command said; it must have refused, and changed no file."""
    before = contents(work)
    done = compile_in_process(arguments(output, *more), work)
    assert done.returncode == 1
    assert contents(work) == before
    return done.stderr.decode()


def contents(work: Path) -> dict[str, bytes]:
    """Of all files but the log."""
    files = [p for p in work.iterdir() if p.is_file() and not p.name.startswith("log-")]
    return {p.name: p.read_bytes() for p in files}


def neff_of(content: bytes) -> bytes:
    return bytes(read_neff(content, validate_hash=True).hlo)


# ------------------------------------------------------------------------- devices


def test_a_device_stays_one(work: Path) -> None:
    null = device(work, "null")
    before = os.stat(null)
    compile_to(work, null)
    assert stat.S_ISCHR(os.lstat(null).st_mode)
    assert os.stat(null).st_ino == before.st_ino


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_gets_the_neff(work: Path, place: str) -> None:
    done = subprocess.run([*COMMAND, *arguments(place)], cwd=work, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert neff_of(done.stdout) == (work / INPUT).read_bytes()
    with open(work / "redirected", "wb") as file:
        subprocess.run([*COMMAND, *arguments(place)], cwd=work, stdout=file, check=True)
    assert neff_of((work / "redirected").read_bytes()) == (work / INPUT).read_bytes()


def test_a_pipe_gets_the_neff(work: Path) -> None:
    os.mkfifo(work / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((work / "pipe").read_bytes()))
    reader.start()
    compile_to(work, "pipe")
    reader.join()
    assert neff_of(got[0]) == (work / INPUT).read_bytes()
    assert (work / "pipe").is_fifo()


def test_nobody_is_waited_for_at_a_pipe(work: Path) -> None:
    module = (work / INPUT).read_bytes()
    os.mkfifo(work / "log")
    assert "no log file" in compile_to(work, "k.neff", "--logfile=log")
    (work / INPUT).unlink()
    os.mkfifo(work / INPUT)
    assert compile_in_process(arguments("k.neff"), work).returncode != 0
    # Who writes is: the pipe ends when he has ended.
    (work / INPUT).unlink()
    (work / INPUT).symlink_to("/dev/stdin")
    subprocess.run([*COMMAND, *arguments("k.neff")], cwd=work, input=module, check=True)
    assert neff_of((work / "k.neff").read_bytes()) == module


def test_a_full_device_is_an_error(work: Path) -> None:
    full = device(work, "full")
    assert "No space left on device" in refusal(work, full)
    assert stat.S_ISCHR(os.stat(full).st_mode)


# ------------------------------------------------------------------------- links


def test_a_link_stays_and_the_file_that_it_leads_to_is_written(work: Path) -> None:
    (work / "elsewhere").mkdir()
    (work / "elsewhere" / "k.neff").write_bytes(b"old")
    (work / "k.neff").symlink_to("elsewhere/k.neff")
    (work / "new.neff").symlink_to("elsewhere/new.neff")
    for name in ("k.neff", "new.neff"):
        compile_to(work, name)
        assert (work / name).is_symlink()
        assert neff_of((work / "elsewhere" / name).read_bytes())
    assert sorted(os.listdir(work / "elsewhere")) == ["k.neff", "new.neff"]


def test_a_link_to_a_device_stays(work: Path) -> None:
    null = device(work, "null")
    (work / "k.neff").symlink_to(null)
    compile_to(work, "k.neff")
    assert os.readlink(work / "k.neff") == str(null)
    assert stat.S_ISCHR(os.stat(null).st_mode)


def test_a_link_in_a_circle_is_an_error(work: Path) -> None:
    (work / "k.neff").symlink_to("k.neff")
    assert "symbolic links" in refusal(work, "k.neff")
    assert (work / "k.neff").is_symlink()


@pytest.mark.parametrize("name", [".", "sub", "link"])
def test_a_directory_is_refused(work: Path, name: str) -> None:
    (work / "sub").mkdir()
    (work / "sub" / "mine").write_text("mine")
    (work / "link").symlink_to("sub")
    assert "Is a directory" in refusal(work, name)
    assert (work / "sub" / "mine").read_text() == "mine"
    assert os.listdir(work / "sub") == ["mine"]


# ------------------------------------------------------------------------- input


def names_of_the_input(work: Path) -> list[str]:
    os.link(work / INPUT, work / "hard.neff")
    (work / "soft.neff").symlink_to(INPUT)
    (work / "sub").mkdir()
    return [
        INPUT,
        f"./{INPUT}",
        f"sub/../{INPUT}",
        str(work / INPUT),
        "hard.neff",
        "soft.neff",
    ]


def test_the_input_is_not_replaced(work: Path) -> None:
    for name in names_of_the_input(work):
        assert "the HLO file" in refusal(work, name)


def test_the_log_replaces_neither_input_nor_output(work: Path) -> None:
    (work / "k.neff").write_bytes(b"old")
    for name in [*names_of_the_input(work), "k.neff", "./k.neff"]:
        assert "--logfile names another" in refusal(work, "k.neff", f"--logfile={name}")
    assert "--logfile" in refusal(work, "new.neff", "--logfile=./new.neff")
    assert not (work / "new.neff").exists()


def test_one_device_may_be_output_and_log(work: Path) -> None:
    null = device(work, "null")
    compile_to(work, null, f"--logfile={null}")
    assert stat.S_ISCHR(os.stat(null).st_mode)


# ------------------------------------------------------------------------- rights


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(work: Path, mode: int) -> None:
    (work / "k.neff").write_bytes(b"old")
    (work / "k.neff").chmod(mode)
    before = (work / "k.neff").stat().st_ino
    compile_to(work, "k.neff")
    after = (work / "k.neff").stat()
    assert stat.S_IMODE(after.st_mode) == mode
    assert after.st_ino != before  # replaced, not written into


@needs_root
def test_a_file_that_is_replaced_keeps_its_owner(work: Path) -> None:
    (work / "k.neff").write_bytes(b"old")
    os.chown(work / "k.neff", OTHER, OTHER)
    compile_to(work, "k.neff")
    after = (work / "k.neff").stat()
    assert (after.st_uid, after.st_gid) == (OTHER, OTHER)
    assert neff_of((work / "k.neff").read_bytes())


WRITE = "from pathlib import Path\nfrom neff.output_file import *"


@needs_root
def test_a_user_replaces_what_is_writable_and_nothing_that_is_not() -> None:
    with shared_place(0o777) as place:
        for name, mode in (("open", 0o666), ("closed", 0o644)):
            (place / name).write_bytes(b"root's")
            (place / name).chmod(mode)
        for name in ("open", "closed"):
            path = place / name
            done = run_as_other(WRITE, f"write_atomically(Path('{path}'), b'new')")
            assert (done.returncode == 0) == (name == "open"), done.stderr
        assert (place / "open").read_bytes() == b"new"
        assert stat.S_IMODE((place / "open").stat().st_mode) == 0o666
        assert (place / "closed").read_bytes() == b"root's"
        assert sorted(os.listdir(place)) == ["closed", "open"]


# ------------------------------------------------------------------------- limits


def test_a_limit_on_the_size_of_files_leaves_what_was_there(work: Path) -> None:
    (work / "k.neff").write_bytes(b"old")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))"
    run = "from nkipy_emulator.compiler import console_main as m; sys.exit(m())"
    command = [sys.executable, "-c", f"import sys; {limited}; {run}"]
    done = subprocess.run(
        [*command, *arguments("k.neff")], cwd=work, capture_output=True, text=True
    )
    assert done.returncode == 1 and "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert (work / "k.neff").read_bytes() == b"old"
    assert sorted(os.listdir(work)) == [INPUT, "k.neff", "log-neuron-cc.txt"]


def test_names_as_long_as_a_file_system_takes(work: Path) -> None:
    compile_to(work, "k" * 255)
    assert neff_of((work / ("k" * 255)).read_bytes())
    assert "name too long" in refusal(work, "k" * 256)


# ---------------------------------------------------------------- where it is run


def test_a_working_directory_that_was_deleted(work: Path, monkeypatch, capsys) -> None:
    gone = work / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(arguments("k.neff")) == 1
    assert "the working directory was deleted" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero")
def test_a_device_that_never_ends_is_no_file_with_hlo(work: Path) -> None:
    done = compile_in_process(
        ["compile", "/dev/zero", "--framework=XLA", "--target=trn2"], work
    )
    assert done.returncode == 1 and b"/dev/zero is a device" in done.stderr
