"""Every instruction, by its record's samples, against what is written apart from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from nkipy_nki import NkiValidationError
from nkipy_nki.records import INSTRUCTIONS, InstructionRecord, Sample
from tests.support.nki import EXPECTED
from tests.support.nki.samples import run_sample

RECORDS = [record for _, record in sorted(INSTRUCTIONS.items())]
ACCEPTED = [(r, s) for r in RECORDS for s in r.samples()]
REFUSED = [(r, s) for r in RECORDS for s in r.refused()]


def _names(cases: list[tuple[InstructionRecord, Sample]]) -> list[str]:
    return [
        f"{record.name}-{sample.label or i}" for i, (record, sample) in enumerate(cases)
    ]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_an_instruction_has_samples_and_expected_values(
    record: InstructionRecord,
) -> None:
    assert any(True for _ in record.samples())
    assert any(True for _ in record.refused())
    assert record.name in EXPECTED


@pytest.mark.parametrize("record, sample", ACCEPTED, ids=_names(ACCEPTED))
def test_a_sample_gives_what_is_expected(
    record: InstructionRecord, sample: Sample
) -> None:
    expected, tolerance = EXPECTED[record.name]
    found, wanted = run_sample(record, sample), expected(sample)
    for got, values_of_one in zip(
        found, [wanted] if isinstance(wanted, Mapping) else wanted, strict=True
    ):
        for name, values in values_of_one.items():
            mine = got.pop(name)
            assert mine.shape == values.shape
            _compare(mine, values, tolerance)
        assert not got, "what else is written has no expected values"


def _compare(mine: np.ndarray, values: np.ndarray, tolerance: float) -> None:
    if mine.dtype.kind in "iub":
        np.testing.assert_array_equal(mine, values)
        return
    wide, expected = mine.astype(np.float64), values.astype(np.float64)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(wide[~finite], expected[~finite])
    scale = np.max(np.abs(expected[finite]), initial=0.0)
    np.testing.assert_allclose(
        wide[finite], expected[finite], tolerance, tolerance * scale
    )


@pytest.mark.parametrize("record, sample", REFUSED, ids=_names(REFUSED))
def test_a_wrong_sample_is_refused(record: InstructionRecord, sample: Sample) -> None:
    assert sample.message
    with pytest.raises(NkiValidationError, match="(?s)" + record.name) as raised:
        run_sample(record, sample)
    assert sample.message in str(raised.value)
    assert "tests/support/nki/samples.py:" in str(raised.value)
