"""Bytes that this process has written or read itself are not verified again."""

from __future__ import annotations

import functools
import gc
import importlib

import numpy as np
import pytest

from benchmarks import models
from nkipy.core.trace import trace_function
from nkipy.hlo import written
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import float32
from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.proto_reader import read_module
from nkipy.hlo.written import read_written, write_module


@pytest.fixture(autouse=True)
def nothing_noted():
    written._noted.clear()


@pytest.fixture
def verified(monkeypatch):
    """The modules that are verified."""
    names = []

    def note(verify, module, **options):
        names.append(module.name)
        return verify(module, **options)

    places = ("nkipy.hlo.verifier", "nkipy.hlo.proto_reader", "nkipy.core.trace")
    originals = [importlib.import_module(place).verify_module for place in places]
    for place, verify in zip(places, originals):
        noting = functools.partial(note, verify)
        monkeypatch.setattr(f"{place}.verify_module", noting)
    return names


def transformer():
    x = np.ones((1, 8, 16), np.float32)
    layers = [models.block_params(16, n) for n in range(2)]
    kernel = functools.partial(models.transformer, np, heads=2)
    return trace_function(kernel, (x, layers, *models.rotary(8, 8)), {}).module


def with_calls():
    """Sorts, reduces, and writes into an argument."""

    def kernel(cache, x):
        cache[1:3] = np.sort(x, axis=-1)[0:2]
        return np.max(x, axis=0), np.argmax(x, axis=1), np.array([0.5, np.nan, 2.0])

    x = np.ones((4, 4), np.float32)
    return trace_function(kernel, (x, x), {}).module


def small(name="small"):
    module = HLOModule(name)
    x = module.add_parameter((2,), float32, "x")
    module.set_results([HLOBuilder(module.entry).binary("add", x, x)], ["y"])
    return module


def form_of(value):
    """An attribute as something that == compares, whoever made it."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, HLOComputation):
        return value.name
    if isinstance(value, tuple):
        return tuple(map(form_of, value))
    return value


@pytest.mark.parametrize("make", [transformer, with_calls, small])
def test_a_copy_is_what_reading_the_bytes_gives(make):
    module = make()
    raw = write_module(module)
    copy, read = read_written(raw), read_module(raw)
    assert copy.is_verified and read.is_verified
    assert copy.serialize() == read.serialize() == raw
    assert copy.to_text() == read.to_text()
    assert [c.name for c in copy.computations()] == [
        c.name for c in read.computations()
    ]
    for ours, theirs in zip(copy.computations(), read.computations()):
        pairs = list(zip(ours.instructions, theirs.instructions, strict=True))
        for a, b in pairs:
            assert (a.name, a.opcode, a.shape, a.dtype) == (
                b.name,
                b.opcode,
                b.shape,
                b.dtype,
            )
            assert a.tuple_shapes == b.tuple_shapes
            assert a.source_location == b.source_location
            assert [o.name for o in a.operands] == [o.name for o in b.operands]
            assert {k: form_of(v) for k, v in a.attributes.items()} == {
                k: form_of(v) for k, v in b.attributes.items()
            }
    assert copy.inputs == read.inputs and copy.outputs == read.outputs
    assert copy.input_output_alias == read.input_output_alias
    copy.verify()


def test_what_was_written_is_neither_verified_nor_read_again(verified, monkeypatch):
    module = transformer()
    assert verified == [module.name]
    raw = write_module(module)
    with monkeypatch.context() as context:
        refuse = functools.partial(pytest.fail, "read")
        context.setattr("nkipy.hlo.proto_reader.read_module", refuse)
        assert read_written(raw) is not module
        again = read_written(bytes(bytearray(raw)))
        assert read_written(raw, to_look_at=True) is module
    assert verified == [module.name] and again.serialize() == raw
    del module, again
    gc.collect()  # then there are the bytes alone
    assert read_written(raw).serialize() == raw
    assert len(verified) == 1


def test_what_comes_from_elsewhere_is_verified_once(verified):
    raw = small().serialize()
    assert verified == []
    for _ in range(3):
        assert read_written(raw).serialize() == raw
    assert verified == ["small"]
    other = small("other").serialize()
    assert read_written(other).name == "other"
    assert verified == ["small", "other"]


def test_an_invalid_module_is_not_noted():
    module = small()
    wrong = HLOInstruction("negate", module.entry.instructions[:1] * 2, (3,), float32)
    wrong.operands = (module.parameters[0],)
    module.set_results(module.add_operation(wrong))
    raw = module.serialize()
    for _ in range(2):
        with pytest.raises(HLOVerificationError):
            read_written(raw)
    with pytest.raises(HLOVerificationError):
        write_module(module)
    assert not written._noted


def test_a_module_that_has_changed_is_read(verified):
    module = small()
    raw = write_module(module)
    x = module.parameters[0]
    module.set_results([HLOBuilder(module.entry).binary("multiply", x, x)], ["y"])
    assert read_written(raw).serialize() == raw
    assert module.serialize() != raw


def test_a_constant_that_can_change_is_read_from_the_bytes():
    module = HLOModule("m")
    literal = np.arange(4, dtype=np.float32)
    constant = HLOInstruction("constant", (), (4,), float32, {"literal": literal})
    module.set_results(module.add_operation(constant))
    raw = write_module(module)
    literal[0] = 7
    (read,) = read_written(raw).results
    np.testing.assert_array_equal(read.attributes["literal"], [0, 1, 2, 3])


@pytest.mark.parametrize("is_view", [False, True])
def test_a_constant_that_is_read_only_for_the_moment_is_too(is_view):
    own = np.arange(4, dtype=np.float32)
    literal = own.view() if is_view else own
    literal.flags.writeable = False
    module = HLOModule("m")
    constant = HLOInstruction("constant", (), (4,), float32, {"literal": literal})
    module.set_results(module.add_operation(constant))
    raw = write_module(module)
    own.flags.writeable = True
    own[0] = 7
    own.flags.writeable = False
    (read,) = read_written(raw).results
    np.testing.assert_array_equal(read.attributes["literal"], [0, 1, 2, 3])


def test_constants_of_a_builder_are_copied_with_their_module(monkeypatch):
    module = HLOModule("m")
    builder = HLOBuilder(module.entry)
    arrays = np.arange(4.0, dtype=np.float32), np.arange(5000), np.ones((0, 2))
    module.set_results([builder.constant(array) for array in arrays])
    raw = write_module(module)
    refuse = functools.partial(pytest.fail, "read")
    monkeypatch.setattr("nkipy.hlo.proto_reader.read_module", refuse)
    for array, made in zip(arrays, read_written(raw).results):
        literal = made.attributes["literal"]
        np.testing.assert_array_equal(literal, array)
        with pytest.raises(ValueError):
            literal.flags.writeable = True


def test_what_was_changed_in_place_is_verified_before_it_is_written():
    module = small()
    module.verify()
    module.results[0].shape = (3,)
    for _ in range(2):
        with pytest.raises(HLOVerificationError):
            write_module(module)
    assert not written._noted


def test_bytes_of_before_a_change_in_place_are_read():
    module = small()
    raw = write_module(module)
    module.results[0].opcode = "multiply"
    assert write_module(module) != raw
    assert read_written(raw).results[0].opcode == "add"


def test_a_copy_shares_nothing_that_changes():
    module = small()
    raw = write_module(module)
    copy = read_written(raw)
    copy.add_parameter((), float32, "late")
    copy.set_results(copy.parameters[:1])
    assert module.is_verified and module.serialize() == raw


def test_few_digests_are_noted(monkeypatch):
    monkeypatch.setattr(written, "MAX_NOTED", 2)
    raws = [write_module(small(f"m{n}")) for n in range(3)]
    assert len(written._noted) == 2
    monkeypatch.setattr(written, "MAX_BYTES", len(raws[0]) - 1)
    written._noted.clear()
    assert read_written(raws[0]).name == "m0" and not written._noted
