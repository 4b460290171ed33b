"""``python -m nkipy``: what is installed, what was found, and what works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nkipy
from nkipy import doctor
from nkipy.__main__ import main
from nkipy.doctor import Part, examine, is_well, report
from nkipy.installed import check_package
from tests.support import packages


@pytest.mark.usefixtures("neuron_core")
def test_all_is_there_and_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    found = {name: text.strip() for name, text in lines.items()}
    for name in ("nkipy", "spike", "nkipy-emulator", "nkipy-nki", "nkipy-nki-names"):
        assert found[name].startswith(f"{nkipy.__version__} in /")
    assert found["import nki"].endswith("nkipy_nki/__init__.py")
    assert "jaxlib " in found["libraries"] and "jaxlib" in found["engine"]
    assert found["compiler"].startswith("nkipy-emulator ")
    assert found["libnrt"].endswith("nkipy_emulator/lib/libnrt.so.1")
    assert "entry point 'emulator' offers it" in found["chosen because"]
    assert found["simulate_jit"] == found["baremetal_jit"] == "works"


def test_what_does_not_work_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_LIBNRT", "/no/libnrt.so.1")
    monkeypatch.setenv("NKIPY_COMPILER", "no-such-compiler")
    parts = {part.name: part for part in examine()}
    assert not parts["compiler"].works and not parts["baremetal_jit"].works
    assert "'no-such-compiler' is not on the PATH" in parts["compiler"].text
    assert parts["simulate_jit"] == Part("simulate_jit", "works")
    assert is_well(list(parts.values()))
    text = report(list(parts.values()))
    line = r"^compiler: +DOES NOT WORK: CompilerNotFoundError: "
    assert re.search(line, text, re.M)
    assert text.count("\n") == len(parts)


def test_a_wrong_result_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter([1.0, 2.0])  # traced, and called for NumPy's result
    monkeypatch.setattr(doctor, "_kernel", lambda x: x + next(calls))
    assert not doctor._tried("x", lambda: doctor._run("simulate_jit")).works


def test_packages_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.install(tmp_path, "nkipy-old", {}, {})
    metadata = tmp_path / "nkipy_old-1.0.dist-info/METADATA"
    lines = 'Requires-Dist: nkipy==0.0.1 ; python_version > "3"\nRequires-Dist: nkipyx'
    metadata.write_text(metadata.read_text() + lines + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    others = {part.name: part for part in doctor._others()}
    assert others["nkipy-emulator"].works and not others["nkipy-old"].works
    assert "which is for nkipy 0.0.1: install" in others["nkipy-old"].text
    assert not is_well([others["nkipy-old"]])


def test_a_strangers_spike(monkeypatch: pytest.MonkeyPatch) -> None:
    check_package.cache_clear()
    monkeypatch.delattr("spike.__nkipy_internal__")
    part = doctor._tried("spike", doctor._spike)
    assert not part.works and "another project's package" in part.text
    (libnrt,) = doctor._libnrt()
    assert not libnrt.works


WAYS = [Part(way, "", works=False) for way in ("simulate_jit", "baremetal_jit")]


@pytest.mark.parametrize(
    ("parts", "well"),
    [([], True), (WAYS, False), (WAYS[:1], True), ([Part("engine", "", False)], True)],
)
def test_all_is_well_if_a_kernel_can_run(parts: list[Part], well: bool) -> None:
    assert is_well(parts) is well
