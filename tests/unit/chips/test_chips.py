"""The table of chips is complete, agrees with itself, and needs nothing of ours."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import MISSING, FrozenInstanceError, fields, replace
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nkipy.chips import CHIPS, DEFAULT, Chip, Instance, find_chip
from nkipy.chips.record import check_table
from nkipy.hlo import dtypes as dt

ROOT = Path(__file__).parents[3]
each_chip = pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)


def test_it_imports_neither_numpy_nor_anything_else_of_ours() -> None:
    code = (
        "import nkipy.chips, sys\n"
        "ours = {'nkipy', 'nkipy_emulator', 'spike', 'neff', 'numpy', 'ml_dtypes'}\n"
        "print(*sorted(m for m in sys.modules if m.partition('.')[0] in ours))\n"
    )
    # -S: no start-up file of an editable install imports anything first.
    command = [sys.executable, "-S", "-c", code]
    said = subprocess.run(
        command,
        env={"PYTHONPATH": str(ROOT / "nkipy/src")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    others = [m for m in said if not m.startswith("nkipy.chips")]
    assert others == ["nkipy"]


def test_a_record_that_lacks_a_part_is_refused() -> None:
    whole = {f.name: getattr(DEFAULT, f.name) for f in fields(Chip)}
    for name in whole:
        rest = {k: v for k, v in whole.items() if k != name}
        with pytest.raises(TypeError, match=name):
            Chip(**rest)


def test_a_record_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        DEFAULT.cores = 1  # type: ignore[misc]
    for part in (DEFAULT.families, DEFAULT.elements_per_cycle["vector"]):
        with pytest.raises(TypeError, match="item assignment"):
            part["other"] = 1  # type: ignore[index]


def test_every_part_says_what_it_is_and_where_it_is_told() -> None:
    for field in fields(Chip):
        assert field.default is MISSING and field.default_factory is MISSING
        assert field.metadata["text"] and field.metadata["source"], field.name


def renamed(**parts: Any) -> Chip:
    """A record with names of its own, but for `parts`."""
    own = {
        "name": "trn10",
        "targets": ("trn10",),
        "families": {"trn10": 99},
        "instances": (Instance(name="trn10.48xlarge", size=7, chips=16),),
    }
    return replace(CHIPS[-1], **{**own, **parts})


def test_records_that_share_what_tells_them_apart_are_refused() -> None:
    last = CHIPS[-1]
    check_table((*CHIPS, renamed()))
    twice = (Instance(name="trn10", size=1, chips=1),) * 2
    for record, match in (
        (replace(last, name="trn10"), f"'{last.name}'.* and 'trn10'"),
        (renamed(name=last.name), f"the name, target or family '{last.name}'"),
        (renamed(targets=("trn2",)), "'trn2' .* and 'trn10' .*target 'trn2'"),
        (renamed(targets=("trn1n", "trn10")), "'trn1' .*target 'trn1n'"),
        (renamed(families={"trn2u": 99}), "'trn2' .*family 'trn2u'"),
        (renamed(families={"trn10": 14}), "number of a family 14"),
        (renamed(instances=last.instances), f"instance '{last.instances[0].name}'"),
        (renamed(targets=("trn10", "trn10")), "'trn10' has the target 'trn10' twice"),
        (renamed(instances=twice), "'trn10' has the instance 'trn10' twice"),
        (renamed(compiles_as="trn11"), "compiles_as='trn11', and no chip"),
    ):
        with pytest.raises(ValueError, match=match):
            check_table((*CHIPS, record))


@each_chip
def test_a_record_agrees_with_itself(chip: Chip) -> None:
    assert chip.name in chip.families and chip.name in chip.targets
    assert sorted(chip.lnc) == list(range(1, max(chip.lnc) + 1))
    assert chip.cores % chip.cores_per_hbm == 0 == chip.cores % max(chip.lnc)
    assert chip.hbm_bytes % (chip.cores << 20) == 0
    assert chip.sbuf_partition_bytes * chip.partitions == chip.sbuf_bytes
    whole = chip.psum_bank_bytes * chip.psum_banks * chip.partitions
    assert whole == chip.psum_bytes
    assert set(chip.elements_per_cycle) == {"tensor", "vector", "scalar"}
    assert all("other" in rates for rates in chip.elements_per_cycle.values())


@each_chip
def test_peaks_are_those_of_the_clock(chip: Chip) -> None:
    flops = 2 * chip.partitions * chip.partitions * chip.tensor_ghz / 1000
    assert isclose(flops, chip.tflops["bfloat16"], rel_tol=0.01)


@each_chip
def test_element_types_are_ones_that_hlo_has(chip: Chip) -> None:
    names = {dtype.name for dtype in dt.HLO_NAMES}
    assert set(chip.dtypes) <= names
    assert np.dtype(np.float64).name not in chip.dtypes


def test_hlo_supports_what_a_chip_computes_in() -> None:
    # Of 64 bits are inputs and outputs only.
    recorded = {name for chip in CHIPS for name in chip.dtypes}
    assert {dtype.name for dtype in dt.SUPPORTED} == recorded - {"int64", "uint64"}


@each_chip
def test_instances_are_of_families_that_libnrt_knows(chip: Chip) -> None:
    for instance in chip.instances:
        assert instance.family in chip.families
        assert find_chip(instance.name) is chip
        assert instance.lnc is None or instance.lnc in chip.lnc
    assert chip.instances[0].name == chip.name and chip.instances[0].chips == 1


def test_names_mean_one_chip() -> None:
    for names in ("targets", "families"):
        taken = [name for chip in CHIPS for name in getattr(chip, names)]
        assert len(taken) == len(set(taken))
    generations = [chip.generation for chip in CHIPS]
    assert generations == sorted(generations)


def test_numbers_of_families_and_sizes_are_those_of_the_header() -> None:
    text = (ROOT / "emulator/src/libnrt/include/nrt/nrt.h").read_text()
    header = dict(re.findall(r"NRT_INSTANCE_(\w+) = (\d+)", text))
    sizes = {n: k for k, n in header.items() if k.startswith("SIZE_")}
    families = {k: int(n) for k, n in header.items() if not k.startswith("SIZE_")}
    recorded = {name.upper(): n for c in CHIPS for name, n in c.families.items()}
    del families["UNKNOWN"], families["INF1"]
    assert {name: recorded.get(name) for name in families} == families
    for instance in (i for c in CHIPS for i in c.instances if "." in i.name):
        label = instance.name.partition(".")[2].removesuffix("xlarge") or "1"
        assert sizes[str(instance.size)] == f"SIZE_{label}XL", instance.name


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        *(("trn1", "trn1"), ("trn1n.32xlarge", "trn1"), ("inf2.xlarge", "inf2")),
        *(("Trn2.48xlarge\n", "trn2"), ("trn2u", "trn2"), ("trn2x.1xlarge", "trn2")),
        *(("m5.large", None), ("trn", None), ("", None), ("trn10.48xlarge", None)),
        *(("inf1", None), ("gpu", None), ("xtrn2", None), ("gen1", None)),
        *(("gen2", "trn1"), ("gen3", "trn2"), ("GEN4", "trn3")),
    ],
)
def test_find_chip(name: str, chip: str | None) -> None:
    found = find_chip(name)
    assert (found and found.name) == chip


def test_a_copy_is_another_record() -> None:
    assert replace(DEFAULT, cores=16) != DEFAULT
    assert len({*CHIPS, DEFAULT}) == len(CHIPS)
