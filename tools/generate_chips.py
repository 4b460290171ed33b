"""Writes what is made from nkipy's table of chips, ``nkipy.chips``.

    uv run tools/generate_chips.py            # write the files anew
    uv run tools/generate_chips.py --check    # exit code 1 if one is not current

Two files are made, both in git, since what reads them is built without nkipy: the
emulated libnrt's instances, and the names of chips in genuine NEFFs. The page of the
documentation is made with each build of it, by ``docs/conf.py``. Only the standard
library is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "nkipy/src"), str(ROOT / "tools")]

from generated_files import main  # noqa: E402

from nkipy.chips import CHIPS, DEFAULT, Chip, Instance  # noqa: E402

_NOTE = "Made from nkipy/src/nkipy/chips by tools/generate_chips.py; not to be edited."
_SIZES = ((30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "B"))


def libnrt_instances() -> str:
    """The C++ table of instances."""
    rows = "".join(_instance_row(c, i) for c in CHIPS for i in c.instances)
    return f"""\
// {_NOTE}
#pragma once

#include "topology.h"

namespace emulator {{

constexpr char kDefaultInstance[] = {_quoted(DEFAULT.name)};

// clang-format off
constexpr InstanceType kInstances[] = {{
{rows}}};
// clang-format on

}}  // namespace emulator
"""


def _instance_row(chip: Chip, instance: Instance) -> str:
    values = (
        _quoted(instance.name),
        chip.families[instance.family],
        instance.size,
        _quoted(chip.architecture),
        _quoted(chip.name),
        instance.chips,
        chip.cores,
        chip.cores_per_hbm,
        chip.hbm_bytes >> 30,
        chip.hbm_reserved_bytes >> 20,
        instance.lnc or chip.lnc[0],
        max(chip.lnc),
    )
    return f"    {{{', '.join(map(str, values))}}},\n"


def _quoted(text: str) -> str:
    return f'"{text}"'


def neff_code_names() -> str:
    """The Python module of what genuine NEFFs call the chips."""
    named = [(c.code_name, c.name) for c in CHIPS if c.code_name]
    rows = "".join(f"    {_quoted(code)}: {_quoted(name)},\n" for code, name in named)
    return f'''\
"""The chips by the names that genuine NEFFs have for them.

{_NOTE}
"""

from __future__ import annotations

CODE_NAMES = {{
{rows}}}
'''


GENERATED = {
    "emulator/src/libnrt/instances.h": libnrt_instances,
    "spike/src/neff/code_names.py": neff_code_names,
}


# ------------------------------------------------------------------- documentation


def markdown() -> str:
    """The page with all facts, their sources, and all instances."""
    names = [chip.name for chip in CHIPS]
    facts = [_fact_row(f.name, f.metadata) for f in fields(Chip) if f.metadata]
    instances = [_instance_facts(c, i) for c in CHIPS for i in c.instances]
    columns = ("instance", "chips", "cores", "HBM", "logical cores")
    return "\n".join(
        [
            "# Chips",
            "",
            "What is recorded of each chip in `nkipy.chips`, with the pages of the "
            "vendor's documentation that tell it: *chip* is the page on the chip, "
            "*core* the one on its cores.",
            "",
            *_table(("fact", *names, "source"), facts),
            "",
            "## Instances",
            "",
            "The machines that `NKIPY_EMULATOR_INSTANCE` can name; "
            f"`{DEFAULT.name}` is the one where it is not set. A logical core of a "
            "machine with its full name has as many physical cores as the hardware's "
            "default, of one with a short name it has one.",
            "",
            *_table(columns, instances),
            "",
        ]
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _fact_row(name: str, metadata: Mapping[str, Any]) -> list[str]:
    unit = metadata["unit"]
    label = metadata["text"] + (f", {unit}" if unit not in ("", "bytes") else "")
    values = [_shown(getattr(chip, name), unit) for chip in CHIPS]
    return [f"{label} (`{name}`)", *values, metadata["source"]]


def _shown(value: Any, unit: str) -> str:
    if unit == "bytes":
        return _bytes(value)
    if value is None or value == () or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_shown(v, '')}" for k, v in value.items())
    if isinstance(value, tuple) and type(value[0]) is tuple:
        return ", ".join(map("/".join, value))
    if isinstance(value, tuple):
        return ", ".join(_shown(v, "") for v in value)
    return value.name if isinstance(value, Instance) else str(value)


def _bytes(value: int) -> str:
    shift, unit = next((s, u) for s, u in _SIZES if value % (1 << s) == 0)
    return f"{value >> shift} {unit}"


def _instance_facts(chip: Chip, instance: Instance) -> list[str]:
    cores = instance.chips * chip.cores
    lnc = instance.lnc or chip.lnc[0]
    hbm = _bytes(instance.chips * chip.hbm_bytes)
    return [
        f"`{instance.name}`",
        f"{instance.chips} {chip.product}",
        str(cores),
        hbm,
        f"{cores // lnc} × {lnc}",
    ]


if __name__ == "__main__":
    sys.exit(main(__doc__, GENERATED))
