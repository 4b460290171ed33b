"""Compiled code on disk: what is kept, what is not believed, and what may go wrong."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from nkipy.testing import run_python
from nkipy_emulator import code_cache, register_custom_call, unregister_custom_call
from nkipy_emulator.code_cache import CodeCache, LateCodeCache, user_cache
from nkipy_emulator.engine import XlaCpuEngine

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def cache(tmp_path):
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


def test_the_oldest_entries_make_room(cache, monkeypatch):
    monkeypatch.setattr(code_cache, "MAX_BYTES", 1000)
    for number in range(5):
        cache.put(str(number), bytes(300))
        os.utime(cache.directory / str(number), (number, number))
        assert cache.get("0") is not None  # used, and so kept
    assert sorted(os.listdir(cache.directory)) == ["0", "4"]


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


def joined():
    """Once no entry is being made any more."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()


def test_late_entries_are_made_by_another_thread(tmp_path):
    cache = LateCodeCache(tmp_path / "c")
    makers = []

    def make():
        makers.append(threading.current_thread())
        return b"code"

    def fail():
        raise RuntimeError("XLA cannot")

    cache.keep("k", make)
    cache.keep("l", fail)
    joined()
    assert cache.get("k") == b"code" and cache.get("l") is None
    assert makers != [threading.current_thread()]


def test_a_process_that_ends_keeps_its_entries_before(tmp_path):
    code = """
from nkipy.hlo import HLOBuilder, HLOModule
from nkipy_emulator.code_cache import user_cache
from nkipy_emulator.engine import XlaCpuEngine
from nkipy.testing import run_python
module = HLOModule("m")
x = module.add_parameter((4,), "float32", "x")
module.set_results([HLOBuilder(module.entry).binary("add", x, x)])
XlaCpuEngine(user_cache()).compile(module)
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
    engine = XlaCpuEngine(store)
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
    run(XlaCpuEngine(store), module)
    (key,) = {key for key, _ in store.asked}
    store.put(key, b"no code of XLA's")
    np.testing.assert_array_equal(run(XlaCpuEngine(store), module), -X)
    np.testing.assert_array_equal(run(XlaCpuEngine(store), module), -X)


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
