"""What ranks in other processes have, and waiting for them."""

from __future__ import annotations

import pytest

import spike
from spike import NrtError, get_spike_singleton, spike_singleton


def test_a_rank_that_is_alone_has_what_it_gives():
    runtime = get_spike_singleton()
    runtime.barrier(0, 1)
    assert runtime.all_gather(b"a\0b", 0, 1) == b"a\0b"
    assert runtime.all_gather(b"", rank_id=0, world_size=1) == b""


@pytest.mark.parametrize("rank", [2, 3, -1, 1 << 40])
def test_a_rank_that_cannot_be_is_refused(rank):
    runtime = get_spike_singleton()
    with pytest.raises((ValueError, OverflowError)):
        runtime.barrier(rank, 2)
    with pytest.raises((ValueError, OverflowError)):
        runtime.all_gather(b"a", rank, 2)


def test_where_ranks_meet_has_to_be_said():
    with pytest.raises(NrtError, match="NEURON_RT_ROOT_COMM_ID .* rank 1 of 2"):
        get_spike_singleton().barrier(1, 2)


def test_who_sets_variables_is_called_before_the_runtime_opens(monkeypatch):
    monkeypatch.setattr(spike_singleton, "_before_opening", [])
    get_spike_singleton()
    with pytest.warns(UserWarning, match="reset"):
        spike.reset()
    called = []

    def note():
        called.append(spike_singleton._singleton)
        if len(called) == 1:
            raise KeyError("not now")

    spike_singleton.before_opening(note)
    spike_singleton.before_opening(note)  # once is enough
    with pytest.raises(KeyError, match="not now"):
        get_spike_singleton()
    assert not get_spike_singleton().is_closed
    assert called == [None, None]
