"""Builds our C++ with a sanitizer and puts it to use; fails on any report about it.

    uv run --group sanitize tools/sanitize.py address   # and UBSan, and leaks
    uv run --group sanitize tools/sanitize.py thread --seconds 600

First a C++ program drives the emulated libnrt from eight threads over four cores, with
no Python in its process, for so many seconds. Then the tests that use the C++ most run
in a Python that has the sanitizer's library preloaded, and where torch is installed a
program whose threads use torch's device. All use copies of our packages, with the
instrumented libraries in them, below build/sanitize/.

What the sanitizers write goes into files, from child processes too, and whatever tests
make of their output. A report counts if a frame that matters is of our libraries: what
others (CPython, jaxlib, torch) do among themselves is not for us to mend.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from workspace import ROOT, Member, members

BUILD = ROOT / "build" / "sanitize"
STRESS = ROOT / "tests" / "unit" / "libnrt" / "stress.cpp"
#: Drives what the XLA handlers share work by, without XLA.
SHARING = ROOT / "tests" / "unit" / "emulator" / "sharing_stress.cpp"
#: Ranks that exchange through shared memory and sockets, and the sources of that.
WORLDS = ROOT / "tests" / "unit" / "emulator" / "world_stress.cpp"
WORLD_SOURCES = (
    *("world_memory.cpp", "world_links.cpp"),
    *("collective_exchange.cpp", "collective_reduction.cpp"),
)
#: Ranks and machines of the worlds.
WORLD_SIZES = ((4, 1), (5, 2))
THREADS, CORES = 8, 4
MAKE_NEFF = """
import sys, numpy
from tests.support.nrt_client import make_neff
neff = make_neff(lambda b, x: b.add(x, b.full_like(x, 1)), numpy.zeros(8, "f4"))
open(sys.argv[1], "wb").write(neff)
"""
# That the libraries are the instrumented ones.
CHECK = """
import sys, spike._spike as extension, nkipy_emulator.libnrt as libnrt
for path in (extension.__file__, str(libnrt.library_path())):
    if not path.startswith(sys.argv[1]):
        sys.exit(f"{path} is not of {sys.argv[1]}")
"""
# The same of torch's device.
CHECK_TORCH = """
import sys, torch, spike_torch._C as extension
if not extension.__file__.startswith(sys.argv[1]):
    sys.exit(f"{extension.__file__} is not of {sys.argv[1]}")
"""
#: The one of them that is torch's device.
TORCH_DEVICE = "spike-torch"
#: Threads that use torch's device in all ways at once.
TORCH_STRESS = ROOT / TORCH_DEVICE / "tests" / "stress.py"
#: The packages with C++ of ours that can be built.
PROJECTS = [
    member
    for member in members()
    if member.has_cpp and (not member.torch or find_spec("torch"))
]
# Against spike's own small libnrt: the GIL, threads, lifetimes, errors.
SPIKE_TESTS = ("spike/tests",)
# Against the emulated one: entry points, sessions, models, threads, ranks.
DEVICE_TESTS = (
    "tests/unit/spike/test_emulator.py",
    *(f"tests/unit/libnrt/test_{name}.py" for name in ("async", "models", "threads")),
    *(f"tests/unit/libnrt/test_{name}.py" for name in ("tensors", "execute", "trace")),
)
# Those of them that do not need XLA in their own process.
CHILD_TESTS = tuple(
    f"tests/unit/libnrt/test_{name}.py" for name in ("threads", "tensors")
)
THREADED_TEST = ("tests/unit/spike/test_threads.py", "-m", "slow")
HANDLER_TESTS = tuple(
    f"tests/unit/emulator/test_{name}.py"
    for name in (
        *("custom_calls", "fast_calls", "array_calls", "products", "operands"),
        "wrong_handler_calls",
    )
)
# By the source, where a frame names it; else by the module, whose path may be missing.
OURS = re.compile(
    rf"{re.escape(str(ROOT))}/({'|'.join(p.folder for p in PROJECTS)}|tests)/"
    r"|[/(](libnrt\.so\.1|_spike\.|spike_torch/_C\.|libnkipy_xla_handlers|stress\+)"
)
# Frames that only carry out what the one below asks for.
RUNTIME = re.compile(r"lib[a-z]+san\.so|libsanitizer|[/(](libstdc\+\+|libc)\.so")
FRAME = re.compile(r"^ +#\d+ .*", re.MULTILINE)
CIRCUMSTANCE = re.compile(r"\s*(Mutex|Thread|Location) ")
# The C library frees the thread-local variables of a thread that has ended, and ends
# their lives in it before; that the one comes after the other no sanitizer sees.
END_OF_THREAD = re.compile(r"_dl_deallocate_tls.*__call_tls_dtors", re.DOTALL)


@dataclass(frozen=True)
class Sanitizer:
    """One build: what the compiler is told, what is preloaded, and what is run."""

    flags: str
    preloaded: tuple[str, ...]
    options: Mapping[str, str]
    # Tests in whose process there is XLA, and how they differ.
    device_tests: tuple[str, ...]
    device_environment: Mapping[str, str]
    # Of processes that have torch.
    torch_environment: Mapping[str, str]
    # Of a project, by its folder, the one component that is built; of others, all.
    components: Mapping[str, str] = field(default_factory=dict)
    # Whether spike's tests, and those of the device, run in as many processes as there
    # are cores. What looks for leaks at its end takes longer than xdist waits; and
    # threads that ThreadSanitizer slows down need all cores.
    spike_tests_apart: bool = False
    device_tests_apart: bool = False


SANITIZERS = {
    "address": Sanitizer(
        "address,undefined",
        ("libasan.so", "libubsan.so", "libstdc++.so"),
        {
            # Leaks are looked for, but those of the interpreter must not fail it.
            "ASAN_OPTIONS": "detect_stack_use_after_return=1",
            "LSAN_OPTIONS": "exitcode=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
        (*DEVICE_TESTS, *HANDLER_TESTS),
        # Those of XLA are many, and take a minute to name.
        {"ASAN_OPTIONS": "detect_leaks=0"},
        {},
        device_tests_apart=True,
    ),
    "thread": Sanitizer(
        "thread",
        ("libtsan.so", "libstdc++.so"),
        {"TSAN_OPTIONS": "exitcode=0:die_after_fork=0:second_deadlock_stack=1"},
        # XLA with ThreadSanitizer takes minutes to compile anything: it runs in a
        # child of libnrt's, without. So the handlers are not run under it.
        (*CHILD_TESTS, "-k", "not inprocess"),
        {"NKIPY_EMULATOR_ENGINE": "child"},
        # torch synchronizes by atomics, of which nothing tells the sanitizer: what its
        # code frees and copies is not looked at. Its locks and threads are.
        {
            "TSAN_OPTIONS": "ignore_noninstrumented_modules=1",
            "OMP_NUM_THREADS": "1",
            "NKIPY_EMULATOR_ENGINE": "child",  # programs run, by XLA
        },
        components={"emulator": "libnrt"},
        spike_tests_apart=True,
    ),
}


def run(command: Sequence[object], **options: object) -> None:
    """Run a command; its failure ends the program."""
    print("+", *(str(c).strip().split("\n")[0] for c in command), flush=True)
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
        self.sharing = self.directory / "sharing_stress"
        self.worlds = self.directory / "world_stress"

    def make(self) -> None:
        shutil.rmtree(self.packages, ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor() as beside:  # each takes one core, and so they share
            programs = [
                beside.submit(run, command) for command in self._free_standing()
            ]
            self._make_packages()
            for program in programs:
                program.result()
        run(self._stress())

    def _make_packages(self) -> None:
        for project in PROJECTS:
            for package in project.packages:
                shutil.copytree(
                    project.src / package,
                    self.packages / package,
                    ignore=shutil.ignore_patterns("*.so*", "__pycache__"),
                )
            self._compile(project)
        # The editable installs' own finders come before PYTHONPATH.
        (self.packages / "sitecustomize.py").write_text(
            "import sys\nsys.meta_path[:] = [\n    f for f in sys.meta_path"
            ' if "ScikitBuild" not in type(f).__name__\n]\n'
        )

    def _compile(self, project: Member) -> None:
        directory = self.directory / project.folder
        definitions = {
            "CMAKE_BUILD_TYPE": "None",
            "CMAKE_CXX_FLAGS": "-O0 -fno-sanitize-recover=undefined",
            "CMAKE_INSTALL_PREFIX": self.packages,
            "SKBUILD_PROJECT_NAME": project.name,
            "SKBUILD_PROJECT_VERSION": version(project.name),
            "Python_EXECUTABLE": sys.executable,
            _sanitize_variable(project): self.sanitizer.flags,
            "NKIPY_PRECOMPILED_HEADERS": "ON",
        }
        if any("nanobind" in r for r in project.project["build-system"]["requires"]):
            where = [sys.executable, "-m", "nanobind", "--cmake_dir"]
            found = subprocess.run(where, check=True, capture_output=True, text=True)
            definitions["nanobind_DIR"] = found.stdout.strip()
        given = [f"-D{name}={value}" for name, value in definitions.items()]
        quiet = ["-Wno-dev", "--no-warn-unused-cli", "--log-level=ERROR"]
        command = ["cmake", "-G", "Ninja", "-S", project.path, "-B", directory]
        run([*command, *quiet, *given], stdout=subprocess.DEVNULL)
        part = self.sanitizer.components.get(project.folder)
        target = ["--target", part] if part else []
        run(["cmake", "--build", directory, *target, "--", "--quiet"])
        component = ["--component", part] if part else []
        run(["cmake", "--install", directory, *component], stdout=subprocess.DEVNULL)

    def _stress(self) -> list[object]:
        """The command that compiles what drives libnrt, once there is one."""
        emulator = self.packages / "nkipy_emulator"
        return self._program(
            *(STRESS, "-o", self.stress, "-I", emulator / "include"),
            *("-L", emulator / "lib", "-lnrt", "-lpthread"),
            f"-Wl,-rpath,{emulator / 'lib'}",
        )

    def _free_standing(self) -> Iterator[list[object]]:
        """Those that compile the programs that need none of our libraries."""
        found = find_spec("jaxlib")
        assert found is not None and found.submodule_search_locations
        sources = ROOT / "emulator" / "src" / "cpp"
        of_xla = Path(found.submodule_search_locations[0]) / "include"
        headers = ("-I", sources, "-isystem", of_xla, "-lpthread")
        yield self._program(SHARING, "-o", self.sharing, *headers)
        of_worlds = (sources / name for name in WORLD_SOURCES)
        yield self._program(WORLDS, *of_worlds, "-o", self.worlds, *headers)

    def _program(self, *arguments: object) -> list[object]:
        return [
            *(os.environ.get("CXX", "c++"), "-std=c++17", "-O0", "-g1"),
            *(f"-fsanitize={self.sanitizer.flags}", "-fno-omit-frame-pointer"),
            "-fno-sanitize-recover=undefined",
            *arguments,
        ]


class Trial:
    """Runs things with a build, and keeps what the sanitizer says."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.reports = build.directory / "reports"
        shutil.rmtree(self.reports, ignore_errors=True)
        self.reports.mkdir()

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Of any process that runs our C++; the sanitizer's options add up."""
        log = f"log_path={self.reports / 'report'}"
        options = {
            name: f"{value}:{log}:{extra.get(name, '')}"
            for name, value in self.build.sanitizer.options.items()
        }
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("NEURON_", "NKIPY_EMULATOR_"))
        }
        python = {"NKIPY_EMULATOR_PYTHON": str(self._ordinary_python())}
        return {**kept, **python, **extra, **options}

    def _ordinary_python(self) -> Path:
        """An interpreter for children that loads none of the instrumented libraries."""
        path = self.build.directory / "python"
        unset = "env -u LD_PRELOAD -u PYTHONPATH -u PYTHONMALLOC"
        path.write_text(f'#!/bin/sh\nexec {unset} "{sys.executable}" "$@"\n')
        path.chmod(0o755)
        return path

    def stress(self, seconds: int) -> None:
        """The C++ programs."""
        sharing = [self.build.sharing, THREADS, min(seconds // 2, 30)]
        run(sharing, env=self.environment({}))
        # ThreadSanitizer does not see what other processes wait for.
        in_processes = () if self.build.sanitizer.flags == "thread" else ("processes",)
        kinds = dict.fromkeys(((), in_processes))
        for size, how in itertools.product(WORLD_SIZES, kinds):
            worlds = [self.build.worlds, *size, min(seconds, 30) // 4, *how]
            run(worlds, env=self.environment({}))
        neff = self.build.directory / "program.neff"
        run([sys.executable, "-c", MAKE_NEFF, neff], cwd=ROOT)
        command = [self.build.stress, neff, THREADS, seconds]
        run(command, env=self.environment(self._cores()))

    def tests(
        self, arguments: Sequence[str], extra: Mapping[str, str], apart: bool = False
    ) -> None:
        """Tests, in a Python that loads the instrumented libraries, or in several."""
        env = self.environment({**self._preloaded(), **extra})
        run([sys.executable, "-c", CHECK, self.build.packages], env=env)
        pytest = [sys.executable, "-m", "pytest", "-q", "--durations=5"]
        # What is undefined ends the process, with a message that must not be captured.
        options = ["-p", "no:cacheprovider", "--capture=sys"]
        options += ["-n", "auto", "--dist", "worksteal"] if apart else []
        run([*pytest, *options, *arguments], cwd=ROOT, env=env)

    def _preloaded(self) -> dict[str, str]:
        """What has a Python load the instrumented libraries."""
        libraries = map(library, self.build.sanitizer.preloaded)
        return {
            "LD_PRELOAD": " ".join(libraries),
            "PYTHONPATH": str(self.build.packages),
            "PYTHONMALLOC": "malloc",
            # Of the second extension module, which spike's tests build.
            "SPIKE_TEST_CFLAGS": f"-fsanitize={self.build.sanitizer.flags} -g1",
        }

    def torch_device(self, seconds: int) -> None:
        """The program whose threads use torch's device."""
        if not any(project.folder == TORCH_DEVICE for project in PROJECTS):
            print(f"{TORCH_DEVICE} is left out: no torch is installed", flush=True)
            return
        extra = {"NEURON_RT_LOG_LEVEL": "QUIET"} | self._preloaded() | self._cores()
        env = self.environment({**extra, **self.build.sanitizer.torch_environment})
        run([sys.executable, "-c", CHECK_TORCH, self.build.packages], env=env)
        command = [sys.executable, TORCH_STRESS, "--threads", THREADS]
        run([*command, "--seconds", seconds], env=env)

    def _cores(self) -> dict[str, str]:
        """Cores of this build's own."""
        return {
            "NKIPY_EMULATOR_LOCK_DIR": str(self.build.directory / "locks"),
            "NEURON_RT_VISIBLE_CORES": f"0-{CORES - 1}",
        }

    def judge(self) -> int:
        """Show the reports about our libraries; how many there are."""
        files = sorted(self.reports.iterdir())
        found = [r for f in files for r in split(f.read_text(errors="replace"))]
        ours = list(dict.fromkeys(r for r in found if is_ours(r)))
        print(*ours, sep="\n\n")
        print(f"{len(found)} reports, {len(ours)} of them about our libraries")
        return len(ours)


def _sanitize_variable(project: Member) -> str:
    """The variable by which a project's CMakeLists.txt takes the sanitizers."""
    text = (project.path / "CMakeLists.txt").read_text()
    found = re.search(r"\b\w+_SANITIZE\b", text)
    if found is None:
        sys.exit(f"{project.folder}/CMakeLists.txt has no variable <NAME>_SANITIZE")
    return found[0]


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
    """Whether what was done wrong was done, or prepared, by our code.

    That is, whether one of the stacks begins in it, those apart that only say where a
    thread, a mutex or a block came from. The end of a thread (`END_OF_THREAD`) is not.
    """
    stacks = [part for part in re.split(r"\n\s*\n", report) if FRAME.search(part)]
    telling = [stack for stack in stacks if not CIRCUMSTANCE.match(stack)]
    if END_OF_THREAD.search("".join(telling)):
        return False
    return any(OURS.search(first_frame(stack)) for stack in telling)


def first_frame(stack: str) -> str:
    """The innermost one that is not of the sanitizer or of the language's library."""
    frames = [frame for frame in FRAME.findall(stack) if not RUNTIME.search(frame)]
    return frames[0] if frames else ""


def without_random_addresses() -> None:
    """ThreadSanitizer of some compilers cannot map its memory otherwise."""
    ctypes.CDLL(None).personality(0x0040000)  # may be forbidden, and needless


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sanitizer", choices=sorted(SANITIZERS))
    parser.add_argument("--seconds", type=int, default=20, help="of the C++ program")
    parser.add_argument("--build-only", action="store_true")
    options = parser.parse_args()
    if find_spec("nanobind") is None:
        sys.exit("run it as: uv run --group sanitize tools/sanitize.py …")
    without_random_addresses()
    build = Build(options.sanitizer)
    start = time.monotonic()

    def done(what: str) -> None:
        seconds = time.monotonic() - start
        print(f"==> {options.sanitizer}: {what}, after {seconds:.0f} s", flush=True)

    build.make()
    done("built")
    if options.build_only:
        return 0
    trial = Trial(build)
    try:
        trial.stress(options.seconds)
        done("C++ programs")
        sanitizer = build.sanitizer
        trial.tests(SPIKE_TESTS, {}, apart=sanitizer.spike_tests_apart)
        done("spike's tests")
        extra = {"NKIPY_TEST_SECONDS": str(options.seconds)}
        device = sanitizer.device_environment
        trial.tests(THREADED_TEST, {**extra, **device})
        done("threads through spike")
        trial.torch_device(max(options.seconds // 5, 3))
        done("threads through torch")
        trial.tests(sanitizer.device_tests, device, apart=sanitizer.device_tests_apart)
        done("tests of the emulated device")
    finally:
        found = trial.judge()
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
