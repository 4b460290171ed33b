"""What installed packages offer: found, loaded, and named if that fails."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from nkipy.hlo.entry_points import EntryPointError, describe, load, load_first, offers
from tests.support.packages import install


@pytest.fixture
def site(tmp_path: Path, monkeypatch):
    """A directory of installed packages, two of them with the same group."""
    install(tmp_path, "one", {}, {"test.things": {"a": "no_such_module:A"}})
    install(tmp_path, "two", {}, {"test.things": {"b": "os.path:sep", "c": "os:nope"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_offers_are_those_of_the_group_on_the_path(site, monkeypatch):
    assert sorted(o.name for o in offers("test.things")) == ["a", "b", "c"]
    assert offers("test.others") == ()
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(site)])
    assert offers("test.things") == ()


def test_an_offer_is_described_with_its_package(site):
    (offer,) = (o for o in offers("test.things") if o.name == "b")
    said = "entry point 'b' of 'test.things' (os.path:sep, from two 1.0)"
    assert describe(offer) == said
    assert load(offer) == "/"


def test_what_is_read_is_what_the_library_finds(site, tmp_path, monkeypatch):
    """Of all groups here, and of packages of the same name, the first on the path."""
    later = tmp_path / "later"
    install(later, "Two", {}, {"test.things": {"d": "os:sep"}})
    (later / "two-2.0.egg-info").mkdir()
    install(later, "x.y", {}, {"test.things": {"#e": "os:sep", "f": " os : sep [x]"}})
    monkeypatch.setattr(sys, "path", [*sys.path, str(later), "/no/such/directory"])
    groups = {*entry_points().groups}
    assert {"test.things", "nkipy.simulators"} < groups
    for group in groups:
        wanted = {(e.name, e.value) for e in entry_points(group=group)}
        assert {(o.name, o.value) for o in offers(group)} == wanted
    (offer,) = (o for o in offers("test.things") if o.name == "f")
    assert load(offer) == "/"


def test_packages_in_archives_are_found(tmp_path, monkeypatch):
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        info = "zipped-1.0.dist-info"
        file.writestr(f"{info}/METADATA", "Name: zipped\nVersion: 1.0\n")
        file.writestr(f"{info}/entry_points.txt", "[test.things]\nz = os.path:sep\n")
    monkeypatch.syspath_prepend(str(archive))
    assert [describe(o) for o in offers("test.things")] == [
        "entry point 'z' of 'test.things' (os.path:sep, from zipped 1.0)"
    ]


@pytest.mark.parametrize(
    ("name", "reason"), [("a", "ModuleNotFound"), ("c", "Attribute")]
)
def test_failures_are_named(site, name, reason):
    (offer,) = (o for o in offers("test.things") if o.name == name)
    with pytest.raises(
        EntryPointError, match=rf"^entry point '{name}'.*: {reason}Error"
    ) as e:
        load(offer)
    assert e.value.offer is offer and e.value.__cause__ is not None
    with pytest.raises(ImportError, match=f"entry point '{name}'"):
        load_first("test.things", name)


def test_the_first_that_can_be_loaded_is_taken(site):
    assert load_first("test.things") == "/"
    assert load_first("test.others") is None
    assert load_first("test.things", "z") is None


def test_finding_a_simulator_imports_no_metadata():
    """It takes longer to import than what asks it."""
    script = (
        "import sys\nfrom nkipy.execution.engines import find_engine\nfind_engine()\n"
        "print('importlib.metadata' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "group", ["nkipy.simulators", "nkipy.compilers", "spike.libnrt"]
)
def test_the_emulator_offers_one_of_each(group):
    (offer,) = offers(group)
    assert offer.dist is not None and offer.dist.name == "nkipy-emulator"
    assert callable(load(offer))


def test_a_broken_simulator_and_compiler_are_named(tmp_path, monkeypatch):
    groups = {
        "nkipy.simulators": {"s": "gone:S"},
        "nkipy.compilers": {"emulator": "gone:C"},
    }
    install(tmp_path, "nkipy-emulator", {}, groups)  # hides the one that is installed
    script = """
import nkipy.execution.engines as engines, nkipy.compiler.discovery as discovery
for find in (engines.find_engine, discovery.find_compiler):
    try:
        find()
    except ImportError as e:
        print(e)
"""
    environment = {"PYTHONPATH": str(tmp_path), "NKIPY_COMPILER": "emulator"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("entry point 's' of 'nkipy.simulators' (gone:S, from ")
    assert second.startswith(
        "entry point 'emulator' of 'nkipy.compilers' (gone:C, from"
    )
