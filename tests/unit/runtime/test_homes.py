"""Users without a home directory, or with one that cannot be used."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from nkipy.compiler.artifacts import ArtifactError, cache_directory
from nkipy.private_files import caches_of_user, home_of_user
from nkipy.testing import run_python
from nkipy_emulator.code_cache import user_cache
from tests.support.users import needs_root, shared_place

VARIABLES = ("HOME", "XDG_CACHE_HOME", "NKIPY_CACHE_DIR", "NKIPY_EMULATOR_CODE_CACHE")
#: A number that is no user's.
UNNAMED = 54321


@pytest.fixture
def nobody(monkeypatch):
    """A user that no list has, in an environment that says nothing."""

    def fail(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", fail)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_home_is_the_variable_else_what_the_list_of_users_says(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    listed = Path(pwd.getpwuid(os.getuid()).pw_dir)
    for value in ("", "relative", "."):
        monkeypatch.setenv("HOME", value)
        assert home_of_user() == listed
    monkeypatch.setenv("HOME", "/some/where")
    assert home_of_user() == Path("/some/where")


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_a_user_without_a_home_directory_is_told(nobody, monkeypatch, home):
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert home_of_user() is None and caches_of_user() is None
    with pytest.raises(ArtifactError, match="HOME is not set.*NKIPY_CACHE_DIR"):
        cache_directory()
    assert user_cache() is None


@pytest.mark.parametrize("named", ["~/caches", "~no-such-user/caches"])
def test_a_home_directory_that_there_is_not(nobody, monkeypatch, named):
    monkeypatch.setenv("NKIPY_CACHE_DIR", named)
    with pytest.raises(ArtifactError, match=f"in {named}: .*whole path in NKIPY_CACHE"):
        cache_directory()


def test_both_caches_are_in_one_place(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    caches = caches_of_user()
    cache = user_cache()
    assert caches is not None and tmp_path in caches.parents
    assert cache is not None and cache.directory == caches / "nkipy" / "emulator-code"
    assert cache_directory() == caches / "nkipy"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert user_cache().directory == cache.directory  # type: ignore[union-attr]


PROGRAM = """
import os, sys
import numpy as np
import spike, spike.cli
from nkipy.core import compile as nkc
from nkipy.runtime import baremetal_jit, simulate_jit
from nkipy_emulator.compiler import main
from tests.support.neffs import small_module

x = np.ones((2, 3), np.float32)

def everything(directory, add):
    def kernel(x):
        return x * 2 + add

    os.makedirs(directory, exist_ok=True)
    os.chdir(directory)
    np.testing.assert_array_equal(simulate_jit(kernel)(x), 2 + add + 0 * x)
    np.testing.assert_array_equal(baremetal_jit(kernel)(x), 2 + add + 0 * x)
    traced = nkc.trace(kernel)
    traced.specialize(x)
    neff = nkc.compile_to_neff(traced, directory, "k.neff")
    np.save("x.npy", x)
    assert spike.cli.main([neff, "-ix=x.npy"]) == 0
    with open("m.pb", "wb") as file:
        file.write(small_module().serialize())
    words = ["compile", "--framework=XLA", "--target=trn2", "m.pb", "--output=m.neff"]
    assert main(words) == 0
    spike.reset()

first, last, user = sys.argv[1:]
if user:  # where it cannot read, it finds what is imported already
    os.environ["NKIPY_CACHE_DIR"] = first + "/cache"
    os.environ["NKIPY_EMULATOR_CODE_CACHE"] = "off"
    os.environ["NKIPY_EMULATOR_LOCK_DIR"] = first + "/locks"
    everything(first, 1)
    for name in ("CACHE_DIR", "EMULATOR_CODE_CACHE", "EMULATOR_LOCK_DIR"):
        del os.environ["NKIPY_" + name]
    os.makedirs(last)
    os.chown(last, int(user), int(user))
    os.setgroups([])
    os.setresgid(*[int(user)] * 3)
    os.setresuid(*[int(user)] * 3)
os.environ["NKIPY_EMULATOR_LOCK_DIR"] = last + "/locks"
everything(last, 2)
print(sorted(os.listdir(last)))
"""
#: Nothing named ``~``, say.
MADE = ["k.neff", "locks", "log-neuron-cc.txt", "m.neff", "m.pb", "output0.npy"]


def run(place: Path, user: str = "", **environment: str) -> str:
    """What was said in an environment of these variables alone."""
    without = dict.fromkeys(VARIABLES, "")  # empty counts as not set
    first, last = str(place / "first"), str(place / "last")
    done = run_python("-c", PROGRAM, first, last, user, env={**without, **environment})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == str([*MADE, "x.npy"])
    return done.stderr


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_everything_works_where_home_is_no_directory(tmp_path, engine):
    (tmp_path / "home").write_text("a file")
    home = str(tmp_path / "home")
    said = run(tmp_path, HOME=home, NKIPY_EMULATOR_ENGINE=engine)
    assert said.count("compiled anew in each process") == 1
    assert f"{home} is no directory" in said and "NKIPY_CACHE_DIR" in said


def test_everything_works_where_home_is_not_there_yet(tmp_path):
    assert "NKIPY_CACHE_DIR" not in run(tmp_path, HOME=str(tmp_path / "none"))
    assert (tmp_path / "none").is_dir()


@needs_root
def test_everything_works_for_a_user_without_an_entry():
    with shared_place() as place:
        said = run(place, user=str(UNNAMED))
    assert "HOME is not set" in said and "NKIPY_CACHE_DIR" in said


@needs_root
def test_everything_works_where_home_is_read_only():
    with shared_place() as place:
        (place / "home").mkdir(mode=0o555)
        said = run(place, user=str(UNNAMED), HOME=str(place / "home"))
        assert list((place / "home").iterdir()) == []
    assert "make it writable" in said and "NKIPY_CACHE_DIR" in said
