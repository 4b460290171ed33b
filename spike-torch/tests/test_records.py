"""Records of operators: each is of an operator that torch has, as torch has it."""

from __future__ import annotations

import pytest
import torch

from spike_torch.aten import OPERATORS

SCHEMAS = {
    schema.name + (f".{schema.overload_name}" if schema.overload_name else ""): schema
    for schema in torch._C._jit_get_all_schemas()
}


def has_kernel(name: str, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, key)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_record_is_of_an_operator_and_says_why(name: str) -> None:
    record = OPERATORS[name]
    assert record.name == name and (record.why or record.lower)
    arguments = {argument.name: argument for argument in SCHEMAS[name].arguments}
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
        assert record.is_special or record.lower
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
