"""A module remembers that it was verified, for as long as it stays as it was."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.ir import AliasInfo, HLOComputation, HLOModule
from tests.unit.hlo.samples import computation, instruction


def _module() -> HLOModule:
    body = computation("body", "f32[2]", ("negate", (0,), "f32[2]"))
    module = HLOModule("m")
    x = module.add_parameter((2,), "float32", "x")
    call = instruction("call", (x,), "f32[2]", {"to_apply": body})
    module.set_results(module.add_operation(call))
    return module


def _replace_entry(module: HLOModule) -> None:
    other = HLOComputation("main")
    other.instructions = list(module.entry.instructions)
    other.parameters = list(module.parameters)
    module.entry = other


def _callee(module: HLOModule) -> HLOComputation:
    return module.results[0].attributes["to_apply"]


CHANGES = {
    "name": lambda m: setattr(m, "name", "other"),
    "entry": _replace_entry,
    "parameter": lambda m: m.add_parameter((), "int32", "y"),
    "instruction": lambda m: m.add_operation(instruction("iota", (), "f32[2]")),
    "results": lambda m: m.set_results(m.parameters),
    "output names": lambda m: m.set_results(m.results, ["y"]),
    "aliases": lambda m: m.aliases.append(AliasInfo(0, 0, "x", True)),
    "root of a callee": lambda m: setattr(_callee(m), "root", None),
    "instruction of a callee": lambda m: _callee(m).instructions.pop(),
}


def test_verifying_is_remembered(monkeypatch):
    module = _module()
    assert not module.is_verified
    module.ensure_verified()
    assert module.is_verified
    monkeypatch.setattr(HLOModule, "verify", lambda self: pytest.fail("verified again"))
    module.ensure_verified()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(name):
    module = _module()
    module.verify()
    CHANGES[name](module)
    assert not module.is_verified


FIELDS = {
    "opcode": "sign",
    "operands": (),
    "shape": (3,),
    "dtype": None,
    "attributes": {},
    "tuple_shapes": (),
    "name": "other",
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_set_in_place_is_noticed_for_good(name):
    module = _module()
    module.verify()
    inst = module.results[0]
    before = getattr(inst, name)
    setattr(inst, name, FIELDS[name])
    assert not module.is_verified and getattr(inst, name) == FIELDS[name]
    setattr(inst, name, before)
    module.verify()
    assert not module.is_verified  # what comes after is not noticed, hence not trusted


def test_threads_that_verify_modules_with_common_instructions():
    module, ready = _module(), threading.Barrier(4)

    def verify(_: int) -> bool:
        other = HLOModule("other")
        other.entry = module.entry
        other.set_results(module.results)
        ready.wait()
        other.verify()
        return other.is_verified

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(verify, range(4)))


def test_another_module_with_a_changed_instruction_is_not_trusted_either():
    module, other = _module(), HLOModule("other")
    module.verify()
    other.entry = module.entry
    other.set_results(module.results)
    module.results[0].name = "changed"
    other.verify()
    assert not other.is_verified and not module.is_verified


def test_what_has_become_invalid_is_refused():
    module = _module()
    module.verify()
    module.set_results(_module().results)
    with pytest.raises(HLOVerificationError, match="is not in the entry"):
        module.ensure_verified()
    assert not module.is_verified


def test_what_is_read_has_been_verified():
    assert HLOModule.from_proto(_module().serialize()).is_verified


def test_a_module_that_fails_is_not_verified():
    module = _module()
    module.add_operation(instruction("negate", (module.parameters[0],), "f32[3]"))
    with pytest.raises(HLOVerificationError):
        module.verify()
    assert not module.is_verified


def test_a_failure_forgets_an_earlier_success():
    module = _module()
    module.verify()
    module.results[0].shape = (3,)
    with pytest.raises(HLOVerificationError):
        module.verify()
    assert not module.is_verified
