"""docs/variables.md names the environment variables that the code reads, no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools import workspace

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/variables.md"
PACKAGES = sorted(
    {"spike-torch/src", *(f"{m.folder}/src" for m in workspace.members())}
)
#: What reads the variables of the workspace.
TOOLS = (
    "conftest.py",
    "run.py",
    "tests/support",
    "tests/fuzz",
    "nki_simulator/tests/test_sequences.py",
    "spike/pyproject.toml",
    "spike-torch/tests/support_record.py",
    "tests/integration/test_pages.py",
    "tests/unit/spike/test_threads.py",
    "tests/unit/libnrt/test_threads.py",
)

#: What a text that is such a name from end to end must be. (NKIPY_EMU001 is a code.)
NAME = r"(?:NKIPY|SPIKE|NEURON)_(?!EMU\d)[A-Z0-9_]*[A-Z0-9]"
#: What spike's C interface calls its statuses.
C_HEADER = ROOT / "spike/src/include/spike_c.h"
#: Names like variables' that are not: of Python and of CMake.
OTHERS = {"NKIPY_OP_TYPE", "NKIPY_KERNEL_ADDITIONAL_COMPILER_ARGS", "NKIPY_SANITIZE"}


def files_below(*places: str) -> Iterator[Path]:
    for place in places:
        path = ROOT / place
        yield from [path] if path.is_file() else path.rglob("*.*")


def documented() -> set[str]:
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), re.M)
    return {name for row in rows for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row)}


def read_by_python(file: Path) -> Iterator[str]:
    """Texts that are names of variables, and what os.environ is asked for."""
    tree = ast.parse(file.read_text())
    constants = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            constants |= {ast.unparse(t): node.value.value for t in node.targets}
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(NAME, node.value):
                yield node.value
    for node in ast.walk(tree):
        for asked in _asked_of_environ(node):
            known = constants.get(ast.unparse(asked))
            name = asked.value if isinstance(asked, ast.Constant) else known
            if isinstance(name, str):
                yield name


def _asked_of_environ(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
        return [node.slice]
    if isinstance(node, ast.Compare) and ast.unparse(node).endswith(" in os.environ"):
        return [node.left]
    functions = ("os.environ.get", "os.environ.setdefault", "os.getenv", "flag")
    if isinstance(node, ast.Call) and ast.unparse(node.func) in functions:
        return node.args[:1]
    return []


@cache
def read_by_packages() -> frozenset[str]:
    found: set[str] = set()
    for file in files_below(*PACKAGES):
        if file.suffix == ".py" and not file.name.endswith("_pb2.py"):
            found.update(read_by_python(file))
        elif file.suffix in (".cpp", ".h"):
            found.update(re.findall(f'"({NAME})"', file.read_text()))
    return frozenset(found - OTHERS - c_names())


def c_names() -> set[str]:
    """What spike's C interface declares."""
    return set(re.findall(r"\bSPIKE_[A-Z_]+\b", C_HEADER.read_text()))


def test_the_ways_to_read_a_variable_are_recognised(tmp_path):
    file = tmp_path / "reads.py"
    file.write_text(
        'A = "AN_A"\nimport os\nos.environ.get(A, "x")\nos.environ["B"]\n'
        '"C" in os.environ\nos.getenv("D")\nflag("F", True)\n'
        'print("NKIPY_E", "NKIPY_ no", "NKIPY_EMU001")'
    )
    assert set(read_by_python(file)) == {"AN_A", "B", "C", "D", "F", "NKIPY_E"}


def test_every_variable_is_documented():
    found = read_by_packages()
    assert len(found) > 30
    assert found - documented() == set()


def test_every_documented_variable_is_read():
    found = set(read_by_packages())
    texts = [f.read_text() for f in files_below(*TOOLS) if f.suffix in (".py", ".toml")]
    for text in texts:
        found.update(re.findall(r'"([A-Z][A-Z0-9_]+)"', text))
    assert documented() - found == set()


def test_no_other_page_names_a_variable_that_there_is_not():
    readmes = [member.path / "README.md" for member in workspace.members()]
    pages = [*ROOT.glob("*.md"), *readmes, *ROOT.glob("docs/**/*.md")]
    assert len(pages) > 10
    known = documented() | OTHERS | c_names()
    for page in pages:
        named = set(re.findall(rf"\b{NAME}\b(?!_?\*)", page.read_text()))
        assert named - known == set(), page


def test_the_emulators_own_page_has_all_of_its_variables():
    named = re.findall(rf"`({NAME})`", (ROOT / "emulator/README.md").read_text())
    ours = {n for n in documented() if n.startswith("NKIPY_EMULATOR_")}
    assert ours - set(named) == set()
