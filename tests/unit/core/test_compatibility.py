"""Names of earlier versions are found where they were, and do what they did."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from nkipy.core import compatibility
from nkipy.core.backend import AliasInfo, ComputationIR, prepare_io_mapping
from nkipy.core.backend import hlo as backend
from nkipy.core.trace import trace_function
from nkipy.hlo.ir import HLOInstruction, HLOModule

SOURCES = Path(compatibility.__file__).parents[1]
F32 = np.dtype(np.float32)


@pytest.mark.parametrize("name", compatibility.__all__)
@pytest.mark.parametrize("place", ["nkipy.core.backend", "nkipy.core.backend.hlo"])
def test_they_are_found_where_they_were(place, name):
    assert getattr(import_module(place), name) is getattr(compatibility, name)


def test_other_names_are_refused_as_in_any_module():
    with pytest.raises(ImportError, match="no_such_name"):
        from nkipy.core.backend.hlo import no_such_name  # noqa: F401
    with pytest.raises(AttributeError, match=r"core\.backend.*np"):
        import_module("nkipy.core.backend").np  # noqa: B018


def test_nothing_in_nkipy_uses_one():
    names = set(compatibility.__all__)
    for path in SOURCES.rglob("*.py"):
        if path == Path(compatibility.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                used = {alias.name for alias in node.names} & names
                assert not used, f"{path} imports {used}"


def test_one_class_is_both_instruction_and_value():
    assert backend.HLOOp is backend.HLOTensor is HLOInstruction
    assert backend.TOPK_CUSTOM_CALL == "AwsNeuronTopK"
    assert backend.NKIPY_OP_TYPE == "NKIPy_Op"


def test_each_instruction_has_an_id_of_its_own():
    ir = trace_function(lambda x: (x + 1) * (x - 1), (np.ones(2, F32),), {}).module
    values = [*ir.parameters, *ir.operations]
    ids = [v.id for v in values]
    assert all(type(i) is int for i in ids) and len(set(ids)) == len(ids)
    assert [v.id for v in values] == ids


def test_broadcasting_follows_numpy():
    ctx = backend.HLOTraceContext(HLOModule("m"))
    x = ctx.module.add_parameter((3, 1), F32, "x")
    y = ctx.module.add_parameter((4,), F32, "y")
    assert backend.broadcast_to_shape_hlo(ctx, x, [2, 3, 4]).shape == (2, 3, 4)
    made = backend.broadcast_operands_hlo(ctx, [x, y])
    assert [v.shape for v in made] == [(3, 4), (3, 4)]
    pair = backend.broadcast_operands_hlo(ctx, x, y)
    assert [id(v) for v in pair] == [id(v) for v in made]
    with pytest.raises(ValueError, match="cannot broadcast"):
        backend.broadcast_to_shape_hlo(ctx, made[0], (4,))
    with pytest.raises(ValueError):
        backend.broadcast_operands_hlo(ctx, [y, made[0], ctx.full((3, 5), 0, F32)])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (np.ones(2, np.int8), 1, "int8"),
        (np.ones(2, np.int8), 1.5, "float32"),
        (np.ones(2, np.int32), np.ones(2, np.float32), "float32"),
        (np.ones(2, np.float16), 1.5, "float16"),
        (1, 2.5, "float32"),
        (True, np.ones(2, np.int8), "int8"),
    ],
)
def test_common_types_are_numpys_narrowed(a, b, expected):
    assert backend.find_common_type_hlo(a, b) == expected
    assert backend.find_common_type_hlo(b, a) == expected


def test_scalars_have_the_dtypes_of_the_device():
    found = [backend.scalar_dtype_hlo(v) for v in (True, 1, 1.5, np.float16(1))]
    assert found == [np.bool_, np.int32, np.float32, np.float16]
    with pytest.raises(TypeError, match="str"):
        backend.scalar_dtype_hlo("text")


def test_arrays_are_paired_with_the_names_of_the_program():
    def kernel(a, b):
        a += b
        return b + 1

    module = trace_function(kernel, (np.ones(2, F32), np.ones(2, F32)), {}).module
    assert isinstance(module, ComputationIR)
    one, two = np.zeros(2), np.ones(2)
    arrays, aliased = prepare_io_mapping(module.inputs, module.aliases, [one, two])
    assert arrays == {"a.must_alias_input": one, "b": two}
    assert aliased == {1: "a.must_alias_input"}
    assert isinstance(module.aliases[0], AliasInfo)
    with pytest.raises(RuntimeError, match="Expected 2 tensor arguments, got 1"):
        prepare_io_mapping(module.inputs, module.aliases, [one])
