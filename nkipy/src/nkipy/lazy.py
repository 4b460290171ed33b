"""Names of a package that are imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


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
        try:
            value = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name != "spike":
                raise
            raise ImportError(
                f"{name} needs the package spike, which talks to the Neuron runtime"
            ) from error
        space[name] = value
        return value

    def names() -> list[str]:
        return sorted({*space, *modules})

    return getattribute, names
