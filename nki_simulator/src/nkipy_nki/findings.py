"""What a run finds about a kernel: each kind once, with what is done about it.

A finding is an error, a warning, or not looked for. ``NKIPY_NKI_FINDINGS`` changes the
default, as in ``uninitialized-read=warning,capacity=off``, and so does the argument
`findings` of ``nki.simulate``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from nkipy_nki.errors import NkiError, NkiValidationError
from nkipy_nki.program import Line

__all__ = [
    "Collector",
    "DETAILS",
    "FINDINGS",
    "Finding",
    "Findings",
    "JSON_VERSION",
    "NkiWarning",
    "REFUSED",
    "collecting",
    "finding_of",
]

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
        group: the kind whose switch is this one's too, unless its own is set; or "".
        details: names of what a finding tells beside its message. One that does not
            apply is left out.
    """

    name: str
    level: str
    about: str
    details: tuple[str, ...] = ()
    first: str = ""
    group: str = ""


#: What a finding's details are, by name: their type in JSON, and their meaning.
DETAILS = {
    "operand": ("string", "the instruction's operand, by its parameter's name"),
    "missing": ("number", "how many elements were not written"),
    "position": ("list of numbers", "where the first element of that is in the view"),
    "value": ("number", "the index that is out of bounds"),
    "extent": ("number", "how many elements, or indices, there are"),
    "dimension": ("number", "the view's dimension that the index is of"),
    "memory": ("string", "`sbuf` or `psum`"),
    "live_bytes": ("number", "of a partition, where there are too many first"),
    "peak_bytes": ("number", "of a partition, where there are most"),
    "usable_bytes": ("number", "of a partition, that tiles can have"),
    "tiles": (
        "list of objects",
        "tiles: `name`, `shape`, `dtype`, `bytes_per_partition`; where each was made: "
        "`file`, `line`, `function`",
    ),
    "other_file": ("string", "the file of the other access"),
    "other_line": ("number", "its line"),
    "other_core": ("string", "whose it is"),
    "iteration": ("number", "the iteration that is looked at, from 0 on"),
    "other": ("number", "the iteration it depends on; -2 for several"),
    "strides": ("number", "how many strides the access has beside that of partitions"),
    "allowed": ("number", "how many it may have"),
    "count": ("number", "how many instructions, or elements, there are"),
    "limit": ("number", "how many there may be"),
}

_AT = "missing", "position"
_BEYOND = "operand", "value", "position", "extent", "dimension"
_BYTES = "memory", "live_bytes", "peak_bytes", "usable_bytes", "tiles"
_OTHER = "operand", "other_file", "other_line", "other_core"
_COMPILER = "would-not-compile"

_KINDS = (
    FindingKind(
        *("uninitialized-read", "error", "a read of what was never written"),
        ("operand", *_AT),
    ),
    FindingKind(
        "output-not-written", "error", "a result that is not wholly written", _AT
    ),
    FindingKind("out-of-bounds", "error", "an index beyond the tensor's end", _BEYOND),
    FindingKind(
        *("wrong-operand", "error", "a buffer, dtype or shape not allowed"),
        ("operand",),
    ),
    FindingKind("generation", "error", "what the target's generation does not have"),
    FindingKind("capacity", "error", "more live bytes than the memory has", _BYTES),
    FindingKind(
        *("address-overlap", "error", "live tensors at overlapping addresses"),
        ("tiles",),
    ),
    FindingKind("core-race", "error", "unordered accesses of cores or ranks", _OTHER),
    FindingKind(
        *("psum-never-written", "error", "accumulation onto nothing"),
        ("operand", *_AT),
    ),
    FindingKind("reduce-register", "error", "misuse of a reduce register"),
    FindingKind(
        *("psum-value-initialized", "warning", "accumulation onto set PSUM"),
        ("operand",),
    ),
    FindingKind(
        *("scattered-twice", "warning", "elements scattered to one place at once"),
        ("operand", "count", "position"),
    ),
    FindingKind(
        *(_COMPILER, "warning"),
        "an operation of no chip, or not of `nki.language`; a branch on elements",
    ),
    FindingKind(
        *(
            "too-many-strides",
            "warning",
            "an access with more strides than engines have",
        ),
        ("operand", "strides", "allowed"),
        group=_COMPILER,
    ),
    FindingKind(
        *("dynamic-dma", "warning", "an index that the DMA's mode does not know"),
        ("operand",),
        first="off",
        group=_COMPILER,
    ),
    FindingKind(
        *("nested-loops", "warning", "a loop over a register in another"),
        group=_COMPILER,
    ),
    FindingKind(
        *("program-size", "warning", "more instructions than the compiler takes"),
        ("count", "limit"),
        group=_COMPILER,
    ),
    FindingKind(
        *("private-result", "warning", "a result that is not in `shared_hbm`"),
        first="off",
        group=_COMPILER,
    ),
    FindingKind(
        *("iteration-race", "off", "iterations that depend"),
        ("iteration", "other"),
        first="error",
    ),
)
#: By name.
FINDINGS = {kind.name: kind for kind in _KINDS}
#: The kind of an error that has no switch, as nothing can go on after it, and no name
#: in documents.
REFUSED = "refused"
#: Of the fields that :meth:`Finding.as_json` gives, and of all JSON made of them.
JSON_VERSION = 1


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        kind: the name of its kind. What has no switch is `REFUSED`, or is called what
            the first generation's documentation calls it: ``err_...``.
        level: ``"error"`` or ``"warning"``.
        message: what was found.
        file: the kernel's file.
        line: the line in it.
        function: that the line is in.
        instruction: the instruction's name, or "".
        details: what `DETAILS` describes, such as ``value`` and ``extent``.
        calls: the lines that call `function`, the innermost first; the last is in the
            kernel's own function. Each has `file`, `line` and `function`.
    """

    kind: str
    level: str
    message: str
    file: str
    line: int
    function: str
    instruction: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Its fields, and the version of those."""
        return {"version": JSON_VERSION, **asdict(self)}


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


def _configured_levels() -> dict[str, str]:
    """The levels that the variable gives.

    Raises:
        NkiValidationError: there are none such.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        return levels_of(text)
    except ValueError as error:
        raise NkiValidationError(f"{VARIABLE}={text!r}: {error}") from None


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

    Attributes:
        found: what was found, in order.
        reports: how often something was reported, of whatever level.
        kernel: the name of the kernel that is run, where that is known.
    """

    def __init__(
        self, levels: Mapping[str, str] | None = None, *, first: bool = False
    ) -> None:
        given = {**_configured_levels(), **(levels or {})}
        for name, level in given.items():
            _require_known(name, level)
        #: Whether the kernel is of the first generation.
        self.is_first = first
        self._levels = {
            name: given.get(
                name, given.get(kind.group, (first and kind.first) or kind.level)
            )
            for name, kind in FINDINGS.items()
        }
        self.found: list[Finding] = []
        self.reports = 0
        self.kernel = ""
        self._collector = _COLLECTORS[-1] if _COLLECTORS else None
        if self._collector is not None:
            self._collector.runs.append(self)

    def wants(self, kind: str) -> bool:
        """Whether a kind is to be looked for."""
        return self._levels[kind] != "off"

    def refuse(self, error: NkiError, line: Line) -> None:
        """Keep an error that has no switch, and let it have its finding."""
        made = finding_of(error, line)
        self.found.append(made)
        if isinstance(error, NkiValidationError):
            error.finding = made

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
        self.reports += 1
        level = self._levels[kind]
        if level == "off":
            return
        finding = Finding(
            *(kind, level, message, *line, instruction, details), _calls(line)
        )
        goes_on = level == "warning" or (self._collector and kind in _GO_ON)
        if goes_on and any(
            (f.kind, f.file, f.line) == (kind, line.file, line.number)
            for f in self.found
        ):
            return
        self.found.append(finding)
        if self._collector is not None and goes_on:
            return
        called = f"{instruction}: " if instruction else ""
        behind = "\n  " if "\n" in message else " "  # what has lines of its own
        text = f"{called}{message}{behind}[{kind}]\n{line.told}"
        if level == "error":
            error = NkiValidationError(text)
            error.finding = finding
            raise error
        warnings.warn_explicit(NkiWarning(text), None, line.file, line.number or 1)


def finding_of(error: NkiError, line: Line) -> Finding:
    """What an error tells that no switch is for."""
    kind = getattr(error, "documented", "") or REFUSED
    message = str(error).partition("\n  at ")[0]
    return Finding(kind, "error", message, *line, calls=_calls(line))


def _calls(line: Line) -> list[dict[str, Any]]:
    return [
        {"file": at.file, "line": at.number, "function": at.function}
        for at in line.calls
    ]


# -- all findings of a process ---------------------------------------------------------
#: Kinds after which a run can go on, so that others are found too.
_GO_ON = frozenset(
    (
        *("uninitialized-read", "output-not-written", "capacity", "address-overlap"),
        *("core-race", "psum-never-written", "iteration-race"),
    )
)


class Collector:
    """Keeps the findings of all runs, which go on after an error where they can.

    Attributes:
        runs: the findings of each, in order.
    """

    def __init__(self) -> None:
        self.runs: list[Findings] = []

    @property
    def found(self) -> list[Finding]:
        """What was found, each once, in order."""
        by_text: dict[tuple[Any, ...], Finding] = {}
        for run in self.runs:
            for made in run.found:
                key = made.kind, made.level, made.file, made.line, made.message
                by_text.setdefault(key, made)
        return list(by_text.values())


_COLLECTORS: list[Collector] = []


@contextmanager
def collecting() -> Iterator[Collector]:
    """Keep the findings of all runs that begin meanwhile, in all threads."""
    made = Collector()
    _COLLECTORS.append(made)
    try:
        yield made
    finally:
        _COLLECTORS.remove(made)
