"""Which libnrt, and the package without one."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from spike import SpikeError, library


class Emulator:
    """What an installed package offers."""

    name = "emulator"

    def load(self):
        return lambda: "/emulator/libnrt.so.1"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine to which a test adds devices and libraries."""
    monkeypatch.delenv("SPIKE_LIBNRT", raising=False)
    monkeypatch.setattr(library, "DEVICES", str(tmp_path / "neuron*"))
    monkeypatch.setattr(library, "VENDOR_LIBRARY", tmp_path / "libnrt.so.1")
    monkeypatch.setattr(library, "find_library", lambda name: None)
    offers: list[EntryPoint | Emulator | Broken] = [Emulator()]
    monkeypatch.setattr(library, "entry_points", lambda group: offers)
    return tmp_path, offers


def test_an_explicit_path_wins(machine, monkeypatch):
    (machine[0] / "neuron0").touch()
    (machine[0] / "libnrt.so.1").touch()
    monkeypatch.setenv("SPIKE_LIBNRT", "/my/libnrt.so")
    assert library.locate() == library.Library("/my/libnrt.so", "SPIKE_LIBNRT names it")


def test_the_vendors_where_there_is_a_device(machine, monkeypatch):
    directory, _ = machine
    (directory / "libnrt.so.1").touch()
    assert library.locate().path == "/emulator/libnrt.so.1"
    (directory / "neuron0").touch()
    found = library.locate()
    assert found.path == str(directory / "libnrt.so.1")
    assert found.reason == f"a Neuron device is present ({directory / 'neuron0'})"
    (directory / "libnrt.so.1").unlink()
    assert library.locate().path == "/emulator/libnrt.so.1"
    monkeypatch.setattr(library, "find_library", lambda name: f"lib{name}.so.1")
    assert library.locate().path == "libnrt.so.1"


class Broken:
    """What a package offers that cannot be imported."""

    name = "broken"
    value = "broken.library:path"

    def load(self):
        raise ImportError("no module named 'broken'")


def test_a_broken_offer_stands_in_nobodys_way(machine):
    machine[1].insert(0, Broken())
    assert library.locate().path == "/emulator/libnrt.so.1"


def test_a_broken_offer_is_named_where_there_is_no_other(machine):
    machine[1][:] = [Broken()]
    said = "'broken' .broken.library:path.: ImportError: no module named 'broken'"
    with pytest.raises(SpikeError, match=said):
        library.locate()


def test_none(machine):
    machine[1].clear()
    with pytest.raises(
        SpikeError, match="no libnrt found: .* install the wheel of nkipy-emulator"
    ):
        library.locate()


def test_report(fake, monkeypatch):
    monkeypatch.setenv("SPIKE_LIBNRT", str(fake.path))
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "0-1")
    report = library.report()
    for text in (f"{fake.path}\n", "SPIKE_LIBNRT names it\n", "2.32.0.0 (fake)\n"):
        assert text in report
    assert "visible cores:           2\n" in report
    assert "NEURON_RT_VISIBLE_CORES: 0-1\n" in report


def test_module(fake):
    result = subprocess.run(
        [sys.executable, "-m", "spike"],
        env={"SPIKE_LIBNRT": str(fake.path)},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert str(fake.path) in result.stdout
    result = subprocess.run(
        [sys.executable, "-m", "spike"],
        env={"SPIKE_LIBNRT": "/no/libnrt.so"},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(
        "spike-run: error: Spike Error: Failed to load libnrt"
    )


def test_importing_is_light():
    script = """
import sys, spike, spike.neff
assert "SpikeTensor" in dir(spike)
heavy = {"spike._spike", "numpy", "ml_dtypes", "torch"} & set(sys.modules)
assert not heavy, heavy
import neff
assert all(getattr(spike.neff, name) is getattr(neff, name) for name in neff.__all__)
assert spike.SpikeTensor.__name__ == "SpikeTensor"
try:
    spike.nothing
except AttributeError as error:
    assert "'spike' has no attribute 'nothing'" in str(error)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
