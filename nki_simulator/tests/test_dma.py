"""Transfers in kernels: what indices gather, scatter and leave out."""

from __future__ import annotations

import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.kernels import loaded, run
from nkipy_nki import NkiValidationError

ROWS = np.arange(10 * 6, dtype=np.float32).reshape(10, 6)
SKIP = nisa.oob_mode.skip


def indices(values: list[int], dtype: str = "int32") -> np.ndarray:
    return np.array(values, dtype).reshape(-1, 1)


def by_rows(tensor: Any, index: Any) -> Any:
    """The rows of a matrix in HBM that a tile of indices names."""
    columns = tensor.shape[1]
    pattern = [[columns, index.shape[0] * index.shape[1]], [1, columns]]
    return tensor.ap(pattern, vector_offset=index)


def gathered(x: Any, index: Any, mode: Any = nisa.oob_mode.error) -> Any:
    found = nl.ndarray((index.shape[0], x.shape[1]), x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(found.shape, x.dtype)
    nisa.memset(tile, -1.0)
    nisa.dma_copy(tile, by_rows(x, loaded(index)), oob_mode=mode)
    nisa.dma_copy(found, tile)
    return found


def skipping(x: Any, index: Any) -> Any:
    return gathered(x, index, SKIP)


def scattered(x: Any, index: Any, values: Any, mode: Any = nisa.oob_mode.error) -> Any:
    nisa.dma_copy(by_rows(x, loaded(index)), loaded(values), oob_mode=mode)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(result, x)
    return result


def test_rows_are_gathered_by_an_index() -> None:
    wanted = [7, 0, 7, 3]
    np.testing.assert_array_equal(run(gathered, ROWS, indices(wanted)), ROWS[wanted])


def test_an_index_out_of_bounds_is_told_with_value_position_and_extent() -> None:
    with pytest.raises(NkiValidationError, match="out-of-bounds") as raised:
        nki.simulate(gathered)(ROWS, indices([7, 11]))
    text = str(raised.value)
    assert "[1, 0] of [2, 6]" in text
    assert "index 11" in text and "there are 10" in text
    assert __file__ in text
    with pytest.raises(NkiValidationError, match="out-of-bounds"):
        nki.simulate(gathered)(ROWS, indices([-1]))


def test_rows_out_of_bounds_are_left_out_if_asked_for() -> None:
    found = run(skipping, ROWS, indices([7, 11, -1, 2]))
    np.testing.assert_array_equal(found[[0, 3]], ROWS[[7, 2]])
    np.testing.assert_array_equal(found[[1, 2]], -np.ones((2, 6)))


def test_rows_are_scattered_by_an_index() -> None:
    values = -ROWS[:3]
    expected = ROWS.copy()
    expected[[9, 2, 4]] = values
    found = run(scattered, ROWS.copy(), indices([9, 2, 4]), values)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(NkiValidationError, match="out-of-bounds"):
        nki.simulate(scattered)(ROWS.copy(), indices([9, 10, 4]), values)


def test_rows_scattered_out_of_bounds_are_left_out_if_asked_for() -> None:
    def kernel(x: Any, index: Any, values: Any) -> Any:
        return scattered(x, index, values, SKIP)

    values = -ROWS[:3]
    expected = ROWS.copy()
    expected[[9, 4]] = values[[0, 2]]
    found = run(kernel, ROWS.copy(), indices([9, 10, 4]), values)
    np.testing.assert_array_equal(found, expected)


def test_skipping_keeps_the_bits_of_integers() -> None:
    whole = np.arange(20, dtype=np.int32).reshape(5, 4) + (1 << 30) + 1

    def kernel(x: Any, index: Any) -> Any:
        found = nl.ndarray((2, 4), x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray((2, 4), x.dtype)
        nisa.memset(tile, (1 << 30) + 7)
        nisa.dma_copy(tile, by_rows(x, loaded(index)), oob_mode=SKIP)
        nisa.dma_copy(found, tile)
        return found

    found = run(kernel, whole, indices([3, 5]))
    np.testing.assert_array_equal(found, [whole[3], [(1 << 30) + 7] * 4])


def test_what_is_left_out_is_not_written() -> None:
    def kernel(x: Any, index: Any) -> Any:
        found = nl.ndarray((2, 6), x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(found, by_rows(x, loaded(index)), oob_mode=SKIP)
        return found

    with pytest.raises(NkiValidationError, match="6 of 12 elements of the result"):
        nki.simulate(kernel)(ROWS, indices([3, 10]))


def test_a_register_moves_a_window() -> None:
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)

        def body(i: Any) -> None:
            row = nl.ndarray((1, x.shape[1]), x.dtype)
            nisa.dma_copy(row, x.ap([[6, 1], [1, 6]], scalar_offset=i))
            nisa.dma_copy(result.ap([[6, 1], [1, 6]], scalar_offset=i), row)

        nl.fori_loop(0, nisa.register_alloc(10), body)
        return result

    np.testing.assert_array_equal(run(kernel, ROWS), ROWS)


def test_a_tile_may_be_anywhere_in_the_sbuf_and_overlap_itself() -> None:
    def kernel(x: Any) -> Any:
        tile = loaded(x)
        nisa.dma_copy(tile[3:9, 1:], tile[1:7, :5])
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(result, tile)
        return result

    expected = ROWS.copy()
    expected[3:9, 1:] = ROWS[1:7, :5]
    np.testing.assert_array_equal(run(kernel, ROWS), expected)


# -- transposes ------------------------------------------------------------------------
def test_gathered_rows_are_transposed() -> None:
    data = np.arange(40 * 24).reshape(40, 24).astype(ml_dtypes.bfloat16)
    wanted = [(i * 7) % 40 for i in range(32)]

    def kernel(x: Any, index: Any, mode: Any = nisa.dge_mode.unknown) -> Any:
        tile = nl.ndarray((24, 32), x.dtype)
        nisa.dma_transpose(tile, by_rows(x, loaded(index)), dge_mode=mode)
        result = nl.ndarray((24, 32), x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(result, tile)
        return result

    found = run(kernel, data, indices(wanted, "uint32"))
    assert found.tobytes() == data[wanted].T.tobytes()
    with pytest.raises(NkiValidationError, match="must be uint32"):
        nki.simulate(kernel)(data, indices(wanted))
    with pytest.raises(NkiValidationError, match="gen3 and later"):
        nki.simulate(kernel, target="trn1")(data, indices(wanted, "uint32"))
    with pytest.raises(NkiValidationError, match="2 bytes"):
        nki.simulate(kernel)(data.astype(np.float32), indices(wanted, "uint32"))
    with pytest.raises(NkiValidationError, match="unknown or swdge"):
        nki.simulate(kernel)(data, indices(wanted, "uint32"), nisa.dge_mode.hwdge)


# -- sums ------------------------------------------------------------------------------
def added(x: Any, index: Any, values: Any, is_unique: bool = True) -> Any:
    rows = by_rows(x, loaded(index))
    nisa.dma_compute(rows, [rows, loaded(values)], "add", unique_indices=is_unique)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(result, x)
    return result


def adding_to_few(x: Any, index: Any, values: Any) -> Any:
    return added(x, index, values, False)


def test_values_are_added_to_rows_by_an_index() -> None:
    expected = ROWS.copy()
    expected[[9, 2]] += 0.5
    values = np.full((2, 6), 0.5, np.float32)
    found = run(added, ROWS.copy(), indices([9, 2]), values)
    np.testing.assert_array_equal(found, expected)


def test_rows_that_are_named_twice_must_be_said_to_be() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    wanted = [3, 5, 3, 3]
    with pytest.raises(NkiValidationError, match="12 elements of dst more than once"):
        nki.simulate(added)(ROWS.copy(), indices(wanted), values)
    for dtype in (np.float32, ml_dtypes.bfloat16):
        expected = ROWS.astype(dtype)
        for row, value in zip(wanted, values.astype(dtype)):
            expected[row] += value
        found = run(
            adding_to_few, ROWS.astype(dtype), indices(wanted), values.astype(dtype)
        )
        assert found.tobytes() == expected.tobytes()


def test_gathered_rows_are_added_to_a_tile() -> None:
    def kernel(x: Any, index: Any, values: Any) -> Any:
        tile = loaded(values)
        nisa.dma_compute(tile, [tile, by_rows(x, loaded(index))], "add")
        result = nl.ndarray(values.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(result, tile)
        return result

    values = np.full((2, 6), 0.5, np.float32)
    found = run(kernel, ROWS, indices([4, 1]), values)
    np.testing.assert_array_equal(found, ROWS[[4, 1]] + 0.5)


def test_only_two_tensors_are_added_with_an_index() -> None:
    def kernel(x: Any, index: Any) -> Any:
        rows = by_rows(x, loaded(index))
        nisa.dma_compute(rows, [rows, rows, rows], "add")

    with pytest.raises(NkiValidationError, match="must be 2"):
        nki.simulate(kernel)(ROWS.copy(), indices([1]))


def test_sound_transfers_have_no_finding() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not nki.simulate(gathered).run(ROWS, indices([1])).findings


@pytest.mark.parametrize("region", [nl.sbuf, nl.private_hbm])
@pytest.mark.parametrize("to, source", [(0, 3), (3, 0)])
def test_a_copy_onto_what_it_reads_reads_all_first(
    region: Any, to: int, source: int
) -> None:
    @nki.jit
    def moved(x: Any) -> Any:
        tensor = nl.ndarray(x.shape, x.dtype, buffer=region)
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(tensor, x)
        nisa.dma_copy(tensor[:, to : to + 9], tensor[:, source : source + 9])
        nisa.dma_copy(result, tensor)
        return result

    x = np.arange(48, dtype=np.float32).reshape(4, 12)
    expected = x.copy()
    expected[:, to : to + 9] = x[:, source : source + 9].copy()
    np.testing.assert_array_equal(moved(x), expected)
