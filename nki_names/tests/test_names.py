"""Ours under the vendor's names: the same objects, whoever asks first."""

from __future__ import annotations

import pytest

#: Other spellings of one import each, and the module that it gives.
IMPORTS = {
    "import nki as m": "nkipy_nki",
    "import nki.isa as m": "nkipy_nki.isa",
    "import nki.language as m": "nkipy_nki.language",
    "from nki.language import tiles as m": "nkipy_nki.language.tiles",
    "from nki import language as m": "nkipy_nki.language",
    "import neuronxcc as m": "nkipy_nki.neuronxcc",
    "import neuronxcc.nki as m": "nkipy_nki.neuronxcc.nki",
    "from neuronxcc import nki as m": "nkipy_nki.neuronxcc.nki",
    "import neuronxcc.nki.language as m": "nkipy_nki.neuronxcc.nki.language",
    "import importlib as i; m = i.import_module('nki.language')": "nkipy_nki.language",
}


@pytest.mark.parametrize("ours_first", [False, True])
@pytest.mark.parametrize("spelling", IMPORTS)
def test_a_module_is_the_same_under_both_names(place, spelling, ours_first) -> None:
    own = f"import {IMPORTS[spelling]}"
    lines = [own, spelling] if ours_first else [spelling, own]
    check = f"""
import sys
assert m is {IMPORTS[spelling]} and m.__name__ == {IMPORTS[spelling]!r}
assert m.__spec__.name == m.__name__ == m.__spec__.loader.name
under = {{k for k, v in sys.modules.items() if v is m}}
theirs = m.__name__.replace("nkipy_nki.neuronxcc", "neuronxcc")
theirs = theirs.replace("nkipy_nki", "nki")
assert under <= {{m.__name__, theirs}}
files = [m.__file__ for m in {{id(m): m for m in sys.modules.values()}}.values()
         if m.__name__.startswith("nkipy_nki.")]
assert len(files) == len(set(files))
"""
    assert place.code("\n".join([*lines, check])) == ""


def test_what_ours_have_not_is_not_there(place) -> None:
    said = place.code(
        "import importlib.util as u\n"
        "print(u.find_spec('nki.nothing'), u.find_spec('neuronxcc.driver'))\n"
        "try: import nki.language.nothing\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    assert said == "None None\nNo module named 'nki.language.nothing'\n"


def test_to_find_a_spec_imports_nothing(place) -> None:
    said = place.code(
        "import sys\n"
        "from importlib.util import find_spec\n"
        "for name in ('nki', 'neuronxcc'):\n"
        "    spec = find_spec(name)\n"
        "    print(spec.name, spec.loader.own, len(spec.submodule_search_locations))\n"
        "print([m for m in sys.modules if m.startswith(('nkipy_nki.', 'nki'))])"
    )
    assert said.splitlines() == [
        "nki nkipy_nki 1",
        "neuronxcc nkipy_nki.neuronxcc 1",
        "['nkipy_nki_names', 'nkipy_nki_names.finding']",
    ]


def test_metadata_have_neither_name(place) -> None:
    said = place.code(
        "import nki, neuronxcc\n"
        "from importlib import metadata\n"
        "for name in ('nki', 'neuronxcc', 'neuronx-cc'):\n"
        "    try: print(metadata.version(name))\n"
        "    except metadata.PackageNotFoundError: print('none')\n"
        "print({'nki', 'neuronxcc'} & set(metadata.packages_distributions()))"
    )
    assert said == "none\nnone\nnone\nset()\n"


def test_a_module_is_loaded_anew_in_its_place(place) -> None:
    said = place.code(
        "import importlib, nki.language, nkipy_nki\n"
        "nki.language.load = None\n"
        "for module in (nki.language, nki):\n"
        "    assert importlib.reload(module) is module\n"
        "assert nki is nkipy_nki and nki.language.load(3) == 3\n"
        "print(nki.__spec__.name, nki.language.__spec__.name)"
    )
    assert said == "nkipy_nki nkipy_nki.language\n"


def test_a_module_made_by_hand_is_ours(place) -> None:
    said = place.code(
        "import importlib.util as u\n"
        "spec = u.find_spec('nki')\n"
        "first = u.module_from_spec(spec)\n"
        "second = u.module_from_spec(u.find_spec('nki'))\n"
        "spec.loader.exec_module(first)\n"
        "import nkipy_nki\n"
        "print(first is second is nkipy_nki, nkipy_nki.__spec__.name)"
    )
    assert said == "True nkipy_nki\n"


def test_functions_are_pickled_by_their_own_name(place) -> None:
    write = (
        "import pickle, sys, nki.language as nl\n"
        "open('f', 'wb').write(pickle.dumps(nl.load))"
    )
    place.code(write)
    read = "import pickle; print(pickle.load(open('f', 'rb'))(5))"
    assert place.code(read) == "5\n"
    place.variables["NKIPY_NKI_NAMES"] = "off"
    assert place.code(read) == "5\n"


THREADS = """
import sys, threading
sys.setswitchinterval(1e-6)
NAMES = ["nki", "nki.language", "neuronxcc.nki", "nkipy_nki", "neuronxcc", "nki.isa"]
ready, found = threading.Barrier(24), []
def look(name):
    ready.wait()
    exec(f"import {name}")
    module = eval(name)
    found.append((name, module, module.__name__))
threads = [threading.Thread(target=look, args=[n]) for n in NAMES * 4]
for t in threads: t.start()
for t in threads: t.join()
print(len(found), {name: own for name, _, own in found} == {
    "nki": "nkipy_nki", "nki.language": "nkipy_nki.language",
    "neuronxcc.nki": "nkipy_nki.neuronxcc.nki", "nkipy_nki": "nkipy_nki",
    "neuronxcc": "nkipy_nki.neuronxcc", "nki.isa": "nkipy_nki.isa"})
assert len({id(m) for name, m, _ in found}) == 5
assert {m.__spec__.name for _, m, _ in found} == {own for _, _, own in found}
"""


def test_threads_that_import_at_once_see_one_module(place) -> None:
    slow = "import time\ntime.sleep(0.05)\n"
    file = place.site / "nkipy_nki/__init__.py"
    file.write_text(slow + file.read_text())
    for _ in range(3):
        assert place.code(THREADS) == "24 True\n"


CHILDREN = """
import multiprocessing, subprocess, sys
import nki.language as nl
if __name__ == "__main__":
    for way in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(way).Pool(1) as pool:
            print(way, pool.map(nl.load, [1, 2]))
    code = "import nki, neuronxcc.nki; print(nki.__name__)"
    print(subprocess.check_output([sys.executable, "-c", code], text=True), end="")
"""


def test_child_processes_have_the_names(place) -> None:
    (place.work / "script.py").write_text(CHILDREN)
    lines = place.run("script.py").splitlines()
    ways = [f"{way} [1, 2]" for way in ("fork", "spawn", "forkserver")]
    assert lines == [*ways, "nkipy_nki"]


def test_a_module_below_runs_as_a_program(place) -> None:
    assert place.run("-m", "nki.tool", "a") == "__main__ nki ['a']\n"


@pytest.mark.parametrize("name", ["nki", "neuronxcc"])
def test_a_folder_of_the_name_is_passed_over(place, name) -> None:
    for below in ("kernels", "isa", "language", "nki/isa", "driver"):
        (place.work / name / below).mkdir(parents=True)
    said = place.code("import nki, neuronxcc.nki; print(nki.__name__)")
    assert said == "nkipy_nki\n"
    assert f"work/{name}, a folder" in place.run("-m", "nkipy_nki_names")


@pytest.mark.parametrize("value", ["0", "false", "No", "off"])
def test_a_variable_switches_them_off(place, value) -> None:
    place.variables["NKIPY_NKI_NAMES"] = value
    said = place.code(
        "from importlib.util import find_spec\n"
        "print(find_spec('nki'), find_spec('neuronxcc'))\n"
        "import nkipy_nki"
    )
    assert said == "None None\n"


@pytest.mark.parametrize("value", ["", "1", "True", "yes", "on"])
def test_a_variable_leaves_them_on(place, value) -> None:
    place.variables["NKIPY_NKI_NAMES"] = value
    assert place.code("import nki; print(nki.__name__)") == "nkipy_nki\n"


def test_another_value_is_an_error_of_the_import_alone(place) -> None:
    place.variables["NKIPY_NKI_NAMES"] = "maybe"
    assert place.code("import json") == ""
    said = place.code(
        "try: import nki\nexcept ImportError as error: print(error, error.name)"
    )
    assert said.startswith("NKIPY_NKI_NAMES is 'maybe', and must be one of 1, true, ")
    assert said.endswith(" nki\n")


def test_without_what_they_stand_for_there_are_no_names(place) -> None:
    (place.site / "nkipy_nki").rename(place.site / "elsewhere")
    said = place.code(
        "try: import nki\nexcept ModuleNotFoundError as error: print(error)"
    )
    assert said == "No module named 'nki'\n"


def test_an_error_of_what_they_stand_for_is_told(place) -> None:
    (place.site / "nkipy_nki/isa.py").write_text("import no_such_library")
    said = place.code(
        "import sys\n"
        "for _ in range(2):\n"
        "    try: import nki\n"
        "    except ImportError as error: print(error.name, 'nki' in sys.modules)"
    )
    assert said == "no_such_library False\n" * 2


def test_an_import_from_within_what_they_stand_for_ends(place) -> None:
    (place.site / "nkipy_nki/isa.py").write_text("import nki, neuronxcc.nki")
    for name in ("nki", "nkipy_nki", "neuronxcc"):
        said = place.code(f"import {name}, nki, nkipy_nki; print(nki is nkipy_nki)")
        assert said == "True\n"


STARTED = """
import sys
kinds = [getattr(f, "__name__", type(f).__name__) for f in sys.meta_path]
print(kinds.index("NamesFinder") < kinds.index("PathFinder"),
      [m for m in sys.modules if "nki" in m])
"""


def test_the_start_of_python_takes_one_module_that_imports_none(place) -> None:
    assert place.code(STARTED) == "True ['nkipy_nki_names']\n"
    lines = place.run("-X", "importtime", "-c", "").splitlines()
    at = next(n for n, line in enumerate(lines) if "nkipy_nki_names" in line)
    depth = [len(s) - len(s.lstrip()) for s in (x.rpartition("|")[2] for x in lines)]
    assert depth[at - 1] <= depth[at]  # what a module imports stands before it, deeper


def test_to_install_again_does_nothing(place) -> None:
    said = place.code(
        "import sys, nkipy_nki_names as n\n"
        "before = list(sys.meta_path); n.install(); print(before == sys.meta_path)"
    )
    assert said == "True\n"


def test_a_finder_that_asks_all_others_does_not_go_round(place) -> None:
    said = place.code(
        """
import sys
from importlib.util import find_spec
class Hook:  # as those that wrap what is imported
    busy = False
    def find_spec(self, name, path=None, target=None):
        if self.busy: return None
        self.busy = True
        try: return find_spec(name)
        finally: self.busy = False
sys.meta_path.append(Hook())
import nki, neuronxcc.nki
print(nki.__name__, neuronxcc.nki.__name__)
"""
    )
    assert said == "nkipy_nki nkipy_nki.neuronxcc.nki\n"
