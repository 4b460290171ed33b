"""Checks a module before it leaves the tracer, and every module that is read.

XLA aborts the process on some malformed modules and accepts others whose declared
interface is wrong, so nothing is handed to it that has not passed here.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NoReturn

import numpy as np

from nkipy.hlo.arguments import checked, describe
from nkipy.hlo.dtypes import HLO_NAMES
from nkipy.hlo.errors import HLOUnsupportedError, HLOVerificationError
from nkipy.hlo.ir import (
    Form,
    HLOComputation,
    HLOInstruction,
    HLOModule,
    Shape,
)
from nkipy.hlo.opcodes import OPCODES, Opcode
from nkipy.hlo.opcodes.rule import LackError, RuleError, fail, lack, text

#: Greatest rank of an array.
MAX_RANK = 64
#: Greatest product of an array's dimensions (those of size 0 not counted): what XLA
#: computes with has to stay within 64 bits, in bits.
MAX_ELEMENTS = 1 << 48


#: What Python raises about fields that are set to what they are not for.
_RAW = (TypeError, AttributeError, IndexError, KeyError, OverflowError)
_DTYPE_TYPES = frozenset(map(type, HLO_NAMES))


@checked
def verify_module(module: HLOModule, *, traced: bool = False) -> None:
    """Check every computation once, then the results and the aliases.

    The module remembers it (:meth:`HLOModule.ensure_verified`).

    Args:
        traced: the module was just traced. Then nobody has had the chance to change an
            instruction since it was made of its form and appended, for operands that
            fit the form and were there before it.

    Raises:
        HLOVerificationError: naming the instruction and what is wrong with it.
        HLOUnsupportedError, which is one: it need not be wrong, but nkipy lacks it.
    """
    module.set_verified(None)
    try:
        _verify(module, traced)
    except _RAW as error:
        raise HLOVerificationError(
            f"module {module.name!r} has something of a wrong kind in it: "
            f"{type(error).__name__}: {error}"
        ) from error


def _verify(module: HLOModule, traced: bool) -> None:
    _verify_names_of(module)
    checked: set[HLOComputation] = set()
    known_dims: set[tuple[int, ...]] = set()
    computations = module.computations()
    for computation in computations:
        _verify_computation(computation, checked, known_dims, traced)
        if computation is not module.entry and computation.root is None:
            _fail_module(f"computation {computation.name!r} has no root")
        checked.add(computation)
    _verify_names(computations)
    _verify_interface(module)
    _verify_aliases(module)
    module.set_verified(computations)


def _verify_computation(
    computation: HLOComputation,
    checked: set[HLOComputation],
    known_dims: set[tuple[int, ...]],
    traced: bool,
) -> None:
    """The loop over instructions, with as little work for each as possible."""
    records = OPCODES
    seen: set[HLOInstruction] = set()
    dims = None
    inst: HLOInstruction | None = None
    instructions = computation.instructions
    if traced:
        instructions = _unknown(computation, seen)
    try:
        for inst in instructions:
            form, operands = inst.form, inst.operands
            if form is not None and form.is_verified and form.fits(inst):
                if not seen.issuperset(operands):
                    _fail_operand(computation, operands, seen)
                seen.add(inst)
                continue
            shape = inst.shape
            if inst.opcode not in records:
                fail("the opcode is unknown")
            record = records[inst.opcode]
            dtypes = record.checked_dtypes
            if len(operands) != record.arity:
                _check_count(operands, record)
            if not seen.issuperset(operands):
                _fail_operand(computation, operands, seen)
            if record.required or inst.attributes:
                _check_attributes(inst, record, checked)
            # Neighbours mostly share one object, which need not be looked at again.
            # NumPy takes the None of a tuple for float64, hence not left to the rules.
            if shape is not dims or inst.tuple_shapes is not None or inst.dtype is None:
                _check_shape(inst, known_dims)
                dims = shape
            first = operands[0] if operands else inst
            if first.dtype is None or dtypes is not None and first.dtype not in dtypes:
                _check_tuple(first, record)
            result = record.rule(inst)
            dtype = inst.dtype
            if result != (inst.tuple_shapes if dtype is None else (shape, dtype)):
                _fail_result(result)
            seen.add(inst)
            if form is not None:
                _note_form(form, inst)
        inst = None
        # Of a trace, parameters are as add_parameter() listed them, unless there are
        # some that it did not make.
        by_hand = not traced or any(i.opcode == "parameter" for i in instructions)
        _verify_structure(computation, seen, by_hand)
    except RuleError as e:
        kind = HLOVerificationError
        if isinstance(e, LackError):
            kind = HLOUnsupportedError
        raise kind(_message(computation, inst, str(e))) from None
    except _RAW as e:
        problem = f"something in it is of a wrong kind: {type(e).__name__}: {e}"
        raise HLOVerificationError(_message(computation, inst, problem)) from e


def _note_form(form: Form, inst: HLOInstruction) -> None:
    """The instruction is valid: so is its form, if it is still of it."""
    if form.fits(inst):
        form.is_verified = True
    elif not form.describes(inst):
        inst.form = None


def _unknown(
    computation: HLOComputation, seen: set[HLOInstruction]
) -> list[HLOInstruction]:
    """The instructions of no verified form, which have to be checked; `seen` are all.

    Whether their operands come before them is checked here.
    """
    instructions = computation.instructions
    seen.update(instructions)
    unknown = [i for i in instructions if i.form is None or not i.form.is_verified]
    if any(i.operands for i in unknown):
        places = {inst: place for place, inst in enumerate(instructions)}
        for inst in unknown:
            for operand in inst.operands:
                if places.get(operand, -1) > places[inst]:
                    raise HLOVerificationError(
                        f"operand {_label(operand)} comes after its user {_label(inst)}"
                    )
    return unknown


def _check_count(operands: tuple, record: Opcode) -> None:
    low, high = record.operands
    if len(operands) < low or (high is not None and len(operands) > high):
        wanted = f"{low}" if low == high else f"{low} or more"
        refuse = lack if record.is_variadic_in_xla and len(operands) > low else fail
        refuse(f"{len(operands)} operands instead of {wanted}")


def _fail_operand(
    computation: HLOComputation, operands: tuple, seen: set[HLOInstruction]
) -> NoReturn:
    wrong = next(o for o in operands if o not in seen)
    if wrong in computation.instructions:
        fail(f"operand {_label(wrong)} comes after its user")
    fail(f"operand {_label(wrong)} is not in this computation")


def _check_attributes(
    inst: HLOInstruction, record: Opcode, checked: set[HLOComputation]
) -> None:
    known = record.attributes
    for name, value in inst.attributes.items():
        attribute = known.get(name)
        if attribute is None:
            fail(f"unknown attribute {name!r}")
        kind = attribute.kind
        if not kind.check(value):
            fail(f"attribute {name!r} is {value!r:.80}, not {kind.name}")
        if kind.calls:
            _check_callees(value, checked)
    if len(inst.attributes) == len(known):
        return  # all of them
    missing = record.required.keys() - inst.attributes.keys()
    if missing:
        fail(f"missing attributes: {', '.join(sorted(missing))}")


def _check_callees(value: Any, checked: set[HLOComputation]) -> None:
    for callee in value if isinstance(value, tuple) else (value,):
        if callee not in checked:
            fail(f"computation {callee.name!r} calls itself")


def _check_shape(inst: HLOInstruction, known_dims: set[tuple[int, ...]]) -> None:
    if inst.tuple_shapes is None:
        if type(inst.dtype) not in _DTYPE_TYPES:
            fail(f"the result's element type is {inst.dtype}")
        _check_dims(inst.shape, known_dims)
        return
    if inst.dtype is not None or inst.shape != ():
        fail("the result is both an array and a tuple")
    if type(inst.tuple_shapes) is not tuple:
        fail("tuple_shapes is not a tuple")
    for shape in inst.tuple_shapes:
        if type(shape) is not Shape or shape.dtype not in HLO_NAMES:
            fail(f"tuple element {shape!r} is no array shape")
        _check_dims(shape.dims, known_dims)


def _check_dims(dims: tuple[int, ...], known_dims: set[tuple[int, ...]]) -> None:
    if type(dims) is tuple and dims in known_dims:
        return
    if type(dims) is not tuple or any(type(d) is not int for d in dims):
        fail(f"the result's dimensions {dims!r} are not a tuple of ints")
    if any(d < 0 for d in dims):
        fail(f"the result has a negative dimension: {dims}")
    if len(dims) > MAX_RANK:
        lack(f"the result has rank {len(dims)}, over {MAX_RANK}")
    total = 1
    for d in dims:
        total *= d or 1
    if total > MAX_ELEMENTS:
        lack(f"the result {dims} has more than {MAX_ELEMENTS} elements")
    known_dims.add(dims)


def _check_tuple(first: HLOInstruction, record: Opcode) -> None:
    if first.dtype is None and first.tuple_shapes is not None:
        if record.takes_tuples:
            return
        fail(f"{record.name} does not take a tuple")
    dtype = first.dtype
    fail(f"{record.name} is not defined for {HLO_NAMES.get(dtype, dtype)}")


def _fail_result(result: Any) -> NoReturn:
    if len(result) == 2 and type(result) is tuple and isinstance(result[1], np.dtype):
        result = Shape(result[1], result[0])
    fail(f"the result has to be {text(result)}")


def _verify_structure(
    computation: HLOComputation, seen: set[HLOInstruction], by_hand: bool
) -> None:
    if len(seen) != len(computation.instructions):
        fail("an instruction occurs twice")
    if computation.root is not None and computation.root not in seen:
        fail("the root is not one of the instructions")
    if by_hand:
        _verify_parameters(computation)


def _verify_parameters(computation: HLOComputation) -> None:
    parameters = [i for i in computation.instructions if i.opcode == "parameter"]
    numbers = [p.attributes["parameter_number"] for p in computation.parameters]
    if numbers != list(range(len(numbers))):
        fail(f"parameters are numbered {numbers[:20]}")
    if len(parameters) != len(numbers) or set(parameters) != set(
        computation.parameters
    ):
        fail("the list of parameters and the parameter instructions differ")
    for p in parameters:
        if not p.name:
            fail(f"parameter {p.attributes['parameter_number']} has no name")


def _verify_interface(module: HLOModule) -> None:
    names = [p.name for p in module.parameters]
    if len(set(names)) != len(names):
        _fail_module(f"two parameters are called {_duplicate(names)!r}")
    for p in module.parameters:
        if p.dtype is None:
            _lack_module(f"parameter {p.name!r} is a tuple")
    if len(module.output_names) != len(module.results):
        _fail_module(
            f"{len(module.results)} results have {len(module.output_names)} names"
        )
    if len(set(module.output_names)) != len(module.output_names):
        _fail_module(f"two outputs are called {_duplicate(module.output_names)!r}")
    unknown = set(module.results).difference(module.entry.instructions)
    for i, result in enumerate(module.results):
        if result in unknown:
            _fail_module(f"result {i}, {_label(result)}, is not in the entry")
        if result.dtype is None:
            _lack_module(f"result {i}, {_label(result)}, is a tuple")


def _verify_names_of(module: HLOModule) -> None:
    """Names can be written, as they are, in text and bytes, and in a list of names."""
    _check_name(module.name, "the module")
    for name in module.output_names:
        _check_name(name, "an output", is_listed=True)
    for i, p in enumerate(module.parameters):
        _check_name(p.name, f"parameter {i}", is_listed=True)


def _check_name(name: Any, what: str, *, is_listed: bool = False) -> None:
    """Refuse what is no text, is empty or has characters that cannot be printed.

    Those control a terminal, or are none in UTF-8. One that is listed has no comma.
    """
    if name == "":
        _fail_module(f"{what} has no name")
    if not isinstance(name, str) or not name.isprintable():
        _fail_module(f"{what} is called {name!r:.80}, which cannot be printed")
    if is_listed and "," in name:
        _fail_module(f"{what} is called {name!r:.80}; commas stand between names")


def _verify_names(computations: list[HLOComputation]) -> None:
    names = [c.name for c in computations]
    for computation in computations:
        _check_name(computation.name, "a computation")
        for inst in computation.instructions:
            if inst.name:
                _check_name(inst.name, "an instruction")
    if len(set(names)) != len(names):
        _fail_module(f"two computations are called {_duplicate(names)!r}")


def _verify_aliases(module: HLOModule) -> None:
    outputs: set[int] = set()
    parameters: set[int] = set()
    for alias in module.aliases:
        out, number = alias.output_index, alias.param_index
        if not 0 <= out < len(module.results):
            _fail_module(f"alias of output {out} of {len(module.results)}")
        if not 0 <= number < len(module.parameters):
            _fail_module(f"alias of parameter {number} of {len(module.parameters)}")
        if out in outputs:
            _fail_module(f"output {out} is aliased twice")
        if number in parameters:
            _fail_module(f"two outputs are aliased to parameter {number}")
        outputs.add(out)
        parameters.add(number)
        result, parameter = module.results[out], module.parameters[number]
        if (result.shape, result.dtype) != (parameter.shape, parameter.dtype):
            _fail_module(
                f"output {out} is {result.shape_text()}, but parameter "
                f"{parameter.name!r}, its alias, {parameter.shape_text()}"
            )


def _duplicate(names: list[str]) -> str:
    """The name that occurs most often."""
    return Counter(names).most_common(1)[0][0]


def _fail_module(problem: str) -> NoReturn:
    raise HLOVerificationError(problem)


def _lack_module(problem: str) -> NoReturn:
    raise HLOUnsupportedError(f"{problem}, which is not supported")


def _label(inst: Any) -> str:
    name = getattr(inst, "name", "")
    return f"%{name}" if name else repr(inst)


def _message(
    computation: HLOComputation, inst: HLOInstruction | None, problem: str
) -> str:
    where = f" in computation {computation.name!r}"
    if inst is None:
        return f"{problem}{where}"
    if not isinstance(inst, HLOInstruction):
        return f"{describe(inst)} is no instruction{where}"
    label = f"%{inst.name}" if inst.name else f"#{computation.instructions.index(inst)}"
    try:
        operands = ", ".join(_shape_text(o) for o in inst.operands)
    except TypeError:
        operands = repr(inst.operands)
    location = f", from {inst.source_location}" if inst.source_location else ""
    call = f"{label} = {_shape_text(inst)} {inst.opcode}({operands})"
    return f"{call}: {problem}{where}{location}"


def _shape_text(inst: HLOInstruction) -> str:
    """The shape as text even where it is invalid."""
    try:
        return inst.shape_text()
    except (KeyError, AssertionError, TypeError, AttributeError):
        if not isinstance(inst, HLOInstruction):
            return describe(inst)
        return f"{inst.dtype}{inst.shape}"
