"""The forms of an estimate, and the command."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy_emulator.cost_model import Estimate, Event, estimate
from nkipy_emulator.cost_model.__main__ import main
from nkipy_emulator.cost_model.report import estimate_table
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
