"""Where any part of the vendor's is there, both names are the vendor's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

#: Forms that the vendor's may have: files, and what of both names can be imported.
VENDORS = {
    "nki": ({"nki/__init__.py": "", "nki/language.py": ""}, "nki nki.language"),
    "neuronxcc without nki": ({"neuronxcc/__init__.py": ""}, "neuronxcc"),
    "neuronxcc": (
        {"neuronxcc/__init__.py": "", "neuronxcc/nki/__init__.py": ""},
        "neuronxcc neuronxcc.nki",
    ),
    "both": ({"nki/__init__.py": "", "neuronxcc/__init__.py": ""}, "nki neuronxcc"),
    "one file": ({"nki.py": ""}, "nki"),
    "nki without __init__": ({"nki/language/__init__.py": ""}, "nki nki.language"),
    "neuronxcc without __init__": (
        {"neuronxcc/nki/__init__.py": ""},
        "neuronxcc neuronxcc.nki",
    ),
}

LOOK = """
import importlib, sys
names = "nki nki.language neuronxcc neuronxcc.nki".split()
for name in {order}(names):
    try: module = importlib.import_module(name)
    except ModuleNotFoundError: continue
    assert module.__name__ == name, module
    print(name)
assert not [m for m in sys.modules if m.split(".")[0] == "nkipy_nki"]
"""

#: As setuptools has it: a finder after all others, which a .pth file installs.
EDITABLE = """
import sys
from importlib.machinery import PathFinder
class Editable:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in ("nki", "neuronxcc"):
            return PathFinder.find_spec(name, [{source!r}])
def install(): sys.meta_path.append(Editable)
"""


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def editable(site: Path, source: Path, name: str) -> None:
    """Install what is in `source` by a finder."""
    write(
        site,
        {
            f"{name}.py": EDITABLE.format(source=str(source)),
            f"{name}.pth": f"import {name}; {name}.install()\n",
        },
    )


def found(place, order: str = "list") -> list[str]:
    return sorted(place.code(LOOK.format(order=order)).split())


@pytest.mark.parametrize("order", ["list", "reversed"])
@pytest.mark.parametrize("form", VENDORS)
def test_both_names_are_the_vendors(place, form, order) -> None:
    files, names = VENDORS[form]
    write(place.site, files)
    assert found(place, order) == sorted(names.split())


@pytest.mark.parametrize("form", ["nki", "neuronxcc without nki"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_wherever_on_the_path_it_is(place, form, where) -> None:
    files, names = VENDORS[form]
    write(place.work.parent / "vendor", files)
    if where == "before":
        place.variables["PYTHONPATH"] = str(place.work.parent / "vendor")
    else:  # an editable package that is a path, which is read after ours
        (place.site / "zz.pth").write_text(f"{place.work.parent / 'vendor'}\n")
    assert found(place) == sorted(names.split())


@pytest.mark.parametrize("name", ["__editable___nki_finder", "zz_editable_finder"])
@pytest.mark.parametrize("form", ["nki", "neuronxcc without nki", "both"])
def test_an_editable_one_whose_finder_comes_last(place, form, name) -> None:
    """Before our .pth file is read or after."""
    files, names = VENDORS[form]
    source = place.work.parent / "source"
    write(source, files)
    editable(place.site, source, name)
    assert found(place) == sorted(names.split())


def test_a_folder_before_an_editable_one_is_left_as_python_has_it(place) -> None:
    source = place.work.parent / "source"
    write(source, VENDORS["nki"][0])
    editable(place.site, source, "zz_editable_finder")
    (place.work / "nki").mkdir()
    assert place.code("import nki; print(nki.__file__)") == "None\n"
    (place.work / "nki").rmdir()
    assert place.code("import nki; print(nki.__file__)").endswith(
        "source/nki/__init__.py\n"
    )


def test_a_folder_of_kernels_beside_the_vendors(place) -> None:
    write(place.site, VENDORS["neuronxcc"][0])
    (place.work / "nki").mkdir()
    said = place.code("import neuronxcc.nki, nki; print(nki.__path__)")
    assert "work/nki" in said


@pytest.mark.parametrize("ours", ["the user's", "the environment's"])
def test_an_environment_that_sees_the_site_of_the_system(system_site, ours) -> None:
    sites = [system_site.user_site, system_site.site]
    if ours == "the environment's":
        sites.reverse()
    system_site.install_ours(sites[0])
    assert system_site.code("import nki; print(nki.__name__)") == "nkipy_nki\n"
    write(sites[1], VENDORS["nki"][0])
    assert found(system_site) == ["nki", "nki.language"]


def test_one_that_was_imported_before_ours_were_asked_for(place) -> None:
    """From a path that is gone by then."""
    write(place.work / "vendor", VENDORS["nki"][0])
    said = place.code(
        "import sys\n"
        "sys.path.insert(0, 'vendor'); import nki; del sys.path[0]\n"
        "import nki.language\n"
        "try: import neuronxcc\n"
        "except ModuleNotFoundError: print(nki.language.__name__)"
    )
    assert said == "nki.language\n"


def test_one_that_comes_after_ours_were_imported(place) -> None:
    """They stay ours, both of them."""
    write(place.work / "vendor", VENDORS["both"][0])
    said = place.code(
        "import nki, sys\n"
        "sys.path.insert(0, 'vendor')\n"
        "import neuronxcc; print(nki.__name__, neuronxcc.__name__)"
    )
    assert said == "nkipy_nki nkipy_nki.neuronxcc\n"


def test_a_stand_in_of_a_test_is_anothers(place) -> None:
    said = place.code(
        "import sys, types\n"
        "sys.modules['nki'] = mine = types.ModuleType('nki')\n"
        "import nki; assert nki is mine\n"
        "try: import neuronxcc\n"
        "except ModuleNotFoundError: print('none')\n"
        "sys.modules['nki'] = None\n"
        "try: import nki\n"
        "except ModuleNotFoundError: print('blocked')"
    )
    assert said == "none\nblocked\n"


def test_the_placeholder_raises_its_own_error(place) -> None:
    write(place.site, {"nki/__init__.py": "raise ImportError('a placeholder')\n"})
    said = place.code("try: import nki\nexcept ImportError as error: print(error)")
    assert said == "a placeholder\n"
