"""Runs the compiler on modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from nkipy.hlo.ir import HLOModule
from nkipy_emulator.compiler import compile_in_process

Compile = Callable[..., CompletedProcess[bytes]]


@pytest.fixture
def compile_module(tmp_path: Path) -> Compile:
    """``compile_module(module or bytes, *options, target="trn2")`` in `tmp_path`."""

    def run(program: Any, *options: str, target: str = "trn2") -> CompletedProcess:
        raw = program.serialize() if isinstance(program, HLOModule) else program
        (tmp_path / "hlo_module.pb").write_bytes(raw)
        base = ["compile", "--framework", "XLA", "hlo_module.pb", "--target", target]
        return compile_in_process([*base, *options], tmp_path)

    return run
