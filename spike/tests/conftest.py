"""A libnrt of the tests' own, and the files that it takes for NEFFs."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import spike

SOURCE = Path(__file__).parent / "fake_libnrt"
# libnrt's numbers of dtypes.
DTYPES = {"float32": 10, "int8": 2, "uint8": 3, "bfloat16": 6, "unknown": 0}
ADD = "input x float32 64 4 4\ninput y float32 64 4 4\noutput sum float32 64 4 4"


class Fake:
    """Control of the fake library, loaded in this process."""

    def __init__(self, path: Path, directory: Path) -> None:
        self.path, self._directory = path, directory
        self._library = ctypes.CDLL(str(path))
        self._library.fake_calls.restype = ctypes.c_char_p

    def calls(self) -> list[str]:
        """Functions called so far, in order."""
        return self._library.fake_calls().decode().split("\n")[:-1]

    def inject(self, function: str, status: int) -> None:
        """The next call of the function returns this status."""
        self._library.fake_inject(function.encode(), status)

    def delay(self, seconds: float) -> None:
        """How long executions, reads and writes take from now on."""
        self._library.fake_set_delay_us(int(seconds * 1e6))

    def set_events(self, count: int) -> None:
        """How many events each execution leaves in a trace."""
        self._library.fake_set_events(count)

    def reset(self) -> None:
        self._library.fake_reset()

    def violations(self) -> int:
        """Calls that no client may make: of what was freed, or is in use."""
        return self._library.fake_violations()

    def neff(self, description: str = ADD, name: str = "add.neff") -> Path:
        """A file that the fake loads."""
        for dtype, number in DTYPES.items():
            description = description.replace(f" {dtype} ", f" {number} ")
        path = self._directory / name
        path.write_text(description)
        return path

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a Python program that uses the fake; `NEFF` in it is a file to load."""
        script = script.replace("NEFF", repr(str(self.neff())))
        return subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "SPIKE_LIBNRT": str(self.path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(scope="session")
def c_compiler() -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build what the tests need")
    return compiler


@pytest.fixture(scope="session")
def build_fake(
    c_compiler: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Builds a variant of the fake library, once each."""
    directory, built = tmp_path_factory.mktemp("libnrt"), {}

    def build(option: str) -> Path:
        if option not in built:
            built[option] = directory / f"libnrt{option}.so"
            script = f"-Wl,--version-script={SOURCE / 'fake_libnrt.map'}"
            command = [
                c_compiler,
                "-shared",
                "-fPIC",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Werror",
            ]
            command += [option, script, "-o", built[option], SOURCE / "fake_libnrt.c"]
            subprocess.run([*filter(None, command), "-lpthread"], check=True)
        return built[option]

    return build


def close_spike() -> None:
    """Close whatever runtime is open, the singleton or another."""
    from spike._spike import close_runtime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spike.reset()
    close_runtime()


def _use(path: Path, directory: Path) -> Iterator[Fake]:
    from spike._spike import load_library

    close_spike()
    fake = Fake(path, directory)
    load_library(str(path))
    fake.reset()
    yield fake
    close_spike()
    violations = fake.violations()
    load_library()
    assert violations == 0, "spike broke libnrt's rules: see stderr"


@pytest.fixture
def fake(build_fake: Callable[[str], Path], tmp_path: Path) -> Iterator[Fake]:
    """spike uses the fake library, without an async interface, for one test."""
    yield from _use(build_fake(""), tmp_path)


@pytest.fixture(params=["", "-DFAKE_ASYNC"], ids=["thread", "native"])
def async_fake(
    request: pytest.FixtureRequest, build_fake: Callable[[str], Path], tmp_path: Path
) -> Iterator[Fake]:
    """As `fake`, without and with libnrt's async interface."""
    yield from _use(build_fake(request.param), tmp_path)
