"""Records of operators: each is of an operator that torch has, as torch has it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch._inductor.inductor_prims  # which defines operators
from torch._decomp import core_aten_decompositions

from spike_torch.aten import OPERATORS


def arguments_of(name: str) -> dict[str, torch.Argument]:
    """What an operator takes, by name; it may be one that Python defines, as prims."""
    space, _, packet = name.partition("::")
    packet, _, overload = packet.partition(".")
    found = getattr(getattr(torch.ops, space), packet)
    schema = getattr(found, overload or "default")._schema
    return {argument.name: argument for argument in schema.arguments}


def has_kernel(name: str, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, key)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_record_is_of_an_operator_and_says_why(name: str) -> None:
    record = OPERATORS[name]
    assert record.name == name
    assert record.why or record.lower or record.unlowered
    assert not (record.lower and record.unlowered)
    arguments = arguments_of(name)
    for argument in record.host_arguments:
        assert "Tensor" in str(arguments[argument].type)
        alias = arguments[argument].alias_info
        assert alias is None or not alias.is_write
    for argument in record.writes:
        assert "Tensor" in str(arguments[argument].type)
        assert arguments[argument].alias_info is None
        assert has_kernel(name, "CPU")
    if record.cast != "float32":
        assert has_kernel(name, "AutocastCPU")
    if record.runs:
        assert has_kernel(name, "PrivateUse1")


def test_what_a_record_says_is_used() -> None:
    """Each says something, and none is of what never comes to the CPU."""
    for record in OPERATORS.values():
        assert record.is_special or record.lower or record.unlowered
        if record.host_arguments:
            composite = "CompositeImplicitAutograd"
            assert not has_kernel(record.name, composite)


def test_all_that_the_cpu_casts_is_cast() -> None:
    names = {
        name
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("aten::")
    }
    cast = {name for name in names if has_kernel(name, "AutocastCPU")}
    ours = {name for name in names if has_kernel(name, "AutocastPrivateUse1")}
    assert cast == ours and len(ours) > 100


def test_registering_needs_one_file_of_records(tmp_path: Path) -> None:
    """What the device is told is said there, and nowhere else."""
    tmp_path.chmod(0o700)
    told = (
        "from spike_torch.aten.kept import OPERATORS\n"
        "print([r[:6] for r in OPERATORS.values() if r.is_special])"
    )
    ours = [r[:6] for r in OPERATORS.values() if r.is_special]
    made = subprocess.run(
        [sys.executable, "-c", told],
        capture_output=True,
        text=True,
        env={**os.environ, "NKIPY_EMULATOR_LOCK_DIR": str(tmp_path)},  # our cores
    )
    assert sorted(ast.literal_eval(made.stdout), key=str) == sorted(ours, key=str)


def operators() -> Iterator[torch._ops.OpOverload]:
    """All overloads of torch's own."""
    for name in torch._C._dispatch_get_all_op_names():
        space, _, packet = name.partition("::")
        packet, _, overload = packet.partition(".")
        if space == "aten":
            found = getattr(torch.ops.aten, packet)
            yield getattr(found, overload or "default")


def is_done(op: torch._ops.OpOverload) -> bool:
    """Whether cores do it, torch does, or it is recorded why nobody can."""
    record = OPERATORS.get(op.name())
    if record is not None and (record.lower or record.unlowered):
        return True
    if op in core_aten_decompositions():
        return True
    # torch has sizes, strides and places in memory itself.
    returned = {str(each.type) for each in op._schema.returns}
    return returned <= {"int", "SymInt", "bool", "SymBool"}


def functional(op: torch._ops.OpOverload) -> torch._ops.OpOverload:
    """What torch makes of one that writes to `out`, if that is what it does."""
    return op._overloadpacket.default if op._overloadname == "out" else op


def test_every_core_operator_is_done() -> None:
    core = [op for op in operators() if torch.Tag.core in op.tags]
    assert len(core) >= 189
    assert [str(op) for op in core if not is_done(functional(op))] == []


def test_an_operator_without_record_is_not_done() -> None:
    assert not is_done(torch.ops.aten.linalg_qr.default)
