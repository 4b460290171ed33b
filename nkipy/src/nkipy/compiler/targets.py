"""The chips to compile for, and which of them this machine is."""

from __future__ import annotations

import enum
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nkipy.chips import CHIPS, DEFAULT, find_chip
from nkipy.compiler.discovery import default_target
from nkipy.hlo.arguments import describe
from nkipy.hlo.errors import HLOArgumentValueError

_PRODUCT_NAME = Path("/sys/devices/virtual/dmi/id/product_name")
#: The vendor's variable for compiling where there is no device.
OVERRIDE_VARIABLE = "NEURON_PLATFORM_TARGET_OVERRIDE"


class _Members(enum.EnumMeta):
    if TYPE_CHECKING:  # which there are, a type checker cannot read from the table

        def __getattr__(cls, name: str) -> CompilationTarget: ...


class CompilationTarget(enum.Enum, metaclass=_Members):
    """The chip to compile for: TRN1, TRN2, …; DEFAULT is this machine's.

    There is one for each chip of :mod:`nkipy.chips` that is compiled for as itself.
    """

    _ignore_ = ["chip"]

    for chip in CHIPS:
        if chip.compiles_as == chip.name:
            vars()[chip.name.upper()] = chip.name
    DEFAULT = "default"


def get_platform_target(product_name: Path = _PRODUCT_NAME) -> CompilationTarget:
    """The target that this machine is.

    That is what ``NEURON_PLATFORM_TARGET_OVERRIDE`` says; else the Trainium instance
    that the firmware's product name tells of; else the machine that the emulator
    shows, if it is what compiles.

    Returns:
        The target; that of :data:`nkipy.chips.DEFAULT`, with a warning, where the
        machine is none.

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
        f"compiling for {DEFAULT.compiles_as}",
        stacklevel=2,
    )
    return CompilationTarget(DEFAULT.compiles_as)


def _named(name: str) -> CompilationTarget:
    target = _family(name.lower())
    if target is None:
        *others, last = (t.value for t in CompilationTarget if t.value != "default")
        raise ValueError(
            f"{OVERRIDE_VARIABLE} is {name!r}; expected {', '.join(others)} or {last}"
        )
    return target


def _product(product_name: Path) -> str:
    try:
        return product_name.read_text().strip().lower()
    except OSError:
        return ""


def _family(name: str) -> CompilationTarget | None:
    chip = find_chip(name)
    return None if chip is None else CompilationTarget(chip.compiles_as)


def known_target(target: CompilationTarget | str) -> CompilationTarget:
    """`target`, which may be its name.

    Raises:
        HLOArgumentValueError: there is no such target.
    """
    try:
        return CompilationTarget(target)
    except ValueError:
        known = ", ".join(t.value for t in CompilationTarget)
        raise HLOArgumentValueError(
            f"the target is one of {known}, but received {describe(target)}"
        ) from None


def resolve_target(target: CompilationTarget | str) -> CompilationTarget:
    """`target`, or for DEFAULT this machine's; warns at most once per process.

    Args:
        target: the target, or its name.

    Raises:
        ValueError: there is no such target, or as :func:`get_platform_target`.
    """
    target = known_target(target)
    if target is not CompilationTarget.DEFAULT:
        return target
    override = os.environ.get(OVERRIDE_VARIABLE)
    return _platform_target(override, default_target())


@lru_cache(maxsize=8)
def _platform_target(override: str | None, emulated: str | None) -> CompilationTarget:
    """What is looked up does not change while those two, which the key is, do not."""
    return get_platform_target()
