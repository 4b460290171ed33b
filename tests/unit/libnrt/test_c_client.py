"""Programs in C and C++, built as for the vendor's library: ``-I``, ``-L``, ``-lnrt``.

They have no Python in their process: the engine runs in a child.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction
from tests.support import libnrt
from tests.support.nrt_client import make_neff
from tests.support.packages import install_from_guide

HERE = Path(__file__).parent
GUIDE = HERE.parents[2] / "docs/dev_guide/adding_custom_calls.md"
X = np.arange(4, dtype=np.float32)
PROGRAMS = {"client.c": ("cc", "-std=c11"), "client.cpp": ("c++", "-std=c++17")}
# A sanitized library wants its runtime first; these programs are not built for that.
pytestmark = pytest.mark.skipif(
    "NKIPY_TEST_LIBNRT" in os.environ, reason="for the installed library"
)


def where(option: str) -> str:
    """What the command for builds says."""
    command = [sys.executable, "-m", "nkipy_emulator.libnrt", option]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module", params=PROGRAMS)
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    compiler, standard = PROGRAMS[request.param]
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    path = tmp_path_factory.mktemp("client") / "client"
    include, library = where("--include"), where("--lib")
    flags = [standard, "-Wall", "-Wextra", "-Werror", "-I", include, "-L", library]
    source = str(HERE / request.param)
    command = [compiler, *flags, source, "-o", str(path), "-lnrt", "-pthread"]
    subprocess.run(command, check=True)
    return path


def run(program: Path, neff: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    variables = libnrt.environment(
        LD_LIBRARY_PATH=where("--lib"),
        NKIPY_EMULATOR_PYTHON=sys.executable,
        NKIPY_EMULATOR_LOCK_DIR=str(neff.parent),
        **extra,
    )
    return subprocess.run(
        [program, neff], env=variables, capture_output=True, text=True, timeout=120
    )


def test_the_program_needs_the_library_by_soname_and_version(program: Path) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf of binutils")
    command = ["readelf", "--wide", "--dynamic", "--version-info", str(program)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Shared library: [libnrt.so.1]" in text
    needed = set(re.findall(r"Name: (NRT_\S+)", text))
    asynchronous = "nrta_execute_schedule" in program.read_bytes().decode("latin1")
    assert needed == {"NRT_2.0.0"} | ({"NRT_3.0.0"} if asynchronous else set())


def test_the_program_loads_and_executes(program: Path, tmp_path: Path) -> None:
    neff = tmp_path / "sum.neff"
    neff.write_bytes(make_neff(lambda b, x, y: b.add(b.multiply(x, x), y), X, X))
    result = run(program, neff)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "output0: 0 2 6 12\n"  # x*x + x


def test_the_program_calls_what_a_package_computes(
    program: Path, tmp_path: Path
) -> None:
    """The record is found by the engine's process, which alone has Python."""
    install_from_guide(GUIDE, tmp_path / "site")
    neff = tmp_path / "axpy.neff"
    neff.write_bytes(make_neff(call_axpy, X, X))
    result = run(program, neff)
    assert result.returncode != 0 and "NRT_INVALID" in result.stderr
    result = run(program, neff, PYTHONPATH=str(tmp_path / "site"))
    assert result.returncode == 0, result.stderr
    assert result.stdout == "output0: 0 11 22 33\n"  # x + 10*x


def call_axpy(b: HLOBuilder, x: HLOInstruction, y: HLOInstruction) -> HLOInstruction:
    attributes = {
        "custom_call_target": "acme.axpy",
        "backend_config": struct.pack("<f", 10),
        "output_operand_aliasing": ((None, 1),),
    }
    return b.emit("custom-call", (x, y), y.shape, y.dtype, attributes)


def test_the_program_learns_what_is_wrong(program: Path, tmp_path: Path) -> None:
    neff = tmp_path / "bad.neff"
    neff.write_bytes(b"no NEFF")
    result = run(program, neff)
    assert result.returncode != 0
    assert "NRT_INVALID" in result.stderr


# -- programs of one purpose -----------------------------------------------------------
def build(source: str, directory: Path, *flags: str) -> Path:
    """A program made of a C file beside this one."""
    if shutil.which("cc") is None:
        pytest.skip("needs cc")
    path = directory / Path(source).stem
    # strdup's and dlvsym's names are not those of C itself.
    options = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
    command = ["cc", *options, "-I", where("--include"), str(HERE / source)]
    subprocess.run([*command, "-o", str(path), *flags], check=True)
    return path


def test_names_are_the_callers_and_headers_have_what_clients_use(
    tmp_path: Path,
) -> None:
    program = build("names.c", tmp_path, "-L", where("--lib"), "-lnrt")
    variables = libnrt.environment(
        LD_LIBRARY_PATH=where("--lib"),
        # glibc ends a program that frees what it has not given.
        MALLOC_CHECK_="3",
        MALLOC_PERTURB_="165",
    )
    done = subprocess.run(
        [program], env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["events", "activities", "mode", "version", "dmabuf"]


@pytest.mark.parametrize("first", ["libnrt.so", "libnrt.so.1"])
@pytest.mark.parametrize("second", ["libnrt.so", "libnrt.so.1"])
@pytest.mark.parametrize("by_path", [False, True])
def test_either_name_opens_the_one_library(
    first: str, second: str, by_path: bool, tmp_path: Path
) -> None:
    directory = Path(where("--lib"))
    program = build("opener.c", tmp_path, "-ldl")
    names = [str(directory / name) if by_path else name for name in (first, second)]
    paths = {} if by_path else {"LD_LIBRARY_PATH": str(directory)}
    variables = libnrt.environment(NKIPY_EMULATOR_INSTANCE="trn2.3xlarge", **paths)
    done = subprocess.run(
        [program, *names], env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 cores\n"  # of two physical ones each


def an_interpreter(prefix: Path) -> None:
    """A file that runs this Python, in the place of an environment's."""
    path = prefix / "bin" / "python3"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)


ENVIRONMENTS = {
    "installed": ("env", "env/lib/python3.11/site-packages/nkipy_emulator/lib"),
    "workspace": ("tree/.venv", "tree/emulator/src/nkipy_emulator/lib"),
}


@pytest.mark.parametrize("place", ENVIRONMENTS)
def test_a_python_without_the_package_finds_an_engine(
    place: str, tmp_path: Path
) -> None:
    """That of the environment which the library lies in."""
    prefix, directory = (tmp_path / part for part in ENVIRONMENTS[place])
    an_interpreter(prefix)
    directory.mkdir(parents=True)
    library = shutil.copy(libnrt.library_path(), directory)
    neff = tmp_path / "double.neff"
    neff.write_bytes(make_neff(lambda b, x: b.add(x, x), X))
    variables = libnrt.environment(NKIPY_EMULATOR_LOCK_DIR=str(tmp_path / "locks"))
    variables.pop("NKIPY_EMULATOR_PYTHON", None)
    variables["PATH"] = "/nowhere"
    # -I and -S: neither this environment's packages nor those of PYTHONPATH.
    command = [sys.executable, "-I", "-S", str(HERE / "bare_client.py"), library, neff]
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.0", "2.0", "4.0", "6.0"]


def test_without_any_interpreter_the_program_is_told(
    program: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "lib"
    directory.mkdir()
    shutil.copy(libnrt.library_path(), directory)
    neff = tmp_path / "sum.neff"
    neff.write_bytes(make_neff(lambda b, x, y: b.add(x, y), X, X))
    variables = libnrt.environment(
        LD_LIBRARY_PATH=str(directory),
        NKIPY_EMULATOR_LOCK_DIR=str(tmp_path),
        NKIPY_EMULATOR_PYTHON="",
        PATH="/nowhere",
    )
    done = subprocess.run(
        [program, neff], env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "NKIPY_EMULATOR_PYTHON says which interpreter to use" in done.stderr
