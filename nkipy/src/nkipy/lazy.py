"""Names of a package that are imported on first use."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from nkipy.installed import check_package


def lazy_names(
    package: str, space: dict[str, Any], modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its name.
        space: its globals, which receive what has been imported.
        modules: for each name, the module that has it.
    """

    def getattribute(name: str) -> Any:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        space[name] = value = getattr(_imported(module, name), name)
        return value

    def names() -> list[str]:
        return sorted({*space, *modules})

    return getattribute, names


def _imported(module: str, name: str) -> ModuleType:
    """The module, for `name`. An ImportError says what is wrong with spike, if so."""
    try:
        imported = _without_collecting(module)
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("spike", "neff"):
            _check_spike(name)
        raise
    if "spike" in sys.modules:
        _check_spike(name)
    return imported


def _check_spike(name: str) -> None:
    try:
        check_package("spike")
    except ImportError as error:
        needs = f"{name} needs spike, which talks to the Neuron runtime: {error}"
        raise ImportError(needs, name="spike") from error


def _without_collecting(module: str) -> ModuleType:
    """A module, imported without looking for cycles in what stays for good.

    The collector would go through all code and records again and again as they become
    more, which is a sixth of what importing them takes.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return import_module(module)
    finally:
        if collects:
            gc.enable()
