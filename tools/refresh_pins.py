"""Writes the third-party pins into pyproject.toml: ``uv run tools/refresh_pins.py``.

The pins say what ``uv.lock`` would, less the download addresses. All packages, the
indirect ones included, are resolved anew for every supported Python; the result
replaces the lines between ``# pins: begin`` and ``# pins: end``. Takes about a minute.
"""

from __future__ import annotations

import re
import subprocess
import sys

from workspace import ROOT, members

PROJECT = ROOT / "pyproject.toml"
# scikit-build-core asks for these two only where the system has none.
BUILD_TOOLS = ["cmake>=3.15", "ninja>=1.5"]
BLOCK = re.compile(r"(# pins: begin[^\n]*\n).*?(# pins: end)", re.DOTALL)


def uv(*args: str, stdin: str = "") -> str:
    """Standard output of a uv command; ends the script with uv's words on failure."""
    done = subprocess.run(
        ["uv", *args], cwd=ROOT, input=stdin, text=True, capture_output=True
    )
    if done.returncode:
        sys.exit(f"uv {' '.join(args)} failed ({done.returncode}):\n{done.stderr}")
    return done.stdout


def requirements(text: str) -> list[str]:
    """The lines of uv's that pin something, sorted.

    Of their markers, those about the version of Python are kept. The others only say
    where the package is needed, and would make uv resolve for machines apart.
    """
    lines = (_simple(line) for line in text.splitlines())
    return sorted({line for line in lines if "==" in line.partition(";")[0]})


def _simple(line: str) -> str:
    pin, _, marker = line.partition(" ; ")
    parts = marker.split(" and ")
    kept = " and ".join(p for p in parts if p.startswith("python_full_version"))
    return f"{pin} ; {kept}" if kept else pin


def runtime_pins() -> list[str]:
    """Every package that a member or a dependency group needs."""
    uv("lock", "--upgrade")
    return requirements(
        uv(
            "export",
            "--all-packages",
            "--all-groups",
            "--no-emit-workspace",
            "--no-hashes",
            "--no-header",
            "--no-annotate",
        )
    )


def build_pins() -> list[str]:
    """Every package that building a member needs."""
    wanted = list(BUILD_TOOLS)
    for member in members():
        wanted += member.project["build-system"]["requires"]
    return requirements(
        uv(
            "pip",
            "compile",
            "--universal",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--python-version=3.10",
            "-",
            stdin="\n".join(wanted),
        )
    )


def block(runtime: list[str], build: list[str]) -> str:
    """The two settings, as TOML."""

    def entry(name: str, pins: list[str]) -> str:
        body = "".join(f'    "{pin}",\n' for pin in pins)
        return f"{name} = [\n{body}]\n" if pins else f"{name} = []\n"

    runtime_entry = entry("constraint-dependencies", runtime)
    return runtime_entry + entry("build-constraint-dependencies", build)


def main() -> None:
    original = PROJECT.read_text()
    if not BLOCK.search(original):
        sys.exit(f"{PROJECT} has no '# pins: begin' and '# pins: end'")

    def write(text: str) -> None:
        PROJECT.write_text(BLOCK.sub(lambda m: m[1] + text + m[2], original))

    try:
        write(block([], []))  # the old pins must not hold the new ones back
        runtime, build = runtime_pins(), build_pins()
    except BaseException:
        PROJECT.write_text(original)
        raise
    write(block(runtime, build))
    print(f"{len(runtime)} + {len(build)} pins written. Now `uv sync` and the tests.")


if __name__ == "__main__":
    main()
