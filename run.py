#!/usr/bin/env python3
"""Installs the workspace and runs it, from nothing but Python and a C++17 compiler.

    python3 run.py demo             traces a NumPy kernel and runs its HLO
    python3 run.py test [ARG ...]   runs the tests side by side; arguments go to pytest
    python3 run.py uv ARG ...       any other uv command, such as: uv sync --all-groups

uv does the work. Where it is missing (or old), it is installed into .uv/ in this
directory, and nowhere else. The packages are installed for the Python that runs this
script, unless .venv exists already or UV_PYTHON names another.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
DEMO = "examples/playground/simple_nkipy_kernel.py"
UV_VERSION = "0.13.8"
OLDEST_UV = (0, 8)  # as tool.uv.required-version


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


def command(arguments: list[str]) -> list[str]:
    """What uv is to do for the arguments of this script."""
    if arguments == ["demo"]:  # without the development groups: less to install
        return ["run", "--no-default-groups", "python", DEMO]
    if arguments[:1] == ["test"]:
        return ["run", "pytest", "-n", "auto", *arguments[1:]]
    if arguments[:1] == ["uv"] and len(arguments) > 1:
        return arguments[1:]
    sys.exit(__doc__)


def main() -> int:
    if sys.version_info < (3, 10):  # noqa: UP036 - an older one may well run this
        sys.exit(f"Python 3.10 or later is needed, this is {sys.version.split()[0]}")
    wanted = command(sys.argv[1:])
    try:
        uv = find_uv()
    except subprocess.CalledProcessError as error:
        sys.exit(f"Installing uv failed with exit code {error.returncode}: see above")
    return subprocess.run([uv, *wanted], cwd=ROOT, env=environment()).returncode


if __name__ == "__main__":
    sys.exit(main())
