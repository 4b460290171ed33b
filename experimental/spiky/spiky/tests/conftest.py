"""Tests of the backend of torch.compile: left out, and it is said, without torch."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import pytest

_NEEDED = ("torch", "spike_torch", "spiky")
_IS_THERE = all(importlib.util.find_spec(name) is not None for name in _NEEDED)
collect_ignore_glob = [] if _IS_THERE else ["test_*.py"]

if _IS_THERE:
    import torch

    from spike_torch import programs
    from spiky.torch import init_nkipy_backend, reset_nkipy_backend

    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker would use all processors
        torch.set_num_threads(1)

    @pytest.fixture(autouse=True)
    def _forgotten() -> Iterator[None]:
        """No test finds what another one has compiled or set up."""
        reset_nkipy_backend()
        yield
        reset_nkipy_backend()
        torch._dynamo.reset()

    @pytest.fixture
    def backend() -> None:
        """The backend, set up as by default."""
        init_nkipy_backend()

    @pytest.fixture
    def filled_padding() -> Iterator[None]:
        """Padding holds NaN, or -1 of what has none: who reads it would spread it."""
        programs.fill_padding(True)
        yield
        programs.fill_padding(False)
