"""Reports on schedules: figures, text, JSON, the timeline and the page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nki_simulator.tests.hand_made import (
    COPIES,
    LOAD,
    Kernel,
    random_kernel,
    tiled_sum,
)
from nkipy_nki.engines import Engine
from nkipy_nki.program import Line
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.timing import Report, schedule
from nkipy_nki.timing.series import busy_shares, thinned
from nkipy_nki.timing.sources import shown_lines

SEEDS = range(3)


def report_on(kernel: Kernel, name: str = "kernel") -> Report:
    return Report(schedule(kernel.program), name)


# -- figures ---------------------------------------------------------------------------
@pytest.mark.parametrize("seed", SEEDS)
def test_lines_sum_to_the_total(seed: int) -> None:
    report = report_on(random_kernel(seed))
    assert isclose(sum(t.critical + t.wait for t in report.lines), report.total)
    assert sum(t.instructions for t in report.lines) == 60
    for engine, busy in report.schedule.busy.items():
        of_lines = sum(t.busy.get(engine, 0.0) for t in report.lines)
        assert isclose(of_lines, busy) and 0 < report.share(engine) <= 1


def test_text_says_what_is_estimated() -> None:
    text = report_on(tiled_sum(16, 2), "tiled").text(lines=2)
    head, table, *_ = text.split("\n\n")
    assert re.match(r"tiled on trn2: \d+\.\d\d us \(estimate\), 48 instructions", head)
    assert "(estimate)" in table and "critical path (estimate)" in text
    assert re.search(r"VectorE +\d+\.\d\d us +\d+\.\d% +16", text)
    assert "kernel.py:1 in kernel" in text and "1 more lines" in text
    assert re.search(r"sbuf +\d+ +212984", text)


@pytest.mark.parametrize("seed", SEEDS)
def test_json_has_the_documented_fields(seed: int) -> None:
    report = report_on(random_kernel(seed))
    data = json.loads(json.dumps(report.as_json()))
    told = set(re.findall(r"``(\w+)``", str(Report.as_json.__doc__)))
    used: set[str] = set()

    def walk(part: Any, names: bool = True) -> None:
        if isinstance(part, dict):
            if names:
                used.update(part)
            for name, value in part.items():
                walk(value, name not in ("busy_ns", "instruction_counts"))
        elif isinstance(part, list):
            for value in part:
                walk(value)

    walk(data)
    assert used <= told and told - used <= {"estimate"}
    assert data["estimate"] is True and data["version"] == 1
    assert data["total_ns"] == report.total <= data["serial_ns"]
    assert sum(data["instruction_counts"].values()) == data["instructions"] == 60
    assert sum(e["instructions"] for e in data["engines"]) == 60
    assert all(0 < e["share"] <= 1 for e in data["engines"])
    for line in data["lines"]:
        assert line["file"] == "kernel.py" and line["critical_ns"] >= 0


# -- memory ----------------------------------------------------------------------------
def test_memory_over_program_order_and_time() -> None:
    made = Kernel()
    big, small, half = made.tile(128, 1000), made.tile(128, 10), made.tile(64, 10)
    source = made.hbm(128, 1000)
    made.add(LOAD, dst=big, src=source)
    made.add(LOAD, dst=half, src=made.hbm(64, 10))
    made.add(COPIES[Engine.vector], dst=small, src=big)
    made.add(COPIES[Engine.vector], dst=small, src=half)
    made.add(LOAD, dst=made.hbm(128, 10), src=small)
    report = report_on(made)
    use = report.memory[MemoryRegion.sbuf]
    assert use.by_place == [(0, 4000), (1, 4020), (2, 4060), (3, 60), (4, 40), (5, 0)]
    assert (use.peak.place, use.peak.nbytes) == (2, 4060)
    assert use.peak.tiles == (big, small, half)
    found = report.schedule
    times = dict(use.by_time)
    assert times[found.start[2]] == 4060 and use.by_time[-1] == (found.total, 0)
    assert report.memory[MemoryRegion.psum].by_time == []


def test_a_series_keeps_its_peaks() -> None:
    rng = np.random.default_rng(0)
    points = [(float(i), int(n)) for i, n in enumerate(rng.integers(0, 99, 12345))]
    found = thinned(points, 100)
    assert len(found) <= 100 and found[0][0] == 0.0
    assert max(n for _, n in found) == max(n for _, n in points)
    assert thinned(points[:50], 100) == points[:50]


def test_shares_of_a_lane() -> None:
    shares = busy_shares([0.0, 15.0], [5.0, 40.0], 40.0, 4)
    assert shares.tolist() == [0.5, 0.5, 1.0, 1.0]
    assert busy_shares([], [], 40.0, 4).tolist() == [0.0] * 4


# -- timeline --------------------------------------------------------------------------
@pytest.mark.parametrize("seed", SEEDS)
def test_the_timeline_is_one_of_trace_events(seed: int, tmp_path: Path) -> None:
    """By the trace event format's public description."""
    report = report_on(random_kernel(seed), "name <&>")
    path = tmp_path / "timeline.json"
    report.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["timeline.json"]
    nowhere = tmp_path / "nowhere" / "timeline.json"
    with pytest.raises(FileNotFoundError, match=f"folder.*{nowhere}"):
        report.save(nowhere)
    with pytest.raises(IsADirectoryError, match=f"folder.*{tmp_path}'$"):
        report.save_page(tmp_path)
    data = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert data["displayTimeUnit"] in ("ms", "ns")
    assert data["otherData"]["estimate"] is True
    lanes: dict[int, str] = {}
    spans: dict[int, list[tuple[float, float]]] = {}
    for event in data["traceEvents"]:
        assert {"ph", "pid", "tid", "name"} <= event.keys()
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        if event["ph"] == "M":
            if event["name"] == "thread_name":
                lanes[event["tid"]] = event["args"]["name"]
            continue
        assert event["ts"] >= 0
        if event["ph"] == "C":
            assert all(isinstance(v, int) for v in event["args"].values())
            continue
        assert event["ph"] == "X" and event["dur"] >= 0
        assert event["args"]["line"].startswith("kernel.py:")
        spans.setdefault(event["tid"], []).append((event["ts"], event["dur"]))
    assert spans.keys() == lanes.keys()
    assert all(name.endswith("(estimate)") for name in lanes.values())
    assert sum(map(len, spans.values())) == 60
    for lane in spans.values():  # nothing lies over one another
        lane.sort()
        for (start, length), (later, _) in zip(lane, lane[1:]):
            assert start + length <= later + 1e-9
    ends = [start + length for lane in spans.values() for start, length in lane]
    assert max(ends) <= report.total / 1000


def test_a_file_is_written_at_once_or_not_at_all(tmp_path: Path) -> None:
    report = report_on(tiled_sum(2, 2))
    path = tmp_path / "page.html"
    path.write_text("before")
    report.schedule.program.core = object()  # type: ignore[assignment]
    with pytest.raises(TypeError):
        report.save(path)
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


# -- page ------------------------------------------------------------------------------
class Page(HTMLParser):
    """Checks that tags are closed, and gathers texts and attributes."""

    VOID = {"meta", "rect", "path", "line", "br"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        raw = self.get_starttag_text() or ""
        if tag not in self.VOID or (tag == "rect" and not raw.endswith("/>")):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


SOURCE = """\
def kernel(x):
    # </td></table><script>alert("in a comment")</script>
    a = load(x)
    b = a < 3 & a > 2
"""


def odd_kernel(folder: Path, count: int) -> Report:
    """A kernel whose names and source are all markup."""
    file = folder / "<b>'&quot;.py"
    file.write_text(SOURCE)
    made = Kernel(file=str(file))
    evil = '"><script>alert(1)</script>'
    tiles = [made.tile(128, 64, name=evil) for _ in range(4)]
    source = made.hbm(128, 64)
    for i in range(count):
        made.add(LOAD, 3, dst=tiles[i % 4], src=source)
        engine = list(COPIES)[i % 3]
        step = made.add(COPIES[engine], 4, dst=tiles[(i + 1) % 4], src=tiles[i % 4])
        step.line = Line(str(file), 4, evil)
    return report_on(made, evil)


@pytest.mark.parametrize("count", [4, 2000])
def test_the_page_escapes_what_others_wrote(count: int, tmp_path: Path) -> None:
    report = odd_kernel(tmp_path, count)
    text = report.page()
    page = Page(text)
    assert not page.tags & {"script", "b", "img", "link", "iframe", "a"}
    assert not {name for name in page.attributes if name.startswith("on")}
    assert not page.attributes & {"src", "href"}
    for line in SOURCE.splitlines():
        assert line in page.texts
    assert "(estimate)" in text and "estimates" in text
    assert "http://" not in text and "https://" not in text


def test_the_page_of_many_instructions_is_small() -> None:
    report = report_on(tiled_sum(2000, 4, columns=64))
    assert len(report.schedule.steps) == 6000
    page = report.page()
    assert len(page) < 400_000
    Page(page)


def test_only_sources_are_shown(tmp_path: Path) -> None:
    for name, is_shown in (("secret.txt", False), ("secret.py", True)):
        file = tmp_path / name
        file.write_text("the secret\n")
        made = Kernel(file=str(file))
        made.add(LOAD, 1, dst=made.tile(128, 8), src=made.hbm(128, 8))
        assert ("the secret" in report_on(made).page()) is is_shown


FUNCTIONS = """import x
@x.jit
@x.other(
    1)
def kernel(a):
    b = a

    def body(i):
        return b
    body(1)
    return a

c = 1
d = 2
e = 3
f = [
"""


@pytest.mark.parametrize(
    "times, end, expected",
    [
        ([9], -1, range(2, 12)),  # the kernel, of whose inner function it is
        ([9, 15], -1, [*range(2, 12), 13, 14, 15, 16, 17]),
        ([6], None, range(4, 9)),  # no Python
        ([40], 0, range(38, 43)),  # there is no such line
    ],
)
def test_functions_are_shown_from_their_beginning(times, end, expected) -> None:
    text = FUNCTIONS.splitlines(keepends=True)
    assert shown_lines(text[:end], times) == list(expected)


def test_a_report_on_nothing() -> None:
    report = report_on(Kernel())
    assert "0 ns (estimate)" in report.text()
    Page(report.page())
    assert report.as_json()["lines"] == []
    assert report.timeline()["otherData"]["total_ns"] == 0
