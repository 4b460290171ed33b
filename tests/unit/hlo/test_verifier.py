"""The verifier takes a program for every opcode, and refuses it with an error in it."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.ir import AliasInfo, HLOInstruction, HLOModule, SourceLocation
from nkipy.hlo.opcodes import OPCODES
from tests.unit.hlo.samples import (
    SAMPLES,
    Sample,
    computation,
    instruction,
    reducer,
)

WRONG = [(s, w) for s in SAMPLES for w in s.wrong]


def module_of(*body: tuple, parameters: str = "f32[2] f32[2]") -> HLOModule:
    """An entry with parameters x0, x1, ... and the last instruction as the result."""
    module = HLOModule("test")
    module.entry = computation("main", parameters, *body)
    module.set_results(module.entry.root)
    module.entry.root = None
    return module


def refuse(module: HLOModule, message: str) -> str:
    with pytest.raises(HLOVerificationError) as caught:
        module.verify()
    assert message in str(caught.value)
    return str(caught.value)


def test_every_opcode_has_a_sample_and_a_counterexample():
    assert {s.opcode for s in SAMPLES} == set(OPCODES)
    assert {s.opcode for s, _ in WRONG} == set(OPCODES)


def test_every_attribute_is_in_a_sample():
    shown = {(s.opcode, name) for s in SAMPLES for name in s.attributes}
    assert {(op.name, a) for op in OPCODES.values() for a in op.attributes} == shown


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.label)
def test_accepts(sample: Sample):
    sample.build().verify()


@pytest.mark.parametrize(
    "sample, wrong", WRONG, ids=[f"{s.label} ({w.message})" for s, w in WRONG]
)
def test_refuses(sample: Sample, wrong):
    text = refuse(sample.with_error(wrong).build(), wrong.message)
    assert sample.opcode in text or "parameters are numbered" in text


def test_error_names_instruction_operands_and_source():
    module = module_of(("negate", (0,), "f32[2]"), ("add", (0, 2), "f32[3]"))
    wrong = module.entry.instructions[-1]
    wrong.source_location = SourceLocation("kernel.py", 12)
    wrong.name = "sum"
    assert refuse(module, "f32[2]") == (
        "%sum = f32[3] add(f32[2], f32[2]): the result has to be f32[2] in "
        "computation 'main', from kernel.py:12"
    )
    wrong.name = ""
    assert refuse(module, "f32[2]").startswith("#3 = f32[3] add(")


def test_unknown_opcode():
    refuse(module_of(("frobnicate", (0,), "f32[2]")), "the opcode is unknown")


def test_operand_after_its_user():
    module = module_of(("negate", (0,), "f32[2]"), ("sign", (2,), "f32[2]"))
    module.entry.instructions.reverse()
    refuse(module, "comes after its user")


def test_operand_of_another_computation():
    module = module_of(("negate", (0,), "f32[2]"))
    other = module_of(("negate", (0,), "f32[2]"))
    negate = HLOInstruction("negate", (other.results[0],), (2,), np.dtype("f4"))
    module.add_operation(negate)
    refuse(module, "is not in this computation")


def test_instruction_twice():
    module = module_of(("negate", (0,), "f32[2]"))
    module.add_operation(module.results[0])
    refuse(module, "occurs twice")


def test_recursive_computation():
    inner = computation("inner", "f32[2]", ("call", (0,), "f32[2]", {"to_apply": None}))
    inner.root.attributes["to_apply"] = inner
    refuse(module_of(("call", (0,), "f32[2]", {"to_apply": inner})), "calls itself")


def test_entry_that_calls_itself():
    module = module_of(("call", (0, 1), "f32[2]", {"to_apply": None}))
    module.results[0].attributes["to_apply"] = module.entry
    refuse(module, "calls itself")


def test_error_in_a_callee_names_the_computation():
    wrong = computation("inner", "f32[2]", ("negate", (0,), "f32[3]"))
    module = module_of(("call", (0,), "f32[3]", {"to_apply": wrong}))
    refuse(module, "in computation 'inner'")


def test_callee_without_root():
    add = reducer()
    add.root = None
    attributes = {"replica_groups": (), "to_apply": add}
    refuse(module_of(("all-reduce", (0,), "f32[2]", attributes)), "has no root")


@pytest.mark.parametrize(
    "dims, message",
    [
        ((-1,), "negative dimension"),
        ((2.0,), "not a tuple of ints"),
        ((np.int64(2),), "not a tuple of ints"),
        ([2], "not a tuple of ints"),
        ((1,) * 65, "rank 65"),
        ((1 << 62, 1 << 62), "more than"),
        ((0, 1 << 62), "more than"),
    ],
)
def test_malformed_dimensions(dims, message):
    module = HLOModule("test")
    module.set_results(module.add_parameter((), "float32", "x"))
    module.parameters[0].shape = dims
    refuse(module, message)


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "object", "U3"])
def test_element_types_that_hlo_lacks(dtype):
    module = HLOModule("test")
    x = module.add_parameter((2,), "float32", "x")
    y = HLOInstruction("convert", (x,), (2,), np.dtype(dtype))
    module.set_results(module.add_operation(y))
    refuse(module, "element type")
    x.dtype = np.dtype(dtype)
    refuse(module, "%x = ")


def test_none_is_not_float64():
    # NumPy says that np.dtype("float64") == None.
    module = HLOModule("test")
    x = module.add_parameter((), "float64", "x")
    y = module.add_operation(HLOInstruction("negate", (x,), (), None))
    module.set_results(x)
    refuse(module, "the result's element type is None")
    y.tuple_shapes = ()
    refuse(module, "the result has to be f64[]")


def test_array_with_tuple_shapes():
    module = module_of(("negate", (0,), "f32[2]"))
    module.results[0].tuple_shapes = ()
    refuse(module, "both an array and a tuple")


@pytest.mark.parametrize("opcode", ["add", "negate", "compare", "reshape", "dot"])
def test_tuples_where_arrays_belong(opcode):
    sample = next(s for s in SAMPLES if s.opcode == opcode)
    pair = (1,) * OPCODES[opcode].arity
    module = module_of(
        ("tuple", (0, 0), "(f32[2], f32[2])"),
        (opcode, pair, sample.result, sample.attributes),
        parameters="f32[2]",
    )
    refuse(module, "does not take a tuple")


# -- the module's interface ------------------------------------------------------------
def two_parameters() -> HLOModule:
    module = HLOModule("test")
    x = module.add_parameter((2,), "float32", "x")
    y = module.add_parameter((2,), "float32", "y")
    module.set_results(module.add_operation(instruction("add", (x, y), "f32[2]")))
    return module


def test_duplicate_parameter_names():
    module = two_parameters()
    module.parameters[1].name = "x"
    refuse(module, "two parameters are called 'x'")


def test_parameter_without_a_name():
    module = two_parameters()
    module.parameters[1].name = ""
    refuse(module, "parameter 1 has no name")


def test_parameters_out_of_order():
    module = two_parameters()
    module.parameters.reverse()
    refuse(module, "parameters are numbered [1, 0]")


def test_parameter_that_is_not_listed():
    module = two_parameters()
    extra = instruction("parameter", (), "f32[2]", {"parameter_number": 2})
    module.add_operation(extra)
    refuse(module, "the list of parameters and the parameter instructions differ")


def test_result_of_another_module():
    module = two_parameters()
    module.set_results(two_parameters().results)
    refuse(module, "is not in the entry")


def test_tuple_result():
    module = two_parameters()
    both = instruction("tuple", tuple(module.parameters), "(f32[2], f32[2])")
    module.set_results(module.add_operation(both))
    refuse(module, "is a tuple")


def test_as_many_output_names_as_results():
    module = two_parameters()
    module.output_names = ["a", "b"]
    refuse(module, "1 results have 2 names")


@pytest.mark.parametrize("names", [["a", "a"], ["a,b", "c"], ["", "b"]])
def test_output_names_that_cannot_be_joined(names):
    module = two_parameters()
    module.set_results([module.results[0]] * 2, names)
    refuse(module, "output")


def test_two_computations_of_one_name():
    x = computation("f", "f32[2]", ("negate", (0,), "f32[2]"))
    y = computation("f", "f32[2]", ("sign", (0,), "f32[2]"))
    module = module_of(
        ("call", (0,), "f32[2]", {"to_apply": x}),
        ("call", (0,), "f32[2]", {"to_apply": y}),
    )
    refuse(module, "two computations are called 'f'")


@pytest.mark.parametrize(
    "aliases, message",
    [
        ([(1, 0)], "output 1 of 1"),
        ([(-1, 0)], "output -1"),
        ([(0, 2)], "parameter 2 of 2"),
        ([(0, 0), (0, 1)], "output 0 is aliased twice"),
    ],
)
def test_aliases_out_of_range(aliases, message):
    module = two_parameters()
    module.aliases = [AliasInfo(o, p, "", True) for o, p in aliases]
    refuse(module, message)


def test_two_outputs_in_one_parameter():
    module = two_parameters()
    module.set_results([*module.results, module.parameters[0]])
    module.aliases = [AliasInfo(0, 1, "y", True), AliasInfo(1, 1, "y", True)]
    refuse(module, "two outputs are aliased to parameter 1")


@pytest.mark.parametrize("dims, dtype", [((3,), "float32"), ((2,), "int32")])
def test_alias_of_another_shape(dims, dtype):
    module = two_parameters()
    module.add_parameter(dims, dtype, "z")
    module.aliases = [AliasInfo(0, 2, "z", True)]
    text = refuse(module, "output 0 is f32[2], but parameter 'z'")
    assert text.endswith(module.parameters[2].shape_text())


def test_shared_computation_is_verified_once(monkeypatch):
    from nkipy.hlo import verifier

    add = reducer()
    attributes = {"replica_groups": (), "to_apply": add}
    module = module_of(*[("all-reduce", (0,), "f32[2]", attributes)] * 5)
    seen = []
    original = verifier._verify_computation
    monkeypatch.setattr(
        verifier,
        "_verify_computation",
        lambda c, *rest: (seen.append(c.name), original(c, *rest)),
    )
    module.verify()
    assert seen == ["add_f32", "main"]


BAD_NAMES = ["", "a\nb", "a\tb", "\x1b[0m", "\ud800", "a\x00"]


@pytest.mark.parametrize("name", [*BAD_NAMES, 5, None, []])
def test_names_that_cannot_be_written(name):
    def named(put):
        module = two_parameters()
        put(module)
        with pytest.raises(HLOVerificationError, match="has no name|cannot be printed"):
            module.verify()

    named(lambda m: setattr(m, "name", name))
    named(lambda m: setattr(m.parameters[1], "name", name))
    named(lambda m: setattr(m.entry, "name", name))
    named(lambda m: setattr(m, "output_names", [name]))
    if name:  # instructions need none
        named(lambda m: setattr(m.results[0], "name", name))


def test_names_that_are_listed_have_no_commas():
    module = two_parameters()
    module.parameters[1].name = "a,b"
    refuse(module, "parameter 1 is called 'a,b'; commas stand between names")
    module.parameters[1].name = "a b:ä"
    module.verify()


@pytest.mark.parametrize("what", [None, 1.0, "x", object(), []])
def test_what_is_set_to_something_else_than_it_is_for(what):
    fields = ("opcode", "operands", "shape", "dtype", "attributes", "tuple_shapes")
    for field in fields:
        module = two_parameters()
        setattr(module.results[0], field, what)
        if (field, what) == ("tuple_shapes", None):
            continue
        with pytest.raises(HLOVerificationError):
            module.verify()
    for put in (
        lambda m: m.entry.instructions.append(what),
        lambda m: setattr(m, "results", [what]),
        lambda m: setattr(m, "aliases", [what]),
        lambda m: setattr(m.results[0], "operands", (what, what)),
    ):
        module = two_parameters()
        put(module)
        with pytest.raises(HLOVerificationError):
            module.verify()
