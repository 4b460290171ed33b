"""How simulations of ranks meet."""

from __future__ import annotations

import pytest

from nkipy.core.errors import NKIPyValueError
from nkipy.distributed.processes import ROOT, World
from nkipy.runtime.ranks import TIMEOUT, meeting


@pytest.fixture(autouse=True)
def _address(monkeypatch):
    monkeypatch.setenv(ROOT, "127.0.0.1:4000")


@pytest.mark.parametrize("text, seconds", [("", 600), ("1", 1), ("1000000", 1000000)])
def test_seconds_are_those_of_the_runtime(monkeypatch, text, seconds):
    monkeypatch.setenv(TIMEOUT, text)
    assert meeting(World(1, 2)).seconds == seconds


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "nan", "inf", "1000001", "²", "x"])
def test_what_the_runtime_does_not_take_is_refused(monkeypatch, text):
    monkeypatch.setenv(TIMEOUT, text)
    with pytest.raises(NKIPyValueError, match=TIMEOUT):
        meeting(World(1, 2))
