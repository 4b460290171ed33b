"""``python -m nkipy``: what is installed, which engine and libnrt, and what works."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nkipy._release import __version__
from nkipy.command_line import run_command

_NAME = "python -m nkipy"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is 1 if no kernel can run, or packages do not
    fit together."""
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="Say what is installed of nkipy and its packages, which engine, "
        "compiler and libnrt they found, and what works. A small kernel is simulated, "
        "and run on a NeuronCore, emulated where there is none. Exit status 1: neither "
        "works, or packages do not fit together.",
    )
    version = f"nkipy {__version__}"
    parser.add_argument(
        "--version", action="version", version=version, help="print nkipy's version"
    )
    parser.parse_args(arguments)

    from nkipy.doctor import examine, is_well, report

    parts = examine()
    sys.stdout.write(report(parts))
    return 0 if is_well(parts) else 1


if __name__ == "__main__":
    sys.exit(run_command(main, _NAME))
