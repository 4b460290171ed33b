"""What the chips that can be compiled for have, as far as compilation depends on it."""

from __future__ import annotations

import os
from typing import NamedTuple

_GIB = 1 << 30


class Target(NamedTuple):
    """A value of ``--target``.

    Attributes:
        name: the value.
        lnc: the values of ``--lnc``, the default first.
        generation: 2, 3, 4: the NeuronCore's version.
        hbm_bytes: memory that one core can address.
    """

    name: str
    lnc: tuple[int, ...]
    generation: int
    hbm_bytes: int


TARGETS = {
    target.name: target
    for target in (
        Target("inf2", (1,), 2, 16 * _GIB),
        Target("trn1", (1,), 2, 16 * _GIB),
        Target("trn1n", (1,), 2, 16 * _GIB),
        Target("trn2", (2, 1), 3, 24 * _GIB),
        Target("trn3", (2, 1), 4, 36 * _GIB),
    )
}

#: Names the emulated machine: see docs/emulator.md.
INSTANCE_VARIABLE = "NKIPY_EMULATOR_INSTANCE"
#: As everywhere: inf2's cores are trn1's, and nkipy has no name for them.
_COMPILE_AS = {"inf2": "trn1", "trn1n": "trn1"}


def emulated_target() -> str:
    """The chip of the machine that the emulator shows to this process."""
    family = os.environ.get(INSTANCE_VARIABLE, "").partition(".")[0].lower()
    # "trn2u" and the like are trn2 in another box.
    known = [name for name in TARGETS if family.startswith(name)]
    name = max(known, key=len, default="trn2")
    return _COMPILE_AS.get(name, name)
