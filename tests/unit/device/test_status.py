"""Which status an exception stands for."""

from __future__ import annotations

import pytest

from neff import NeffError
from neff.status import NrtStatus
from nkipy.hlo.errors import (
    HLOProtoError,
    HLOUnsupportedError,
    HLOVerificationError,
)
from nkipy_emulator.device.status import DeviceError, describe_error
from nkipy_emulator.errors import (
    EngineUnavailableError,
    OutOfBoundsError,
    SimulationError,
    UnsupportedCustomCallError,
)

TIGHT = SimulationError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.")


@pytest.mark.parametrize(
    ("error", "loading", "executing"),
    [
        (DeviceError(NrtStatus.EXEC_OOB, "m"), 1006, 1006),
        (DeviceError(NrtStatus.UNSUPPORTED_NEFF_VERSION, "m"), 10, 10),
        (NeffError("m"), 2, 1004),
        (HLOProtoError("m"), 2, 1004),
        (HLOVerificationError("m"), 2, 1004),
        (HLOUnsupportedError("m"), 10, 1004),
        (UnsupportedCustomCallError("m"), 2, 1004),
        (SimulationError("m"), 2, 1004),
        (OutOfBoundsError("m"), 1006, 1006),
        (TIGHT, 4, 4),
        (MemoryError(), 4, 4),
        (EngineUnavailableError("m"), 1, 1),
        (KeyError("m"), 1, 1004),
        (KeyboardInterrupt(), 1, 1004),
    ],
    ids=lambda x: type(x).__name__,
)
def test_statuses(error, loading, executing):
    assert describe_error(error, "load")[0] == loading
    assert describe_error(error, "execute")[0] == executing


def test_texts():
    assert describe_error(ValueError("odd"), "load") == (1, "ValueError: odd")
    assert describe_error(MemoryError(), "load") == (4, "MemoryError: no message")
    ours = DeviceError(NrtStatus.INVALID, "plain")
    assert describe_error(ours, "load") == (2, "plain")
