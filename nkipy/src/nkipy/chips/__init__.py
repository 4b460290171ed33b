"""The one table of chips: what is known of each, and where from.

Data only, and the lowest layer: it imports neither NumPy nor anything else of ours, and
everything may read it. What cannot (C++, a package without nkipy) has a file that
``tools/generate_chips.py`` makes from it. ``docs/dev_guide/adding_targets.md`` says how
a chip is added.
"""

from __future__ import annotations

from nkipy.chips.record import Chip, Instance, check_table
from nkipy.chips.trn1 import INF2, TRN1
from nkipy.chips.trn2 import TRN2
from nkipy.chips.trn3 import TRN3

__all__ = ["CHIPS", "DEFAULT", "Chip", "Instance", "find_chip"]

#: In the order of their generations.
CHIPS: tuple[Chip, ...] = (TRN1, INF2, TRN2, TRN3)
check_table(CHIPS)
#: What is compiled for, and emulated, where nobody says.
DEFAULT = TRN2


def find_chip(name: str) -> Chip | None:
    """The chip that a target, a family or an instance has, or None.

    Args:
        name: such as ``"trn2"``, ``"trn1n"`` or ``"trn2u.48xlarge"``; its case does not
            matter. NKI's name of a generation, ``"gen3"``, is that of the first chip
            that has it. Of a family that is in no record, the letters behind a chip's
            name are taken for another box around it.
    """
    family = name.strip().lower().partition(".")[0]
    for chip in CHIPS:
        if family in (*chip.targets, *chip.families, chip.nki_name):
            return chip
    return next((c for c in CHIPS if _is_another_box(family, c.name)), None)


def _is_another_box(family: str, name: str) -> bool:
    return family.startswith(name) and not family[len(name) :][:1].isdigit()
