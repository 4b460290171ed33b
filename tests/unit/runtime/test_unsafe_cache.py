"""Calls whose cache cannot be trusted, or cannot be written."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import numpy as np
import pytest

import spike
from nkipy.compiler import build
from nkipy.runtime import ArtifactError, baremetal_jit
from tests.support.users import OTHER, needs_root

pytestmark = pytest.mark.device
F32 = np.float32
#: As a constant in a kernel it makes a NEFF that is not compressed.
WEIGHTS = np.random.default_rng(0).random(3 << 19).astype(F32)
X = np.ones(WEIGHTS.size, F32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NKIPY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_warned", set())
    return tmp_path / "cache"


@pytest.fixture
def default_cache(cache, tmp_path, monkeypatch):
    monkeypatch.delenv("NKIPY_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "nkipy"


def add_weights():
    """A kernel that knows of no call yet."""

    @baremetal_jit
    def add_weights(x):
        return x + np.asarray(WEIGHTS)

    return add_weights


def call() -> np.ndarray:
    result = add_weights()(X)
    np.testing.assert_array_equal(result, X + WEIGHTS)
    return result


def neff_in(cache: Path) -> Path:
    (neff,) = cache.glob("neff/*/*/kernel.neff")
    return neff


def test_a_damaged_neff_is_compiled_again_and_never_run(cache, caplog):
    call()
    neff = neff_in(cache)
    content = bytearray(neff.read_bytes())
    assert len(content) > 4 << 20
    at = content.find(WEIGHTS[1000:1010].tobytes())
    assert at > 0
    content[at + 3] ^= 0x40
    neff.write_bytes(content)
    spike.reset()
    call()
    assert f"{neff} is damaged; compiling it again" in caplog.text
    assert neff.read_bytes() != content


def test_neffs_are_private(cache):
    umask = os.umask(0)
    try:
        call()
    finally:
        os.umask(umask)
    for path in [cache, *cache.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def make_it_everybodys(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)


def make_it_anothers(cache: Path) -> None:
    cache.mkdir(parents=True)
    os.chown(cache, OTHER, OTHER)


def make_it_a_link(cache: Path) -> None:
    (cache.parent / "elsewhere").mkdir(parents=True)
    cache.symlink_to("elsewhere")


UNSAFE = [
    pytest.param(make_it_everybodys, "has mode 0777", id="mode"),
    pytest.param(make_it_anothers, f"to user {OTHER}", id="owner", marks=needs_root),
    pytest.param(make_it_a_link, "is a link, to elsewhere", id="link"),
]


@pytest.mark.parametrize(("spoil", "told"), UNSAFE)
def test_an_unsafe_cache_of_the_users_choice_is_refused(cache, spoil, told):
    spoil(cache)
    with pytest.raises(ArtifactError, match=told) as caught:
        call()
    assert str(cache) in str(caught.value) and "NKIPY_CACHE_DIR" in str(caught.value)
    assert not list(cache.iterdir())


@pytest.mark.parametrize(("spoil", "told"), UNSAFE)
def test_an_unsafe_default_cache_is_not_used_with_a_warning(
    default_cache, spoil, told, caplog
):
    spoil(default_cache)
    for _ in range(2):
        call()
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert told in record.getMessage() and str(default_cache) in record.getMessage()
    assert not list(default_cache.iterdir())


def test_a_cache_that_cannot_be_written_is_no_error(cache, caplog):
    cache.write_text("a file in its place")
    call()
    assert "remove the file in its place" in caplog.text
    assert cache.read_text() == "a file in its place"


def test_a_directory_for_artifacts_that_others_can_write_is_refused(cache, tmp_path):
    """That of the kernel: those above it are the user's affair."""
    place = tmp_path / "artifacts"
    place.mkdir()
    place.chmod(0o1777)

    def kernel():
        return baremetal_jit(artifacts_dir=str(place))(lambda x: x * 2)

    np.testing.assert_array_equal(kernel()(X[:4]), [2, 2, 2, 2])
    (entry,) = place.iterdir()
    assert stat.S_IMODE(entry.stat().st_mode) == 0o700
    entry.chmod(0o777)
    with pytest.raises(ArtifactError, match="0777"):
        kernel()(X[:4])
