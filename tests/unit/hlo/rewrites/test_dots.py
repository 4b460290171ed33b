"""Products of any dimensions as matrix multiplications."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.rewrites.dots import flatten_dots
from nkipy_emulator.engine import XlaCpuEngine

# Shapes, contracted and batch dimensions of both, and the same as an einsum.
PLAIN = [
    ((3, 4), (4, 5), ((1,), (0,)), ((), ()), "ab,bc->ac"),
    ((4,), (4,), ((0,), (0,)), ((), ()), "a,a->"),
    ((2, 3, 4), (2, 4), ((2,), (1,)), ((0,), (0,)), "abc,ac->ab"),
    ((2, 3, 4), (2, 5, 4), ((2,), (2,)), ((0,), (0,)), "abc,adc->abd"),
]
OTHERS = [
    ((1, 3, 4), (4, 5), ((2,), (0,)), ((), ()), "abc,cd->abd"),
    ((3, 4), (2, 4, 5), ((1,), (1,)), ((), ()), "ab,cbd->acd"),
    ((3, 4), (5, 6), ((), ()), ((), ()), "ab,cd->abcd"),
    ((3, 4, 5), (5, 4), ((1, 2), (1, 0)), ((), ()), "abc,cb->a"),
    ((3, 4), (3, 4), ((0, 1), (0, 1)), ((), ()), "ab,ab->"),
    ((3, 2, 4), (4, 2, 5), ((2,), (0,)), ((1,), (1,)), "abc,cbd->bad"),
    ((2, 3, 4, 5), (3, 5, 2), ((3,), (1,)), ((1, 0), (0, 2)), "abcd,bda->bac"),
    ((2, 0, 3, 4), (4, 5), ((3,), (0,)), ((), ()), "abcd,de->abce"),
]


def product_of(case):
    contract, batch = case[2:4]
    return lambda b, x, y: b.dot(x, y, contract, batch)


def numbers(case, rng):
    # Small integers, whose sums are exact in any order.
    return [rng.integers(-8, 8, shape).astype(np.float32) for shape in case[:2]]


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case[-1])
def test_matrix_multiplications_are_left_alone(module_of, rng, case):
    module = module_of(product_of(case), *numbers(case, rng))
    assert flatten_dots(module) is module


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case[-1])
def test_others_become_matrix_multiplications(
    engine: XlaCpuEngine, module_of, results_of, rng, case
):
    inputs = numbers(case, rng)
    module = module_of(product_of(case), *inputs)
    flat = flatten_dots(module)
    flat.verify()
    assert flatten_dots(flat) is flat
    assert flat.results[0].shape == module.results[0].shape
    (out,) = outputs = results_of(flat)
    engine.compile(flat).run(inputs, outputs)
    np.testing.assert_array_equal(out, np.einsum(case[-1], *inputs))


def test_no_operand_is_moved_without_need(module_of, rng):
    case = OTHERS[0]
    flat = flatten_dots(module_of(product_of(case), *numbers(case, rng)))
    assert [i.opcode for i in flat.operations] == ["reshape", "dot", "reshape"]


def test_dtype_of_a_wider_result(module_of):
    like = np.zeros((2, 3, 4), np.int8), np.zeros((4, 5), np.int8)
    wide = np.dtype(np.int32)
    module = module_of(lambda b, x, y: b.dot(x, y, ((2,), (0,)), dtype=wide), *like)
    flat = flatten_dots(module)
    assert flat.results[0].dtype == wide
    flat.verify()
