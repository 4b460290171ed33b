"""The tables of the documentation: all that there is, as the records say."""

from __future__ import annotations

import re

import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki import coverage
from nkipy_nki.dtypes import DTYPES
from nkipy_nki.findings import FINDINGS
from nkipy_nki.records import INSTRUCTIONS


def rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines if "---" not in line]


def test_each_instruction_has_a_row() -> None:
    told = rows(coverage.instructions())
    names = [re.search(r"`(\w+)( <|`$)", row[0]) for row in told]
    assert sorted(n[1] for n in names if n) == sorted(INSTRUCTIONS)
    assert {len(row) for row in told} == {4}


def test_a_row_says_what_the_record_does() -> None:
    (row,) = (r for r in rows(coverage.instructions()) if "`nc_matmul_mx " in r[0])
    assert row[1:3] == ["tensor", "trn3"]
    assert row[3].startswith("`dst` written: psum; ")
    (row,) = (r for r in rows(coverage.instructions()) if "`dma_copy " in r[0])
    assert row[2:] == ["all", "`dst` written: SBUF, HBM<br>`src` read: SBUF, HBM"]


def test_each_function_type_and_finding_has_a_row() -> None:
    told = {row[0] for row in rows(coverage.functions())}
    for name in ("fori_loop", "exp", "matmul", "tiles", "device_print", "tile_size"):
        assert f"`nl.{name}`" in told
    assert ":func:" not in coverage.functions()
    assert [r[0] for r in rows(coverage.types())[1:]] == [f"`nl.{n}`" for n in DTYPES]
    findings = rows(coverage.findings())[1:]
    assert [row[3] for row in findings] == [f"`{name}=…`" for name in FINDINGS]


def test_packages_of_chapters_give_out_no_modules() -> None:
    for package in (nl, nisa):
        given = {name: getattr(package, name) for name in package.__all__}
        assert given
        for name, value in given.items():
            assert not hasattr(value, "__path__") and not hasattr(value, "__file__")
            assert name != "annotations"
