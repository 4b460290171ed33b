"""What any client of nkipy.hlo can say of a module, and what importing it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nkipy.hlo
from nkipy.hlo import (
    MUST_ALIAS_SUFFIX,
    HLOBuilder,
    HLOModule,
    HLOVerificationError,
    Shape,
    SourceLocation,
)
from tests.unit.hlo.samples import computation, instruction

F32 = np.dtype("float32")
SOURCES = sorted(Path(nkipy.hlo.__file__).parent.rglob("*.py"))


def _module() -> HLOModule:
    module = HLOModule("m")
    x = module.add_parameter((2, 3), F32, "x")
    module.set_results([HLOBuilder(module.entry).unary("negate", x)])
    return module


# -- the package -----------------------------------------------------------------------
@pytest.mark.parametrize("name", nkipy.hlo.__all__)
def test_public_names_are_there(name):
    assert getattr(nkipy.hlo, name) is not None
    assert name in dir(nkipy.hlo)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'Tracer'"):
        nkipy.hlo.Tracer  # noqa: B018


def test_importing_the_package_imports_nothing_of_it():
    code = (
        "import sys, nkipy.hlo\n"
        "assert not [m for m in sys.modules if m.startswith('nkipy.hlo.')]\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _imports(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    found = {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
    return found | {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_it_imports_no_layer_above(file):
    ours = {name for name in _imports(file) if name.split(".")[0].startswith("nkipy")}
    allowed = ("nkipy.hlo", "nkipy.chips", "nkipy.third_party")
    assert not [name for name in ours if not name.startswith(allowed)]


# -- source locations ------------------------------------------------------------------
def test_a_builder_attributes_what_it_builds():
    module = _module()
    b = HLOBuilder(module.entry)
    x = module.parameters[0]
    with b.at(("model.py", 3)):
        first = b.unary("negate", x)
        with b.at(SourceLocation("layer.py", 7)):
            second = b.unary("negate", x)
        third = b.unary("negate", x)
    assert str(first.source_location) == str(third.source_location) == "model.py:3"
    assert second.source_location == SourceLocation("layer.py", 7)
    assert b.unary("negate", x).source_location is None


def test_an_error_ends_the_attribution():
    b = HLOBuilder(_module().entry)
    with pytest.raises(ZeroDivisionError), b.at(("model.py", 3)):
        raise ZeroDivisionError
    assert b.current_source_location is None


# -- aliases ---------------------------------------------------------------------------
def test_an_alias_marks_the_parameter_once():
    module = _module()
    module.alias(0, 0)
    module.verify()
    assert module.parameters[0].name == "x" + MUST_ALIAS_SUFFIX
    assert module.input_output_alias == {0: 0}
    assert module.aliases[0].param_name == "x"
    module.aliases.clear()
    module.alias(0, 0, is_user_returned=False)
    assert module.parameters[0].name == "x" + MUST_ALIAS_SUFFIX
    assert module.auto_aliased_indices == {0}


def test_names_and_aliases_are_in_the_proto():
    module = _module()
    module.alias(0, 0)
    module.set_results(module.results, ["y"])
    *_, parameter, _, root = module.to_proto().computations[-1].instructions
    given = dict(parameter.frontend_attributes.map)
    assert given == {"neff_input_names": "x" + MUST_ALIAS_SUFFIX}
    assert dict(root.frontend_attributes.map) == {"neff_output_names": "y"}


def test_an_alias_of_no_parameter():
    with pytest.raises(IndexError):
        _module().alias(0, 1)


# -- queries ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("dtype", "dims", "nbytes"),
    [("float32", (2, 3), 24), ("int8", (), 1), ("bool", (0, 5), 0)],
)
def test_bytes_of_a_shape(dtype, dims, nbytes):
    assert Shape(np.dtype(dtype), dims).nbytes == nbytes


def test_bytes_of_a_tuple_are_those_of_its_elements():
    assert instruction("tuple", (), "(f32[2,3], s8[5])").nbytes == 29


def test_all_instructions_callees_first_and_once():
    body = computation("body", "f32[2]", ("negate", (0,), "f32[2]"))
    module = HLOModule("m")
    x = module.add_parameter((2,), F32, "x")
    for _ in range(2):
        x = module.add_operation(
            instruction("call", (x,), "f32[2]", {"to_apply": body})
        )
    module.set_results(x)
    opcodes = ["parameter", "negate", "parameter", "call", "call"]
    assert [i.opcode for i in module.instructions()] == opcodes
    assert [i.opcode for i in module.entry.walk()] == opcodes
    assert [i.opcode for i in body.walk()] == opcodes[:2]


# -- attributes that would be lost -----------------------------------------------------
def _with_unknown_attribute() -> HLOModule:
    module = _module()
    b = HLOBuilder(module.entry)
    x = module.parameters[0]
    odd = {"dimensions": (1, 0), "padding": ((0, 0, 0),)}
    module.set_results([b.emit("transpose", (x,), (3, 2), F32, odd)])
    return module


def test_an_unknown_attribute_is_no_valid_one():
    with pytest.raises(HLOVerificationError, match="unknown attribute 'padding'"):
        _with_unknown_attribute().verify()


def test_an_unknown_attribute_is_not_left_out_when_writing():
    with pytest.raises(HLOVerificationError, match="transpose has no attribute 'padd"):
        _with_unknown_attribute().serialize()


@pytest.mark.parametrize("opcode", ["constant", "parameter"])
def test_nor_is_one_of_what_the_writer_has_seen_before(opcode):
    module = _module()
    b = HLOBuilder(module.entry)
    given = {"literal": np.zeros(3, F32)}
    if opcode == "parameter":
        given = {"parameter_number": 1}
    else:
        b.emit("constant", (), (3,), F32, given)
    b.emit(opcode, (), (3,), F32, {**given, "dimensions": ()}).name = "y"
    with pytest.raises(HLOVerificationError, match=f"{opcode} has no attribute 'dim"):
        module.serialize()


def test_a_missing_attribute_is_not_written_as_zero():
    module = _module()
    b = HLOBuilder(module.entry)
    module.set_results([b.emit("iota", (), (3,), F32)])
    with pytest.raises(HLOVerificationError, match="without attribute 'iota_dim"):
        module.serialize()


def test_an_unknown_attribute_is_printed():
    assert "padding=((0, 0, 0),)" in _with_unknown_attribute().to_text()
