"""The members of the workspace, as the root's ``pyproject.toml`` names them.

    uv run tools/workspace.py        # lists them, and says what one of them lacks

Whatever is done for each package (wheels, pins, sanitizers, tests) asks here. Only the
standard library is needed, from Python 3.11 on.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # of pytest

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Member:
    """A package of the workspace.

    Attributes:
        path: its folder.
        folder: the same, from the root on.
        name: of the distribution.
        packages: what its ``src`` gives to import.
    """

    path: Path
    folder: str
    name: str
    packages: tuple[str, ...]

    @property
    def project(self) -> dict[str, Any]:
        """Its ``pyproject.toml``."""
        return load(self.path)

    @property
    def src(self) -> Path:
        return self.path / "src"

    @property
    def tests(self) -> Path | None:
        """Its own tests, if it has any."""
        tests = self.path / "tests"
        return tests if tests.is_dir() else None

    @property
    def has_cpp(self) -> bool:
        """Whether CMake builds part of it."""
        return (self.path / "CMakeLists.txt").exists()

    @property
    def torch(self) -> str | None:
        """The minor version of torch that it is built or written for, if it is for one.

        Such a member is installed by ``tools/install_torch.py``, and not by uv.
        """
        version = self.project.get("tool", {}).get("nkipy", {}).get("torch")
        return None if version is None else str(version)

    @property
    def is_installed(self) -> bool:
        """Whether all of its packages can be imported."""
        return all(find_spec(package) is not None for package in self.packages)


def load(folder: Path) -> dict[str, Any]:
    """The ``pyproject.toml`` of a folder."""
    return tomllib.loads((folder / "pyproject.toml").read_text())


def members(root: Path = ROOT) -> list[Member]:
    """The members, in the order of ``tool.uv.workspace``."""
    workspace = load(root)["tool"]["uv"]["workspace"]
    left_out = {p for glob in workspace.get("exclude", ()) for p in root.glob(glob)}
    found = {p: None for glob in workspace["members"] for p in sorted(root.glob(glob))}
    return [_member(path, root) for path in found if path not in left_out]


def _member(path: Path, root: Path) -> Member:
    packages = sorted(p.parent.name for p in path.glob("src/*/__init__.py"))
    name = load(path)["project"]["name"]
    return Member(path, str(path.relative_to(root)), name, tuple(packages))


def version_of(root: Path = ROOT) -> str:
    """The version of all members, which the root's ``pyproject.toml`` states."""
    return str(load(root)["project"]["version"])


def sources(root: Path = ROOT) -> list[Path]:
    """The folders with the packages' sources."""
    return [member.src for member in members(root)]


# -- what a member needs ---------------------------------------------------------------
def problems(root: Path = ROOT) -> list[str]:
    """What members, or the root's settings for them, lack: each with what to do."""
    settings = load(root)
    return [
        f"{member.folder}: {problem}"
        for member in members(root)
        for problem in (
            *_of_member(member, root),
            *_of_version(member, root),
            *_of_settings(member, settings),
        )
    ]


def _of_member(member: Member, root: Path) -> Iterator[str]:
    if not member.packages:
        yield "has no package: add src/<package>/__init__.py"
    for package in member.packages:
        if not (member.src / package / "py.typed").exists():
            yield f"is typed: add src/{package}/py.typed"
    for field in ("authors", "keywords", "classifiers", "urls"):
        if not member.project["project"].get(field):
            yield f"says nothing of its {field} in pyproject.toml"
    if "Typing :: Typed" not in member.project["project"].get("classifiers", ()):
        yield 'lacks the classifier "Typing :: Typed"'
    if not (member.path / "README.md").exists():
        yield "has no README.md"
    license_ = member.path / "LICENSE"  # a source archive cannot link to the root's
    if (
        not license_.exists()
        or license_.read_bytes() != (root / "LICENSE").read_bytes()
    ):
        yield "needs a copy of the root's LICENSE"


def _of_version(member: Member, root: Path) -> Iterator[str]:
    """Members go with no other version than their own: tools/generate_versions.py."""
    version, ours = version_of(root), {other.name for other in members(root)}
    project, write = member.project["project"], "uv run tools/generate_versions.py"
    if project.get("version") != version:
        yield f'is not version = "{version}", the workspace\'s: {write}'
    extras = project.get("optional-dependencies", {}).values()
    for required in (*project.get("dependencies", ()), *(r for e in extras for r in e)):
        name = distribution_of(required)
        if name in ours and required.partition(";")[0].strip() != f"{name}=={version}":
            yield f'requires "{required}", and not "{name}=={version}": {write}'


def distribution_of(requirement: str) -> str:
    """The distribution that a requirement names, such as of "Spike[x] >= 1 ; ..."."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def _of_settings(member: Member, settings: dict[str, Any]) -> Iterator[str]:
    tool = settings["tool"]
    if not tool["uv"]["sources"].get(member.name, {}).get("workspace"):
        yield f"add {member.name} = {{ workspace = true }} to tool.uv.sources"
    groups = settings.get("dependency-groups", {}).values()
    installed = [*settings["project"]["dependencies"], *(r for g in groups for r in g)]
    if not member.torch and member.name not in {distribution_of(r) for r in installed}:
        yield f'add "{member.name}" to dependencies, or to a dependency group'
    if member.torch and member.has_cpp:
        if member.name not in tool["uv"].get("no-build-isolation-package", ()):
            yield f'add "{member.name}" to tool.uv.no-build-isolation-package'
    tests, globs = f"{member.folder}/tests", tool["pytest"]["ini_options"]["testpaths"]
    if member.tests and not any(_matches(tests, glob) for glob in globs):
        yield f'add "{tests}" to tool.pytest.ini_options.testpaths, or a glob'
    src = f"{member.folder}/src"
    if not any(_matches(src, glob) for glob in tool["ruff"]["src"]):
        yield f'add "{src}" to tool.ruff.src, or a glob'
    yield from _unchecked(member, tool["mypy"]["exclude"])
    for package in member.packages:
        if package not in tool["importlinter"]["root_packages"]:
            yield f'add "{package}" to tool.importlinter.root_packages, and contracts'


def _unchecked(member: Member, exclude: list[str]) -> Iterator[str]:
    packages = (member.src / package for package in member.packages)
    for file in sorted(file for package in packages for file in package.rglob("*.py")):
        name = file.relative_to(member.path)
        left_out = any(re.search(p, f"{member.folder}/{name}") for p in exclude)
        if left_out and not name.stem.endswith("_pb2"):
            yield f"tool.mypy.exclude leaves out {name}"


def _matches(path: str, glob: str) -> bool:
    parts = glob.split("/")
    return len(parts) == path.count("/") + 1 and all(map(_part, path.split("/"), parts))


def _part(name: str, glob: str) -> bool:
    return re.fullmatch(re.escape(glob).replace(r"\*", ".*"), name) is not None


def main() -> int:
    for member in members():
        print(f"{member.folder:20} {member.name:20} {', '.join(member.packages)}")
    found = problems()
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
