"""Compiled artifacts on disk: made once, whole or absent, and nothing else touched."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nkipy.compiler import artifacts
from nkipy.compiler.artifacts import ArtifactError, cache_directory, get_or_make
from nkipy.compiler.driver import CompilationError
from nkipy.runtime import baremetal_jit
from nkipy.testing import run_python
from tests.support.users import OTHER, needs_root, run_as_other, shared_place


def write(text, name="made"):
    def make(scratch):
        path = scratch / name
        path.write_text(text)
        return path

    return make


def names(directory):
    return sorted(p.name for p in directory.iterdir())


# ------------------------------------------------------------------------- where


def test_the_variable_names_the_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("NKIPY_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_directory() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the convention of Linux")
def test_the_platform_names_the_directory(monkeypatch):
    monkeypatch.delenv("NKIPY_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/somewhere")
    assert cache_directory() == Path("/var/somewhere/nkipy")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/home/user")
    assert cache_directory() == Path("/home/user/.cache/nkipy")


# ------------------------------------------------------------------------- making


def test_made_once_and_then_found(tmp_path):
    target = tmp_path / "entry" / "file"
    assert get_or_make(target, write("one")) == target
    assert get_or_make(target, write("two")) == target
    assert target.read_text() == "one"
    assert names(target.parent) == [".file.sha256", ".lock", "file"]


def test_made_again_when_asked(tmp_path):
    target = tmp_path / "entry" / "file"
    get_or_make(target, write("one"))
    get_or_make(target, write("two"), again=True)
    assert target.read_text() == "two"


def test_what_the_user_has_in_the_directory_stays(tmp_path):
    entry = tmp_path / "entry"
    (entry / "sub").mkdir(parents=True)
    (entry / "notes.txt").write_text("mine")
    (entry / "sub" / "deep.txt").write_text("mine too")

    def make(scratch):
        (scratch / "sub").mkdir()
        (scratch / "sub" / "other.txt").write_text("made")
        (scratch / "log").write_text("log")
        return write("result")(scratch)

    get_or_make(entry / "file", make, keep_all=True, again=True)
    assert (entry / "notes.txt").read_text() == "mine"
    assert (entry / "sub" / "deep.txt").read_text() == "mine too"
    assert (entry / "sub" / "other.txt").read_text() == "made"
    assert names(entry) == [
        ".file.sha256",
        ".lock",
        "file",
        "log",
        "notes.txt",
        "sub",
    ]


def test_a_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "entry" / "file"
    get_or_make(target, write("one"))

    def fail(scratch):
        (scratch / "half").write_text("half")
        raise RuntimeError("compilation failed")

    with pytest.raises(RuntimeError, match="compilation failed"):
        get_or_make(target, fail, again=True)
    assert target.read_text() == "one"
    assert names(target.parent) == [".file.sha256", ".lock", "file"]
    get_or_make(target, write("two"), again=True)
    assert target.read_text() == "two"


def test_threads_that_need_the_same_make_it_once(tmp_path):
    made = []

    def make(scratch):
        made.append(scratch)
        time.sleep(0.05)
        return write("one")(scratch)

    target = tmp_path / "entry" / "file"
    threads = [
        threading.Thread(target=get_or_make, args=(target, make)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and target.read_text() == "one"


# ------------------------------------------------------------------------- processes

CHILD = """
import sys, time
from pathlib import Path
from nkipy.compiler.artifacts import get_or_make

def make(scratch):
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    (scratch / "half").write_text("half")
    print("making", flush=True)
    time.sleep(float(sys.argv[3]))
    (scratch / "made").write_text("whole")
    return scratch / "made"

print(get_or_make(Path(sys.argv[1]), make).read_text(), flush=True)
"""


def start(target, log, seconds):
    command = [sys.executable, "-c", CHILD, str(target), str(log), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_that_need_the_same_make_it_once(tmp_path):
    target, log = tmp_path / "entry" / "file", tmp_path / "log"
    children = [start(target, log, 0.5) for _ in range(2)]
    texts = [child.communicate(timeout=60)[0] for child in children]
    assert all(text.endswith("whole\n") for text in texts)
    assert log.read_text() == "made\n"


def test_a_killed_maker_leaves_nothing_that_matters(tmp_path):
    target, log = tmp_path / "entry" / "file", tmp_path / "log"
    child = start(target, log, 60)
    with child:
        assert child.stdout.readline() == "making\n"
        child.send_signal(signal.SIGKILL)
    assert not target.exists()
    get_or_make(target, write("whole"))
    assert target.read_text() == "whole"
    assert names(target.parent) == [".file.sha256", ".lock", "file"]


# ------------------------------------------------------------------------- damage


@pytest.mark.parametrize("damage", ["flip", "cut", "append", "empty"])
def test_a_damaged_file_is_made_again_with_a_warning(tmp_path, caplog, damage):
    target = tmp_path / "entry" / "file"
    content = bytes(range(256)) * 40_000  # 10 MB
    get_or_make(target, write(content.decode("latin-1")))
    whole = target.read_bytes()
    middle = len(whole) // 2
    target.write_bytes(
        {
            "flip": whole[:middle] + b"!" + whole[middle + 1 :],
            "cut": whole[:-1],
            "append": whole + b"!",
            "empty": b"",
        }[damage]
    )
    get_or_make(target, write("again"))
    assert target.read_text() == "again"
    assert [r.getMessage() for r in caplog.records] == [
        f"{target} is damaged; compiling it again"
    ]
    caplog.clear()
    get_or_make(target, full)
    assert not caplog.records


def test_a_file_without_a_digest_of_its_own_is_not_believed(tmp_path):
    target, other = tmp_path / "entry" / "file", tmp_path / "other" / "file"
    get_or_make(target, write("one"))
    get_or_make(other, write("two"))
    digest = target.with_name(".file.sha256")
    for change in (
        digest.unlink,
        lambda: digest.write_bytes(other.with_name(".file.sha256").read_bytes()),
        lambda: digest.write_text("no digest"),
        lambda: digest.write_bytes(b""),
    ):
        change()
        get_or_make(target, write("made again"))
        assert target.read_text() == "made again"


@pytest.mark.parametrize("move", [shutil.copy2, os.replace])
def test_another_entrys_file_and_digest_do_not_pass(tmp_path, caplog, move):
    target, other = tmp_path / "a" / "file", tmp_path / "b" / "file"
    get_or_make(target, write("one"), key="a")
    get_or_make(other, write("two"), key="b")
    for name in ("file", ".file.sha256"):
        move(other.with_name(name), target.with_name(name))
    assert target.read_text() == "two"
    get_or_make(target, write("one"), key="a")
    assert target.read_text() == "one"
    assert f"{target} is damaged" in caplog.text


@pytest.mark.device
@pytest.mark.parametrize("directory", [None, "made"])
def test_another_programs_neff_is_not_run(monkeypatch, tmp_path, directory):
    monkeypatch.setenv("NKIPY_CACHE_DIR", str(tmp_path / "cache"))
    made = None if directory is None else tmp_path / directory
    x = np.ones(3, np.float32)

    def twice(x):
        return x * 2

    baremetal_jit(twice, artifacts_dir=made)(x)
    (neff,) = tmp_path.rglob("*.neff")
    baremetal_jit(lambda x: x * 5, artifacts_dir=made)(x)
    (other,) = set(tmp_path.rglob("*.neff")) - {neff}
    shutil.copy(other, neff)
    shutil.copy(
        other.with_name(f".{other.name}.sha256"), neff.with_name(f".{neff.name}.sha256")
    )
    np.testing.assert_array_equal(baremetal_jit(twice, artifacts_dir=made)(x), x * 2)


def test_a_file_is_read_once_per_process(tmp_path, monkeypatch):
    target = tmp_path / "entry" / "file"
    get_or_make(target, write("one"))
    artifacts._VERIFIED.clear()
    read = []
    digest = artifacts._digest
    monkeypatch.setattr(artifacts, "_digest", lambda *a: read.append(1) or digest(*a))
    for _ in range(3):
        get_or_make(target, full)
    assert len(read) == 1
    os.utime(target, (1, 1))  # another file, for all that can be known
    get_or_make(target, full)
    assert len(read) == 2


# ------------------------------------------------------------------------- others


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_all_is_private_whatever_the_umask(tmp_path):
    def make(scratch):
        (scratch / "sub").mkdir()
        (scratch / "sub" / "deep").write_text("weights")
        (scratch / "log").write_text("log")
        return write("made")(scratch)

    root = tmp_path / "root"
    target = root / "a" / "b" / "file"
    umask = os.umask(0)
    try:
        get_or_make(target, make, root=root, keep_all=True)
    finally:
        os.umask(umask)
    for path in [root, *root.rglob("*")]:
        assert mode_of(path) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
@pytest.mark.parametrize("what", ["root", "between", "entry"])
def test_a_directory_that_others_can_write_is_refused(tmp_path, what, mode):
    root = tmp_path / "root"
    target = root / "between" / "entry" / "file"
    get_or_make(target, write("one"), root=root)
    wrong = {"root": root, "between": root / "between", "entry": target.parent}[what]
    wrong.chmod(mode)
    for again in (False, True):
        with pytest.raises(ArtifactError, match="chmod go-w") as caught:
            get_or_make(target, write("two"), root=root, again=again)
        assert caught.value.is_unsafe
        assert f"{wrong} belongs to user {os.getuid()}" in str(caught.value)
        assert f"{mode:04o}" in str(caught.value)
        assert "NKIPY_CACHE_DIR" in str(caught.value)
    wrong.chmod(0o755)  # which others can read, but who made it wants that
    assert get_or_make(target, full, root=root).read_text() == "one"


@pytest.mark.parametrize("name", ["file", ".file.sha256"])
def test_a_file_that_others_can_write_is_refused(tmp_path, name):
    target = tmp_path / "entry" / "file"
    get_or_make(target, write("one"))
    (tmp_path / "entry" / name).chmod(0o622)
    with pytest.raises(ArtifactError, match=f"{name} belongs to user.*0622"):
        get_or_make(target, write("two"))


@pytest.mark.parametrize("name", ["root", "root/a", "root/a/file", "root/a/.lock"])
def test_a_link_is_refused_and_not_followed(tmp_path, name):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    target = root / "a" / "file"
    get_or_make(target, write("one"), root=root)
    (tmp_path / name).rename(elsewhere)
    (tmp_path / name).symlink_to(elsewhere)
    again = name.endswith(".lock")
    with pytest.raises(ArtifactError, match=f"is a link, to {elsewhere}") as caught:
        get_or_make(target, write("two"), root=root, again=again)
    assert caught.value.is_unsafe


def test_the_parents_of_a_private_directory_may_be_links_and_shared(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    (tmp_path / "link").symlink_to("shared")
    target = tmp_path / "link" / "root" / "a" / "file"
    get_or_make(target, write("one"), root=tmp_path / "link" / "root")
    assert (tmp_path / "shared" / "root" / "a" / "file").read_text() == "one"


@needs_root
@pytest.mark.parametrize("name", ["root", "root/a", "root/a/file"])
def test_what_another_user_owns_is_refused(tmp_path, name):
    root = tmp_path / "root"
    target = root / "a" / "file"
    get_or_make(target, write("one"), root=root)
    os.chown(tmp_path / name, OTHER, OTHER)
    with pytest.raises(ArtifactError, match=f"belongs to user {OTHER}") as caught:
        get_or_make(target, write("two"), root=root)
    assert caught.value.is_unsafe and "runs as user 0" in str(caught.value)


@needs_root
def test_a_user_is_not_given_what_another_planted():
    with shared_place() as place:
        planted, mine = place / "planted", place / "mine"
        get_or_make(planted / "a" / "file", write("root's"), root=planted)
        for path in [planted, *planted.rglob("*")]:
            path.chmod(0o777)
        done = run_as_other(
            "from nkipy.compiler.artifacts import *",
            f"""
            def make(scratch):
                (scratch / "made").write_text("my own")
                return scratch / "made"

            for root in Path("{planted}"), Path("{mine}"):
                try:
                    print(get_or_make(root / "a" / "file", make, root=root).read_text())
                except ArtifactError as error:
                    print(error.is_unsafe, error)
            """,
        )
        assert done.returncode == 0, done.stderr
        refused, made = done.stdout.splitlines()
        assert refused.startswith("True ") and f"{planted} belongs to user 0" in refused
        assert made == "my own"
        assert (mine / "a" / "file").stat().st_uid == OTHER
        assert (planted / "a" / "file").read_text() == "root's"


# ------------------------------------------------------------------------- bad disks


def full(scratch):
    (scratch / "half").write_text("half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_named_and_does_no_damage(tmp_path):
    target = tmp_path / "entry" / "file"
    with pytest.raises(ArtifactError, match="No space left.*NKIPY_CACHE_DIR") as caught:
        get_or_make(target, full)
    assert caught.value.errno == errno.ENOSPC
    assert str(target.parent) in str(caught.value)
    assert names(target.parent) == [".lock"]
    get_or_make(target, write("one"))
    assert target.read_text() == "one"


def test_a_disk_that_fills_up_at_the_last_moment(tmp_path, monkeypatch):
    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "entry" / "file"
    monkeypatch.setattr(artifacts.os, "fsync", no_space)
    with pytest.raises(ArtifactError, match="free some space"):
        get_or_make(target, write("one"))
    assert not target.exists()


@pytest.fixture
def failing_compiler(tmp_path, monkeypatch):
    """The compiler's command: it finds no room in the cache, and so fails."""
    script = tmp_path / "compiler"
    script.write_text(
        f"""#!{sys.executable}
import sys
from nkipy_emulator.compiler import console_main

if any(x.startswith("--output={tmp_path}/cache/") for x in sys.argv):
    sys.exit("the file system is too small for me")
sys.exit(console_main())
"""
    )
    script.chmod(0o700)
    monkeypatch.setenv("NKIPY_COMPILER", str(script))
    monkeypatch.setenv("NKIPY_CACHE_DIR", str(tmp_path / "cache"))


def test_a_compiler_that_finds_the_disk_full_is_asked_elsewhere(
    failing_compiler, monkeypatch, caplog
):
    def no_space(descriptor, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artifacts.os, "posix_fallocate", no_space)
    x = np.ones(3, np.float32)
    np.testing.assert_array_equal(baremetal_jit(lambda a: a + a)(x), x + x)
    assert "No space left" in caplog.text


def test_a_compiler_that_fails_on_a_disk_with_room_is_believed(failing_compiler):
    with pytest.raises(CompilationError, match="too small for me"):
        baremetal_jit(lambda a: a * a)(np.ones(3, np.float32))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ArtifactError, match="make it writable"):
        get_or_make(tmp_path / "entry" / "file", write("one"))


def test_a_read_only_file_system_is_named(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ArtifactError, match="Read-only file system.*writable"):
        get_or_make(tmp_path / "entry" / "file", write("one"))


def test_an_entry_in_a_read_only_directory_is_found(tmp_path):
    target = tmp_path / "entry" / "file"
    get_or_make(target, write("one"))
    target.parent.chmod(0o500)
    try:
        assert get_or_make(target, full) == target
    finally:
        target.parent.chmod(0o700)


def test_a_file_in_place_of_the_directory_is_named(tmp_path):
    (tmp_path / "entry").write_text("a file")
    with pytest.raises(ArtifactError, match="remove the file"):
        get_or_make(tmp_path / "entry" / "file", write("one"))
    assert (tmp_path / "entry").read_text() == "a file"


def test_a_link_to_nothing_in_place_of_the_directory_is_named(tmp_path):
    link = tmp_path / "cache"
    link.symlink_to(tmp_path / "gone")
    message = f"{link} is a link to {tmp_path / 'gone'}, which does not exist; make "
    with pytest.raises(ArtifactError, match=message):
        get_or_make(link / "neff" / "entry" / "file", write("one"))
    (tmp_path / "gone").mkdir()
    get_or_make(link / "neff" / "entry" / "file", write("one"))


@pytest.mark.device
def test_who_named_the_directory_is_told_how_to_name_another(tmp_path):
    file = tmp_path / "file"
    file.touch()
    x = np.zeros(2, np.float32)
    kernel = baremetal_jit(artifacts_dir=file)(lambda x: x + 1)
    with pytest.raises(
        ArtifactError, match=f"{file} is no directory.*artifacts_dir"
    ) as e:
        kernel(x)
    assert "NKIPY_CACHE_DIR" not in str(e.value)


def test_a_directory_in_place_of_the_file_is_named(tmp_path):
    target = tmp_path / "entry" / "file"
    target.mkdir(parents=True)
    with pytest.raises(ArtifactError, match="remove the directory"):
        get_or_make(target, write("one"))
    assert target.is_dir()


@pytest.mark.parametrize("name", ["file", ".file.sha256"])
def test_a_pipe_in_place_of_a_file_is_named(tmp_path, name):
    target = tmp_path / "entry" / "file"
    get_or_make(target, write("one"))
    pipe = target.with_name(name)
    pipe.unlink()
    os.mkfifo(pipe, 0o600)
    for _ in range(2):
        with pytest.raises(ArtifactError, match=f"{name} is no regular.*remove what"):
            get_or_make(target, write("two"))
    assert pipe.is_fifo()


def test_a_pipe_is_not_replaced_either_when_made_again(tmp_path):
    target = tmp_path / "entry" / "file"
    target.parent.mkdir(mode=0o700)
    os.mkfifo(target)
    with pytest.raises(ArtifactError, match="file is no regular file"):
        get_or_make(target, write("one"), again=True)
    assert target.is_fifo()
    assert names(target.parent) == [".lock", "file"]


@pytest.mark.device
def test_a_kernel_runs_although_a_pipe_is_in_its_place(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("NKIPY_CACHE_DIR", str(tmp_path))
    x = np.ones(3, np.float32)
    baremetal_jit(lambda x: x * 3)(x)
    (neff,) = tmp_path.rglob("kernel.neff")
    neff.unlink()
    os.mkfifo(neff, 0o600)
    np.testing.assert_array_equal(baremetal_jit(lambda x: x * 3)(x), x * 3)
    assert "kernel.neff is no regular file" in caplog.text
    assert neff.is_fifo()


def test_a_directory_in_place_of_the_lock_is_named(tmp_path):
    (tmp_path / "k" / ".lock").mkdir(parents=True, mode=0o700)
    (tmp_path / "k").chmod(0o700)
    with pytest.raises(ArtifactError, match=r"k/\.lock; remove the directory"):
        get_or_make(tmp_path / "k" / "x.neff", write("new"))


def test_a_place_where_no_directory_can_be_is_named():
    with pytest.raises(ArtifactError, match="/proc/x.*make its parent"):
        get_or_make(Path("/proc/x/entry/file"), write("one"))


def test_a_limit_on_the_size_of_files_is_named(tmp_path):
    def too_large(scratch):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    with pytest.raises(ArtifactError, match="limit on the size"):
        get_or_make(tmp_path / "entry" / "file", too_large)


def test_a_limit_on_the_size_of_files_leaves_nothing_half_written(tmp_path):
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from nkipy.compiler.artifacts import *

def make(scratch):
    (scratch / "made").write_bytes(bytes(10_000))
    return scratch / "made"

try:
    get_or_make(Path(sys.argv[1]), make)
except ArtifactError as error:
    print(error)
"""
    target = tmp_path / "entry" / "file"
    done = run_python("-c", code, str(target))
    assert "File too large; raise the limit" in done.stdout, done.stderr
    assert names(target.parent) == [".lock"]


def test_a_place_in_a_working_directory_that_was_deleted(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("NKIPY_CACHE_DIR", "relative")
    with pytest.raises(ArtifactError, match="working directory was deleted.*CACHE_DIR"):
        cache_directory()


def test_an_error_that_is_not_about_the_directory_stays_what_it_is(tmp_path):
    def forbidden(scratch):
        raise PermissionError(errno.EACCES, "Permission denied", "/opt/compiler")

    with pytest.raises(PermissionError) as caught:
        get_or_make(tmp_path / "entry" / "file", forbidden)
    assert not isinstance(caught.value, ArtifactError)
