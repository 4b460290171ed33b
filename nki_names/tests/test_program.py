"""``python -m nkipy_nki_names``: whose the names are, and scripts without .pth."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

import pytest

TOOL = ("-m", "nkipy_nki_names")
SCRIPT = """
import sys, nki, neuronxcc.nki, beside
print(__name__, nki.__name__, sys.argv, beside.HERE)
sys.exit(int(sys.argv[1]))
"""


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def distribution(site: Path, name: str, version: str, top: str) -> None:
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    put(site, f"{info}/METADATA", text)
    put(site, f"{info}/top_level.txt", f"{top}\n")


# -- the report ------------------------------------------------------------------------
def test_ours(place) -> None:
    nki, neuronxcc, why = place.run(*TOOL).splitlines()
    assert nki == f"nki: nkipy's, {place.site}/nkipy_nki/__init__.py"
    assert neuronxcc.endswith("/nkipy_nki/neuronxcc/__init__.py")
    assert why == "why: the vendor's are not installed"


def test_the_vendors(place) -> None:
    put(place.site, "nki/__init__.py", "")
    distribution(place.site, "nki", "0.7.0", "nki")
    nki, neuronxcc, why = place.run(*TOOL).splitlines()
    assert nki == f"nki: the vendor's nki 0.7.0, {place.site}/nki/__init__.py"
    assert neuronxcc.startswith("neuronxcc: not there, ")
    assert why == "why: nki is installed"


def test_the_vendors_first_generation_alone(place) -> None:
    put(place.site, "neuronxcc/__init__.py", "")
    distribution(place.site, "neuronx-cc", "2.20", "neuronxcc")
    nki, neuronxcc, why = place.run(*TOOL, status=1).splitlines()
    assert nki.startswith("nki: not there, ")
    assert neuronxcc.startswith("neuronxcc: the vendor's neuronx-cc 2.20, ")
    assert why == "why: neuronxcc is installed"


def test_a_file_of_the_users(place) -> None:
    put(place.work, "nki.py", "")
    first = place.run(*TOOL).splitlines()[0]
    assert first == f"nki: of no distribution, {place.work}/nki.py"


def test_the_placeholder(place) -> None:
    put(place.site, "nki/__init__.py", "raise ImportError('a placeholder')")
    distribution(place.site, "nki", "0.0.1", "nki")
    first = place.run(*TOOL, status=1).splitlines()[0]
    assert "placeholder, which only raises ImportError" in first
    assert "`pip uninstall nki`" in first


def test_a_folder_that_is_passed_over(place) -> None:
    (place.work / "nki").mkdir()
    *_, last = place.run(*TOOL).splitlines()
    assert last == f"passed over: {place.work}/nki, a folder without __init__.py"


def test_switched_off_with_a_folder_in_the_way(place) -> None:
    (place.work / "nki").mkdir()
    place.variables["NKIPY_NKI_NAMES"] = "off"
    nki, _, why, folder = place.run(*TOOL, status=1).splitlines()
    assert nki == "nki: not there"
    assert why == "why: NKIPY_NKI_NAMES=off switches the names off"
    assert folder == f"in the way: Python takes the folder {place.work}/nki for nki"


def test_a_variable_with_another_value(place) -> None:
    place.variables["NKIPY_NKI_NAMES"] = "maybe"
    assert "why: NKIPY_NKI_NAMES is 'maybe'" in place.run(*TOOL, status=1)


def test_without_what_they_stand_for(place) -> None:
    shutil.rmtree(place.site / "nkipy_nki")
    said = place.run(*TOOL, status=1)
    assert "why: nkipy-nki, which they stand for, is not installed" in said


def test_without_site_directories(place) -> None:
    place.variables["PYTHONPATH"] = str(place.site)
    said = place.run("-S", *TOOL, status=1)
    assert (
        "why: Python has not read nkipy_nki_names.pth" in said and "run SCRIPT" in said
    )


# -- programs --------------------------------------------------------------------------
@pytest.fixture
def without_site(place):
    """Where ours are on the path, and no .pth file is read."""
    place.variables["PYTHONPATH"] = str(place.site)
    for left in place.site.glob("nkipy_nki_names.*"):
        left.unlink()
    put(place.work, "src/script.py", SCRIPT)
    put(place.work, "src/beside.py", "HERE = 'src'")
    put(place.work, "beside.py", "HERE = 'work'")
    return place


def test_a_script(without_site) -> None:
    said = without_site.run("-S", *TOOL, "run", "src/script.py", "3", "-x", status=3)
    assert said == "__main__ nkipy_nki ['src/script.py', '3', '-x'] src\n"


def test_a_module(without_site) -> None:
    shutil.copy(without_site.work / "src/script.py", without_site.work / "program.py")
    said = without_site.run("-S", *TOOL, "run", "-m", "program", "0", "-m")
    file = str(without_site.work / "program.py")
    assert said == f"__main__ nkipy_nki {[file, '0', '-m']} work\n"


def test_an_archive(without_site) -> None:
    source = without_site.work / "src"
    with zipfile.ZipFile(without_site.work / "app.pyz", "w") as archive:
        archive.write(source / "script.py", "__main__.py")
        archive.write(source / "beside.py", "beside.py")
    said = without_site.run("-S", *TOOL, "run", "app.pyz", "0")
    assert said == "__main__ nkipy_nki ['app.pyz', '0'] src\n"


def test_an_archive_that_has_the_names_itself(place) -> None:
    with zipfile.ZipFile(place.work / "app.pyz", "w") as archive:
        for file in place.site.rglob("nkipy_nki*/**/*.py"):
            archive.write(file, file.relative_to(place.site))
        archive.writestr(
            "__main__.py",
            "import nkipy_nki_names; nkipy_nki_names.install()\n"
            "import nki.language as nl, nkipy_nki\n"
            "print(nl is nkipy_nki.language, '.pyz' in nl.__file__)",
        )
    assert place.run("-I", "-S", "app.pyz") == "True True\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="of 3.11")
def test_a_script_on_a_safe_path(without_site) -> None:
    put(without_site.work, "src/alone.py", "import sys, nki; print(sys.path[0])")
    said = without_site.run("-P", "-S", *TOOL, "run", "src/alone.py")
    assert said == f"{without_site.site}\n"


def test_a_script_where_the_vendors_are(without_site) -> None:
    put(without_site.site, "nki.py", "")
    put(without_site.work, "show.py", "import nki; print(nki.__name__)")
    assert without_site.run("-S", *TOOL, "run", "show.py") == "nki\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["walk"], "cannot make sense of: walk"),
        (["run"], "cannot make sense of: run"),
        (["run", "-m"], "cannot make sense of: run -m"),
        (["run", "none.py"], "there is no file none.py"),
    ],
)
def test_a_misuse(place, arguments, said) -> None:
    first = place.run(*TOOL, *arguments, status=2).splitlines()[0]
    assert first == f"nkipy_nki_names: error: {said}"


def test_help(place) -> None:
    assert "run -m MODULE" in place.run(*TOOL, "--help")
