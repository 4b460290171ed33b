"""Status codes of the runtime, and which one an exception stands for."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from neff import NeffError
from nkipy.hlo.errors import HLOProtoError, HLOVerificationError
from nkipy_emulator.cost_model.errors import CostModelError
from nkipy_emulator.errors import (
    EngineUnavailableError,
    OutOfBoundsError,
    SimulationError,
    UnsupportedCustomCallError,
)

Phase = Literal["load", "execute"]


# What is wrong with the file or the program, not with us.
_BAD_PROGRAMS = (
    NeffError,
    HLOProtoError,
    HLOVerificationError,
    CostModelError,
    SimulationError,
    UnsupportedCustomCallError,
)


class Status(IntEnum):
    """The codes of ``NRT_STATUS`` that loading and executing a program can end with."""

    SUCCESS = 0
    FAILURE = 1
    INVALID = 2
    RESOURCE = 4
    LOAD_NOT_ENOUGH_NC = 9
    UNSUPPORTED_NEFF_VERSION = 10
    EXEC_UNIT_UNRECOVERABLE = 101
    EXEC_BAD_INPUT = 1002
    EXEC_COMPLETED_WITH_ERR = 1004
    EXEC_OOB = 1006


class DeviceError(RuntimeError):
    """A program cannot be loaded or executed; `status` is what the runtime returns."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: BaseException, phase: Phase) -> Status:
    """The status that `error`, raised while loading or executing, stands for."""
    if isinstance(error, DeviceError):
        return error.status
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return Status.RESOURCE
    if isinstance(error, EngineUnavailableError):
        return Status.FAILURE
    if isinstance(error, OutOfBoundsError):
        return Status.EXEC_OOB
    if phase == "execute":
        return Status.EXEC_COMPLETED_WITH_ERR
    if isinstance(error, _BAD_PROGRAMS):
        return Status.INVALID
    return Status.FAILURE


def describe_error(error: BaseException, phase: Phase) -> tuple[int, str]:
    """``(status, text)`` of an exception, for callers that know neither."""
    text = str(error) or "no message"
    status = status_of(error, phase)
    if not isinstance(error, DeviceError):
        text = f"{type(error).__name__}: {text}"
    return int(status), text
