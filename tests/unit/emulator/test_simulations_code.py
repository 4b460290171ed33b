"""Code that simulations keep on disk: when it is found again, and what may go wrong."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

import nkipy.hlo
from nkipy.hlo.options import SimulationOptions
from nkipy.runtime import simulate_jit
from nkipy.testing import run_python
from nkipy_emulator import _xla, code_cache, fast_calls, kept_code, program_code
from nkipy_emulator.fast_calls import know_functions
from nkipy_emulator.kept_code import KeptCode
from tests.support.users import OTHER, needs_root

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def kernel(x):
    return np.sort(np.exp(x) * 2, axis=1)[:, ::-1]


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Where code is kept, at once."""
    made = tmp_path / "code"
    monkeypatch.setenv(code_cache.VARIABLE, str(made))
    monkeypatch.setenv(fast_calls.VARIABLE, "always")  # some would need no XLA
    monkeypatch.setattr(code_cache, "_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(code_cache, "_warned", set())
    return made


@pytest.fixture
def compiles(monkeypatch):
    """A text for each time that XLA compiles."""
    found: list[str] = []
    apart = _xla.apart_until_the_end

    def noting(function, seconds, name, *more):
        if name == "nkipy-compile":
            found.append(name)
        return apart(function, seconds, name, *more)

    monkeypatch.setattr(_xla, "apart_until_the_end", noting)
    return found


def run(function=kernel, *args, **options):
    """One call of a kernel that this process has not compiled; its code is kept."""
    before = set(threading.enumerate())
    result = simulate_jit(function, **options)(*(args or (X,)))
    for thread in set(threading.enumerate()) - before:
        thread.join()
    return result


def entries(directory: Path) -> list[str]:
    return sorted(os.listdir(directory)) if directory.exists() else []


def test_code_is_compiled_once(directory, compiles):
    first, again = run(), run()
    assert len(compiles) == len(entries(directory)) == 1
    np.testing.assert_allclose(first, kernel(X), rtol=1e-6)
    np.testing.assert_array_equal(first, again)


def test_the_same_program_elsewhere_under_another_name_is_the_same(directory, compiles):
    run()

    def elsewhere(x):
        y = np.exp(x)

        return np.sort(y * 2, axis=1)[:, ::-1]

    np.testing.assert_array_equal(run(elsewhere), run())
    assert len(compiles) == 1


def test_what_code_depends_on_tells_it_apart(directory, compiles, monkeypatch):
    run()
    run(lambda x: np.sort(np.exp(x) * 3, axis=1)[:, ::-1])  # another constant
    run(lambda x: np.sort(np.exp(x) * 2, axis=0)[:, ::-1])  # another attribute
    run(kernel, X.astype(np.float16))
    run(kernel, X[:, :2].copy())
    run(options=SimulationOptions(fast_compile=True))
    assert len(compiles) == len(entries(directory)) == 6
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_min_max=false")
    run()
    monkeypatch.setattr(_xla, "cores", lambda: 1000)
    run()
    monkeypatch.setattr(kept_code, "cpu_features", lambda: "another CPU")
    run()
    monkeypatch.setenv(fast_calls.VARIABLE, "never")
    run()
    assert len(compiles) == len(entries(directory)) == 10


def test_what_is_found_is_not_rewritten(directory, compiles, monkeypatch):
    first = run()
    monkeypatch.setattr(program_code, "_with_store", None)
    assert np.array_equal(run(), first)
    assert len(compiles) == 1


def test_other_rewrites_make_other_code(directory, compiles, monkeypatch, tmp_path):
    run()
    (tmp_path / "hlo" / "rewrites").mkdir(parents=True)
    file = tmp_path / "hlo" / "rewrites" / "some.py"
    monkeypatch.setattr(nkipy.hlo, "__path__", [str(tmp_path / "hlo")])
    for number, text in enumerate(("one", "two"), 2):
        file.write_text(text)
        kept_code._digest_of_sources.cache_clear()
        run()
        run()
        assert len(compiles) == len(entries(directory)) == number
    kept_code._digest_of_sources.cache_clear()
    (tmp_path / "hlo" / "broken.py").symlink_to(tmp_path / "nowhere")
    run()
    assert (len(compiles), len(entries(directory))) == (4, 3)
    kept_code._digest_of_sources.cache_clear()


FORCED = "NKIPY_EMULATOR_FAST_CALLS"
_PROCESS = """
import sys
import numpy as np
from nkipy_emulator import _xla
apart, found = _xla.apart_until_the_end, []

def noting(function, seconds, name, *more):
    found.append(name)
    return apart(function, seconds, name, *more)

_xla.apart_until_the_end = noting
from nkipy.runtime import simulate_jit

@simulate_jit
def kernel(x, i):
    y = np.cumsum(x * 3) @ np.tan(x)
    z = np.linalg.det(np.outer(x, x) + np.eye(5)) + y
    least = np.min(i), np.min(i.astype(np.uint8))
    return z, x[i], np.argmax(x), x @ x, np.gcd(i, 6), np.max(x), np.max(i), *least

x = np.arange(5, dtype=np.float32)[::-1].copy()
results = kernel(x, np.array([3, 1], np.int32))
print(found.count("nkipy-compile"), *(r.tobytes().hex() for r in results))
"""


def test_another_process_finds_it_and_no_process_is_in_it(tmp_path):
    """Handlers are known by their names. Two processes make the same code, in an order
    that is that of XLA's threads, though their libraries lie at other addresses."""
    texts, files = [], []
    for place in ("a", "a", "b"):
        env = {code_cache.VARIABLE: str(tmp_path / place), FORCED: "always"}
        done = run_python("-c", _PROCESS, env=env)
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout.split())
        (entry,) = (tmp_path / place).iterdir()
        code = code_cache.CodeCache(tmp_path / place).get(entry.name)
        assert code is not None
        files.append((entry.name, sorted(code)))
    assert [text[0] for text in texts] == ["1", "0", "1"]
    assert texts[0][1:] == texts[1][1:] == texts[2][1:]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_entry_is_compiled_again(directory, compiles, caplog, damage):
    expected = run()
    (name,) = entries(directory)
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(whole[:-1] if damage is None else damage)
    np.testing.assert_array_equal(run(), expected)
    assert len(compiles) == 2 and "is damaged" in caplog.text
    assert (directory / name).stat().st_size == len(whole)
    np.testing.assert_array_equal(run(), expected)
    assert len(compiles) == 2


def test_a_directory_that_others_can_write_is_warned_of_and_left(
    directory, compiles, caplog
):
    directory.mkdir()
    directory.chmod(0o777)
    for _ in range(2):
        np.testing.assert_allclose(run(), kernel(X), rtol=1e-6)
    assert len(compiles) == 2 and entries(directory) == []
    (record,) = caplog.records
    assert "chmod go-w" in record.getMessage()


@needs_root
def test_a_directory_of_another_users_is_warned_of_and_left(
    directory, compiles, caplog
):
    directory.mkdir(mode=0o700)
    os.chown(directory, OTHER, OTHER)
    np.testing.assert_allclose(run(), kernel(X), rtol=1e-6)
    assert len(compiles) == 1 and entries(directory) == []
    assert f"belongs to user {OTHER}" in caplog.text


def test_a_place_that_cannot_be_written_keeps_nothing(monkeypatch, directory, caplog):
    (directory.parent / "file").write_text("in the way")
    monkeypatch.setenv(code_cache.VARIABLE, str(directory.parent / "file" / "code"))
    np.testing.assert_allclose(run(), kernel(X), rtol=1e-6)
    assert (directory.parent / "file").read_text() == "in the way"
    assert code_cache.VARIABLE in caplog.text


def test_it_can_be_switched_off(monkeypatch, directory, compiles):
    monkeypatch.setenv(code_cache.VARIABLE, "off")
    run(), run()
    assert len(compiles) == 2 and not directory.exists()


def test_programs_with_large_constants_are_not_kept(monkeypatch, directory, compiles):
    monkeypatch.setattr(program_code, "_MOST_KEPT", 10_000)
    weights = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    for _ in range(2):
        made = run(lambda x: x + weights, np.ones((1, 100), np.float32))
        np.testing.assert_array_equal(made, weights + 1)
    assert len(compiles) == 2 and entries(directory) == []


def test_several_ranks_are_not_kept(directory, compiles):
    for _ in range(2):
        results = run(lambda x: x * 2, X, world_size=2)
        np.testing.assert_array_equal(results, [X * 2, X * 2])
    assert len(compiles) == 2 and entries(directory) == []


def test_code_that_calls_what_this_numpy_has_not_is_not_taken():
    for names in (["tan"], ["maximum_int8", "tan"], []):
        assert know_functions(names)
    for name in ("tan_int8", "tan_void7", "none_float32", "none", "_", "linalg_bool"):
        assert not know_functions(["tan", name])


@pytest.mark.parametrize("head", [b"1 2", b"[]", b'{"sliced": [0]}', b"\xff", b"null"])
def test_entries_with_another_head_are_none(head):
    assert KeptCode.of(head + b"\ncode") is None
    made = KeptCode(frozenset({3, 1}), ("tan",), b"code\nof XLA")
    assert KeptCode.of(made.to_bytes()) == made
