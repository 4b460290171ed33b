"""Kernels written in the vendor's NKI language, as ops.

They need the vendor's compiler, which is not part of this package: without it these
entry points say so when they are called. Importing this module changes nothing.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = [
    "BETA2_NKI_AVAILABLE",
    "BETA3_ALLOCATION_MODES",
    "BETA3_COMPILE_MODES",
    "BETA3_NKI_AVAILABLE",
    "LEGACY_NKI_AVAILABLE",
    "NKICustomOp",
    "NKICustomOpHandle",
    "NKINotAvailableError",
    "nki_custom_op",
    "wrap_nki_kernel",
]

#: Which generations of the vendor's NKI this package can trace kernels of: none yet.
LEGACY_NKI_AVAILABLE = False
BETA2_NKI_AVAILABLE = False
BETA3_NKI_AVAILABLE = False
#: Modes that the third generation's compiler takes, when there is one.
BETA3_COMPILE_MODES: tuple[str, ...] = ()
BETA3_ALLOCATION_MODES: tuple[str, ...] = ()


class NKINotAvailableError(NotImplementedError, ImportError):
    """An NKI kernel was used, and nothing here can trace one."""


def _refuse(what: str) -> NoReturn:
    raise NKINotAvailableError(
        f"{what} needs the vendor's NKI compiler, which nkipy does not drive yet; write "
        "the kernel with NumPy functions, which nkipy traces to HLO"
    )


class NKICustomOp:
    """An NKI kernel as an op.

    Raises:
        NKINotAvailableError: always; there is no NKI compiler.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("NKICustomOp")


class NKICustomOpHandle:
    """An NKI kernel compiled for arguments of certain shapes and dtypes.

    Raises:
        NKINotAvailableError: always; there is no NKI compiler.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("NKICustomOpHandle")


def nki_custom_op(*args: Any, **kwargs: Any) -> NoReturn:
    """Make an op of an NKI kernel. Raises NKINotAvailableError."""
    _refuse("nki_custom_op")


def wrap_nki_kernel(*args: Any, **kwargs: Any) -> NoReturn:
    """Make a function of an NKI kernel. Raises NKINotAvailableError."""
    _refuse("wrap_nki_kernel")
