"""What there is of the language, as Markdown for its documentation.

Instructions are told by their records, findings by theirs, and the language's functions
by their descriptions: nothing is listed a second time.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

from nkipy.chips import CHIPS
from nkipy_nki import language
from nkipy_nki.dtypes import DTYPES, DTypeRecord
from nkipy_nki.findings import DETAILS, FINDINGS, VARIABLE
from nkipy_nki.records import INSTRUCTIONS, InstructionRecord, OperandRule
from nkipy_nki.regions import HBM, ON_CHIP, MemoryRegion

__all__ = ["findings", "functions", "instructions", "types"]

#: What Sphinx takes for the kind of a name, which Markdown does not.
_ROLE = re.compile(r":\w+:(?=`)")
#: Shorter names of sets of memories.
_PLACES = {frozenset(HBM): "HBM", frozenset(ON_CHIP): "SBUF, PSUM"}
_PLACES[frozenset({*HBM, MemoryRegion.sbuf})] = "SBUF, HBM"
_PLACES[frozenset({*HBM, *ON_CHIP})] = "SBUF, PSUM, HBM"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _chapter_title(module: str) -> str:
    """The first sentence of a module's docstring."""
    doc = inspect.getdoc(importlib.import_module(module)) or module
    return doc.partition("\n\n")[0].replace("\n", " ").rstrip(".")


# -- instructions ----------------------------------------------------------------------
def instructions() -> str:
    """A table for each chapter: an instruction's engines, targets and operands."""
    chapters: dict[str, list[InstructionRecord]] = {}
    for _, record in sorted(INSTRUCTIONS.items()):
        chapters.setdefault(record.module, []).append(record)
    head = ("instruction", "engines", "targets", "operands")
    parts = (
        f"### {_chapter_title(module)}\n\n{_table(head, map(_row, records))}"
        for module, records in sorted(chapters.items())
    )
    return "\n".join(parts)


def _row(record: InstructionRecord) -> tuple[str, ...]:
    place = f"{record.module}.{record.name}"
    public = record.name in importlib.import_module(record.module).__all__
    return (
        f"{{py:func}}`{record.name} <{place}>`" if public else f"`{record.name}`",
        ", ".join(engine.name for engine in record.engines),
        _targets(record),
        "<br>".join(_operand(*operand) for operand in record.operands.items()),
    )


def _targets(record: InstructionRecord) -> str:
    """The chips that have an instruction; "all" if each has."""
    last = record.until or max(chip.generation for chip in CHIPS)
    names = [c.name for c in CHIPS if record.since <= c.generation <= last]
    return "all" if len(names) == len(CHIPS) else ", ".join(names)


def _operand(name: str, rule: OperandRule) -> str:
    """What an operand may be: where it lies, and of which types if not of any."""
    regions = frozenset(rule.regions)
    listed = ", ".join(region.value for region in MemoryRegion if region in regions)
    kinds = [_PLACES.get(regions, listed)] if regions else []
    kinds += ["a number"] * rule.scalar + ["a register"] * rule.register
    done = " and ".join(["read"] * rule.read + ["written"] * rule.written)
    return f"`{name}` {done}: {' or '.join(kinds)}{_types_of(rule)}"


def _types_of(rule: OperandRule) -> str:
    if not rule.dtypes:
        return ""
    plain = {n for n, r in DTYPES.items() if not (r.is_packed or r.is_scalar_only)}
    return "; no packed" if plain == {*rule.dtypes} else f"; {', '.join(rule.dtypes)}"


# -- the language ----------------------------------------------------------------------
def functions() -> str:
    """A table for each chapter of ``nki.language``: what it has, and what that is."""
    chapters: dict[str, list[str]] = {}
    for name in language.__all__:
        value = getattr(language, name)
        if isinstance(value, (DTypeRecord, MemoryRegion)):
            continue
        module = getattr(value, "__module__", None) or type(value).__module__
        if module.startswith("nkipy_nki."):
            chapters.setdefault(module, []).append(name)
    head = ("name", "what it is")
    parts = (
        f"### {_chapter_title(module)}\n\n{_table(head, _told(names))}"
        for module, names in sorted(chapters.items())
    )
    return "\n".join(parts)


def _told(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        doc = inspect.getdoc(getattr(language, name)) or ""
        sentence = doc.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        yield f"`nl.{name}`", _ROLE.sub("", sentence)


def types() -> str:
    """A table of the element types."""
    head = ("type", "kind", "bytes", "finite values")
    return _table(head, map(_type_row, DTYPES.values()))


def _type_row(record: DTypeRecord) -> tuple[str, ...]:
    values = f"{record.lowest:g} to {record.highest:g}"
    if record.packs is not None:
        values = f"four {record.packs.name}"
    kind = f"{record.kind}, scalars only" if record.is_scalar_only else record.kind
    return f"`nl.{record.name}`", kind, str(record.device_itemsize), values


# -- findings --------------------------------------------------------------------------
def findings() -> str:
    """A table of the kinds of findings, and of what is done about each unless told."""
    head = ("finding", "under `nki`", "under `neuronxcc.nki`", f"`{VARIABLE}=`")
    rows: list[Any] = [
        (kind.about, kind.level, kind.first or kind.level, f"`{kind.name}=…`")
        for kind in FINDINGS.values()
    ]
    return _table(head, rows)


def details() -> str:
    """A table of what each kind of finding tells as data, and one of what that is."""
    kinds: list[Any] = [
        (f"`{kind.name}`", ", ".join(f"`{name}`" for name in kind.details))
        for kind in FINDINGS.values()
        if kind.details
    ]
    meanings: list[Any] = [
        (f"`{name}`", type_, about) for name, (type_, about) in DETAILS.items()
    ]
    told = _table(("kind", "its details"), kinds)
    return told + "\n" + _table(("detail", "type", "what it is"), meanings)


def groups() -> str:
    """Which kinds another's switch is for as well, in a sentence."""
    names = [f"`{kind.name}`" for kind in FINDINGS.values() if kind.group]
    (group,) = {kind.group for kind in FINDINGS.values() if kind.group}
    return (
        f"The switch `{group}` is that of {', '.join(names)} too, unless they are set."
    )
