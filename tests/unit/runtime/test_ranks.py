"""How simulations of ranks meet, and which groups of ranks are refused."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.errors import NKIPyValueError
from nkipy.core.ops import all_reduce
from nkipy.distributed.processes import ROOT, World
from nkipy.runtime import DeviceKernel, baremetal_jit
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


@pytest.mark.parametrize("groups", [[[0]], [[0, 2]], [[0, 1], [2, 3]]])
def test_wrong_groups_are_refused_before_compiling(groups, tmp_path):
    def total(x):
        return all_reduce(x, groups)

    x = np.ones(4, np.float32)
    how = {"cc_enabled": True, "rank_id": 0, "world_size": 2, "build_dir": tmp_path}
    told = r"all-reduce is over the ranks .* world_size={}: the groups .*\n.*{}:\d+"
    with pytest.raises(NKIPyValueError, match=told.format(2, "test_ranks.py")):
        DeviceKernel.compile_and_load(total, x, **how)
    assert not list(tmp_path.iterdir())
    if len(groups[0]) > 1:
        with pytest.raises(NKIPyValueError, match=told.format(1, "test_ranks.py")):
            baremetal_jit(total)(x)
