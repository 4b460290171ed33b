"""Lowerings beside the CPU's kernels, on torch's samples, with and without padding.

That a lowering refuses to have a dimension padded is no failure: its size is exact.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.inductor_prims  # which defines operators
from torch.testing._internal.common_methods_invocations import op_db

from nkipy.compiler.build import BuildOptions, build
from nkipy.hlo.ir import HLOModule
from spike_torch.aten import OPERATORS
from spike_torch.lowering import Unsupported

from .lowered_operation import lower_operation
from .lowering_cases import Call, calls_in, calls_with, operator_of
from .lowering_together import (
    check_together,
    of_one_dimension,
    with_padding,
    without_padding,
)

#: But for those that draw random numbers, which are not the CPU's.
LOWERED = sorted(
    name
    for name, known in OPERATORS.items()
    if known.lower and torch.Tag.nondeterministic_seeded not in operator_of(name).tags
)
#: Calls of one operator that are compared, and operators of a family by default.
MOST, FEW = 2, 3


@cache
def _calls_in(name: str) -> dict[str, list[Call]]:
    """By operator: what torch's samples of an operation call."""
    found: dict[str, list[Call]] = defaultdict(list)
    for op in op_db:
        if op.name.rpartition(".")[2] == name and torch.float32 in op.dtypes:
            for call in calls_in(op, torch.float32, lambda op: True):
                found[call.op.name()].append(call)
    return found


def _samples(name: str) -> list[Call]:
    known = OPERATORS[name]
    if callable(known.samples):
        return calls_with(operator_of(name), known.samples())
    own = name.partition("::")[2].partition(".")[0].strip("_")
    names = known.samples.split() or [own]
    return [call for each in names for call in _calls_in(each)[name]]


def _families() -> dict[str, list[str]]:
    """Names of operators by the file that has their lowering."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in LOWERED:
        package, _, family = OPERATORS[name].lower.__module__.rpartition(".")
        if package == "spike_torch.aten":  # other packages may have recorded their own
            found[family].append(name)
    return dict(sorted(found.items()))


def _some(values: list[Any], most: int) -> list[Any]:
    """So many of them, from the first to the last."""
    return values[:: -(-len(values) // most)]


def _calls(names: list[str], most: int) -> list[Call]:
    found = []
    for name in names:
        calls = _samples(name)
        assert calls, f"no sample of torch's reaches {name}"
        found += _some(calls, most)
    return found


FAMILIES = _families()


def test_each_lowering_takes_a_sample() -> None:
    """One that refused all would pass wherever refusing is right."""
    names = [name for family in FAMILIES.values() for name in family]
    assert len(names) > 500
    calls = {name: _some(_samples(name), MOST) for name in names}
    assert [n for n in names if not any(map(_is_lowered, calls[n]))] == []


def _is_lowered(call: Call) -> bool:
    try:
        lower_operation(call.op, call.args, call.kwargs, call.returned)
    except Unsupported:
        return False
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_some_lowerings_are_the_cpu_s(family: str) -> None:
    calls = _calls(_some(FAMILIES[family], FEW), 1)
    assert check_together([*without_padding(calls), *with_padding(calls)])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_lowerings_are_the_cpu_s(family: str, tmp_path: Path) -> None:
    """All of them, which the compiler for the device takes too."""

    def compiled(module: HLOModule) -> None:
        build(module, BuildOptions(directory=tmp_path))

    calls = _calls(FAMILIES[family], MOST)
    cases = [*without_padding(calls), *with_padding(calls)]
    assert check_together(cases, compiled)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_lowerings_of_some_dimensions(family: str) -> None:
    """Each dimension alone, and all dimensions of one size as one."""
    names = FAMILIES[family]
    check_together(with_padding(_calls(names, MOST), shared=True))
    check_together(of_one_dimension(_calls(names, 1)))
