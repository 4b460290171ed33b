"""What a rank says that waits for others, or cannot find them."""

from __future__ import annotations

import queue

import pytest

from nkipy_emulator.errors import WorldError
from nkipy_emulator.worlds import Worlds, membership
from tests.support.processes import free_port


@pytest.fixture
def worlds():
    made = Worlds("a test")
    yield made
    made.leave()


@pytest.mark.parametrize("rank, awaited", [(0, "rank 1, which has not"), (1, "rank 0")])
def test_who_waits_says_for_whom_and_why(worlds, rank, awaited, monkeypatch):
    monkeypatch.setattr(membership, "_TELL_AFTER_SECONDS", 0.5)
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "2")
    told: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(
        membership.logger, "warning", lambda text, *given: told.put(text % given)
    )
    worlds.join(f"127.0.0.1:{free_port()}", rank, 2)
    said = told.get(timeout=60)
    assert said.startswith(f"rank {rank} of 2 waits at 127.0.0.1:")
    assert f"for {awaited}" in said
    assert f"RANK={rank}, WORLD_SIZE=2" in said and "set NKIPY_LAUNCHER=none" in said


def test_a_machine_that_cannot_be_found_is_named(worlds):
    seat = worlds.join("no-such-machine.invalid:4000", 1, 2)
    with pytest.raises(WorldError, match="'no-such-machine.invalid' .*MASTER_ADDR"):
        seat.all_gather(b"1", "a test", 60.0)
