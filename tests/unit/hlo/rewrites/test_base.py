"""Copying a module with some instructions replaced."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation
from nkipy.hlo.rewrites.base import combination, is_filled, rewrite

X = np.zeros(4, np.float32)


def negate_adds(inst, operands, place):
    if inst.opcode != "add":
        return None
    return place.builder.negate(place.builder.add(*operands))


def test_only_what_changes_is_copied(module_of):
    def body(b, x):
        return b.negate(x), b.multiply(b.add(x, x), x)

    module = module_of(body, X)
    before = module.serialize()
    copy = rewrite(module, negate_adds)
    copy.verify()
    assert module.serialize() == before
    assert [i.opcode for i in copy.operations] == [
        "negate",
        "add",
        "negate",
        "multiply",
    ]
    assert copy.results[0] is module.results[0]
    assert copy.results[1] is not module.results[1]
    assert copy.parameters == module.parameters
    assert copy.output_names == module.output_names


def test_a_rule_that_does_nothing(module_of):
    module = module_of(lambda b, x: b.reduce(x, "add", 0, (0,)), X)
    copy = rewrite(module, lambda *_: None)
    assert copy.serialize() == module.serialize()


def test_computations_within_computations(engine, module_of):
    def body(b, x):
        inner = HLOComputation("inner")
        p = inner.add_parameter((4,), x.dtype)
        ib = HLOBuilder(inner)
        inner.root = ib.add(p, ib.full((4,), 1, x.dtype))
        outer = HLOComputation("outer")
        q = outer.add_parameter((4,), x.dtype)
        outer.root = HLOBuilder(outer).emit(
            "call", (q,), (4,), x.dtype, {"to_apply": inner}
        )
        return b.emit("call", (x,), (4,), x.dtype, {"to_apply": outer})

    copy = rewrite(module_of(body, X), negate_adds)
    copy.verify()
    out = np.empty(4, np.float32)
    engine.compile(copy).run([np.arange(4, dtype=np.float32)], [out])
    np.testing.assert_array_equal(out, [-1, -2, -3, -4])


def test_location_goes_to_what_a_rule_builds(module_of):
    from nkipy.hlo.ir import SourceLocation

    def body(b, x):
        b.current_source_location = SourceLocation("kernel.py", 3)
        return b.add(x, x)

    copy = rewrite(module_of(body, X), negate_adds)
    assert {i.source_location for i in copy.operations} == {
        SourceLocation("kernel.py", 3)
    }


def test_what_is_filled_with_one_element():
    b = HLOBuilder(HLOComputation("c"))
    two = b.broadcast_to(b.scalar(2, X.dtype), (3, 4))
    assert is_filled(two, 2) and is_filled(b.reshape(two, (12,)), 2)
    assert not is_filled(two, 3)
    assert not is_filled(b.constant(np.array([2, 2, 3, 2]), X.dtype), 2)
    assert not is_filled(b.broadcast_to(b.iota((1,), 0, X.dtype), (4,)), 0)


@pytest.mark.parametrize(
    ("root", "found"),
    [
        (lambda b, x, y: b.maximum(x, y), "maximum"),
        (lambda b, x, y: b.subtract(y, x), None),
        (lambda b, x, y: b.add(b.add(x, y), y), None),
    ],
)
def test_what_a_reduction_combines_elements_by(root, found):
    applied = HLOComputation("applied")
    x, y = (applied.add_parameter((), X.dtype) for _ in range(2))
    applied.root = root(HLOBuilder(applied), x, y)
    b = HLOBuilder(HLOComputation("c"))
    operands = (b.constant(X), b.scalar(0, X.dtype))
    attributes = {"dimensions": (0,), "to_apply": applied}
    assert combination(b.emit("reduce", operands, (), X.dtype, attributes)) == found
