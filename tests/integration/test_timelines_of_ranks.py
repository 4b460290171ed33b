"""All ranks of a machine in one timeline, and arrows between their collectives."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import finish, start

KERNEL = """
import os, time
import numpy as np
from nkipy import distributed
from nkipy.runtime import DeviceKernel, DeviceTensor

me, ranks = distributed.rank(), distributed.world_size()

def kernel(x):
    pairs, everyone = distributed.replica_groups(2), distributed.replica_groups()
    y = distributed.all_reduce(x, pairs)
    ring = [(r, (r + 1) % ranks) for r in range(ranks)]
    y = np.tanh(distributed.collective_permute(y, ring))
    return distributed.all_gather(y, 0, everyone)

x = DeviceTensor.from_numpy(np.full((4, 4), me, np.float32))
loaded = DeviceKernel.compile_and_load(kernel, x)
loaded({"x": x})
"""

TRACED = (
    KERNEL
    + """
with distributed.timeline("step.json") as part:
    time.sleep(0.05 * me)
    result = loaded({"x": x}, save_trace=True, ntff_name=part)
assert os.path.isfile("step.json")
pair = [2 * (r // 2) * 2 + 1 for r in range(ranks)]  # r + its neighbour
expected = [np.tanh(np.float32(pair[r - 1])) for r in range(ranks)]
got = result["output0"].numpy()
np.testing.assert_allclose(got[::4, 0], expected, rtol=1e-5)
"""
)


def events_of(path: Path, ranks: int) -> list[dict[str, Any]]:
    """The events, of which each keeps the rules of the format."""
    shown = json.loads(path.read_text())
    assert path.read_bytes()[:30] == b'{"otherData":{"emulated":true,'
    assert "ESTIMATES of a cost model" in shown["otherData"]["notice"]
    events: list[dict[str, Any]] = shown["traceEvents"]
    assert {e["ph"] for e in events} == {"M", "X", "s", "t", "f"} - (
        {"t"} if ranks == 2 else set()
    )
    lanes = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    for event in events:
        if event["ph"] != "M":
            assert event["ts"] >= 0 and (event["pid"], event["tid"]) in lanes
    names = [
        (e["pid"], e["args"]["name"]) for e in events if e["name"] == "process_name"
    ]
    assert [pid for pid, _ in names] == list(range(1, ranks + 1))
    for rank, (_, name) in enumerate(names):
        assert name == f"rank {rank} of {ranks} (ESTIMATES below the host)"
    return events


def check_lanes(events: list[dict[str, Any]]) -> None:
    """No two events of a lane overlap, unless one is within the other."""
    lanes = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin = round(event["ts"] * 1000)
            lanes[event["pid"], event["tid"]].append(
                (begin, -begin - round(event["dur"] * 1000))
            )
    for spans in lanes.values():
        open_ends: list[int] = []
        for begin, negative in sorted(spans):
            while open_ends and open_ends[-1] <= begin:
                open_ends.pop()
            assert not open_ends or -negative <= open_ends[-1]
            open_ends.append(-negative)


@pytest.mark.device
@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_job_has_one_timeline(tmp_path, monkeypatch, ranks):
    monkeypatch.chdir(tmp_path)
    for status, _, errors in finish(start(TRACED, ranks, tmp_path)):
        assert status == 0, errors
    assert not list(tmp_path.glob(".timeline-*"))
    events = events_of(tmp_path / "step.json", ranks)
    check_lanes(events)
    flows = defaultdict(list)
    for event in events:
        if event["ph"] in "stf":
            flows[event["id"]].append(event)
    # An all-reduce of each pair; the permutation and the gather are everybody's.
    met = sorted((f[0]["name"], sorted(e["pid"] for e in f)) for f in flows.values())
    everyone = list(range(1, ranks + 1))
    pairs = [[r, r + 1] for r in range(1, ranks, 2)]
    assert met == [
        ("all-gather", everyone),
        *(("all-reduce", pair) for pair in pairs),
        ("collective-permute", everyone),
    ]
    collectives = {
        (e["pid"], e["args"]["opcode"]): e
        for e in events
        if e["ph"] == "X" and "replica_groups" in e["args"]
    }
    for flow in flows.values():
        phases = [e["ph"] for e in flow]
        assert phases == ["s", *"t" * (len(flow) - 2), "f"]
        times = [e["ts"] for e in flow]
        assert times == sorted(times) and flow[-1]["bp"] == "e"
        slices = [collectives[e["pid"], e["name"]] for e in flow]
        ends = []
        for event, piece in zip(flow, slices):
            # An arrow is bound to the slice that it begins in.
            assert event["tid"] == piece["tid"] and event["ts"] == piece["ts"]
            ends.append(round((piece["ts"] + piece["dur"]) * 1000))
        # Nobody is done before the last one has come; all are done together.
        assert len(set(ends)) == 1 and ends[0] > round(times[-1] * 1000)
    # Rank 1 came 50 ms after rank 0, which waits in the first collective.
    first, second = (collectives[pid, "all-reduce"] for pid in (1, 2))
    assert first["ts"] < second["ts"] and first["dur"] > second["dur"]


@pytest.mark.slow
@pytest.mark.device
def test_a_rank_that_fails_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failing = "part)\n    assert me != 1, 'of mine'"
    program = TRACED.replace("part)", failing)
    (_, _, one), (_, _, other) = finish(start(program, 2, tmp_path))
    assert (
        "NKIPyValueError: timeline: rank 1 has failed: AssertionError: of mine" in one
    )
    assert other.rstrip().endswith("AssertionError: of mine")
    program = TRACED.replace(", save_trace=True, ntff_name=part", "")
    for _, _, errors in finish(start(program, 2, tmp_path)):
        assert "timeline: rank 0 has traced nothing: pass the name as ntff" in errors
    program = TRACED.replace('"step.json") as', 'f"{me}.json") as')
    for _, _, errors in finish(start(program, 2, tmp_path)):
        assert "ranks name several files" in errors and "1.json" in errors
    program = TRACED.replace('"step.json") as', '"none/step.json") as')
    for _, _, errors in finish(start(program, 2, tmp_path)):
        assert "timeline: FileNotFoundError: " in errors
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.glob(".timeline-*"))
