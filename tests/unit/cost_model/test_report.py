"""The forms of an estimate, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy_emulator.cost_model import Estimate, Event, estimate
from nkipy_emulator.cost_model.__main__ import main
from nkipy_emulator.cost_model.report import (
    NONE,
    SEVERAL,
    estimate_table,
    event_columns,
    lane_columns,
    time_alone,
)
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from tests.support.neffs import small_module


def make() -> Estimate:
    return Estimate(
        total_ns=3500,
        events=(
            Event("x", "load", "DMA", 0, 1500, 4096, 0),
            Event("dot\t7", "dot", "TensorE", 1500, 2000, 0, 128),
        ),
        busy_ns={"TensorE": 2000, "DMA": 1500},
        target="trn2",
        notes=("something was assumed",),
    )


def test_timeline_text_is_one_line_per_event():
    assert make().timeline_text() == (
        "DMA\tx\tload\t0\t1500\t4096\t0\nTensorE\tdot 7\tdot\t1500\t2000\t0\t128\n"
    )


def test_json_says_that_it_is_an_estimate():
    fields = json.loads(make().to_json())
    assert fields["kind"] == "estimate"
    assert fields["total_ns"] == 3500
    assert (fields["flops"], fields["dma_bytes"]) == (128, 4096)
    assert fields["events"][0] == dict(zip(Event._fields, make().events[0]))


def test_table():
    table = estimate_table(make())
    assert table.startswith("ESTIMATE for trn2; not a measurement, not calibrated\n")
    assert "estimated total: 3.500 us" in table
    assert "57.1 %" in table
    assert "note: something was assumed" in table
    assert "... and 1 more events" in estimate_table(make(), limit=1)


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def real() -> Estimate:
    """Of a program whose lanes overlap and wait."""
    x = np.zeros((256, 512), np.float32)
    return estimate(trace_function(lambda x: softmax(x @ x.T), (x,), {}).module)


def cells(columns: list, title: str) -> list[str]:
    (column,) = (c for c in columns if c.title == title)
    return column.cells


def thousandths(texts: list[str]) -> int:
    return sum(round(float(text) * 1000) for text in texts if text)


@pytest.mark.parametrize("limit", [None, 3])
def test_rows_add_up(real, limit):
    lanes, events = lane_columns(real), event_columns(real, limit)
    times = cells(lanes, "time us")
    assert thousandths(times) == thousandths(cells(events, "time us"))
    for lane, time, count in zip(cells(lanes, "lane"), times, cells(lanes, "events")):
        if time:
            own = [e.duration_ns for e in real.events if e.engine == lane]
            assert (thousandths([time]), int(count)) == (sum(own), len(own))
    *alone, total = cells(lanes, "alone us")
    assert thousandths(alone) == thousandths([total]) == real.total_ns
    assert thousandths(cells(lanes, "alone us")[-3:-2]) > 0  # several at once
    nbytes = sum(int(text or 0) for text in cells(events, "bytes"))
    assert nbytes == sum(e.bytes for e in real.events)


def test_time_alone_is_told_from_time_together():
    events = (
        Event("a", "load", "DMA", 0, 10, 0, 0),
        Event("b", "add", "VectorE", 5, 10, 0, 0),
        Event("c", "dot", "TensorE", 20, 50, 0, 0),  # ends after the total
    )
    alone = time_alone(Estimate(40, events, {}, "trn2"))
    assert {k: v for k, v in alone.items() if v} == {
        "DMA": 5,
        SEVERAL: 5,
        "VectorE": 5,
        NONE: 5,
        "TensorE": 20,
    }


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_the_table_is_within_the_width(real, width):
    lines = estimate_table(real, width=width).splitlines()
    rows = [line for line in lines[2:] if line.startswith(" ") or "  " in line.strip()]
    assert len(rows) > len(real.events)
    assert max(map(len, rows)) <= width
    wide = estimate_table(real)
    assert all(e.name in wide for e in real.events)


def test_a_notebook_shows_tables(real):
    html = real._repr_html_()
    tags = xml.etree.ElementTree.fromstring(f"<div>{html}</div>")
    lanes, events = tags.iter("table")
    assert "ESTIMATE" in html.partition("<table>")[0]
    assert len(list(events.iter("tr"))) == 1 + min(101, len(real.events))
    assert [td.text for td in list(lanes.iter("tr"))[-1]][0] == "estimated total"
    odd = Estimate(1, (Event("<b>", "add", "VectorE", 0, 1, 0, 0),), {}, "trn2")
    assert "&lt;b&gt;" in odd._repr_html_()


def test_command_reads_protos(tmp_path, capsys):
    module = trace_function(np.exp, (np.zeros((128, 128), np.float32),), {}).module
    path = tmp_path / "hlo.pb"
    path.write_bytes(module.serialize())
    assert main([str(path), "--target", "trn1", "--json", "--launch-ns", "0"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["target"] == "trn1"
    assert fields["total_ns"] == estimate(module, "trn1", launch_ns=0).total_ns


def test_command_reads_neffs(tmp_path):
    path = tmp_path / "file.neff"
    path.write_bytes(neff_bytes(small_module(), ProgramDescription(target="trn1")))
    command = [sys.executable, "-m", "nkipy_emulator.cost_model", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("ESTIMATE for trn1;")
    assert "TensorE" in result.stdout


@pytest.mark.parametrize("name", ["bad.pb", "bad.neff"])
def test_command_refuses_what_is_no_program(tmp_path, capsys, name):
    path = tmp_path / name
    path.write_bytes(b"\xff" * 100)
    assert main([str(path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert main([str(tmp_path / "missing.pb")]) == 1
    assert "missing.pb" in capsys.readouterr().err
