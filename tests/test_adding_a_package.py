"""The developer guide's package, added to a copy of the workspace: the tools see it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.packages import fenced
from tools import workspace

ROOT = workspace.ROOT
GUIDE = ROOT / "docs/dev_guide/adding_packages.md"
FILES = fenced(GUIDE)
SOURCE, TEST = "src/nkipy_acme/__init__.py", "tests/test_twice.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root, with members that have nothing but what makes them members."""
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for member in workspace.members():
        copy = tmp_path / member.folder
        copy.mkdir(parents=True)
        for name in ("pyproject.toml", "LICENSE", "README.md"):
            shutil.copy(member.path / name, copy)
        for package in member.packages:
            (copy / "src" / package).mkdir(parents=True)
            (copy / "src" / package / "__init__.py").touch()
            (copy / "src" / package / "py.typed").touch()
    assert workspace.problems(tmp_path) == []
    return tmp_path


def add(root: Path, folder: str) -> workspace.Member:
    """The guide's steps, with the package in `folder`."""
    for path, text in FILES.items():
        file = root / folder / path.removeprefix("acme/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / folder / "README.md").write_text("# acme\n")
    (root / folder / "src/nkipy_acme/py.typed").touch()
    shutil.copy(root / "LICENSE", root / folder)
    source = "nkipy-acme = { workspace = true }"
    lines = {
        "dependencies = [": 'dependencies = ["nkipy-acme", ',
        "members = [": f'members = ["{folder}", ',
        "[tool.uv.sources]\n": f"[tool.uv.sources]\n{source}\n",
        "root_packages = [": 'root_packages = ["nkipy_acme", ',
    }
    edit(root, lines)
    (made,) = (m for m in workspace.members(root) if m.name == "nkipy-acme")
    return made


def edit(root: Path, lines: dict) -> None:
    """Put each line's replacement for its first occurrence in the root's settings."""
    file = root / "pyproject.toml"
    text = file.read_text()
    for old, new in lines.items():
        assert old in text
        text = text.replace(old, new, 1)
    file.write_text(text)


def tool(root: Path, *command: str, **variables: str) -> str:
    """What a tool says, run at the root."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=root,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_the_page_has_the_files() -> None:
    assert sorted(FILES) == ["acme/pyproject.toml", f"acme/{SOURCE}", f"acme/{TEST}"]


@pytest.mark.parametrize(
    "folder",
    ["acme", pytest.param("experimental/acme/acme", marks=pytest.mark.slow)],
)
def test_the_tools_see_a_package_added_by_the_guide(
    root: Path, folder: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    member = add(root, folder)
    assert workspace.problems(root) == []
    assert (member.folder, member.packages) == (folder, ("nkipy_acme",))
    assert member.project["build-system"]["requires"] == ["setuptools>=77"]
    assert member.src in workspace.sources(root)

    pytest_options = ("--collect-only", "-q", "-p", "no:cacheprovider")
    said = tool(root, "pytest", *pytest_options, PYTHONPATH=str(member.src))
    assert f"{folder}/{TEST}::test_twice" in said and "1 test collected" in said

    assert "All checks passed!" in tool(root, "ruff", "check", "--no-cache", ".")
    as_others = member.path / TEST  # which would come in one block
    as_others.write_text(as_others.read_text().replace("as np\n\n", "as np\n", 1))
    assert "I001" in tool(root, "ruff", "check", "--no-cache", ".")

    mypy = ("mypy", "--cache-dir", str(tmp_path_factory.mktemp("mypy")))
    assert "Success" in tool(root, *mypy)
    source = member.path / SOURCE
    source.write_text(source.read_text().replace("2 * x", "'2'"))
    assert f"{folder}/{SOURCE}:9: error: Incompatible return" in tool(root, *mypy)


LEFT_OUT = [
    ("README.md", "has no README.md"),
    ("LICENSE", "needs a copy of the root's LICENSE"),
    ("src/nkipy_acme/py.typed", "add src/nkipy_acme/py.typed"),
    (SOURCE, "add src/<package>/__init__.py"),
]


@pytest.mark.parametrize(("file", "said"), LEFT_OUT)
def test_a_file_that_is_forgotten_is_asked_for(
    root: Path, file: str, said: str
) -> None:
    (add(root, "acme").path / file).unlink()
    (problem,) = workspace.problems(root)
    assert problem.startswith("acme: ") and said in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nkipy-acme = { workspace = true }\n", "to tool.uv.sources"),
        (
            '"nkipy-acme", ',
            'add "nkipy-acme" to dependencies, or to a dependency group',
        ),
    ],
)
def test_a_line_that_is_forgotten_is_asked_for(
    root: Path, line: str, said: str
) -> None:
    add(root, "acme")
    edit(root, {line: ""})
    (problem,) = workspace.problems(root)
    assert problem.startswith("acme: ") and said in problem


@pytest.mark.parametrize(
    "required",
    ["nkipy", "nkipy>=0.1.0", "NKIPy == 0.0.9", "nkipy ; python_version>'3'"],
)
def test_another_version_is_told_and_written_anew(root: Path, required: str) -> None:
    settings = add(root, "acme").path / "pyproject.toml"
    right = settings.read_text()
    wrong = right.replace('"nkipy==0.1.0"', f'"{required}"')
    settings.write_text(wrong.replace('version = "0.1.0"', 'version = "0.2"'))
    for problem, said in zip(workspace.problems(root), ("version", "nkipy==0.1.0")):
        assert said in problem and "tools/generate_versions.py" in problem
    assert len(workspace.problems(root)) == 2

    edit(root, {'version = "0.1.0"': 'version = "0.1.1"'})
    shutil.copytree(ROOT / "tools", root / "tools")
    tool = [sys.executable, "-I", str(root / "tools/generate_versions.py")]
    assert subprocess.run([*tool, "--check"], capture_output=True).returncode == 1
    subprocess.run(tool, check=True, capture_output=True)
    assert workspace.problems(root) == []
    written = settings.read_text()
    assert 'version = "0.1.1"' in written and '"nkipy==0.1.1' in written
    assert 'name = "nkipy-acme"' in written
    emulator = workspace.load(root / "emulator")["project"]
    assert {"nkipy==0.1.1", "spike==0.1.1"} <= set(emulator["dependencies"])


def test_what_is_built_against_torch_is_built_where_that_is(root: Path) -> None:
    (root / "spike-torch/CMakeLists.txt").touch()
    assert workspace.problems(root) == []
    edit(root, {'isolation-package = ["nkipy-spike-torch"]': "isolation-package = []"})
    (problem,) = workspace.problems(root)
    assert 'add "nkipy-spike-torch" to tool.uv.no-build-isolation-package' in problem


def test_a_folder_that_no_glob_reaches_is_asked_for(root: Path) -> None:
    add(root, "far/away/acme")
    tests, src = workspace.problems(root)
    assert 'add "far/away/acme/tests" to tool.pytest.ini_options.testpaths' in tests
    assert 'add "far/away/acme/src" to tool.ruff.src' in src


def test_a_module_that_mypy_leaves_out_is_told(root: Path) -> None:
    generated = add(root, "acme").path / "src/nkipy_acme/words_pb2.py"
    generated.touch()
    assert workspace.problems(root) == []
    edit(root, {'"_pb2\\\\.py$",': '"_pb2\\\\.py$", "/nkipy_acme/",'})
    (problem,) = workspace.problems(root)
    assert "tool.mypy.exclude leaves out src/nkipy_acme/__init__.py" in problem


def test_a_package_in_a_group_is_installed(root: Path) -> None:
    add(root, "acme")
    edit(root, {'"nkipy-acme", ': "", "examples = [": 'examples = ["nkipy-acme>=0",'})
    assert workspace.problems(root) == []
