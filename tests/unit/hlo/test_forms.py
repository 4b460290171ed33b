"""Instructions that are made of a form: what they share, and what is still checked."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, broadcast_forms
from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.ir import Form, HLOModule
from nkipy.hlo.verifier import verify_module

F32 = dt.float32
PAIR = (((2, 3), F32), ((2, 3), F32))


def _form(opcode="add", operands=PAIR, shape=(2, 3), dtype=F32, attributes=None):
    return Form(opcode, operands, shape, dtype, attributes or {})


def _module(form, count=1, shape=(2, 3)):
    """A module of `count` instructions of a form, on two parameters."""
    module = HLOModule("m")
    b = HLOBuilder(module.entry)
    x, y = (module.add_parameter(shape, F32, name) for name in "xy")
    module.set_results([b.place(form, (x, y)) for _ in range(count)])
    return module


def test_an_instruction_has_what_its_form_says():
    inst = _module(_form()).results[0]
    assert (inst.opcode, inst.shape, inst.dtype) == ("add", (2, 3), F32)
    assert inst.tuple_shapes is None
    assert not inst.name


def test_the_first_of_a_form_is_checked():
    form = _form(shape=(3, 2))
    for _ in range(2):
        with pytest.raises(HLOVerificationError, match=r"has to be f32\[2,3\]"):
            _module(form).verify()
        with pytest.raises(HLOVerificationError, match=r"has to be f32\[2,3\]"):
            verify_module(_module(form), traced=True)
    assert not form.is_verified


def test_a_valid_form_is_remembered():
    form = _form()
    _module(form, 3).verify()
    assert form.is_verified


@pytest.mark.parametrize(
    ("name", "value"),
    [("shape", (3, 2)), ("dtype", dt.int32), ("opcode", "and"), ("operands", ())],
)
def test_an_instruction_that_was_changed_is_checked_again(name, value):
    form = _form()
    _module(form).verify()
    module = _module(form)
    setattr(module.results[0], name, value)
    with pytest.raises(HLOVerificationError):
        module.verify()
    _module(form).verify()


def test_operands_that_do_not_fit_the_form_are_found():
    form = _form()
    _module(form).verify()
    with pytest.raises(HLOVerificationError, match=r"has to be f32\[4\]"):
        _module(form, shape=(4,)).verify()


@pytest.mark.parametrize("traced", [False, True])
def test_the_order_of_instructions_is_checked(traced):
    form = _form()
    module = _module(form, 2)
    module.verify()
    first, second = module.results
    second.operands = (first, first)
    module.verify()
    module.entry.instructions[2:] = [second, first]
    if traced:  # what was emitted without a form has no builder to vouch for it
        second.form = None
    with pytest.raises(HLOVerificationError, match="comes after its user"):
        verify_module(module, traced=traced)


def test_attributes_of_a_form_cannot_be_changed():
    attributes = {"dimensions": (1, 0)}
    form = _form("transpose", PAIR[:1], (3, 2), attributes=attributes)
    attributes["dimensions"] = (0, 1)
    assert form.attributes == {"dimensions": (1, 0)}
    with pytest.raises(TypeError):
        form.attributes["dimensions"] = (0, 1)


def test_bytes_do_not_tell_whether_there_was_a_form():
    plain = HLOModule("m")
    b = HLOBuilder(plain.entry)
    x, y = (plain.add_parameter((2, 3), F32, name) for name in "xy")
    plain.set_results([b.add(x, y) for _ in range(12)])
    formed = _module(_form(), 12)
    assert formed.serialize() == plain.serialize()
    assert formed.content_hash() == plain.content_hash()


def test_a_form_is_written_alike_in_every_module():
    form = _form()
    first, second = _module(form), _module(form)
    assert first.serialize() == second.serialize()


@pytest.mark.parametrize(
    ("own", "shape"), [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 1), (4, 5))]
)
def test_broadcasting_follows_numpy(own, shape):
    module = HLOModule("m")
    b = HLOBuilder(module.entry)
    value = module.add_parameter(own, F32, "x")
    for form in broadcast_forms(own, F32, shape):
        value = b.place(form, (value,))
    module.set_results(value)
    module.verify()
    assert value.shape == np.broadcast_to(np.zeros(own), shape).shape
    lead = len(shape) - len(own)
    kept = tuple(i + lead for i, d in enumerate(own) if d != 1)
    assert value.attributes["dimensions"] == kept
