"""One timeline of several ranks, from the emulator's profile of each.

The parts have the clock of their machine in common. What they estimate of a core knows
of no other rank: there, a collective takes its time as if all had come at once. Here a
rank that comes early waits: its collective lasts until the last one has come and it is
done, and what follows on that rank is so much later. Host's times stay as measured.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neff.input_file import open_regular
from neff.output_file import write_atomically

__all__ = ["is_timeline", "join_timelines"]

_HEAD = b'{"otherData":{"emulated":true,"producer":"nkipy-emulator",'
_NOTICE = (
    "Written by the emulator, joined by spike. No Neuron device was involved: the "
    "times of the cores and their engines are ESTIMATES of a cost model, in which "
    "ranks wait for each other in collectives; only those of the host were measured."
)
#: As in a part: its process of the host, that of its first core, lanes of executions,
#: and how many lanes an engine may have.
_HOST, _FIRST_CORE, _EXECUTION, _LANES = 1, 100, 1, 1000
#: The host's lane, which comes before the others of its rank.
_HOST_LANE = 0

_Json = dict[str, Any]


def is_timeline(path: str | Path) -> bool:
    """Whether a file is a timeline of the emulator's, or joined of such."""
    try:
        with open_regular(str(path)) as file:
            return file.read(len(_HEAD)) == _HEAD
    except OSError:
        return False


@dataclass
class _Slice:
    """A stretch of a lane; `begin` and `end` in ns of the machine's clock."""

    event: _Json
    tid: int
    begin: int
    end: int
    group: tuple[int, ...] = ()  # of a collective: the ranks that meet
    wait: int = 0


@dataclass
class _Run:
    """An execution. `ends` are those of collectives, as they were, and `waits` how much
    later all up to each have become."""

    begin: int
    end: int
    delay: int = 0
    ends: list[int] = field(default_factory=list)
    waits: list[int] = field(default_factory=lambda: [0])

    def delay_at(self, time: int) -> int:
        return self.delay + self.waits[bisect_right(self.ends, time)]


class _Track:
    """A rank's core: its slices by begin, the host's calls apart."""

    def __init__(self, rank: int, slices: list[_Slice]) -> None:
        self.rank = rank
        self.host = [s for s in slices if s.tid == _HOST_LANE]
        on_core = [s for s in slices if s.tid != _HOST_LANE]
        # What contains others comes before them.
        self.slices = sorted(on_core, key=lambda s: (s.begin, -s.end))
        executions = [s for s in self.slices if s.tid == _EXECUTION]
        self.runs = [_Run(s.begin, s.end) for s in executions]
        self._begins = [run.begin for run in self.runs]
        self.collectives = [s for s in self.slices if s.group]
        self.next, self._run = 0, 0

    def run_of(self, piece: _Slice) -> _Run:
        return self.runs[max(0, bisect_right(self._begins, piece.begin) - 1)]

    def arrive(self) -> int:
        """When the rank comes to its next collective."""
        piece = self.collectives[self.next]
        run = self._begin(self.run_of(piece))
        return piece.begin + run.delay_at(piece.begin)

    def leave(self, wait: int) -> None:
        piece = self.collectives[self.next]
        piece.wait = wait
        run = self.run_of(piece)
        run.ends.append(piece.end)
        run.waits.append(run.waits[-1] + wait)
        self.next += 1

    def _begin(self, wanted: _Run) -> _Run:
        """All runs up to this one begin when those before have ended."""
        while self.runs[self._run] is not wanted:
            before, run = self.runs[self._run], self.runs[self._run + 1]
            run.delay = max(0, before.end + before.delay_at(before.end) - run.begin)
            self._run += 1
        return wanted

    def move(self) -> None:
        """Give all slices the times that they have with the waits."""
        if self.runs:
            self._begin(self.runs[-1])
        delays: dict[tuple[int, str], int] = {}  # of what steps are in
        moved = []
        for piece in self.slices:
            run = self.run_of(piece)
            delay = run.delay_at(piece.begin)
            engine = piece.tid // _LANES or piece.tid
            call = piece.event["args"].get("call")
            if call is None:
                delays[engine, piece.event["name"]] = delay
            else:
                delay = delays.get((engine, call), delay)
            longer = piece.wait
            if piece.tid == _EXECUTION:
                longer = run.delay_at(piece.end) - run.delay
            moved.append((piece, delay, longer))
        for piece, delay, longer in moved:
            piece.begin += delay
            piece.end += delay + longer


def join_timelines(parts: Sequence[str | Path], path: str | Path) -> None:
    """Join the emulator's profiles of ranks of one machine to one file.

    A process of it is a rank, with the lanes of its core and the host's calls. What is
    one collective on several ranks is joined by a flow: from the rank that comes first
    to the last one. A rank's first collective in a group is that of the others', and so
    on: parts have to begin with the same execution.

    Args:
        parts: files that ``nrt_profile_stop`` has written, one of each rank.
        path: what becomes the file; one that is there is replaced.

    Raises:
        ValueError: a part is no profile of the emulator's; or they are of several
            machines, of jobs of several sizes, or two of one rank.
        OSError: a file cannot be read or written.
    """
    tracks, about = _read(parts)
    events: list[_Json] = []
    flows = list(_align(tracks))
    for track in tracks:
        track.move()
    first = [s.begin for t in tracks for s in (*t.host, *t.slices)]
    origin = min(first, default=0)
    for track in tracks:
        events += _names(track, about)
        for piece in (*track.host, *track.slices):
            begin, duration = piece.begin - origin, piece.end - piece.begin
            times = {"ts": begin / 1000, "dur": duration / 1000}
            place = {"pid": track.rank + 1, "tid": piece.tid}
            events.append({**piece.event, **place, **times})
    for number, flow in enumerate(flows, 1):
        events += _arrows(number, flow, origin)
    made = {
        "otherData": {
            "emulated": True,
            "producer": "nkipy-emulator",
            "notice": _NOTICE,
            **{key: about[key] for key in ("clock", "machine", "dropped_runs")},
            "origin_ns": origin,
            "ranks": about["ranks"],
        },
        "displayTimeUnit": "ns",
        "traceEvents": events,
    }
    text = json.dumps(made, separators=(",", ":"))
    write_atomically(Path(path), text.encode())


def _read(parts: Sequence[str | Path]) -> tuple[list[_Track], _Json]:
    """The tracks by rank, and what the parts say of themselves."""
    tracks: dict[int, _Track] = {}
    about: _Json = {"dropped_runs": 0, "names": {}}
    for part in parts:
        try:
            with open_regular(str(part)) as file:
                content = json.load(file)
            other = content["otherData"]
            for key in ("clock", "machine"):
                if about.setdefault(key, other[key]) != other[key]:
                    raise ValueError("it is of another machine, whose clock differs")
            about["dropped_runs"] += int(other["dropped_runs"])
            for track in _tracks(
                content["traceEvents"], int(other["origin_ns"]), about
            ):
                if tracks.setdefault(track.rank, track) is not track:
                    raise ValueError(f"another one is of rank {track.rank}, too")
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{part} is no profile of the emulator's") from error
        except (ValueError, OverflowError) as error:  # endless times
            raise ValueError(f"{part} cannot be joined to others: {error}") from error
    return [tracks[rank] for rank in sorted(tracks)], about


def _tracks(events: list[_Json], origin: int, about: _Json) -> Iterator[_Track]:
    by_core: dict[int, list[_Slice]] = defaultdict(list)
    names: dict[tuple[int, int], str] = {}
    ranks: dict[int, int] = {}
    for event in events:
        pid, tid = event["pid"], event["tid"]
        core = tid - 1 if pid == _HOST else pid - _FIRST_CORE
        if event["ph"] == "M" and event["name"] == "thread_name":
            names[core, _HOST_LANE if pid == _HOST else tid] = event["args"]["name"]
        if event["ph"] != "X":
            continue
        begin = origin + round(event["ts"] * 1000)
        end = begin + round(event["dur"] * 1000)
        lane = _HOST_LANE if pid == _HOST else tid
        by_core[core].append(_Slice(event, lane, begin, end))
        if lane == _HOST_LANE:
            ranks[core] = event["args"]["rank"]
            count = event["args"]["ranks"]
            if about.setdefault("ranks", count) != count:
                raise ValueError(f"it is of {count} ranks, not of {about['ranks']}")
    for core, slices in by_core.items():
        rank = int(ranks[core])
        for piece in slices:
            piece.group = _group_of(piece.event, rank)
        for (of, lane), name in names.items():
            if of == core:
                about["names"][rank, lane] = name
        yield _Track(rank, slices)


def _align(tracks: Sequence[_Track]) -> Iterator[list[tuple[_Track, _Slice, int]]]:
    """Let ranks wait for each other; who comes to each collective when, by time.

    What cannot be, as two programs have their collectives in another order, is not
    joined.
    """
    by_rank = {track.rank: track for track in tracks}
    keys: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    for track in tracks:
        counts: dict[tuple[int, ...], int] = defaultdict(int)
        keys[track.rank] = []
        for piece in track.collectives:
            keys[track.rank].append((piece.group, counts[piece.group]))
            counts[piece.group] += 1
    totals = {(r, k) for r, found in keys.items() for k in found}

    def head(track: _Track) -> tuple[tuple[int, ...], int] | None:
        found = keys[track.rank]
        return found[track.next] if track.next < len(found) else None

    while any(head(track) for track in tracks):
        for track in tracks:
            key = head(track)
            if key is None:
                continue
            members = [by_rank[r] for r in key[0] if (r, key) in totals]
            if all(head(member) == key for member in members):
                yield _meet(members)
                break
        else:
            for track in tracks:
                if head(track) is not None:
                    track.arrive()
                    track.leave(0)


def _meet(members: Iterable[_Track]) -> list[tuple[_Track, _Slice, int]]:
    come = [(t, t.collectives[t.next], t.arrive()) for t in members]
    last = max(time for _, _, time in come)
    for track, _, time in come:
        track.leave(last - time)
    return sorted(come, key=lambda c: (c[2], c[0].rank))


def _group_of(event: _Json, rank: int) -> tuple[int, ...]:
    """The ranks of a collective that this one meets; () for what is none."""
    for group in json.loads(event["args"].get("replica_groups", "[]")):
        if rank in group:
            return tuple(map(int, group))
    return ()


def _arrows(
    number: int, flow: list[tuple[_Track, _Slice, int]], origin: int
) -> Iterator[_Json]:
    for place, (track, piece, time) in enumerate(flow):
        if len(flow) == 1:
            return
        phase = "s" if place == 0 else "f" if place == len(flow) - 1 else "t"
        yield {
            "ph": phase,
            **({"bp": "e"} if phase == "f" else {}),
            "id": number,
            "name": piece.event["args"].get("opcode", piece.event["name"]),
            "cat": "collective",
            "pid": track.rank + 1,
            "tid": piece.tid,
            "ts": (time - origin) / 1000,
        }


def _names(track: _Track, about: _Json) -> Iterator[_Json]:
    title = f"rank {track.rank} of {about['ranks']} (ESTIMATES below the host)"
    yield _metadata(track, 0, "process_name", name=title)
    yield _metadata(track, 0, "process_sort_index", sort_index=track.rank)
    for lane in sorted({piece.tid for piece in (*track.host, *track.slices)}):
        name = about["names"].get((track.rank, lane), f"lane {lane}")
        is_host = lane == _HOST_LANE
        shown = "host (measured wall clock)" if is_host else name
        order = lane if lane >= _LANES else lane * _LANES
        yield _metadata(track, lane, "thread_name", name=shown)
        yield _metadata(track, lane, "thread_sort_index", sort_index=order)


def _metadata(track: _Track, lane: int, what: str, **args: Any) -> _Json:
    place = {"pid": track.rank + 1, "tid": lane}
    return {"ph": "M", "name": what, **place, "args": args}
