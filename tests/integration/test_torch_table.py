"""The docs' table of torch's operators says what the record says; without torch."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = r"^\| `([\w-]+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$"
GROUPS = {
    "float": {"float16", "float32", "float64", "bfloat16"},
    "complex": {"complex64", "complex128"},
    "int": {"int8", "int16", "int32", "int64"},
}


@pytest.fixture(scope="module")
def pages():
    file = ROOT / "docs/torch_pages.py"
    spec = importlib.util.spec_from_file_location("torch_pages", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def record(pages):
    return json.loads(pages.RECORD.read_text())


def dtypes(cell: str) -> set[str]:
    names = [name for name in re.split(r", |; ", cell) if name and name[0] not in "[–"]
    return set().union(*(GROUPS.get(name, {name}) for name in names))


def test_each_operator_has_one_row_with_its_dtypes(pages, record):
    table = pages.coverage(record).partition("\n## Fourier transforms\n")[2]
    found = re.findall(ROW, table, re.M)
    rows = record["operators"]
    assert sorted(name for name, *_ in found) == sorted(rows)
    for name, forward, backward, cpu, device in found:
        row = rows[name]
        assert dtypes(forward) == set(row["dtypes"])
        assert dtypes(backward) == set(row["backward"])
        for key, cell in (("cpu", cpu), ("device", device)):
            names = {f"aten::{n}" for n in re.findall(r"`([\w.]+)`", cell)}
            assert names == {n for n in row[key] if n.startswith("aten::")}
        assert ("a gap" in forward) == ("gap" in row)


def test_gaps_and_kernels_are_told(pages, record):
    text = pages.coverage(record)
    told = dict(re.findall(r"^\| `([\w:.]+)` \| `.*/(\w+)\.cpp` \|$", text, re.M))
    assert told == record["kernels"] and len(told) > 10
    gaps = {
        name: row["gap"] for name, row in record["operators"].items() if "gap" in row
    }
    part = text.partition("\n## Gaps\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", part, re.M)
    assert {name: cause for name, _, cause in found} == {
        name: gap["cause"] for name, gap in gaps.items()
    }
    for name, cell, _ in found:
        assert dtypes(cell) == set(gaps[name]["dtypes"])


def test_a_change_of_the_record_changes_the_page(pages, record):
    changed = json.loads(json.dumps(record))
    changed["operators"]["add"]["dtypes"].remove("int8")
    ours, theirs = pages.coverage(record), pages.coverage(changed)
    differing = [
        (a, b)
        for a, b in zip(ours.splitlines(), theirs.splitlines(), strict=True)
        if a != b
    ]
    assert len(differing) == 1
    assert differing[0][0].startswith("| `add` | float, complex, int, ")
    assert "int64, int32, int16, uint8" in differing[0][1]
