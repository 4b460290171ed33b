"""The record behind the docs' table of operators says what happens on the device."""

from __future__ import annotations

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

from . import support_record
from .op_samples import DTYPES
from .support_record import WRITE, gaps, name_of

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("by_the_cpu"),  # programs' are in test_eager_programs.py
]
ANEW = f"{WRITE}=1 pytest -n 0 -m slow spike-torch/tests/test_support_record.py"
STALE = f"the record is not current; this writes it: {ANEW}"


def test_the_record_names_each_operator_and_gap() -> None:
    record = support_record.read()
    assert record["torch"] == support_record.torch_version(), STALE
    rows = record["operators"]
    assert list(rows) == sorted(op.formatted_name for op in op_db), STALE
    said = {name: row["gap"] for name, row in rows.items() if "gap" in row}
    assert said == gaps(), STALE
    assert record["kernels"] == dict(sorted(support_record.kernels().items())), STALE


def test_of_most_operators_the_record_says_that_they_are_right() -> None:
    record = support_record.read()
    rows = record["operators"].values()
    assert record["samples"] == support_record.SAMPLES
    assert record["dtypes"] == [name_of(dtype) for dtype in DTYPES]
    right = [row for row in rows if "float32" in row["dtypes"]]
    assert len(right) > 0.8 * len(rows)
    for row in rows:
        assert set(row["backward"]) <= set(row["dtypes"]) <= set(record["dtypes"])
        assert not set(row["dtypes"]) & set(row.get("gap", {}).get("dtypes", ()))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_who_computes_each_operator() -> None:
    now = support_record.operators()
    kernels = dict(sorted(support_record.kernels().items()))
    if support_record.is_to_be_written():
        support_record.begin(now, kernels)
    said = support_record.read()["operators"]
    for name, row in now.items():
        for key in ("cpu", "device"):
            assert said[name].get(key) == row.get(key), f"{name}: {STALE}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_each_operator_comes_out_as_the_record_says(dtype: torch.dtype) -> None:
    found = support_record.found(dtype)
    wrong = {name: text for name, (text, _) in found.items() if text != "right"}
    assert wrong == {}
    if support_record.is_to_be_written():
        support_record.enter(dtype, found)
    rows = support_record.read()["operators"]
    name = name_of(dtype)
    assert {op for op, row in rows.items() if name in row["dtypes"]} == set(found), (
        STALE
    )
    differentiated = {op for op, (_, has_gradient) in found.items() if has_gradient}
    said = {op for op, row in rows.items() if name in row["backward"]}
    assert said == differentiated, STALE
