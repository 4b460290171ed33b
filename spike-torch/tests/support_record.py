"""The record of what torch's operations do on the device, which the docs' table shows.

``support.json`` says it for each operator of torch's database. Slow tests compare it
with what happens, and write it anew if they are told to.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.autograd.profiler import profile
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo

import spike_torch

from . import op_samples
from .known_gaps import GAPS, is_gap
from .op_samples import DTYPES, NotOfTheCpu

RECORD = Path(__file__).with_name("support.json")
#: Have the slow tests write the record: a flag.
WRITE = "NKIPY_TEST_RECORD"
#: How many samples of an operator there are to be right, of each dtype.
SAMPLES = 3

Record = dict[str, Any]


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def read() -> Record:
    return json.loads(RECORD.read_text())


def write(record: Record) -> None:
    """With a line for each operator, so that changes can be read."""
    operators = record["operators"].items()
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in operators)
    rest = {key: value for key, value in record.items() if key != "operators"}
    head = json.dumps(rest, indent=1).removesuffix("\n}")
    RECORD.write_text(f'{head},\n "operators": {{\n{rows}\n}}}}\n')


def begin(rows: Record, kernels: dict[str, str]) -> None:
    """Write a record that has no dtypes but those of the last one."""
    said = read()["operators"] if RECORD.exists() else {}
    for name, row in rows.items():
        if name in said:
            row.update({key: said[name][key] for key in ("dtypes", "backward")})
    names = [name_of(dtype) for dtype in DTYPES]
    head = {"torch": torch_version(), "samples": SAMPLES, "dtypes": names}
    write({**head, "kernels": kernels, "operators": rows})


def enter(dtype: torch.dtype, outcomes: dict[str, tuple[str, bool]]) -> None:
    """Write for a dtype which operators were right."""
    record = read()
    for name, row in record["operators"].items():
        is_right, has_gradient = name in outcomes, outcomes.get(name, ("", False))[1]
        for key, wanted in (("dtypes", is_right), ("backward", has_gradient)):
            kept = {*row[key]} - {name_of(dtype)} | (
                {name_of(dtype)} if wanted else set()
            )
            row[key] = [n for n in record["dtypes"] if n in kept]
    write(record)


def is_to_be_written() -> bool:
    return os.environ.get(WRITE) == "1"


def torch_version() -> str:
    """Without what tells builds apart."""
    return str(torch.__version__).partition("+")[0]


# -- what happens ----------------------------------------------------------------------
def gaps() -> Record:
    """The cause of each known gap, and those of the CPU's dtypes that it is in, by the
    operator's name."""
    causes = {name: cause for cause, gap in GAPS.items() for name in gap.names}
    found: Record = {}
    for op in op_db:
        name = op.formatted_name
        if name in causes:
            there = [d for d in DTYPES if op.supports_dtype(d, "cpu")]
            dtypes = [name_of(d) for d in there if is_gap(name, d)]
            found[name] = {"cause": causes[name], "dtypes": dtypes}
    return found


def outcome(op: OpInfo, dtype: torch.dtype) -> str:
    """How samples of an operator come out on the device.

    Returns:
        "right", "" if the CPU itself has none that it does, or what is wrong.
    """
    done = 0
    for sample in op_samples.samples(op, dtype, SAMPLES):
        try:
            op_samples.compare(op, dtype, sample)
            done += 1
        except NotOfTheCpu:
            continue
        except Exception as error:  # all are to be told
            return f"{type(error).__name__}: {error}"
    return "right" if done else ""


def found(dtype: torch.dtype) -> dict[str, tuple[str, bool]]:
    """The outcome of each operator for a dtype, and whether gradients were compared.

    Operators of the known gaps are left out, and those that the CPU does not do.
    """
    outcomes = {}
    for op in op_samples.operations(dtype):
        if is_gap(op.formatted_name, dtype):
            continue
        if text := outcome(op, dtype):
            has_gradient = op_samples.has_gradient(op, dtype)
            outcomes[op.formatted_name] = (text, has_gradient)
    return outcomes


# -- who computes ----------------------------------------------------------------------
def kernels() -> dict[str, str]:
    """The operators with a kernel of the device's own, and its source: what torch's
    dispatcher says."""
    ours = {}
    for name in torch._C._dispatch_get_registrations_for_dispatch_key("PrivateUse1"):
        table = torch._C._dispatch_dump_table(name)
        (line,) = re.findall(r"^PrivateUse1: (.*)$", table, re.M)
        place = re.search(r"spike-torch/src/cpp/(\w+)\.cpp", line)
        if place and place[1] != "fallback":
            ours[name] = place[1]
    return ours


def computed_by(op: OpInfo, ours: dict[str, str]) -> tuple[list[str], list[str]]:
    """Which operators the CPU computed in a forward pass, and which kernels of ours
    were called besides, by names without overloads."""
    dtypes = [d for d in DTYPES if op.supports_dtype(d, "cpu")]
    fell_back: set[str] = set()
    called: set[str] = set()
    for sample in op_samples.samples(op, dtypes[0], SAMPLES) if dtypes else ():
        call = (sample.input, *sample.args), dict(sample.kwargs)
        try:
            there = op_samples.call_on_device(op, call)
            spike_torch.reset_fallback_counts()
            with profile(use_kineto=False) as events:
                op_samples.run(op, there)
        except Exception:  # what it does is told elsewhere
            continue
        counted = spike_torch.fallback_counts()
        fell_back |= set(counted)
        for event in events.function_events or ():
            if event.cpu_parent is None:
                called |= _kernels_below(event, _bases(ours), _bases(counted))
    return sorted(fell_back), sorted(called)


def _bases(names: Iterable[str]) -> set[str]:
    """Without overloads, which a profile does not tell."""
    return {name.partition(".")[0] for name in names}


def _kernels_below(event: Any, ours: set[str], fell_back: set[str]) -> set[str]:
    """Those that a call led to, but for what they and the CPU call in their turn."""
    if event.name in ours:
        return {event.name}
    if event.name in fell_back:
        return set()
    below = (_kernels_below(e, ours, fell_back) for e in event.cpu_children)
    return set().union(*below)


def operators() -> Record:
    """Who computes each operator of torch's database, without the outcomes."""
    known, ours = gaps(), kernels()
    rows: Record = {}
    for op in sorted(op_db, key=lambda op: op.formatted_name):
        row: Record = {"dtypes": [], "backward": []}
        if op.formatted_name in known:
            row["gap"] = known[op.formatted_name]
        row["cpu"], row["device"] = computed_by(op, ours)
        rows[op.formatted_name] = row
    return rows
