"""The chips to compile for, and which of them this machine is."""

from __future__ import annotations

import enum
import os
import warnings
from functools import lru_cache
from pathlib import Path

from nkipy.compiler.discovery import default_target

_PRODUCT_NAME = Path("/sys/devices/virtual/dmi/id/product_name")
#: The vendor's variable for compiling where there is no device.
OVERRIDE_VARIABLE = "NEURON_PLATFORM_TARGET_OVERRIDE"


class CompilationTarget(enum.Enum):
    """The generation of Trainium to compile for; DEFAULT is this machine's."""

    TRN1 = "trn1"
    TRN2 = "trn2"
    TRN3 = "trn3"
    DEFAULT = "default"


def get_platform_target(product_name: Path = _PRODUCT_NAME) -> CompilationTarget:
    """The target that this machine is.

    That is what ``NEURON_PLATFORM_TARGET_OVERRIDE`` says; else the Trainium instance
    that the firmware's product name tells of; else the machine that the emulator
    shows, if it is what compiles.

    Returns:
        The target; TRN2, with a warning, where the machine is none.

    Raises:
        ValueError: the variable names no target.
    """
    override = os.environ.get(OVERRIDE_VARIABLE)
    if override:
        return _named(override)
    product = _product(product_name)
    target = _family(product)
    if target is None:
        target = _family(default_target() or "")
    if target is not None:
        return target
    warnings.warn(
        f"this machine ({product or 'unknown product'}) is no Trainium instance; "
        "compiling for trn2",
        stacklevel=2,
    )
    return CompilationTarget.TRN2


def _named(name: str) -> CompilationTarget:
    target = _family(name.lower())
    if target is None:
        raise ValueError(
            f"{OVERRIDE_VARIABLE} is {name!r}; expected trn1, trn2 or trn3"
        )
    return target


def _product(product_name: Path) -> str:
    try:
        return product_name.read_text().strip().lower()
    except OSError:
        return ""


def _family(name: str) -> CompilationTarget | None:
    targets = (CompilationTarget.TRN1, CompilationTarget.TRN2, CompilationTarget.TRN3)
    return next((t for t in targets if name.startswith(t.value)), None)


def resolve_target(target: CompilationTarget | str) -> CompilationTarget:
    """`target`, or for DEFAULT this machine's; warns at most once per process.

    Args:
        target: the target, or its name.

    Raises:
        ValueError: there is no such target, or as :func:`get_platform_target`.
    """
    target = CompilationTarget(target)
    if target is not CompilationTarget.DEFAULT:
        return target
    override = os.environ.get(OVERRIDE_VARIABLE)
    return _platform_target(override, default_target())


@lru_cache(maxsize=8)
def _platform_target(override: str | None, emulated: str | None) -> CompilationTarget:
    """What is looked up does not change while those two, which the key is, do not."""
    return get_platform_target()
