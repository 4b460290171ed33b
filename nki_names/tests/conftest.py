"""Pythons that start with the names installed, a stand-in for nkipy-nki, and others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"

#: A package that is as nkipy-nki, without its imports and all that takes time.
STAND_IN = {
    "nkipy_nki/__init__.py": "import nkipy_nki.isa\ndef jit(f): return f\n",
    "nkipy_nki/isa.py": "",
    "nkipy_nki/language/__init__.py": "from . import tiles\nload = tiles.load\n",
    "nkipy_nki/language/tiles.py": "def load(x): return x\n",
    "nkipy_nki/tool.py": "import sys\nprint(__name__, __package__, sys.argv[1:])\n",
    "nkipy_nki/neuronxcc/__init__.py": "",
    "nkipy_nki/neuronxcc/nki/__init__.py": "def jit(f): return f\n",
    "nkipy_nki/neuronxcc/nki/language.py": "",
}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files, by their paths below `folder`."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


class Place:
    """A virtual environment with nothing in it, and a directory to work in.

    Args:
        path: a directory for both.
        system_site: whether it has what is in the site directory of the user, too.

    Attributes:
        site: the site directory.
        user_site: that of the user.
        work: where Python is started.
        variables: of its environment.
    """

    def __init__(self, path: Path, system_site: bool = False) -> None:
        self.work, base = path / "work", path / "user"
        self.work.mkdir(parents=True)
        venv.create(path / "env", symlinks=True, system_site_packages=system_site)
        self.python = path / "env/bin/python"
        places = {"base": str(path / "env"), "userbase": str(base)}
        self.site = Path(sysconfig.get_path("purelib", "posix_prefix", places))
        self.user_site = Path(sysconfig.get_path("purelib", "posix_user", places))
        self.variables = {"PYTHONUSERBASE": str(base), "PATH": os.defpath}

    def install_ours(self, site: Path | None = None) -> None:
        """Lay out what our wheel has, and the stand-in."""
        site = site or self.site
        shutil.copytree(SRC, site, dirs_exist_ok=True)
        for left in site.glob("*.egg-info"):
            shutil.rmtree(left)
        write(site, STAND_IN)

    def run(self, *arguments: str, status: int = 0) -> str:
        """What Python prints, to both streams, with these arguments."""
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.work,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def code(self, text: str, *options: str) -> str:
        """What a program prints."""
        return self.run(*options, "-c", text)


@pytest.fixture
def system_site(tmp_path: Path) -> Place:
    """Where nothing is installed, and what the user has is seen."""
    return Place(tmp_path / "open", system_site=True)


@pytest.fixture
def bare(tmp_path: Path) -> Place:
    """Where nothing is installed."""
    return Place(tmp_path)


@pytest.fixture
def place(bare: Place) -> Place:
    """Where ours are."""
    bare.install_ours()
    return bare
