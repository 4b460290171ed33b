"""The Pythons of this machine that the packages are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

#: As tool.uv and the READMEs name them.
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@cache
def found() -> dict[str, str]:
    """The interpreter of each supported version that is here; the running one first."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    pythons = {running: sys.executable}
    for version in SUPPORTED:
        working = (path for path in _candidates(version) if _is(path, version))
        path = pythons.get(version) or next(working, None)
        if path is not None:
            pythons[version] = path
    return pythons


def _candidates(version: str) -> list[str]:
    """On the PATH, and where pyenv and uv keep those that they installed."""
    name, home = f"python{version}", Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"), "versions")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", home / ".local/share/uv/python"))
    kept = [*pyenv.glob(f"{version}.*"), *uv.glob(f"cpython-{version}.*")]
    on_path = shutil.which(name)
    return [*([on_path] if on_path else []), *(str(p / "bin" / name) for p in kept)]


def _is(path: str, version: str) -> bool:
    """Whether it runs, as the shim of a version manager may not, and can make
    environments."""
    try:
        done = subprocess.run(
            [path, "-I", "-S", "-c", f"import ensurepip, venv; {_VERSION}"],
            capture_output=True,
            text=True,
        )
    except OSError:
        return False
    return done.stdout.strip() == version
