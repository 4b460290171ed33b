"""Tests of the torch device: left out, with one line that says so, where it is not."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import pytest

_BUILT = all(
    importlib.util.find_spec(name) is not None for name in ("torch", "spike_torch")
)
collect_ignore_glob = [] if _BUILT else ["test_*.py"]

if _BUILT:
    import torch

    import spike_torch
    from spike_torch import programs

    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker would use all processors
        torch.set_num_threads(1)

    @pytest.fixture(autouse=True)
    def _state() -> Iterator[None]:
        """Each test begins on the first core, and leaves policies as they were."""
        spike_torch.set_device(0)
        policy, execution = spike_torch.get_fallback(), spike_torch.get_execution()
        yield
        spike_torch.set_fallback(policy)
        spike_torch.set_execution(execution)
        spike_torch.set_memory_limit(None)
        spike_torch.set_device(0)

    @pytest.fixture
    def by_the_cpu() -> None:
        """The CPU computes all, also what comes again: for tests that count that."""
        spike_torch.set_execution("fallback")

    @pytest.fixture
    def by_transfers() -> Iterator[None]:
        """As on a device whose memory is not the host's: all is copied by libnrt."""
        spike_torch._C.reach_by_transfers(True)
        yield
        spike_torch._C.reach_by_transfers(False)

    @pytest.fixture(params=["host", "transfers"])
    def reach(request: pytest.FixtureRequest) -> Iterator[None]:
        """Once as here, and once as `by_transfers`."""
        spike_torch._C.reach_by_transfers(request.param == "transfers")
        yield
        spike_torch._C.reach_by_transfers(False)

    @pytest.fixture
    def filled_padding() -> Iterator[None]:
        """Padding holds NaN, so that whoever reads it is found out."""
        programs.fill_padding(True)
        programs.reset_stats()
        yield
        programs.fill_padding(False)

    @pytest.fixture
    def two_cores() -> None:
        _need(2)

    @pytest.fixture
    def four_cores() -> None:
        _need(4)

    def _need(cores: int) -> None:
        found = torch.nkipy.device_count()
        if found < cores:
            pytest.skip(f"{cores} cores are needed: test_several_cores.py starts it")
