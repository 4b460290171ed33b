"""Builds our C++ with a sanitizer and puts it to use; fails on any report about it.

    uv run --group sanitize tools/sanitize.py address     # AddressSanitizer, UBSan, leaks
    uv run --group sanitize tools/sanitize.py thread --seconds 600

First a C++ program drives the emulated libnrt from eight threads over four cores, with
no Python in its process, for so many seconds. Then the tests that use the C++ most run
in a Python that has the sanitizer's library preloaded. Both use copies of our packages,
with the instrumented libraries in them, below build/sanitize/.

What the sanitizers write goes into files, from child processes too, and whatever tests
make of their output. A report counts if a frame that matters is of our libraries: what
others (CPython, jaxlib) do among themselves is not for us to mend.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "sanitize"
STRESS = ROOT / "tests" / "unit" / "libnrt" / "stress.cpp"
THREADS, CORES = 8, 4
MAKE_NEFF = """
import sys, numpy
from tests.support.nrt_client import make_neff
neff = make_neff(lambda b, x: b.add(x, b.full_like(x, 1)), numpy.zeros(8, "f4"))
open(sys.argv[1], "wb").write(neff)
"""
PACKAGES = {"spike": "spike", "emulator": "nkipy_emulator"}
# What the tests drive: the GIL and threads, lifetimes, errors; libnrt's every entry
# point; the XLA handlers.
TESTS = (
    "spike/tests",
    "tests/unit/spike",
    "tests/unit/libnrt",
    "tests/unit/emulator/test_custom_calls.py",
)
# Tests that measure, or whose own means do not go with a preloaded library.
LEFT_OUT = "not symbols and not c_client and not gigabyte"
OURS = re.compile(
    r"libnrt\.so|_spike\.|libnkipy_xla_handlers|build/sanitize/\w+/stress"
)


@dataclass(frozen=True)
class Sanitizer:
    """One build: what the compiler is told, what is preloaded, and the options."""

    flags: str
    preloaded: tuple[str, ...]
    options: Mapping[str, str]


SANITIZERS = {
    "address": Sanitizer(
        "address,undefined",
        ("libasan.so", "libubsan.so", "libstdc++.so"),
        {
            # Leaks are looked for, but those of the interpreter must not fail it.
            "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
            "LSAN_OPTIONS": "exitcode=0:report_objects=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
    ),
    "thread": Sanitizer(
        "thread",
        ("libtsan.so", "libstdc++.so"),
        {"TSAN_OPTIONS": "exitcode=0:die_after_fork=0:second_deadlock_stack=1"},
    ),
}


def run(command: Sequence[object], **options: object) -> None:
    """Run a command; its failure ends the program."""
    print("+", *command, flush=True)
    done = subprocess.run([str(c) for c in command], **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"failed with exit code {done.returncode}")


class Build:
    """The instrumented libraries, in copies of the packages."""

    def __init__(self, name: str) -> None:
        self.sanitizer = SANITIZERS[name]
        self.directory = BUILD / name
        self.packages = self.directory / "packages"
        self.stress = self.directory / "stress"

    def make(self) -> None:
        shutil.rmtree(self.packages, ignore_errors=True)
        for project, package in PACKAGES.items():
            shutil.copytree(
                ROOT / project / "src" / package,
                self.packages / package,
                ignore=shutil.ignore_patterns("*.so*", "__pycache__"),
            )
            self._compile(project)
        # The editable installs' own finders come before PYTHONPATH.
        (self.packages / "sitecustomize.py").write_text(
            "import sys\nsys.meta_path[:] = [\n    f for f in sys.meta_path"
            ' if "ScikitBuild" not in type(f).__name__\n]\n'
        )
        self._compile_stress()

    def _compile(self, project: str) -> None:
        directory = self.directory / project
        definitions = {
            "CMAKE_BUILD_TYPE": "None",
            "CMAKE_CXX_FLAGS": "-O1",
            "CMAKE_INSTALL_PREFIX": self.packages,
            "SKBUILD_PROJECT_NAME": project,
            "SKBUILD_PROJECT_VERSION": "0",
            "Python_EXECUTABLE": sys.executable,
            f"{'SPIKE' if project == 'spike' else 'NKIPY'}_SANITIZE": self.sanitizer.flags,
        }
        if project == "spike":
            where = [sys.executable, "-m", "nanobind", "--cmake_dir"]
            found = subprocess.run(where, check=True, capture_output=True, text=True)
            definitions["nanobind_DIR"] = found.stdout.strip()
        given = [f"-D{name}={value}" for name, value in definitions.items()]
        quiet = ["-Wno-dev", "--no-warn-unused-cli", "--log-level=WARNING"]
        source = ROOT / project
        run(["cmake", "-G", "Ninja", "-S", source, "-B", directory, *quiet, *given])
        run(["cmake", "--build", directory, "--", "--quiet"])
        run(["cmake", "--install", directory], stdout=subprocess.DEVNULL)

    def _compile_stress(self) -> None:
        emulator = self.packages / "nkipy_emulator"
        run(
            [
                *(os.environ.get("CXX", "c++"), "-std=c++17", "-O1", "-g1"),
                *(f"-fsanitize={self.sanitizer.flags}", "-fno-omit-frame-pointer"),
                *(STRESS, "-o", self.stress, "-I", emulator / "include"),
                *("-L", emulator / "lib", "-lnrt", "-lpthread"),
                f"-Wl,-rpath,{emulator / 'lib'}",
            ]
        )


class Trial:
    """Runs things with a build, and keeps what the sanitizer says."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.reports = build.directory / "reports"
        shutil.rmtree(self.reports, ignore_errors=True)
        self.reports.mkdir()

    def environment(self) -> dict[str, str]:
        """Of any process that runs our C++."""
        log = f"log_path={self.reports / 'report'}"
        options = {
            name: f"{value}:{log}"
            for name, value in self.build.sanitizer.options.items()
        }
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("NEURON_", "NKIPY_EMULATOR_"))
        }
        return {**kept, **options}

    def stress(self, seconds: int) -> None:
        """The C++ program; the child that executes for it is an ordinary Python."""
        neff = self.build.directory / "program.neff"
        run([sys.executable, "-c", MAKE_NEFF, neff], cwd=ROOT)
        locks = self.build.directory / "locks"
        env = {
            **self.environment(),
            "NKIPY_EMULATOR_LOCK_DIR": str(locks),
            "NKIPY_EMULATOR_PYTHON": sys.executable,
            "NEURON_RT_VISIBLE_CORES": f"0-{CORES - 1}",
        }
        run([self.build.stress, neff, THREADS, seconds], env=env)

    def tests(self, arguments: Sequence[str]) -> None:
        """The tests, in a Python that loads the instrumented libraries."""
        libraries = map(library, self.build.sanitizer.preloaded)
        env = {
            **self.environment(),
            "LD_PRELOAD": " ".join(libraries),
            "PYTHONPATH": str(self.build.packages),
            "PYTHONMALLOC": "malloc",
        }
        check = "import spike._spike as s, sys; sys.exit('build' not in s.__file__)"
        run([sys.executable, "-c", check], env=env)
        run([sys.executable, "-m", "pytest", "-q", *arguments], cwd=ROOT, env=env)

    def judge(self) -> int:
        """Show the reports about our libraries; how many there are."""
        files = sorted(self.reports.iterdir())
        found = [r for f in files for r in split(f.read_text(errors="replace"))]
        ours = list(dict.fromkeys(r for r in found if is_ours(r)))
        print(*ours, sep="\n\n")
        print(f"{len(found)} reports, {len(ours)} of them about our libraries")
        return len(ours)


def library(name: str) -> str:
    """The path of one of the compiler's libraries."""
    command = [os.environ.get("CC", "gcc"), f"-print-file-name={name}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def split(text: str) -> list[str]:
    """The reports in a file."""
    starts = (
        r"^(?==+\n(?:WARNING|==\d+==ERROR)|(?:Direct|Indirect) leak|\S+: runtime error)"
    )
    parts = re.split(starts, text, flags=re.MULTILINE)
    return [p for p in parts if re.search(r"ERROR|WARNING|leak of|runtime error", p)]


def is_ours(report: str) -> bool:
    """Whether a frame that matters is of our libraries."""
    stacks = re.split(r"\n\s*\n", report)
    frames = [re.findall(r"^ +#(\d+) .*", s, flags=re.MULTILINE) for s in stacks]
    return bool(frames) and OURS.search(report) is not None


def without_random_addresses() -> None:
    """ThreadSanitizer of some compilers cannot map its memory otherwise."""
    ctypes.CDLL(None).personality(0x0040000)  # may be forbidden, and needless


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sanitizer", choices=sorted(SANITIZERS))
    parser.add_argument("--seconds", type=int, default=20, help="of the C++ program")
    parser.add_argument("tests", nargs="*", default=TESTS, help="arguments of pytest")
    options = parser.parse_intermixed_args()
    if find_spec("nanobind") is None:
        sys.exit("run it as: uv run --group sanitize tools/sanitize.py …")
    without_random_addresses()
    build = Build(options.sanitizer)
    start = time.monotonic()

    def done(what: str) -> None:
        print(f"==> {options.sanitizer}: {what} after {time.monotonic() - start:.0f} s")

    build.make()
    done("built")
    trial = Trial(build)
    trial.stress(options.seconds)
    done("stress program")
    trial.tests(options.tests)
    done("tests")
    return 1 if trial.judge() else 0


if __name__ == "__main__":
    sys.exit(main())
