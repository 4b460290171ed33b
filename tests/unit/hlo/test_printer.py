"""The text form, as written by hand and as XLA's parser reads it."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.hlo.ir import AliasInfo, HLOInstruction, HLOModule, SourceLocation
from nkipy.hlo.opcodes.text import quoted
from nkipy.hlo.printer import MAX_LITERAL, literal_text, print_module
from tests.support.xla import xla_hlo
from tests.unit.hlo.samples import SAMPLES, Sample, instruction, reducer

GOLDEN = """\
HloModule row_means, input_output_alias={ {1}: (0, {}, must-alias) }

%add_f32 (p0: f32[], p1: f32[]) -> f32[] {
  %p0 = f32[] parameter(0)
  %p1 = f32[] parameter(1)
  ROOT %add.2 = f32[] add(%p0, %p1)
}

ENTRY %main (x.must_alias_input: f32[2,3]) -> (f32[2], f32[2,3]) {
  %x.must_alias_input = f32[2,3]{1,0} parameter(0), frontend_attributes=\
{neff_input_names="x.must_alias_input"}
  %constant.4 = f32[] constant(0.0)
  %reduce.5 = f32[2]{0} reduce(%x.must_alias_input, %constant.4), dimensions={1}, \
to_apply=%add_f32
  %constant.6 = f32[2]{0} constant({3.0, 0.1})
  %divide.7 = f32[2]{0} divide(%reduce.5, %constant.6)
  %negate.8 = f32[2,3]{1,0} negate(%x.must_alias_input)
  ROOT %result = (f32[2]{0}, f32[2,3]{1,0}) tuple(%divide.7, %negate.8), \
frontend_attributes={neff_output_names="output0,x"}
}
"""


def row_means() -> HLOModule:
    module = HLOModule("row_means")

    def emit(*args) -> HLOInstruction:
        return module.add_operation(instruction(*args))

    x = module.add_parameter((2, 3), "float32", "x.must_alias_input")
    zero = emit("constant", (), "f32[]", {"literal": np.array(0, np.float32)})
    reduce = {"dimensions": (1,), "to_apply": reducer()}
    total = emit("reduce", (x, zero), "f32[2]", reduce)
    count = np.array([3, 0.1], np.float32)
    count = emit("constant", (), "f32[2]", {"literal": count})
    mean = emit("divide", (total, count), "f32[2]")
    mean.source_location = SourceLocation('a "b".py', 7)
    module.set_results([mean, emit("negate", (x,), "f32[2,3]")], ["output0", "x"])
    module.aliases = [AliasInfo(1, 0, "x.must_alias_input", False)]
    module.verify()
    return module


def test_golden():
    assert print_module(row_means()) == GOLDEN
    assert row_means().to_text() == str(row_means()) == GOLDEN


def test_metadata():
    text = print_module(row_means(), metadata=True)
    line = next(line for line in text.splitlines() if "divide" in line)
    assert line.endswith(
        ', metadata={op_type="NKIPy_Op" op_name="hlo__divide" '
        'source_file="a \\"b\\".py" source_line=7}'
    )


def constant(values: np.ndarray) -> HLOModule:
    module = HLOModule("test")
    op = HLOInstruction("constant", (), values.shape, values.dtype, {"literal": values})
    module.set_results(module.add_operation(op))
    return module


def test_large_constants_are_elided():
    limit = np.zeros(MAX_LITERAL, np.int8)
    assert "{...}" not in constant(limit).to_text()
    module = constant(np.zeros(MAX_LITERAL + 1, np.int8))
    assert "constant({...})" in module.to_text()
    assert "{...}" not in print_module(module, max_literal=None)


@pytest.mark.parametrize(
    "values, text",
    [
        (np.array(True), "true"),
        (np.array(-128, np.int8), "-128"),
        (np.array(2**64 - 1, np.uint64), "18446744073709551615"),
        (np.array(1e-45, np.float32), "1e-45"),
        (np.array([[1, 2], [3, 4]], np.int32), "{{1, 2}, {3, 4}}"),
        (np.zeros((2, 0), np.float32), "{{}, {}}"),
        (np.array([np.nan, -np.inf, -0.0], np.float16), "{nan, -inf, -0.0}"),
        (np.array(0.1, np.float64), "0.1"),
        (np.array(0.1, dt.bfloat16), "0.10009765625"),
    ],
)
def test_literals(values, text):
    assert literal_text(values) == text


def test_escapes():
    assert quoted('a"b\\c\n') == '"a\\"b\\\\c\\012"'
    assert quoted("é") == '"\\303\\251"'
    assert quoted(b"\xff") == '"\\377"'


# -- XLA's parser ----------------------------------------------------------------------
@pytest.fixture(scope="module")
def xla():
    return xla_hlo()


def body(text: str) -> list[str]:
    """The lines without the header, where XLA prints a layout that we leave out."""
    return text.splitlines()[1:]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.label)
def test_xla_reads_the_same_from_text_and_proto(xla, sample: Sample):
    module = sample.build()
    text = print_module(module, max_literal=None)
    parsed = xla.hlo_module_from_text(text).to_string()
    read = xla.HloModule.from_serialized_hlo_module_proto(module.serialize())
    assert body(parsed) == body(read.to_string())


def test_xla_reads_the_golden_text(xla):
    module = xla.hlo_module_from_text(print_module(row_means(), metadata=True))
    assert "{1}: (0, {}, must-alias)" in module.to_string()


def test_xla_reads_elided_constants_and_odd_names(xla):
    module = constant(np.zeros(MAX_LITERAL + 1, np.int8))
    module.name = "<lambda>"
    module.add_parameter((), "float32", "tree['é']")
    module.add_parameter((), "float32", "tree('é')")
    module.add_parameter((), "float32", "f32")
    module.verify()
    xla.hlo_module_from_text(module.to_text())


@pytest.mark.parametrize(
    "name", ["true", "nan", "f32", "s8", "ENTRY", "ROOT", "manual", "9", "a b"]
)
def test_xla_reads_any_module_name(xla, name):
    module = row_means()
    module.name = name
    xla.hlo_module_from_text(module.to_text())


SPECIAL = [np.inf, -np.inf, -0.0, 1e-45, 6e-8, 3.4028235e38, 0.1, 1 / 3, 448, 1.5]


@pytest.mark.parametrize("dtype", [*dt.FLOATS, *dt.FP8, dt.float64], ids=str)
def test_floats_survive_the_text(xla, dtype):
    with np.errstate(over="ignore"):
        values = np.array(SPECIAL).astype(dtype)
    values = values[~np.isnan(values.astype(np.float64))]
    parsed = xla.hlo_module_from_text(constant(values).to_text())
    module = HLOModule.from_proto(parsed.as_serialized_hlo_module_proto())
    (op,) = module.operations
    literal = op.attributes["literal"]
    assert literal.dtype == dtype
    assert literal.tobytes() == values.tobytes()


def nans(dtype: np.dtype) -> np.ndarray:
    """NaN of both signs: with all mantissas of a small float, some of a large one."""
    bits = 8 * dtype.itemsize
    unsigned = f"u{dtype.itemsize}"
    if bits <= 16:
        every = np.arange(1 << bits, dtype=np.uint64)
    else:
        some = np.array([0, 1, 3, 0x123, (1 << 22) - 1], np.uint64)
        infinity = np.array(np.inf, dtype).view(unsigned).astype(np.uint64)
        signs = np.array([0, 1 << (bits - 1)], np.uint64)
        quiet = np.array(np.nan, dtype).view(unsigned).astype(np.uint64)
        heads = np.array([infinity, quiet])
        every = (signs[:, None, None] | heads[:, None] | some).ravel()
    values = every.astype(unsigned).view(dtype)
    with np.errstate(invalid="ignore"):
        return values[np.isnan(values)]


@pytest.mark.parametrize("dtype", [d for d in dt.SUPPORTED if dt.is_float(d)], ids=str)
def test_a_nan_keeps_its_bits(xla, dtype: np.dtype):
    values = nans(dtype)
    assert values.size >= 2
    parsed = xla.hlo_module_from_text(print_module(constant(values), max_literal=None))
    read = HLOModule.from_proto(parsed.as_serialized_hlo_module_proto())
    (inst,) = [i for i in read.operations if i.opcode == "constant"]
    assert inst.attributes["literal"].tobytes() == values.tobytes()


def test_the_text_of_a_nan():
    usual = np.array([np.nan, -np.nan], np.float32)
    odd = np.array([0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert literal_text(usual) == "{nan, -nan}"
    assert literal_text(odd) == "{nan(0x1), -nan(0x7fffff)}"
