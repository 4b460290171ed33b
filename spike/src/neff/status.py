"""The statuses with which libnrt answers.

They stand beside the reading of NEFFs, which needs neither libnrt nor spike, so that
both of these, and whoever takes libnrt's place, can read one list. spike's C++ gets its
own from this one when it is built, the emulator's by ``tools/generate_statuses.py``.
"""

from __future__ import annotations

from enum import IntEnum


class NrtStatus(IntEnum):
    """``NRT_STATUS``, all values that libnrt documents, by names without ``NRT_``."""

    SUCCESS = 0
    FAILURE = 1
    INVALID = 2
    INVALID_HANDLE = 3
    RESOURCE = 4
    TIMEOUT = 5
    HW_ERROR = 6
    QUEUE_FULL = 7
    LOAD_NOT_ENOUGH_NC = 9
    UNSUPPORTED_NEFF_VERSION = 10
    FAIL_HOST_MEM_ALLOC = 11
    UNINITIALIZED = 13
    CLOSED = 14
    QUEUE_EMPTY = 15
    EXEC_UNIT_UNRECOVERABLE = 101
    EXEC_BAD_INPUT = 1002
    EXEC_COMPLETED_WITH_NUM_ERR = 1003
    EXEC_COMPLETED_WITH_ERR = 1004
    EXEC_NC_BUSY = 1005
    EXEC_OOB = 1006
    COLL_PENDING = 1100
    EXEC_HW_ERR_COLLECTIVES = 1200
    EXEC_HW_ERR_HBM_UE = 1201
    EXEC_HW_ERR_NC_UE = 1202
    EXEC_HW_ERR_DMA_ABORT = 1203
    EXEC_SW_NQ_OVERFLOW = 1204
    EXEC_HW_ERR_REPAIRABLE_HBM_UE = 1205
    NETWORK_PROXY_FAILURE = 1206

    # The number, as of all IntEnums from Python 3.11 on.
    __str__ = int.__repr__

    @classmethod
    def of(cls, number: int) -> int:
        """The member of this number; the number itself if libnrt documents none."""
        return cls._value2member_map_.get(number, number)  # type: ignore[return-value]

    @property
    def nrt_name(self) -> str:
        """The name as libnrt's header has it."""
        return f"NRT_{self.name}"


#: What some of them mean, where the name does not say it.
MEANINGS: dict[NrtStatus, str] = {
    NrtStatus.FAILURE: "no more specific status fits",
    NrtStatus.INVALID: "bad NEFF, argument, tensor name or size",
    NrtStatus.INVALID_HANDLE: "a handle that was freed, or never was one",
    NrtStatus.RESOURCE: "memory or another resource ran out",
    NrtStatus.FAIL_HOST_MEM_ALLOC: "legacy; never returned",
    NrtStatus.UNINITIALIZED: "called before nrt_init",
    NrtStatus.CLOSED: "called after nrt_close",
    NrtStatus.EXEC_UNIT_UNRECOVERABLE: (
        "terminal until the runtime is initialised again"
    ),
    NrtStatus.EXEC_COMPLETED_WITH_NUM_ERR: "a result has NaN, and detection is on",
    NrtStatus.EXEC_OOB: "indirect access out of bounds",
}
