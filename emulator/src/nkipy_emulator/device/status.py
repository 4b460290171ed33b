"""Statuses of the runtime, and which one an exception stands for."""

from __future__ import annotations

from typing import Literal

from neff import NeffError
from neff.status import NrtStatus
from nkipy.hlo.errors import (
    HLOProtoError,
    HLOUnsupportedError,
    HLOVerificationError,
)
from nkipy_emulator.cost_model.errors import CostModelError
from nkipy_emulator.errors import (
    CompileTimeoutError,
    EngineUnavailableError,
    ExecutionTimeoutError,
    OutOfBoundsError,
    ProgramSizeError,
    SettingError,
    SimulationError,
    UnsupportedCustomCallError,
    WorldError,
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


class DeviceError(RuntimeError):
    """A program cannot be loaded or executed; `status` is what the runtime returns."""

    def __init__(self, status: NrtStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: BaseException, phase: Phase) -> NrtStatus:
    """The status that `error`, raised while loading or executing, stands for."""
    if isinstance(error, DeviceError):
        return error.status
    if isinstance(
        error, (MemoryError, ProgramSizeError)
    ) or "RESOURCE_EXHAUSTED" in str(error):
        return NrtStatus.RESOURCE
    if isinstance(error, (CompileTimeoutError, ExecutionTimeoutError)):
        return NrtStatus.TIMEOUT
    if isinstance(error, EngineUnavailableError):
        return NrtStatus.FAILURE
    if isinstance(error, OutOfBoundsError):
        return NrtStatus.EXEC_OOB
    if isinstance(error, WorldError):
        is_load = phase == "load"
        return NrtStatus.FAILURE if is_load else NrtStatus.EXEC_HW_ERR_COLLECTIVES
    if phase == "execute":
        return NrtStatus.EXEC_COMPLETED_WITH_ERR
    if isinstance(error, HLOUnsupportedError):
        return NrtStatus.UNSUPPORTED_NEFF_VERSION
    if isinstance(error, (*_BAD_PROGRAMS, SettingError)):
        return NrtStatus.INVALID
    return NrtStatus.FAILURE


def describe_error(error: BaseException, phase: Phase) -> tuple[int, str]:
    """``(status, text)`` of an exception, for callers that know neither."""
    text = str(error) or "no message"
    status = status_of(error, phase)
    if not isinstance(error, DeviceError):
        text = f"{type(error).__name__}: {text}"
    return int(status), text
