"""Installs torch, a build for the CPU, and the packages that are built for it.

    python3 run.py torch        # this, with the environment made before

torch's minor version is the one that the members state under ``tool.nkipy``. A torch of
that version that is installed is taken. Else pip is asked, where it is configured to
look without an index (``find-links``); then uv's CPU backend. Plain pip and plain uv
would fetch a build for CUDA, of gigabytes: such a build is never installed.

``tools/install_torch.py --if-possible pytest …`` says in one line why there is no
torch, and runs the command with what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from workspace import Member, members


class Unavailable(Exception):
    """Why torch, or what is built against it, cannot be installed here."""


def install(built: Sequence[Member]) -> None:
    """Install torch, and the members that are built against it.

    Raises:
        Unavailable: with the reason, in one line.
    """
    (version,) = {str(member.torch) for member in built}
    if not is_installed(version):
        from_links(version) or from_cpu_index(version)
    for member in built:
        build(member)


def is_installed(version: str) -> bool:
    """Whether a torch of that minor version is there.

    Raises:
        Unavailable: it is one for GPUs.
    """
    try:
        torch = distribution("torch")
    except PackageNotFoundError:
        return False
    if not torch.version.startswith(f"{version}."):
        return False
    if is_for_gpus(torch.version, torch.requires or ()):
        raise Unavailable(f"the torch {torch.version} that is installed is for GPUs")
    return True


def is_for_gpus(version: str, requires: Sequence[str]) -> bool:
    """Whether a build's metadata says so: in its version, or by what it requires."""
    local = version.partition("+")[2]
    others = ("nvidia-", "cuda-", "triton", "pytorch-triton")
    return local.startswith(("cu", "rocm", "xpu")) or any(
        need.lower().startswith(others) and "extra ==" not in need for need in requires
    )


# -- where torch comes from ------------------------------------------------------------
def from_links(version: str) -> bool:
    """Ask pip, without an index; whether it had a build for the CPU."""
    pip = find_pip()
    if pip is None:
        return False
    install = [*pip, "install", "--quiet", "--no-index", "--no-deps"]
    install.append(f"torch=={version}.*")
    asked = run([*install, "--dry-run", "--ignore-installed", "--report", "-"])
    if asked.returncode:
        return False
    (found,) = json.loads(asked.stdout)["install"]
    metadata = found["metadata"]
    if is_for_gpus(metadata["version"], metadata.get("requires_dist", ())):
        return False
    return run(install).returncode == 0


def find_pip() -> list[str] | None:
    """A pip that installs into this environment, which has none itself."""
    base = Path(sys.base_prefix) / "bin" / Path(sys.executable).name
    for python in filter(None, (base, shutil.which("python3"))):
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        if run([*pip, "--version"]).returncode == 0:
            return [*pip, "--python", sys.executable]
    return None


def from_cpu_index(version: str) -> bool:
    """Ask uv's CPU backend.

    Raises:
        Unavailable: it has none either.
    """
    torch = f"torch=={version}.*"
    done = run([*uv("install"), "--no-deps", "--torch-backend=cpu", torch])
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason was given"]
        raise Unavailable(
            f"pip, without an index, and uv's CPU backend have no torch {version} for "
            f"Python {sys.version_info.major}.{sys.version_info.minor} here "
            f"({last[0].strip()})"
        )
    return True


# -- what is built against it ----------------------------------------------------------
def build(member: Member) -> None:
    """Install a member, built in this environment: no other one has this torch.

    Raises:
        Unavailable: it cannot be built.
    """
    options = ["--no-deps", "--no-build-isolation"]
    done = run([*uv("install"), *options, "--editable", member.path])
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise Unavailable(f"{member.name} cannot be built against it: see above")


def uv(command: str) -> list[str]:
    """A command of uv's pip, for this environment."""
    found = os.environ.get("UV") or shutil.which("uv")  # `uv run` sets UV
    if found is None:
        raise Unavailable("run it as: python3 run.py torch")
    return [found, "pip", command, "--quiet", "--python", sys.executable]


def run(command: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Run a command, and keep what it says."""
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=environment()
    )


def environment() -> dict[str, str]:
    """With this environment's commands first, as CMake and ninja are among them."""
    here = str(Path(sys.executable).parent)
    path = f"{here}{os.pathsep}{os.environ.get('PATH', '')}"
    # Without a network, each further try takes seconds.
    return {"UV_HTTP_RETRIES": "1", **os.environ, "PATH": path}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--if-possible", nargs=argparse.REMAINDER, metavar="COMMAND")
    options = parser.parse_args()
    try:
        install([member for member in members() if member.torch])
    except Unavailable as error:
        left_out = "; the torch packages and their tests are left out"
        print(
            f"run.py: torch: {error}{left_out if options.if_possible else ''}",
            file=sys.stderr,
            flush=True,
        )
        if not options.if_possible:
            return 1
    if options.if_possible:
        os.execvpe(options.if_possible[0], options.if_possible, environment())
    return 0


if __name__ == "__main__":
    sys.exit(main())
