"""Timelines of several ranks, joined: who waits for whom, and what is refused.

The parts here are made by hand; tests/integration/test_timelines_of_ranks.py has those
of the emulator.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spike.joined_timeline import is_timeline, join_timelines

EVERYONE = "[[0,1]]"


def part(
    directory: Path,
    rank: int,
    origin: int,
    runs: list[tuple[int, int, list[tuple[str, int, int, str]]]],
    **other: Any,
) -> Path:
    """A part in which times are in ns since `origin`: runs with begin, duration, and
    the engines' events: name, begin in the run, duration, groups."""
    about = {"emulated": True, "producer": "nkipy-emulator", "notice": "by hand"}
    about |= {"dropped_runs": 0, "clock": "CLOCK_MONOTONIC", "origin_ns": origin}
    about |= {"machine": "this", **other}
    events: list[dict] = []

    def add(
        name: str, pid: int, tid: int, begin: int, duration: int, **args: Any
    ) -> None:
        times = {"ts": begin / 1000, "dur": duration / 1000}
        events.append(
            {"ph": "X", "name": name, "pid": pid, "tid": tid, "args": args, **times}
        )

    ranks = {"rank": rank, "ranks": 2}
    for begin, duration, engines in runs:
        add("k (host call)", 1, 1, begin, duration, **ranks)
        add("k", 100, 1, begin, duration, **ranks)
        for name, at, length, groups in engines:
            args = {"replica_groups": groups} if groups else {}
            lane = 8 if groups else 4
            add(name, 100, lane, begin + at, length, opcode=name, **args)
    path = directory / f"rank_{rank}.json"
    content = {"otherData": about, "traceEvents": events}
    path.write_text(json.dumps(content, separators=(",", ":")))
    return path


def spans(joined: dict, rank: int, name: str) -> list[tuple[int, int]]:
    return [
        (round(e["ts"] * 1000), round((e["ts"] + e["dur"]) * 1000))
        for e in joined["traceEvents"]
        if e["ph"] == "X" and e["pid"] == rank + 1 and e["name"] == name
    ]


def test_who_comes_early_waits_and_what_follows_is_later(tmp_path):
    engines = [("add", 0, 10, ""), ("sum", 10, 20, EVERYONE), ("sub", 30, 5, "")]
    # Rank 1 comes 100 ns later. The first one's second run begins when its first has
    # ended, or, with the wait, later; its third after a pause that is long enough.
    first = [(0, 40, engines), (40, 40, engines[:1]), (900, 40, engines[:1])]
    parts = [
        part(tmp_path, 0, 1000, first),
        part(tmp_path, 1, 1100, [(0, 40, engines)]),
    ]
    target = tmp_path / "all.json"
    join_timelines(parts, target)
    joined = json.loads(target.read_text())
    assert is_timeline(target)
    assert spans(joined, 0, "sum") == [(10, 130)]
    assert spans(joined, 1, "sum") == [(110, 130)]
    assert spans(joined, 0, "sub") == [(130, 135)]
    assert spans(joined, 0, "k") == [(0, 140), (140, 180), (900, 940)]
    assert spans(joined, 0, "add") == [(0, 10), (140, 150), (900, 910)]
    assert spans(joined, 1, "k") == [(100, 140)]
    # What was measured stays.
    assert spans(joined, 0, "k (host call)") == [(0, 40), (40, 80), (900, 940)]
    start, end = (e for e in joined["traceEvents"] if e["ph"] in "stf")
    assert (start["ph"], start["pid"], start["ts"]) == ("s", 1, 0.010)
    assert (end["ph"], end["pid"], end["ts"], end["bp"]) == ("f", 2, 0.110, "e")
    assert start["id"] == end["id"] and start["name"] == end["name"] == "sum"


def test_each_group_waits_for_its_own_ranks(tmp_path):
    alone = [("all", 10, 5, "[[0],[1]]"), ("sum", 20, 10, EVERYONE)]
    parts = [
        part(tmp_path, 0, 0, [(0, 40, alone)]),
        part(tmp_path, 1, 7, [(0, 40, alone)]),
    ]
    join_timelines(parts, tmp_path / "all.json")
    joined = json.loads((tmp_path / "all.json").read_text())
    assert spans(joined, 0, "all") == [(10, 15)] and spans(joined, 0, "sum") == [
        (20, 37)
    ]
    assert len([e for e in joined["traceEvents"] if e["ph"] in "stf"]) == 2


def test_programs_that_meet_in_another_order_are_not_joined(tmp_path):
    one = [("a", 0, 5, EVERYONE), ("b", 10, 5, "[[1,0]]")]
    other = [("b", 0, 5, "[[1,0]]"), ("a", 10, 5, EVERYONE)]
    parts = [
        part(tmp_path, 0, 0, [(0, 40, one)]),
        part(tmp_path, 1, 0, [(0, 40, other)]),
    ]
    join_timelines(parts, tmp_path / "all.json")
    joined = json.loads((tmp_path / "all.json").read_text())
    assert not [e for e in joined["traceEvents"] if e["ph"] in "stf"]
    assert spans(joined, 0, "k") == spans(joined, 1, "k") == [(0, 40)]


def test_what_cannot_be_joined(tmp_path):
    good = part(tmp_path, 0, 0, [(0, 40, [])])
    (tmp_path / "x").mkdir()
    other = part(tmp_path / "x", 1, 0, [(0, 40, [])], machine="another")
    target = tmp_path / "all.json"
    with pytest.raises(ValueError, match="rank_1.json .* of another machine"):
        join_timelines([good, other], target)
    with pytest.raises(ValueError, match="another one is of rank 0, too"):
        join_timelines([good, good], target)
    content = json.loads(good.read_text())
    for event in content["traceEvents"]:
        event["args"]["ranks"] = 3
    (tmp_path / "three.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="three.json .* of 3 ranks, not of 2"):
        join_timelines([good, tmp_path / "three.json"], target)
    endless = good.read_text().replace('"dur":', '"dur":Infinity,"was":', 1)
    for text in ("{}", "[]", "nonsense", '{"otherData": 1}', "[" * 100_000, endless):
        bad = tmp_path / "bad.json"
        bad.write_text(text)
        assert is_timeline(bad) == (text is endless)
        with pytest.raises(ValueError, match="bad.json"):
            join_timelines([bad], target)
    with pytest.raises(FileNotFoundError):
        join_timelines([tmp_path / "none"], target)
    assert not target.exists() and not is_timeline(tmp_path)
