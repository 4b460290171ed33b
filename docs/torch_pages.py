"""The page on torch's operations, made of the record that the device's tests write.

``docs/conf.py`` writes it with each build; torch need not be installed for it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "spike-torch/tests/support.json"
#: Whether pages that need torch and its device can be run.
HAS_TORCH = all(find_spec(name) is not None for name in ("torch", "spike_torch"))
_CPP = "spike-torch/src/cpp/{}.cpp"

COVERAGE = """# What was tested

Of each operator in the database that torch {torch} has for its own tests (`op_db`),
up to {samples} samples in each dtype are run on the device and the CPU, and compared:
values, dtypes, shapes and strides, and gradients where there are some. This page is
made from the record of such a run, in {dtypes}.

Of {all} operators, {right} come out as the CPU's wherever the CPU does them; {gaps} are
known [gaps](#gaps), and the CPU does none of the samples of {others} (–).

*By the CPU* are the operators that fell back in the samples' forward pass; *on the
device* are the kernels of the device's own that were called besides. Operators with
none of either return what they are given, or need no tensor of the device's.

"""
KERNELS = """## Kernels of the device's own

What torch's dispatcher has. Those of `convolutions.cpp` and `recurrent_cells.cpp` have
the CPU compute.

"""
GAPS = """## Gaps

Operators that do not come out as the CPU's, by cause.

"""
#: Titles, and what the names of their operators begin with; the last takes the others.
_CHAPTERS = {
    "Fourier transforms": "fft_",
    "Linear algebra": "linalg_",
    "Networks": "nn_functional_",
    "Special functions": "special_",
    "Masked tensors": "masked_",
    "Windows": "signal_windows_",
    "Others": "",
}
#: Dtypes that are told together.
_GROUPS = {
    "float": ("float32", "float64", "float16", "bfloat16"),
    "complex": ("complex64", "complex128"),
    "int": ("int64", "int32", "int16", "int8"),
}


def write(folder: Path) -> None:
    """Write the page into a folder."""
    path, text = folder / "coverage.md", coverage(json.loads(RECORD.read_text()))
    if not path.exists() or path.read_text() != text:
        path.write_text(text)  # what is the same need not be read anew


def coverage(record: Mapping[str, Any]) -> str:
    """The page."""
    rows = record["operators"]
    kinds = Counter(_kind(row) for row in rows.values())
    head = COVERAGE.format(
        torch=record["torch"],
        samples=record["samples"],
        dtypes=", ".join(f"`{name}`" for name in record["dtypes"]),
        all=len(rows),
        **{kind: kinds[kind] for kind in ("right", "gaps", "others")},
    )
    places = sorted(record["kernels"].items(), key=lambda item: item[::-1])
    kernels = [(f"`{name}`", f"`{_CPP.format(file)}`") for name, file in places]
    gaps = [_gap(name, **row["gap"]) for name, row in rows.items() if "gap" in row]
    parts = [head, KERNELS, _table(("operator", "source"), kernels), "\n", GAPS]
    parts += [_table(("operator", "dtypes", "cause"), gaps), *_chapters(rows)]
    return "".join(parts)


def _chapters(rows: Mapping[str, Any]) -> Iterator[str]:
    left = dict(rows)
    titles = ("operator", "dtypes", "gradients", "by the CPU", "on the device")
    for chapter, prefix in _CHAPTERS.items():
        names = [name for name in left if name.startswith(prefix)]
        lines = [_line(name, left.pop(name)) for name in names]
        yield f"\n## {chapter}\n\n{_table(titles, lines)}"


def _gap(name: str, cause: str, dtypes: list[str]) -> tuple[str, ...]:
    return f"`{name}`", _dtypes(dtypes), cause


def _kind(row: Mapping[str, Any]) -> str:
    if "gap" in row:
        return "gaps"
    return "right" if row["dtypes"] else "others"


def _line(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    dtypes, backward = _dtypes(row["dtypes"]) or "–", _dtypes(row["backward"])
    if "gap" in row:
        dtypes += "; [a gap](#gaps)"
    return f"`{name}`", dtypes, backward, _names(row["cpu"]), _names(row["device"])


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name.removeprefix('aten::')}`" for name in names)


def _dtypes(names: Iterable[str]) -> str:
    """Whole groups by their name, single dtypes by theirs."""
    left = list(names)
    parts = []
    for group, members in _GROUPS.items():
        if set(members) <= set(left):
            parts.append(group)
            left = [name for name in left if name not in members]
    return ", ".join((*parts, *left))


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(titles)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
