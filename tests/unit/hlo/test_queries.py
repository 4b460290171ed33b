"""Questions that clients ask of modules."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo import queries
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import bfloat16, float32
from nkipy.hlo.ir import HLOComputation, HLOModule
from nkipy.hlo.opcodes import OPCODES
from tests.support.engine import make_module

X = np.zeros((4, 2), np.float32)
EVEN = ((0, 2), (1, 3))
RING = ((0, 1), (1, 2), (2, 0))


def gather(b, x, groups):
    size = len(groups[0]) if groups else 4
    attributes = {"replica_groups": groups, "dimensions": (0,)}
    return b.emit("all-gather", (x,), (4 * size, 2), float32, attributes)


def permute(b, x, pairs=RING):
    attributes = {"source_target_pairs": pairs}
    return b.emit("collective-permute", (x,), x.shape, float32, attributes)


def module_with(*values) -> HLOModule:
    module = make_module(lambda b, x: [value(b, x) for value in values], X)
    module.verify()
    return module


def test_collectives_are_found_in_callees_too() -> None:
    callee = HLOComputation("callee")
    x = callee.add_parameter(X.shape, float32)
    callee.root = permute(HLOBuilder(callee), x)

    def call(b, x):
        return b.emit("call", (x,), x.shape, float32, {"to_apply": callee})

    module = module_with(call, lambda b, x: gather(b, b.negate(x), EVEN))
    found = [inst.opcode for inst in queries.collectives(module)]
    assert found == ["collective-permute", "all-gather"]
    assert queries.world_size(module) == 4


def test_the_attributes_that_tell_collectives_are_those_of_collectives_alone() -> None:
    names = {"replica_groups", "source_target_pairs"}
    for opcode in OPCODES.values():
        is_collective = opcode.cost.kind.name == "COLLECTIVE"
        assert bool(names & set(opcode.attributes)) == is_collective, opcode.name


def test_ranks() -> None:
    module = module_with(
        lambda b, x: gather(b, x, EVEN),
        permute,
        lambda b, x: permute(b, x, ()),
        lambda b, x: gather(b, x, ()),
    )
    groups, pairs, nobody, everybody = queries.collectives(module)
    assert queries.rank_groups(groups) == EVEN
    assert queries.rank_groups(pairs) == RING
    assert queries.ranks_of(groups) == [0, 1, 2, 3]
    assert queries.ranks_of(pairs) == [0, 1, 2]
    assert queries.ranks_of(nobody) == queries.ranks_of(everybody) == []
    negated = module_with(lambda b, x: b.negate(x)).results[0]
    assert queries.rank_groups(negated) == () and not queries.is_collective(negated)


@pytest.mark.parametrize(
    ("value", "sizes"),
    [
        # Each of the sizes from 1 to 5 that will do.
        (lambda b, x: gather(b, x, EVEN), {4}),
        (permute, {3, 4, 5}),
        (lambda b, x: gather(b, x, ()), {1, 2, 3, 4, 5}),
        (lambda b, x: gather(b, x, ((1, 2),)), set()),
    ],
)
def test_which_numbers_of_ranks_will_do(value, sizes) -> None:
    (inst,) = queries.collectives(make_module(value, X))
    assert {n for n in range(1, 6) if queries.spans_ranks(inst, n)} == sizes


def test_a_module_without_collectives_is_for_one_rank() -> None:
    assert queries.world_size(module_with(lambda b, x: b.negate(x))) == 1


def test_bytes_of_constants() -> None:
    def body(b, x):
        wide = b.constant(np.arange(15, dtype=np.float32).reshape(3, 5))
        narrow = b.constant(np.arange(7).astype(bfloat16))
        return wide, narrow, b.reduce(x, "add", 0, (0,))

    module = make_module(body, X)
    scalar = 4  # what the reduction begins with
    assert queries.constant_bytes(module) == 3 * 5 * 4 + 7 * 2 + scalar
