"""Kernels written in the vendor's NKI language, as ops.

They need the vendor's NKI frontend, which nkipy does not drive yet: these entry points
check their arguments and then say so. Importing this module changes nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from nkipy.core.backend import get_backend

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

#: Which versions of the vendor's NKI this package can trace kernels of: none yet.
LEGACY_NKI_AVAILABLE = False
BETA2_NKI_AVAILABLE = False
BETA3_NKI_AVAILABLE = False
#: What the third version's compiler takes as modes.
BETA3_COMPILE_MODES = ("standard", "integration-alloc")
BETA3_ALLOCATION_MODES = ("fast", "ring", "max-reuse")


class NKINotAvailableError(ImportError):
    """An NKI kernel was used, and nothing here can trace one."""


def _refuse(what: str) -> NoReturn:
    raise NKINotAvailableError(
        f"{what} needs the vendor's NKI frontend, which nkipy does not drive yet; "
        "write the kernel with NumPy functions, which nkipy traces to HLO"
    )


class NKICustomOp:
    """An NKI kernel traced for operands of certain shapes; see `wrap_nki_kernel`.

    Raises:
        NKINotAvailableError: always; there is no NKI frontend.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("NKICustomOp")


def wrap_nki_kernel(
    kernel: Callable[..., Any],
    operands: Sequence[Any],
    grid: Sequence[int] = (),
    is_nki_beta_2_version: bool = False,
    is_nki_beta_3_version: bool = False,
    platform_target: str | None = None,
    nki_compile_mode: str = "standard",
    nisa_allocation_mode: str | None = None,
) -> NKICustomOp:
    """Make an op of an NKI kernel, for operands of these shapes.

    Raises:
        ValueError: a mode is none that there is.
        NKINotAvailableError: always else; there is no NKI frontend.
    """
    _check_mode("nki_compile_mode", nki_compile_mode, BETA3_COMPILE_MODES)
    if nisa_allocation_mode is not None:
        _check_mode(
            "nisa_allocation_mode", nisa_allocation_mode, BETA3_ALLOCATION_MODES
        )
    _refuse("wrap_nki_kernel")


def _check_mode(name: str, mode: str, known: Sequence[str]) -> None:
    if mode not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; received {mode!r}")


class NKICustomOpHandle:
    """An op with an NKI kernel for one backend or more; see `nki_custom_op`."""

    def __init__(self, nki_kernel: Callable[..., Any] | None) -> None:
        self.nki_kernel = nki_kernel

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Call the kernel in a trace.

        Raises:
            RuntimeError: no trace is active, or there is no kernel for its backend.
            NKINotAvailableError: always else; there is no NKI frontend.
        """
        if get_backend() == "cpu":
            raise RuntimeError("an NKI kernel is not supported on backend 'cpu'")
        if self.nki_kernel is None:
            raise RuntimeError(f"no nki_kernel was given for backend '{get_backend()}'")
        _refuse("calling an NKI kernel")


def nki_custom_op(
    *,
    nki_kernel: Callable[..., Any] | None = None,
    kernel_builder: Callable[..., Any] | None = None,
    input_specs: Sequence[Any] | None = None,
    output_specs: Sequence[Any] | None = None,
) -> NKICustomOpHandle:
    """Make an op of kernels, one for each backend.

    Args:
        nki_kernel: the kernel for the HLO backend.
        kernel_builder: makes the kernel for the nkigen backend, which is not supported.
        input_specs, output_specs: what a `kernel_builder` needs to know.

    Raises:
        ValueError: neither kernel is given, or a builder without specs.
    """
    if nki_kernel is None and kernel_builder is None:
        raise ValueError("At least one of nki_kernel and kernel_builder is required")
    if kernel_builder is not None and (input_specs is None or output_specs is None):
        raise ValueError("input_specs and output_specs are required by kernel_builder")
    return NKICustomOpHandle(nki_kernel)
