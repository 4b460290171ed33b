"""Runs random programs by NumPy, in simulation and on the device, which must agree.

``tests.support.programs`` makes them. The text of one that does otherwise is kept.
"""

from __future__ import annotations

import random
import sys

from tests.fuzz.harness import main
from tests.support.programs import check, random_program

MODES = "simulate", "baremetal"


def make(rng: random.Random) -> bytes:
    return str(random_program(rng)).encode()


def attempt(raw: bytes) -> str:
    """Run the program. Raises what it should not."""
    outcome, _, _ = check(raw.decode(), MODES).partition(":")
    return outcome


if __name__ == "__main__":
    sys.exit(main(make, attempt, cpu_seconds=60))  # most of it compiles
