"""spike on the emulator: two cores of this process's own, and NEFFs to load."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spike
from tests.support.nrt_client import make_neff


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """spike opens the emulator anew, with two cores that nobody competes for."""
    _reset()
    monkeypatch.setenv("NKIPY_EMULATOR_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "0-1")
    monkeypatch.delenv("NKIPY_EMULATOR_INSTANCE", raising=False)
    yield
    _reset()


def _reset() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spike.reset()


@pytest.fixture
def neff(tmp_path: Path) -> Callable[..., Path]:
    """Writes the NEFF of a module: as make_neff, and the file's name."""

    def write(
        body: Any, *like: np.ndarray, file: str = "k.neff", **options: Any
    ) -> Path:
        path = tmp_path / file
        path.write_bytes(make_neff(body, *like, **options))
        return path

    return write
