#!/usr/bin/env python3
"""Installs the workspace and runs it, from nothing but Python and a C++17 compiler.

    python3 run.py demo             runs one kernel: NumPy, simulated, emulated
    python3 run.py test [ARG ...]   runs the tests side by side; arguments go to pytest
    python3 run.py torch            installs torch for the CPU, and what needs it
    python3 run.py uv ARG ...       any other uv command, such as: uv sync --all-groups
    python3 run.py --help           prints this; --version, the workspace's version

uv does the work. Where it is missing (or old), it is installed into .uv/ in this
directory, and nowhere else. The packages are installed for the Python that runs this
script, unless .venv exists already or UV_PYTHON names another.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
DEMO = "examples/playground/simple_nkipy_kernel.py"
UV_VERSION = "0.13.8"
OLDEST_UV = (0, 8)  # as tool.uv.required-version
COMMANDS = ("demo", "test", "torch", "uv", "--help", "--version")
INSTALLING = (["run"], ["sync"])  # commands of uv


def is_recent(uv: str) -> bool:
    """Whether `uv` runs and is not older than the workspace needs."""
    try:
        done = subprocess.run([uv, "--version"], capture_output=True, text=True)
    except OSError:
        return False
    found = re.match(r"uv (\d+)\.(\d+)", done.stdout)
    return found is not None and tuple(map(int, found.groups())) >= OLDEST_UV


def private_uv() -> str:
    """The uv in .uv/, installed now if it is not there."""
    home = ROOT / ".uv"
    uv = home / "bin" / "uv"
    if not is_recent(str(uv)):
        print(f"Installing uv {UV_VERSION} into {home}", file=sys.stderr, flush=True)
        venv.create(home, clear=True, with_pip=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", f"uv=={UV_VERSION}"], check=True)
    return str(uv)


def find_uv() -> str:
    """uv from the PATH if it will do, else our own."""
    found = shutil.which("uv")
    return found if found and is_recent(found) else private_uv()


def environment() -> dict[str, str]:
    """The variables for uv: another activated environment is none of its business."""
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    if not (ROOT / ".venv").exists():
        env.setdefault("UV_PYTHON", sys.executable)
    return env


def reinstall() -> list[str]:
    """Options that build the packages anew, if there is no environment yet.

    uv keeps what it has built of this directory. Part of that lies beside the sources,
    where `git clean` may have deleted it.
    """
    if (ROOT / ".venv").exists():
        return []
    projects = (
        *ROOT.glob("*/pyproject.toml"),
        *ROOT.glob("experimental/*/*/pyproject.toml"),
    )
    names = (stated("name", project) for project in sorted(projects))
    return [f"--reinstall-package={name}" for name in names]


def stated(key: str, project: Path = ROOT / "pyproject.toml") -> str:
    """The first text of that name in a pyproject.toml, read as 3.10 can."""
    found = re.search(rf'^{key} = "(.*)"$', project.read_text(), re.MULTILINE)
    return found[1] if found else ""


def command(arguments: list[str]) -> list[str]:
    """What uv is to do for the arguments of this script. Ends it for all others."""
    name, *others = arguments or [""]
    if name in ("--help", "-h", "help"):
        tell(str(__doc__).strip())
    if name == "--version":
        tell(f"run.py of {stated('name')} {stated('version')}")
    if name == "demo" and not others:  # no development groups: less to install
        return ["run", *reinstall(), "--no-default-groups", "python", DEMO]
    if name == "test":
        tests = ["pytest", "-n", "auto", *others]
        return [*run_with_torch(), "--if-possible", *tests]
    if name == "torch" and not others:
        return run_with_torch()
    if name == "uv":
        return [
            *others[:1],
            *(reinstall() if others[:1] in INSTALLING else []),
            *others[1:],
        ]
    misuse(name, others)


def run_with_torch() -> list[str]:
    """The command of uv that installs the torch packages."""
    return ["run", *reinstall(), "--group=torch", "python", "tools/install_torch.py"]


def tell(text: str) -> NoReturn:
    """Print it, and end."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python tries again at its end
        sys.exit(f"run.py: error: the output cannot be written: {error.strerror}")
    sys.exit()


def misuse(name: str, others: list[str]) -> NoReturn:
    """End with status 2, and what was wrong."""
    if not name:
        print(str(__doc__).strip(), file=sys.stderr)
    elif name in ("demo", "torch"):
        print(
            f"run.py: error: {name} takes no arguments, got {' '.join(others)}",
            file=sys.stderr,
        )
    else:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        meant = (
            f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        )
        print(f"run.py: error: no command {name}; {meant}", file=sys.stderr)
    sys.exit(2)


def needs_compiler() -> bool:
    """Whether packages are to be built, and there is no C++ compiler for it."""
    if (ROOT / ".venv").exists() or os.environ.get("CXX"):
        return False
    return not any(map(shutil.which, ("c++", "g++", "clang++")))


def main() -> None:
    if sys.version_info < (3, 10):  # noqa: UP036 - an older one may well run this
        sys.exit(f"Python 3.10 or later is needed, this is {sys.version.split()[0]}")
    # Whoever stops reading ends this quietly, and uv, which inherits it: `| head`.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    wanted = command(sys.argv[1:])
    if wanted[:1] in INSTALLING and needs_compiler():
        sys.exit(
            "run.py: error: a C++17 compiler is needed, and there is no c++, g++ or "
            "clang++ on the PATH: install one (such as with: apt install g++), or name "
            "yours in CXX"
        )
    try:
        uv = find_uv()
    except subprocess.CalledProcessError as error:
        sys.exit(f"Installing uv failed with exit code {error.returncode}: see above")
    uv = os.path.abspath(uv)
    os.chdir(ROOT)
    # uv takes this process over, so that signals and Ctrl-C are its own.
    os.execve(uv, [uv, *wanted], environment())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
