"""A runtime of this process, for tests that need no start-up of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.support.libnrt import Nrt


@pytest.fixture(scope="module", params=["inprocess", "child"])
def nrt(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nrt]:
    """An initialised runtime: two cores, 64 MB of memory each, locks of its own.

    Once with memory of this process, once with memory for a child to share (which is
    never started, since nothing is loaded).
    """
    if singleton := sys.modules.get("spike.spike_singleton"):
        singleton.reset()  # it may hold the process's one runtime
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NKIPY_EMULATOR_LOCK_DIR", str(tmp_path_factory.mktemp("locks")))
        patch.setenv("NKIPY_EMULATOR_ENGINE", request.param)
        patch.setenv("NKIPY_EMULATOR_HBM_BYTES", str(64 << 20))
        patch.setenv("NEURON_RT_VISIBLE_CORES", "0-1")
        patch.delenv("NKIPY_EMULATOR_INSTANCE", raising=False)
        patch.delenv("NKIPY_EMULATOR_INJECT", raising=False)
        nrt = Nrt()
        nrt.init()
        yield nrt
        nrt.close()
