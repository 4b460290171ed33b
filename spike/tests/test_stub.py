"""The type stub that is checked in says what the extension offers."""

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
    assert ast.dump(ast.parse(generator.get())) == ast.dump(ast.parse(stub)), (
        "regenerate: python -m nanobind.stubgen -m spike._spike "
        "-o spike/src/spike/_spike.pyi; ruff format spike"
    )
