"""The developer guide adds a function to libnrt in two pieces; this does just that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import libnrt

SOURCE = libnrt.ROOT / "emulator/src/libnrt"
GUIDE = libnrt.ROOT / "docs/dev_guide/adding_libnrt_functions.md"
NAME = "nrt_tensor_get_size_from"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def tool(name: str) -> list[str]:
    """A build tool as a command: the machine's own, or one that uv gets."""
    if shutil.which(name):
        return [name]
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, f"neither {name} nor uv is there"
    return [uv, "run", "--no-project", "--with", "cmake", "--with", "ninja", name]


def pieces() -> tuple[str, str]:
    """Declaration and definition, as the guide has them."""
    text = GUIDE.read_text()
    declaration, definition = (
        re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1]
        for language in ("c", "cpp")
    )
    return declaration, definition


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libnrt.so.1 with the guide's function: two pieces added, nothing else changed."""
    source = tmp_path_factory.mktemp("libnrt") / "source"
    shutil.copytree(SOURCE, source)
    declaration, definition = pieces()
    header = source / "include/nrt/nrt.h"
    anchor = "size_t nrt_tensor_get_size(const nrt_tensor_t* tensor);\n"
    head, found, tail = header.read_text().partition(anchor)
    assert found
    header.write_text(head + found + declaration + tail)
    with open(source / "api_tensor.cpp", "a") as file:
        file.write(definition)
    build = source.parent / "build"
    run = {"check": True, "capture_output": True, "text": True, "timeout": 800}
    fast = ["-DCMAKE_BUILD_TYPE=None", "-DNKIPY_PRECOMPILED_HEADERS=ON"]
    configure = ["-S", source, "-B", build, *fast]
    subprocess.run([*tool("cmake"), *configure], **run)
    subprocess.run([*tool("cmake"), "--build", build, "--parallel", "2"], **run)
    return build / "lib" / "libnrt.so.1"


def test_it_computes_checks_and_fails_on_request(library: Path) -> None:
    code = f"""
        function = lib.{NAME}
        size = c_size_t()
        assert function(None, 0, byref(size)) == UNINITIALIZED
        nrt.init()
        tensor = nrt.allocate(100)
        nrt.check(function(tensor, c_size_t(30), byref(size)))
        assert size.value == 70
        assert function(tensor, c_size_t(101), byref(size)) == INVALID
        assert function(tensor, c_size_t(0), None) == INVALID
        nrt.check(lib.nkipy_emulator_inject(b"{NAME}=TIMEOUT@once"))
        assert function(tensor, c_size_t(0), byref(size)) == TIMEOUT
        nrt.check(function(tensor, c_size_t(0), byref(size)))
        nrt.close()
        assert function(tensor, c_size_t(0), byref(size)) == CLOSED
    """
    libnrt.run_python(code, NKIPY_TEST_LIBNRT=str(library))


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf of binutils")
def test_it_is_exported_under_its_version(library: Path) -> None:
    table = subprocess.run(
        ["readelf", "--wide", "--dyn-syms", library],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f" {NAME}@@NRT_2.0.0\n" in table
