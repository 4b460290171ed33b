"""The coverage table: one row per op record, for the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._loading import name_in_numpy
from nkipy.core.ops._numpy_chapters import NUMPY_CHAPTERS, chapter_page, numpy_page
from nkipy.core.ops._registry import OPS, Op


class Row(NamedTuple):
    """What the table says of an op."""

    chapter: str
    name: str
    numpy: str
    dtypes: str
    note: str


_GROUPS: tuple[tuple[str, tuple[np.dtype, ...]], ...] = (
    ("float", dt.FLOATS),
    ("fp8", dt.FP8),
    ("int", dt.SIGNED),
    ("uint", dt.UNSIGNED),
    ("bool", (dt.bool_,)),
)


def coverage() -> Iterator[Row]:
    """A row for each record in the registry, by chapter and name."""
    for op in sorted(OPS.values(), key=lambda op: (op.chapter, op.name)):
        names = ", ".join(name_in_numpy(f) for f in op.numpy)
        yield Row(op.chapter, op.name, names, _dtypes(op), op.note)


def markdown() -> str:
    """The table in Markdown, under one heading per chapter of NumPy's reference.

    Ops that answer no function of NumPy's are under a heading of their own.
    """
    rows = {row.name: row for row in coverage()}
    answers = {name: op for op in OPS.values() for name in numpy_names(op)}
    parts: list[str] = []
    for title, page, names in NUMPY_CHAPTERS:
        parts += ["", f"## {title}", "", f"[NumPy's chapter]({chapter_page(page)})", ""]
        parts += ["| NumPy | op | dtypes | notes |", "| --- | --- | --- | --- |"]
        for name in names.split():
            op = answers.get(name)
            text = "– | |" if op is None else _row(op, rows[op.name])
            parts.append(f"| [`{name}`]({numpy_page(name)}) | {text} |")
    parts += ["", "## Ops that are no functions of NumPy's", ""]
    parts += ["| chapter | op | dtypes | notes |", "| --- | --- | --- | --- |"]
    for op in sorted(OPS.values(), key=lambda op: (op.chapter, op.name)):
        if not op.numpy:
            parts.append(f"| {op.chapter} | {_row(op, rows[op.name])} |")
    return "\n".join(parts).strip() + "\n"


def _row(op: Op, row: Row) -> str:
    """The op with a link to its page, its dtypes, and its note."""
    name = f"`{op.name}`"
    if op.name.isidentifier():
        name = f"{{py:func}}`{op.name} <nkipy.core.ops.{op.chapter}.{op.name}>`"
    return f"{name} | {row.dtypes} | {row.note}"


def numpy_names(op: Op) -> list[str]:
    """The functions of NumPy's that the op answers, by all their public names."""
    answered = {id(function) for function in op.numpy}
    return [
        inner + name
        for inner, space in (("", np), ("linalg.", np.linalg))
        for name in space.__all__
        if id(getattr(space, name, None)) in answered
    ]


def _dtypes(op: Op) -> str:
    """Whole groups by their name, single dtypes by theirs."""
    left = set(op.dtypes)
    parts = []
    for name, group in _GROUPS:
        if left.issuperset(group):
            parts.append(name)
        else:
            parts += [d.name for d in group if d in left]
    return ", ".join(parts)
