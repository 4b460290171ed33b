"""The wheels hold what they should, and work where nothing else is installed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from nkipy.testing import core_released
from tests.support import packages, pythons
from tools import workspace

ROOT = Path(__file__).resolve().parent.parent
XLA = "nkipy/third_party/xla"
VERSION = workspace.version_of()

#: All C++ is compiled, part of it for each Python, which takes a busy machine longer
#: than any other test.
MINUTES = 30
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 * MINUTES)]


def uv(*arguments: str | Path, cwd: Path = ROOT, **variables: str) -> str:
    """Standard output of a uv command."""
    found = os.environ.get("UV") or shutil.which("uv")  # `uv run` sets UV
    assert found, "run the tests with `uv run pytest`"
    done = subprocess.run(
        [found, *arguments],
        cwd=cwd,
        env={**os.environ, "UV": found, **variables},
        capture_output=True,
        text=True,
        timeout=60 * MINUTES,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


#: The compiler takes half the time. What its optimizations make of the C++ all other
#: tests run, which install the packages with them.
NOT_OPTIMIZED = {"SKBUILD_CMAKE_BUILD_TYPE": "None"}


def in_git(folder: Path, *places: str) -> list[str]:
    """The files below `folder` that git knows."""
    command = ["git", "ls-files", "-z", *places]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return [name for name in done.stdout.decode().split("\0") if name]


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory with the wheels for every Python that is here, built by our tool, out
    of a clone whose path has a space; once for all of xdist's workers."""
    place = tmp_path_factory.getbasetemp()
    place = (place if worker_id == "master" else place.parent) / "wheels"
    place.mkdir(exist_ok=True)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "built").exists():
            _build(place / "a clone", place / "dist")
            (place / "built").touch()
    return place / "dist"


def _build(clone: Path, out: Path) -> None:
    for name in in_git(ROOT):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name, follow_symlinks=False)
    for_each = [f"--python={path}" for path in pythons.found().values()]
    tool = ["tools/build_wheels.py", *for_each, "--out-dir", out]
    release = [
        "run",
        "--isolated",
        "--only-group=release",
        f"--python={sys.executable}",
    ]
    uv(*release, "python", *tool, cwd=clone, **NOT_OPTIMIZED)


MEMBERS = {m.name.replace("-", "_"): m for m in workspace.members() if not m.torch}
#: Of these there are source archives alone.
AGAINST_TORCH = [member for member in workspace.members() if member.torch]
#: What the build makes, beside the sources.
GENERATED = {
    "nkipy": [
        f"{XLA}/xla_data_pb2.py",
        f"{XLA}/xla_data_pb2.pyi",
        f"{XLA}/service/hlo_pb2.py",
        f"{XLA}/service/metrics_pb2.py",
        f"{XLA}/wire_fields.py",
    ],
    "spike": [
        "spike/_spike.pyi",
        "spike/include/spike_c.h",
        "spike/include/spike_statuses.h",
    ],
    "nkipy_emulator": ["nkipy_emulator/libnkipy_xla_handlers.so"],
}
#: What is tried besides importing a package.
SMOKE = {
    "nkipy": "import nkipy.hlo.ir, nkipy.third_party.xla.service.hlo_pb2",
    "spike": "import spike; assert spike.__version__",
    "nkipy_emulator": "import nkipy_emulator.engine as e; e.XlaCpuEngine",
    "nkipy_nki": "nkipy_nki.simulate(lambda x: x)(__import__('numpy').ones(3, 'f4'))"
    ".sum() == 3 or 1 / 0",
    "nkipy_nki_names": "import nki, neuronxcc.nki; assert nki.__name__ == 'nkipy_nki'",
}


#: Notices of what is compiled into a wheel.
NOTICES = {"spike": ["nanobind.txt", "robin-map.txt"]}


def sources_of(member: workspace.Member) -> set[str]:
    """The files in git of a member's packages, as they stand in its wheel."""
    found = set()
    for name in in_git(member.path, *(f"src/{package}" for package in member.packages)):
        place = member.path / name
        below = in_git(place.resolve()) if place.is_dir() else []  # by a link
        modules = [f"{name}/{inner}" for inner in below if inner.endswith(".py")]
        found.update(inner.removeprefix("src/") for inner in modules or [name])
    return found


def ours_among_requirements(package: str) -> list[str]:
    """The members that a package requires, and those that they do."""
    requires = MEMBERS[package].project["project"]["dependencies"]
    direct = [p for p, m in MEMBERS.items() if f"{m.name}=={VERSION}" in requires]
    indirect = [p for needed in direct for p in ours_among_requirements(needed)]
    return list(dict.fromkeys(direct + indirect))


def wheel_of(dist: Path, package: str, version: str | None = None) -> Path:
    """The wheel of a package for a version of Python, by default the running one."""
    version = version or f"{sys.version_info.major}.{sys.version_info.minor}"
    own = f"cp{version.replace('.', '')}-cp"
    wheels = list(dist.glob(f"{package}-*.whl"))
    (wheel,) = [w for w in wheels if len(wheels) == 1 or f"-{own}" in w.name]
    return wheel


@pytest.mark.parametrize("package", MEMBERS)
def test_wheel_holds_what_the_build_made(dist: Path, package: str) -> None:
    wheel = wheel_of(dist, package)
    names = set(ZipFile(wheel).namelist())
    expected = sources_of(MEMBERS[package])
    assert len(expected) > 1
    assert {*expected, *GENERATED.get(package, ())} - names == set()
    for notice in ("LICENSE", *NOTICES.get(package, ())):
        assert any(n.endswith(f"/{notice}") and "/licenses/" in n for n in names)
    assert not any(name.startswith(("src/", "tests/", "build/")) for name in names)


@pytest.mark.parametrize("package", MEMBERS)
def test_compiled_wheels_say_which_linux_they_need(dist: Path, package: str) -> None:
    name = wheel_of(dist, package).name
    assert ("manylinux_" in name) is MEMBERS[package].has_cpp
    assert "-linux_" not in name


@pytest.mark.parametrize("member", AGAINST_TORCH, ids=lambda m: m.name)
def test_what_torch_is_needed_for_comes_as_source(dist: Path, member: Any) -> None:
    stem = f"{member.name.replace('-', '_')}-{VERSION}"
    assert [file.name for file in dist.glob(f"{stem}*")] == [f"{stem}.tar.gz"]
    with tarfile.open(dist / f"{stem}.tar.gz") as archive:
        names = set(archive.getnames())
    needed = in_git(member.path, "src", "cmake", "CMakeLists.txt", "LICENSE")
    assert {f"{stem}/{name}" for name in needed} - names == set() and needed


class Environment:
    """A virtual environment, a home and a directory to work in, with nothing else."""

    def __init__(self, place: Path, python: str) -> None:
        self.work, self.home = place / "work", place / "home"
        self.work.mkdir()
        self.home.mkdir()
        self.bin = place / "env" / "bin"
        uv("venv", "--quiet", "--python", python, place / "env")

    def install(self, *wheels: Path) -> None:
        """As pip does, and from its cache what others have installed."""
        uv("pip", "install", "--quiet", "--python", self.bin / "python", *wheels)

    def run(self, command: str, *arguments: str | Path) -> str:
        """Run a command of the environment; its standard output."""
        kept = ("NKIPY_EMULATOR_LOCK_DIR", "NEURON_RT_VISIBLE_CORES", "LANG")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        env |= {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home)}
        with core_released():
            done = subprocess.run(
                [self.bin / command, *arguments],
                cwd=self.work,
                env=env,
                capture_output=True,
                text=True,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.parametrize("package", MEMBERS)
def test_wheel_imports_alone(dist: Path, tmp_path: Path, package: str) -> None:
    """With the wheel, those of ours that it requires, and their dependencies."""
    environment = Environment(tmp_path, sys.executable)
    needed = [package, *ours_among_requirements(package)]
    environment.install(*(wheel_of(dist, name) for name in needed))
    imports = f"import {', '.join(MEMBERS[package].packages)}"
    environment.run("python", "-I", "-c", f"{imports}\n{SMOKE.get(package, '')}")


#: A kernel on the device, and its NEFF and an input for spike-run.
DEVICE_KERNEL = """
import shutil
import numpy as np
from nkipy.runtime import DeviceKernel, DeviceTensor

def twice(x):
    return 2 * x

x = np.arange(6, dtype=np.float32).reshape(2, 3)
source = DeviceTensor.from_numpy(x)
result = DeviceTensor.from_numpy(np.zeros_like(x))
kernel = DeviceKernel.compile_and_load(twice, x=source)
kernel(inputs={"x": source}, outputs={"output0": result})
np.testing.assert_array_equal(result.numpy(), 2 * x)
shutil.copy(kernel.neff_path, "twice.neff")
np.save("x.npy", x)
"""


def _ways() -> Iterator[Any]:
    """Each Python, with both ways of installing; the second is alike on all of them."""
    for place, version in enumerate(pythons.found()):
        yield pytest.param(version, "in one command")
        marks = [pytest.mark.exhaustive] if place else []
        yield pytest.param(version, "one by one", marks=marks)


@pytest.mark.parametrize(("version", "way"), list(_ways()))
def test_wheels_work_on(dist: Path, tmp_path: Path, version: str, way: str) -> None:
    """The demo, a kernel on the device and spike-run, on each Python that is here."""
    environment = Environment(tmp_path, pythons.found()[version])
    order = sorted(MEMBERS, key=lambda package: len(ours_among_requirements(package)))
    wheels = [wheel_of(dist, package, version) for package in order]
    for some in [wheels] if way == "in one command" else [[w] for w in wheels]:
        environment.install(*some)

    said = " ".join(environment.run("python", "-m", "nkipy").split())
    assert f"Python: {version}." in said
    for name in ("simulate_jit", "baremetal_jit"):
        assert f"{name}: works" in said
    assert str(ROOT) not in said

    demo = shutil.copy(ROOT / "examples/playground/simple_nkipy_kernel.py", tmp_path)
    assert "The same numbers" in environment.run("python", demo)
    environment.run("python", "-c", DEVICE_KERNEL)
    environment.run("spike-run", "twice.neff", "-i", "x=x.npy", "-o", "out")
    check = "import numpy as np; assert np.load('out/output0.npy')[1, 2] == 10"
    environment.run("python", "-c", check)
    written = {path.name for path in environment.home.iterdir()}
    assert written <= {".cache"}, "docs/install.md says what is written where"
    assert [path.name for path in (environment.home / ".cache").iterdir()] == ["nkipy"]


#: What has something that every Python reads at its start.
READ_AT_START = ("nkipy-nki-names",)
PAGE = (ROOT / "docs/install.md").read_text()
SOURCES = re.findall(r"^\[tool\.uv\.sources\]\n(?:\w.+\n)+", PAGE, re.M)


@pytest.mark.parametrize("kind", ["git", "editable"])
def test_a_project_can_name_us_as_the_page_does(tmp_path: Path, kind: str) -> None:
    """Each of ours then comes from the clone, and none from the public index."""
    clone, mine = tmp_path / "clone", tmp_path / "mine"
    mine.mkdir()
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    (sources,) = [text for text in SOURCES if f"{kind} = " in text]
    names = [member.name for member in MEMBERS.values()]
    project = {"name": "mine", "version": "1", "dependencies": names}
    project["requires-python"] = ">=3.10,<3.14"
    lines = [f"{key} = {value!r}" for key, value in project.items()]
    text = "\n".join(["[project]", *lines, "", sources.replace("URL", clone.as_uri())])
    (mine / "pyproject.toml").write_text(text)
    uv("lock", f"--python={sys.executable}", cwd=mine)
    locked = packages.toml((mine / "uv.lock").read_text())["package"]
    found = {package["name"]: package["source"] for package in locked}
    # Python reads the .pth file of no editable package: that one is built.
    kinds = dict.fromkeys(READ_AT_START, "directory" if kind == "editable" else kind)
    assert all(kinds.get(name, kind) in found[name] for name in names), found
