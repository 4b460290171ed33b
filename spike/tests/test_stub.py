"""The type stub that the build made says what the extension offers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import spike
import spike._spike


def test_stub_is_current():
    stubgen = pytest.importorskip("nanobind.stubgen")
    generator = stubgen.StubGen(spike._spike)
    generator.put(spike._spike)
    stub = Path(spike.__file__).with_name("_spike.pyi").read_text()
    # The build imports the extension by itself, without the package.
    fresh = generator.get().replace("spike._spike.", "")
    assert ast.dump(ast.parse(fresh)) == ast.dump(ast.parse(stub)), (
        "build it again: uv sync --reinstall-package spike"
    )
