"""What the SDK's documentation shows of order, loops and indices on the device.

Each is a kernel against NumPy. The kernels use what the pages' examples
use; names and sentences are our own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.documented_kernels import (
    normal,
    positive,
    result_like,
)
from nki_simulator.tests.kernels import loaded


# -- order -----------------------------------------------------------------------------
def exponential_of(i: int, given: list[Any], made: list[Any]) -> None:
    tile = nl.ndarray(given[i].shape, given[i].dtype, buffer=nl.sbuf)
    nisa.activation(dst=tile, data=given[i], op=nl.exp, name=f"exp{i}")
    made.append(tile)


@nki.jit
def three_exponentials(a: Any, b: Any, c: Any, in_order: bool) -> Any:
    given = [loaded(x) for x in (a, b, c)]
    made: list[Any] = []
    if in_order:
        with nl.no_reorder():
            for i in range(len(given)):
                exponential_of(i, given, made)
    else:
        for i in range(len(given)):
            exponential_of(i, given, made)
    results = []
    for tile in made:
        results.append(result_like(tile))
        nisa.dma_copy(dst=results[-1], src=tile)
    return tuple(results)


def comes_after(ran: Any) -> dict[str, list[str]]:
    """By an instruction's name, those of what it must come after."""
    return {
        step.name: [edge.producer.name for edge in step.after]
        for step in ran.programs[0].instructions()
        if step.name
    }


@pytest.mark.parametrize("in_order", [False, True])
def test_a_chain_of_edges_and_a_block_without_reordering(in_order: bool) -> None:
    arrays = [normal(32, 64) for _ in range(3)]
    kernel = three_exponentials
    if not in_order:
        edges = [(f"exp{i}", f"exp{i - 1}") for i in range(1, 3)]
        kernel = kernel.with_schedule(edges)
    ran = nki.simulate(kernel).run(*arrays, in_order)
    for got, x in zip(ran.values, arrays):
        np.testing.assert_allclose(got, np.exp(x), 1e-6)
    found = comes_after(ran)
    assert (found["exp1"], found["exp2"]) == (["exp0"], ["exp1"])


@nki.jit()
def inverse_plus_more(x: Any) -> Any:
    tile = loaded(x)
    a, b, c = (nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf) for _ in range(3))
    nisa.reciprocal(dst=a, data=tile, name="inverse")
    nisa.tensor_scalar(dst=b, data=tile, op0=nl.add, operand0=1, name="more")
    nisa.tensor_tensor(dst=c, data1=a, data2=b, op=nl.add)
    result = result_like(x)
    nisa.dma_copy(dst=result, src=c)
    return result


@pytest.mark.parametrize("edges", [("more", "inverse"), ("more", ["inverse"])])
def test_an_instruction_waits_for_a_named_one(edges: Any) -> None:
    x = positive(32, 64)
    ran = nki.simulate(inverse_plus_more.with_schedule([edges])).run(x)
    np.testing.assert_array_equal(ran.values, 1 / x + (x + 1))
    assert comes_after(ran) == {"inverse": [], "more": ["inverse"]}


# -- indices that the run knows --------------------------------------------------------
@nki.jit
def from_a_row_on(x: Any) -> Any:
    row = nl.ndarray((1, 1), nl.int32, buffer=nl.sbuf)
    nisa.memset(row, value=3 * 128)
    result = result_like(x, shape=(128, 256))
    source = x.ap(
        pattern=[[512, 128], [1, 256]], offset=0, scalar_offset=row, indirect_dim=0
    )
    nisa.dma_copy(src=source, dst=result[...])
    return result


def test_a_row_by_a_tile_of_one_element() -> None:
    x = normal(512, 512)
    np.testing.assert_array_equal(nki.simulate(from_a_row_on)(x), x[384:512, :256])


@nki.jit
def every_second_row(x: Any) -> Any:
    rows = nl.ndarray((64, 1), nl.int32, nl.sbuf)
    nisa.iota(rows, [[1, 1]], 0, 2)
    tile = nl.ndarray((64, 512), nl.float32, buffer=nl.sbuf)
    source = x.ap([[512, 64], [1, 512]], 0, vector_offset=rows, indirect_dim=0)
    nisa.dma_copy(src=source, dst=tile, name="gather")
    result = result_like(x, shape=(64, 512))
    nisa.dma_copy(result, tile, name="store")
    return result


def test_rows_by_a_tile_of_places() -> None:
    x = normal(128, 512)
    np.testing.assert_array_equal(nki.simulate(every_second_row)(x), x[::2])


# -- loops on the device ---------------------------------------------------------------
@nki.jit
def squared_in_a_loop(x: Any) -> Any:
    result = result_like(x)

    def body(_: Any) -> None:
        tile = loaded(x[0:128, 0:512])
        made = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=made, data1=tile, data2=tile, op=nl.multiply)
        nisa.dma_copy(src=made, dst=result[0:128, 0:512])

    nl.fori_loop(0, 1, body)
    return result


def test_a_loop_of_a_known_count_is_kept() -> None:
    x = normal(128, 512)
    ran = nki.simulate(squared_in_a_loop).run(x)
    np.testing.assert_array_equal(ran.values, x * x)
    assert len(ran.programs[0].body) == 1


@nki.jit
def two_more_between(x: Any) -> Any:
    result = result_like(x)
    first, end = nisa.register_alloc(0), nisa.register_alloc(512)

    def body(row: Any) -> None:
        pattern = [[512, 128], [1, 512]]
        tile = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(src=x.ap(pattern, scalar_offset=row), dst=tile)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=2.0)
        nisa.dma_copy(src=tile, dst=result.ap(pattern, scalar_offset=row))

    nl.fori_loop(first, end, body, 128)
    return result


def test_bounds_are_registers_and_the_counter_is_an_index() -> None:
    x = normal(512, 512)
    np.testing.assert_array_equal(nki.simulate(two_more_between)(x), x + np.float32(2))


@nki.jit
def repeated(count: Any) -> Any:
    """Ones in the first `count` places of eight, and how many passes there were."""
    result = nl.ndarray((1, 8), nl.float32, buffer=nl.shared_hbm)
    total = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
    zeros = nl.zeros((1, 8), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=result, src=zeros)
    passes = nl.zeros((1, 1), dtype=nl.float32, buffer=nl.sbuf)
    one = nl.full((1, 1), 1.0, dtype=nl.float32, buffer=nl.sbuf)
    upper = nisa.register_alloc()
    nisa.register_load(upper, loaded(count))

    def body(i: Any) -> None:
        nisa.dma_copy(dst=result.ap([[8, 1], [1, 1]], 0, i, indirect_dim=1), src=one)
        nisa.tensor_tensor(passes, passes, one, op=nl.add)

    nl.fori_loop(0, upper, body)
    nisa.dma_copy(dst=total, src=passes)
    return result, total


@pytest.mark.parametrize("count", [0, 3, 8])
def test_a_tensor_says_how_often(count: int) -> None:
    places, total = nki.simulate(repeated)(np.array([[count]], np.int32))
    np.testing.assert_array_equal(places, [[1] * count + [0] * (8 - count)])
    assert total == count


@nki.jit
def counted_down(x: Any, count: Any) -> Any:
    """x as often as count says, by a condition that is stored and loaded again."""
    given, total = loaded(x), nl.zeros((1, 1), dtype=nl.float32, buffer=nl.sbuf)
    left = loaded(count)
    first = nisa.register_alloc()
    nisa.register_load(first, left)

    def body(going: Any) -> Any:
        nisa.tensor_tensor(total, total, given, op=nl.add)
        nisa.register_store(left, going)
        nisa.tensor_scalar(left, left, nl.add, -1)
        nisa.register_load(going, left)
        return going

    nl.while_loop(first, body)
    result = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
    nisa.dma_copy(result, total)
    return result


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_condition_is_counted_down(count: int) -> None:
    x = np.array([[1.5]], np.float32)
    got = nki.simulate(counted_down)(x, np.array([[count]], np.int32))
    assert got == 1.5 * count


def test_a_register_is_a_number_on_the_way() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        condition = nl.ndarray((1, 1), buffer=nl.sbuf, dtype=nl.int32)
        register = nisa.register_alloc(5)
        nisa.register_store(condition, register)
        nisa.tensor_scalar(condition, condition, nl.add, -1)
        nisa.register_load(register, condition)
        nisa.register_store(condition, register)
        result = nl.ndarray((1, 1), nl.int32, buffer=nl.shared_hbm)
        nisa.dma_copy(result, condition)
        return result

    assert nki.simulate(kernel)(np.zeros((1, 1), np.float32)) == 4
