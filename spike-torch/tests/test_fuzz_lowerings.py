"""Random calls of lowerings, as fuzz_lowerings.py makes them."""

from __future__ import annotations

import pytest

from spike_torch.aten import OPERATORS

from . import fuzz_lowerings

#: Of seed 0. More are made by the script itself.
CASES = 60


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_few() -> None:
    bad: set[str] = set()
    names = [
        name
        for name in fuzz_lowerings._names(())
        if fuzz_lowerings._packet(name) not in fuzz_lowerings.UNKNOWN_VALUES
    ]
    became = [fuzz_lowerings._run(f"0:{case}", names, bad) for case in range(CASES)]
    assert not bad
    assert became.count("padded") > CASES / 3


@pytest.mark.slow
def test_what_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lowering that is wrong is found."""
    known = OPERATORS["aten::cos"]
    wrong = known._replace(lower=OPERATORS["aten::sin"].lower)
    monkeypatch.setitem(OPERATORS, "aten::cos", wrong)
    options = ["--seconds", "3", "--only", "aten::cos"]
    assert fuzz_lowerings.main(options) == 1
