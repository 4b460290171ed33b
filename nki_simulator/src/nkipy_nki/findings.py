"""What a run finds about a kernel: each kind once, with what is done about it.

A finding is an error, a warning, or not looked for. ``NKIPY_NKI_FINDINGS`` changes the
default, as in ``uninitialized-read=warning,capacity=off``, and so does the argument
`findings` of ``nki.simulate``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nkipy_nki.errors import NkiValidationError
from nkipy_nki.program import Line

__all__ = ["FINDINGS", "Finding", "Findings", "NkiWarning"]

VARIABLE = "NKIPY_NKI_FINDINGS"
LEVELS = ("error", "warning", "off")


class NkiWarning(UserWarning):
    """A finding that is not an error."""


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding.

    Attributes:
        name: of its switch.
        level: what is done: ``"error"``, ``"warning"`` or ``"off"``.
        first: the same under the first generation, ``neuronxcc.nki``; "" if the same.
        about: what it is.
    """

    name: str
    level: str
    about: str
    first: str = ""


_KINDS = (
    FindingKind("uninitialized-read", "error", "a read of what was never written"),
    FindingKind("output-not-written", "error", "a result that is not wholly written"),
    FindingKind("out-of-bounds", "error", "an index beyond the tensor's end"),
    FindingKind("wrong-operand", "error", "a buffer, dtype or shape not allowed"),
    FindingKind("generation", "error", "what the target's generation does not have"),
    FindingKind("capacity", "error", "more live bytes than the memory has"),
    FindingKind("address-overlap", "error", "live tensors at overlapping addresses"),
    FindingKind("core-race", "error", "unordered accesses of cores or ranks"),
    FindingKind("psum-never-written", "error", "accumulation onto nothing"),
    FindingKind("reduce-register", "error", "misuse of a reduce register"),
    FindingKind("psum-value-initialized", "warning", "accumulation onto set PSUM"),
    FindingKind("would-not-compile", "warning", "what the compiler alone refuses"),
    FindingKind("iteration-race", "off", "iterations that depend", first="error"),
)
#: By name.
FINDINGS = {kind.name: kind for kind in _KINDS}


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        kind: the name of its kind.
        level: ``"error"`` or ``"warning"``.
        message: what was found.
        file: the kernel's file.
        line: the line in it.
        function: that the line is in.
        instruction: the instruction's name, or "".
        details: numbers and texts by kind, such as ``value`` and ``extent``.
    """

    kind: str
    level: str
    message: str
    file: str
    line: int
    function: str
    instruction: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


def levels_of(text: str) -> dict[str, str]:
    """The levels that ``kind=level,kind=level`` gives.

    Raises:
        ValueError: a kind or a level is not known.
    """
    levels = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, level = (p.strip() for p in part.partition("="))
        _require_known(name, level)
        levels[name] = level
    return levels


def _require_known(name: str, level: str) -> None:
    if name not in FINDINGS:
        raise ValueError(f"no finding is called {name!r}: {', '.join(FINDINGS)}")
    if level not in LEVELS:
        raise ValueError(f"{name}={level}: a finding is one of {', '.join(LEVELS)}")


class Findings:
    """The findings of a run.

    Args:
        levels: what is done about kinds, where it differs.
        first: whether the kernel is of the first generation.
    """

    def __init__(
        self, levels: Mapping[str, str] | None = None, *, first: bool = False
    ) -> None:
        given = {**levels_of(os.environ.get(VARIABLE, "")), **(levels or {})}
        for name, level in given.items():
            _require_known(name, level)
        #: Whether the kernel is of the first generation.
        self.is_first = first
        self._levels = {
            name: given.get(name, (first and kind.first) or kind.level)
            for name, kind in FINDINGS.items()
        }
        self.found: list[Finding] = []

    def wants(self, kind: str) -> bool:
        """Whether a kind is to be looked for."""
        return self._levels[kind] != "off"

    def report(
        self,
        kind: str,
        message: str,
        line: Line,
        instruction: str = "",
        **details: Any,
    ) -> None:
        """Keep a finding; a warning once for each line.

        Raises:
            NkiValidationError: its kind is an error.
        """
        level = self._levels[kind]
        if level == "off":
            return
        finding = Finding(kind, level, message, *line, instruction, details)
        if level == "warning" and any(
            (f.kind, f.file, f.line) == (kind, line.file, line.number)
            for f in self.found
        ):
            return
        self.found.append(finding)
        text = f"{f'{instruction}: ' if instruction else ''}{message} [{kind}]"
        text += f"\n  at {line} in {line.function}"
        if level == "error":
            error = NkiValidationError(text)
            error.finding = finding
            raise error
        warnings.warn_explicit(NkiWarning(text), None, line.file, line.number or 1)
