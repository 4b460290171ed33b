"""Compiled code on disk: what is kept, what is not believed, and what may go wrong."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from nkipy.private_files import UnsafePathError
from nkipy.testing import run_python
from nkipy_emulator import code_cache, register_custom_call, unregister_custom_call
from nkipy_emulator.code_cache import CodeCache, LateCodeCache, user_cache
from nkipy_emulator.engine import XlaCpuEngine
from tests.support.users import OTHER, needs_root, run_as_other, shared_place

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(code_cache, "_PRUNING_SECONDS", 0.0)
    return CodeCache(tmp_path / "a" / "b")


def test_entries_come_back(cache):
    assert cache.get("k") is None
    for code in (b"", b"code", b"x" * 100_000):
        cache.put("k", code)
        assert cache.get("k") == code
    assert os.listdir(cache.directory) == ["k"]
    assert cache.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["cut", "flip", "append", "empty", "magic"])
def test_damaged_entries_are_none(cache, damage):
    cache.put("k", b"the code of a program")
    path = cache.directory / "k"
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-1],
            "flip": data[:-1] + b"?",
            "append": data + b"?",
            "empty": b"",
            "magic": b"other-code-1\n" + data[13:],
        }[damage]
    )
    assert cache.get("k") is None
    cache.put("k", b"new")
    assert cache.get("k") == b"new"


def test_an_entry_under_the_name_of_another_is_none(cache):
    cache.put("k", b"the code of a program")
    (cache.directory / "k").rename(cache.directory / "l")
    assert cache.get("l") is None


def test_an_entry_that_is_larger_than_any_is_none(cache, monkeypatch):
    cache.put("k", b"the code of a program")
    monkeypatch.setattr(code_cache, "MAX_ENTRY_BYTES", 4)
    assert cache.get("k") is None


def test_a_directory_that_others_may_write_to_is_not_used(cache):
    cache.put("k", b"code")
    cache.directory.chmod(0o777)
    assert cache.get("k") is None
    cache.put("l", b"code")
    cache.directory.chmod(0o700)
    assert cache.get("k") == b"code" and cache.get("l") is None


def test_a_link_is_not_used(cache, tmp_path):
    cache.put("k", b"code")
    link = tmp_path / "link"
    link.symlink_to(cache.directory)
    assert CodeCache(link).get("k") is None


def test_a_disk_that_does_not_work_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = CodeCache(tmp_path / "file" / "cache")
    cache.put("k", b"code")
    assert cache.get("k") is None


def key(number: int) -> str:
    """A name as the engine makes them: 64 hex digits."""
    return f"{number:064x}"


def test_the_oldest_entries_make_room(cache, monkeypatch):
    monkeypatch.setattr(code_cache, "MAX_BYTES", 1000)
    for number in range(5):
        cache.put(key(number), bytes(300))
        os.utime(cache.directory / key(number), (number, number))
        assert cache.get(key(0)) is not None  # used, and so kept
    assert sorted(os.listdir(cache.directory)) == [key(0), key(4)]


def test_there_are_only_so_many_entries(cache, monkeypatch):
    monkeypatch.setattr(code_cache, "MAX_ENTRIES", 2)
    for number in range(4):
        cache.put(key(number), b"code")
        os.utime(cache.directory / key(number), (number, number))
    assert sorted(os.listdir(cache.directory)) == [key(2), key(3)]


def test_a_directory_is_looked_through_now_and_then(cache, monkeypatch):
    """Not with each entry: a simulation may keep hundreds in a second."""
    monkeypatch.setattr(code_cache, "_PRUNING_SECONDS", 1000.0)
    monkeypatch.setattr(code_cache, "MAX_ENTRIES", 1)
    for number in range(3):
        cache.put(key(number), b"code")
    assert len(os.listdir(cache.directory)) == 3
    monkeypatch.setattr(code_cache, "_PRUNING_SECONDS", 0.0)
    cache.put(key(3), b"code")
    assert len(os.listdir(cache.directory)) == 1


def test_making_room_removes_nothing_that_is_not_the_caches(
    cache, monkeypatch, tmp_path
):
    """Neither by name, nor by content, nor by kind."""
    monkeypatch.setattr(code_cache, "MAX_BYTES", 400)
    cache.put(key(1), bytes(300))
    entry = (cache.directory / key(1)).read_bytes()
    mine = cache.directory
    (mine / "weights.npy").write_bytes(bytes(5000))
    (mine / ".new-notes").write_bytes(entry)
    (mine / f"{key(2)}.bak").write_bytes(entry)
    (mine / key(3)).write_bytes(bytes(5000))  # a name like ours, and no mark
    (mine / key(0xA).upper()).write_bytes(entry)
    (mine / key(4)).mkdir()
    (mine / key(4) / key(5)).write_bytes(entry)
    os.mkfifo(mine / key(6))
    (tmp_path / "elsewhere").write_bytes(entry)
    (mine / key(7)).symlink_to(tmp_path / "elsewhere")
    before = set(os.listdir(mine))
    for path in [*mine.iterdir(), mine / key(4) / key(5)]:
        if not path.is_symlink():
            os.utime(path, (1, 1))
    cache.put(key(8), bytes(300))
    assert before - set(os.listdir(mine)) == {key(1)}
    assert (mine / key(4) / key(5)).read_bytes() == entry
    assert (tmp_path / "elsewhere").read_bytes() == entry


def test_what_a_killed_process_left_goes_after_an_hour(cache):
    cache.put(key(1), b"code")
    entry = (cache.directory / key(1)).read_bytes()
    paths = [cache.directory / f".new-{digit * 16}" for digit in "abcde"]
    old, shorter, empty, young, users = paths
    for path, size in zip(paths, (20, 5, 0, 0)):
        path.write_bytes(entry[:size])
    users.write_bytes(b"a user's")
    for path in (old, shorter, empty, users):
        os.utime(path, (1, 1))
    cache.put(key(2), b"code")
    assert {path for path in paths if path.exists()} == {young, users}


@pytest.mark.parametrize("moment", ["fdopen", "replace"])
def test_a_process_that_is_killed_while_it_writes_does_no_harm(cache, moment):
    """Before there is a byte in the file, or before that has its name."""
    cache.put(key(1), b"code")
    code = f"""
import signal
from nkipy_emulator.code_cache import *
os.{moment} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
CodeCache(Path("{cache.directory}")).put("{key(2)}", bytes(100_000))
"""
    assert run_python("-c", code).returncode == -signal.SIGKILL
    (left,) = {*os.listdir(cache.directory)} - {key(1)}
    path = cache.directory / left
    assert path.stat().st_size == (100_045 if moment == "replace" else 0)
    assert cache.get(key(1)) == b"code" and cache.get(key(2)) is None
    cache.put(key(2), b"other")
    assert path.exists() and cache.get(key(2)) == b"other"
    os.utime(path, (1, 1))
    cache.put(key(3), b"code")
    assert sorted(os.listdir(cache.directory)) == [key(1), key(2), key(3)]


def test_what_others_take_away_meanwhile_is_no_failure(cache, monkeypatch, caplog):
    """Other threads and processes rename what they have written, and remove."""
    cache = CodeCache(cache.directory, is_named=True)
    cache.put(key(1), b"code")
    others = [cache.directory / f".new-{'d' * 16}", cache.directory / key(2)]
    scandir = os.scandir

    @contextmanager
    def listed_before(directory):
        for path in others:
            path.write_bytes(b"another's")
        with scandir(directory) as found:
            entries = list(found)
        for path in others:
            path.unlink()
        yield entries

    monkeypatch.setattr(os, "scandir", listed_before)
    cache.put(key(3), b"code")
    assert cache.get(key(3)) == b"code"
    assert not caplog.records


def test_entries_are_private_whatever_the_umask(cache):
    umask = os.umask(0)
    try:
        cache.put(key(1), b"code")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((cache.directory / key(1)).stat().st_mode) == 0o600


def test_an_entry_that_others_may_write_or_a_link_to_one_is_not_used(cache, tmp_path):
    cache.put(key(1), b"code")
    entry = cache.directory / key(1)
    entry.chmod(0o666)
    assert cache.get(key(1)) is None
    entry.chmod(0o600)
    assert cache.get(key(1)) == b"code"
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert cache.get(key(1)) is None


@needs_root
def test_what_another_user_owns_is_not_used(cache):
    cache.put(key(1), b"code")
    os.chown(cache.directory / key(1), OTHER, OTHER)
    assert cache.get(key(1)) is None
    os.chown(cache.directory / key(1), 0, 0)
    os.chown(cache.directory, OTHER, OTHER)
    assert cache.get(key(1)) is None
    cache.put(key(2), b"code")
    assert os.listdir(cache.directory) == [key(1)]


@needs_root
def test_a_user_does_not_run_what_another_planted(caplog):
    """Not root either: ``/tmp`` is everybody's."""
    with shared_place() as place:
        CodeCache(place / "planted").put(key(1), b"code of root's")
        (place / "planted").chmod(0o777)
        done = run_as_other(
            "from nkipy_emulator.code_cache import *",
            f"""
            cache = CodeCache(Path("{place}/planted"))
            cache.put("{key(2)}", b"code")
            mine = CodeCache(Path("{place}/mine"))
            mine.put("{key(1)}", b"my own")
            print(cache.get("{key(1)}"), mine.get("{key(1)}"))
            """,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "None b'my own'\n"
        assert f"{place}/planted belongs to user 0 and has mode 0777" in done.stderr
        assert os.listdir(place / "planted") == [key(1)]
        assert (place / "mine").stat().st_uid == OTHER


def test_a_directory_of_the_users_choice_that_others_can_write_is_refused(
    monkeypatch, tmp_path
):
    tmp_path.chmod(0o777)
    monkeypatch.setenv(code_cache.VARIABLE, str(tmp_path))
    with pytest.raises(UnsafePathError, match="0777.*chmod go-w") as caught:
        user_cache()
    assert code_cache.VARIABLE in str(caught.value)
    assert caught.value.filename == str(tmp_path)


def test_a_default_directory_that_others_can_write_is_warned_of_once(
    monkeypatch, tmp_path, caplog
):
    monkeypatch.delenv(code_cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = tmp_path / "nkipy" / "emulator-code"
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    found = user_cache()
    assert found is not None
    for _ in range(2):
        found.put(key(1), b"code")
        assert found.get(key(1)) is None
    (record,) = caplog.records
    assert str(directory) in record.getMessage() and "0777" in record.getMessage()
    assert record.getMessage().count(code_cache.VARIABLE) == 1


def test_a_simulation_is_warned_of_the_users_choice_and_told_once_where_it_comes_from(
    monkeypatch, tmp_path, caplog
):
    tmp_path.chmod(0o777)
    monkeypatch.setenv(code_cache.VARIABLE, str(tmp_path))
    assert code_cache.cache_of_simulations() is None
    (record,) = caplog.records
    assert record.getMessage().count(code_cache.VARIABLE) == 1


def test_a_limit_on_the_size_of_files_keeps_nothing_and_leaves_nothing(tmp_path):
    code = f"""
import resource, signal
from nkipy_emulator.code_cache import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
cache = CodeCache(Path("{tmp_path}/c"))
cache.put("{key(1)}", bytes(100_000))
print(cache.get("{key(1)}"), os.listdir(cache.directory))
"""
    done = run_python("-c", code)
    assert (done.stdout, done.returncode) == ("None []\n", 0), done.stderr


def named_cache(directory, monkeypatch) -> CodeCache:
    monkeypatch.setenv(code_cache.VARIABLE, str(directory))
    monkeypatch.setattr(code_cache, "_warned", set())
    found = user_cache()
    assert found is not None
    return found


def check_warned_once(caplog, *words: str) -> None:
    (record,) = caplog.records
    for word in (code_cache.VARIABLE, *words):
        assert word in record.getMessage()


@pytest.mark.parametrize("below", [".", "new"], ids=["itself", "below"])
def test_a_file_in_the_place_of_a_named_directory_is_told_once(
    below, tmp_path, monkeypatch, caplog
):
    file = tmp_path / "file"
    file.write_text("the user's")
    cache = named_cache(file / below, monkeypatch)
    for number in (1, 2):
        cache.put(key(number), b"code")
        assert cache.get(key(number)) is None
    check_warned_once(caplog, str(file), "directory")
    assert file.read_text() == "the user's"


def test_a_named_directory_that_cannot_be_written_is_told_once(
    tmp_path, monkeypatch, caplog
):
    cache = named_cache(tmp_path, monkeypatch)

    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied", ".new")

    monkeypatch.setattr(code_cache, "write_private", refuse)
    for number in (1, 2):
        cache.put(key(number), b"code")
    check_warned_once(caplog, str(tmp_path), "Permission denied")


PLANTED = {
    "pipe": os.mkfifo,
    "directory": os.mkdir,
    "link": lambda path: os.symlink("/dev/null", path),
    "dangling": lambda path: os.symlink("nowhere", path),
    "device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=needs_root if k == "device" else ()) for k in PLANTED],
)
def test_what_is_no_file_is_neither_read_nor_replaced(
    kind, tmp_path, monkeypatch, caplog
):
    cache = named_cache(tmp_path, monkeypatch)
    entry = tmp_path / key(1)
    PLANTED[kind](entry)
    before = entry.lstat()
    assert cache.get(key(1)) is None
    caplog.clear()
    cache.put(key(1), b"code")
    check_warned_once(caplog, str(entry))
    assert os.path.samestat(before, entry.lstat())
    assert os.listdir(tmp_path) == [entry.name]


def test_the_default_place_may_be_of_no_use(tmp_path, monkeypatch, caplog):
    (tmp_path / "nkipy").write_text("in the way")
    monkeypatch.delenv(code_cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = user_cache()
    assert cache is not None
    cache.put(key(1), b"code")
    assert cache.get(key(1)) is None and not caplog.records


def test_large_code_is_not_kept(cache, monkeypatch):
    monkeypatch.setattr(code_cache, "MAX_ENTRY_BYTES", 10)
    cache.put("k", bytes(11))
    assert cache.get("k") is None


def test_the_environment_says_where(monkeypatch, tmp_path):
    monkeypatch.setenv(code_cache.VARIABLE, str(tmp_path))
    found = user_cache()
    assert found is not None and found.directory == tmp_path
    monkeypatch.setenv(code_cache.VARIABLE, "OFF")
    assert user_cache() is None
    monkeypatch.delenv(code_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    found = user_cache()
    assert found is not None and found.directory == Path("/x/nkipy/emulator-code")


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_code_that_xla_cannot_make_is_not_kept(cache, caplog, error):
    def fail():
        raise error("XLA cannot")

    with caplog.at_level("INFO", "nkipy.emulator"):
        cache.keep("k", fail)
    assert cache.get("k") is None and "XLA cannot" in caplog.text


def test_other_mistakes_are_not_hidden(cache):
    with pytest.raises(ZeroDivisionError):
        cache.keep("k", lambda: b"code"[1 // 0 :])


def test_late_entries_are_made_by_another_thread(tmp_path):
    cache = LateCodeCache(tmp_path / "c")
    makers = []
    before = set(threading.enumerate())

    def make():
        makers.append(threading.current_thread())
        return b"code"

    def fail():
        raise RuntimeError("XLA cannot")

    cache.keep("k", make)
    cache.keep("l", fail)
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert cache.get("k") == b"code" and cache.get("l") is None
    assert makers != [threading.current_thread()]


def test_a_process_that_ends_does_not_wait_to_keep_them(tmp_path):
    code = """
import sys
from pathlib import Path
from nkipy_emulator import code_cache
code_cache._DELAY_SECONDS = 1000
code_cache.LateCodeCache(Path(sys.argv[1])).keep("k", lambda: b"code")
"""
    done = run_python("-c", code, str(tmp_path / "c"))
    assert done.returncode == 0, done.stderr
    assert CodeCache(tmp_path / "c").get("k") == b"code"


def test_a_process_that_ends_keeps_its_entries_before(tmp_path):
    code = """
from nkipy.hlo import HLOBuilder, HLOModule
from nkipy_emulator.code_cache import user_cache
from nkipy_emulator.engine import XlaCpuEngine
from nkipy.private_files import UnsafePathError
from nkipy.testing import run_python
module = HLOModule("m")
x = module.add_parameter((4,), "float32", "x")
module.set_results([HLOBuilder(module.entry).binary("add", x, x)])
XlaCpuEngine(user_cache(), "never").compile(module)
"""
    done = run_python("-c", code, env={code_cache.VARIABLE: str(tmp_path / "c")})
    assert done.returncode == 0, done.stderr
    (entry,) = (tmp_path / "c").iterdir()
    assert CodeCache(tmp_path / "c").get(entry.name) is not None


class Counting(CodeCache):
    """Notes which keys are asked for, and which are there."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.asked: list[tuple[str, bool]] = []

    def get(self, key: str) -> bytes | None:
        code = super().get(key)
        self.asked.append((key, code is not None))
        return code


def run(engine: XlaCpuEngine, module) -> np.ndarray:
    out = np.zeros_like(X)
    engine.compile(module).run([X], [out])
    return out


def test_programs_are_taken_from_the_cache(tmp_path, module_of):
    store = Counting(tmp_path / "c")
    engine = XlaCpuEngine(store, fast_calls="never")  # which would need no XLA
    first = run(engine, module_of(lambda b, x: b.unary("exponential", x), X))
    again = run(engine, module_of(lambda b, x: b.unary("exponential", x), X))
    other = run(engine, module_of(lambda b, x: b.unary("negate", x), X))
    assert [there for _, there in store.asked] == [False, True, False]
    assert len({key for key, _ in store.asked}) == 2
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(again, np.exp(X), rtol=1e-6)
    np.testing.assert_array_equal(other, -X)


def test_code_that_xla_does_not_understand_is_replaced(tmp_path, module_of):
    store = Counting(tmp_path / "c")
    module = module_of(lambda b, x: b.negate(x), X)
    engine = XlaCpuEngine(store, fast_calls="never")  # which would need no XLA
    run(engine, module)
    (key,) = {key for key, _ in store.asked}
    store.put(key, b"no code of XLA's")
    np.testing.assert_array_equal(run(engine, module), -X)
    np.testing.assert_array_equal(run(engine, module), -X)


def test_programs_with_handlers_are_not_kept(tmp_path, module_of):
    def triple(inputs, outputs, config):
        np.multiply(inputs[0], 3, out=outputs[0])

    store = Counting(tmp_path / "c")
    register_custom_call("Triple", triple)
    attributes = {"custom_call_target": "Triple"}
    module = module_of(
        lambda b, x: b.emit("custom-call", (x,), x.shape, x.dtype, attributes), X
    )
    np.testing.assert_array_equal(run(XlaCpuEngine(store), module), X * 3)
    unregister_custom_call("Triple")
    assert store.asked == [] and not store.directory.exists()
