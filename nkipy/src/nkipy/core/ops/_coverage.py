"""The coverage table: one row per op record, for the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nkipy.core import dtypes as dt
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
        names = ", ".join(_numpy_name(f) for f in op.numpy)
        yield Row(op.chapter, op.name, names, _dtypes(op), op.note)


def markdown() -> str:
    """The table in Markdown, under one heading per chapter."""
    parts: list[str] = []
    chapter = None
    for row in coverage():
        if row.chapter != chapter:
            chapter = row.chapter
            parts += ["", f"## {chapter}", "", "| op | NumPy | dtypes | notes |"]
            parts += ["| --- | --- | --- | --- |"]
        parts.append(
            f"| `{row.name}` | {_code(row.numpy)} | {row.dtypes} | {row.note} |"
        )
    return "\n".join(parts).strip() + "\n"


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", ") if name)


def _numpy_name(function: object) -> str:
    name = getattr(function, "__name__", str(function))
    module = getattr(function, "__module__", "") or "numpy"
    inner = module.removeprefix("numpy").lstrip(".")
    return f"{inner}.{name}" if inner and not inner.startswith("_") else name


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
