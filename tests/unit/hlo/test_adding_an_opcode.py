"""The developer's guide adds an opcode in one record; this does just that."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from nkipy.hlo import HLOModule, HLOVerificationError
from nkipy.hlo.errors import HLORecordError
from nkipy.hlo.opcodes import OPCODES
from nkipy.hlo.opcodes.attribute import Attribute, Kind, Wire
from nkipy.hlo.opcodes.compiled import AS_IT_IS
from nkipy.hlo.opcodes.cost import elementwise
from nkipy.hlo.opcodes.kinds import BOOL, COMPUTATION, INT, INTS
from nkipy.hlo.opcodes.record import Opcode, define
from tests.unit.hlo.samples import Sample, computation

GUIDE = Path(__file__).parents[3] / "docs/dev_guide/adding_opcodes.md"


@pytest.fixture
def added():
    """The table of opcodes with the guide's record in it."""
    assert "map" not in OPCODES
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    exec(compile(code, "guide.py", "exec"), {"__name__": "guide"})
    yield OPCODES["map"]
    del OPCODES["map"]


def _square_of_difference():
    return computation(
        "f",
        "f32[] f32[]",
        ("subtract", (0, 1), "f32[]"),
        ("multiply", (2, 2), "f32[]"),
    )


def _sample(**attributes) -> Sample:
    given = {"dimensions": (0, 1), "to_apply": _square_of_difference()}
    operands = ("f32[2,3]", "f32[2,3]")
    return Sample("map", operands, "f32[2,3]", {**given, **attributes})


def _refuse(module: HLOModule, message: str) -> None:
    with pytest.raises(HLOVerificationError, match=message):
        module.verify()


def test_without_the_record_it_is_unknown():
    _refuse(_sample().build(), "the opcode is unknown")


def test_it_is_verified(added):
    _sample().build().verify()
    _refuse(_sample(dimensions=(0,)).build(), "all of them")
    _refuse(_sample(dimensions=[0, 1]).build(), "not a tuple of ints")
    _refuse(_sample(more=1).build(), "unknown attribute 'more'")


def test_it_is_printed_with_its_attributes_and_callee(added):
    text = _sample().build().to_text()
    assert "map(%x0, %x1), dimensions={0,1}, to_apply=%f" in text


def test_it_is_written_and_read_back(added):
    module = _sample().build()
    module.verify()
    again = HLOModule.from_proto(module.serialize())
    (read,) = (i for i in again.instructions() if i.opcode == "map")
    assert read.attributes["dimensions"] == (0, 1)
    assert read.attributes["to_apply"].name == "f"
    assert again.content_hash() == module.content_hash()


def test_its_attributes_and_callees_enter_the_hash(added):
    whole = _sample().build()
    other = _sample(to_apply=computation("f", "f32[] f32[]", ("add", (0, 1), "f32[]")))
    assert other.build().content_hash() != whole.content_hash()


def test_it_costs_what_its_class_says(added):
    model = pytest.importorskip("nkipy_emulator.cost_model")
    events = model.estimate(_sample().build(), launch_ns=0).events
    assert any(e.opcode == "map" and e.engine == added.cost.engine for e in events)


def test_it_runs(added):
    engine = pytest.importorskip("nkipy_emulator.engine").XlaCpuEngine()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    y = np.ones_like(x)
    out = np.empty_like(x)
    engine.compile(_sample().build()).run([x, y], [out])
    np.testing.assert_array_equal(out, (x - y) ** 2)


# -- records that are not whole --------------------------------------------------------
WHOLE = {"operands": 1, "rule": lambda inst: (inst.shape, inst.dtype)}
WHOLE |= {"cost": elementwise(), "compiled": AS_IT_IS}


@pytest.mark.parametrize("part", WHOLE)
def test_a_record_without_a_part(part):
    rest = {name: value for name, value in WHOLE.items() if name != part}
    with pytest.raises(HLORecordError, match=f"opcode 'half' has no {part}"):
        define("half", **rest)
    assert "half" not in OPCODES


def _anything(value) -> bool:
    return True


UNWRITTEN = Kind("a thing", _anything, text=str)
UNREAD = Kind("a thing", _anything, encode=INT.encode, text=str)
UNPRINTED = Kind("a thing", _anything, encode=INT.encode, decode=INT.decode)
NO_FIELD = "a field 'index', which HloInstructionProto has not"


@pytest.mark.parametrize(
    ("attribute", "problem"),
    [
        (Attribute("is_stable", UNWRITTEN), "no wire form: its kind, a thing, has no "),
        (Attribute("is_stable", UNREAD), "has no decode"),
        (Attribute("is_stable", UNPRINTED), "no text form"),
        (Attribute("index", INT), NO_FIELD),
        (Attribute("index", INT, field="window.index"), "a field 'window.index'"),
        (Attribute("index", INT, wire=Wire(print, print, ("index",))), NO_FIELD),
    ],
)
def test_an_attribute_without_a_part(attribute, problem):
    message = f"attribute '{attribute.name}' of opcode 'half' has .*{problem}"
    with pytest.raises(HLORecordError, match=message):
        Opcode("half", **WHOLE, attributes=(attribute,))


def test_two_attributes_of_one_name_or_in_one_field():
    twice = (Attribute("dimensions", INTS), Attribute("dimensions", INTS))
    with pytest.raises(HLORecordError, match="two attributes called 'dimensions'"):
        Opcode("half", **WHOLE, attributes=twice)
    shared = (Attribute("is_stable", BOOL), Attribute("a", INT, field="is_stable"))
    with pytest.raises(HLORecordError, match="two attributes in field 'is_stable'"):
        Opcode("half", **WHOLE, attributes=shared)


def test_callees_share_a_field():
    both = (Attribute("body", COMPUTATION), Attribute("condition", COMPUTATION))
    assert Opcode("half", **WHOLE, attributes=both).callees == ("body", "condition")


def test_a_second_record_of_an_opcode():
    with pytest.raises(HLORecordError, match="'add' has two records"):
        define("add", **WHOLE)
