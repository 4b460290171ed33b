"""Errors by the names that the first generation's documentation gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nkipy_nki.errors import NkiValidationError
from nkipy_nki.program import Line
from nkipy_nki.running import current, is_running, kernel_line

__all__ = ["fault", "refusing", "report"]


def fault(name: str, problem: str) -> NkiValidationError:
    """The error of a name such as ``"1d_arange_not_supported"``, at the kernel's line.

    The documentation's page `nki.errors` explains each under its name.
    """
    made = NkiValidationError(
        f"err_{name}: {problem}\n  at {kernel_line()} (see nki.errors, err_{name})"
    )
    made.documented = f"err_{name}"
    return made


def report(
    kind: str, name: str, problem: str, at: Line | None = None, **details: Any
) -> None:
    """Report a finding that the documentation has a name for.

    It is at the line that the kernel is at, unless `at` is given.

    Raises:
        NkiValidationError: it is an error, or no kernel is running.
    """
    if not is_running():
        raise fault(name, problem)
    text = f"err_{name}: {problem} (see nki.errors, err_{name})"
    current().findings.report(kind, text, at or kernel_line(), **details)


def refusing(
    short: str, module: str, refused: Mapping[str, str]
) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that refuses names, and says why.

    Args:
        short: the module's name in messages: ``"nl"``.
        module: its name.
        refused: reasons by name, or by how names begin.
    """

    def find(name: str) -> Any:
        for known, reason in refused.items():
            if name.startswith(known):
                raise NkiValidationError(f"{short}.{name} is refused: {reason}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find
