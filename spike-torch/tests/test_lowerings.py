"""Lowerings beside the CPU's kernels, on torch's samples, with and without padding.

That a lowering refuses to have a dimension padded is no failure: its size is exact.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

from spike_torch.aten import OPERATORS
from spike_torch.lowering import NeedsExactSize, Unsupported

from .lowering_cases import (
    Call,
    calls_in,
    calls_with,
    check_padded,
    check_static,
    every_dimension,
)


def _operator(name: str) -> Any:
    packet, _, overload = name.replace("::", ".").partition(".")[2].partition(".")
    space = getattr(torch.ops, name.partition("::")[0])
    return getattr(getattr(space, packet), overload or "default")


#: But for those that draw random numbers, which are not the CPU's.
LOWERED = sorted(
    name
    for name, known in OPERATORS.items()
    if known.lower and torch.Tag.nondeterministic_seeded not in _operator(name).tags
)
#: Calls of one operator that are compared.
MOST = 6


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
        return calls_with(_operator(name), known.samples())
    own = name.partition("::")[2].partition(".")[0].strip("_")
    names = known.samples.split() or [own]
    return [call for each in names for call in _calls_in(each)[name]]


@pytest.mark.parametrize("name", LOWERED)
def test_lowering_is_the_cpu_s(name: str) -> None:
    calls = _samples(name)
    assert calls, f"no sample of torch's reaches {name}"
    for call in calls[:: -(-len(calls) // MOST)]:
        try:
            check_static(call)
        except Unsupported:
            continue
        for dynamic in every_dimension(call):
            with suppress(NeedsExactSize):
                check_padded(call, dynamic)
        with suppress(NeedsExactSize):
            check_padded(call, shared=True)
