"""The chips that can be compiled for, by the values of ``--target``."""

from __future__ import annotations

import os
from typing import NamedTuple

from nkipy.chips import CHIPS, DEFAULT, Chip, find_chip


class Target(NamedTuple):
    """A value of ``--target``, and the chip that it means."""

    name: str
    chip: Chip


TARGETS: dict[str, Target] = {
    name: Target(name, chip)
    for name, chip in sorted((n, c) for c in CHIPS for n in c.targets)
}

#: Names the emulated machine: see docs/emulator.md.
INSTANCE_VARIABLE = "NKIPY_EMULATOR_INSTANCE"


def emulated_target() -> str:
    """What to compile for on the machine that the emulator shows to this process."""
    return (find_chip(os.environ.get(INSTANCE_VARIABLE, "")) or DEFAULT).compiles_as
