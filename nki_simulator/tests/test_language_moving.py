"""What ``nki.language`` loads, stores, rearranges and multiplies, by NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.language as nl
from nki_simulator.tests.language_functions import (
    BF16,
    close,
    f64,
    numbers,
    refused,
    run,
)
from nkipy_nki import NkiValidationError


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_load_and_store(dtype: Any) -> None:
    x = numbers(dtype, (4, 3, 2))
    np.testing.assert_array_equal(run(lambda t: t, x), x)
    wide = run(lambda t: nl.copy(t, dtype=nl.float32), x)
    np.testing.assert_array_equal(wide, x.astype(np.float32))

    def rounded(x: Any) -> Any:
        result = nl.ndarray(x.shape, nl.float32, nl.shared_hbm)
        nl.store(result, nl.load(x, dtype=nl.bfloat16))
        return result

    np.testing.assert_array_equal(
        nki.simulate(rounded)(x), x.astype(np.float32).astype(BF16).astype(np.float32)
    )


def test_what_load_and_store_refuse() -> None:
    x = numbers()
    refused(lambda t: nl.load(t), x, match="must be in HBM")
    refused(lambda t: nl.store(t, t), x, match="must be in HBM")
    with pytest.raises(NkiValidationError, match="more than 128 partitions"):
        nki.simulate(nl.load)(numbers(shape=(200, 2)))
    with pytest.raises(NkiValidationError, match="two dimensions"):
        nki.simulate(nl.load)(numbers(shape=(8,)))

    def kernel(x: Any) -> Any:
        nl.store(x, nl.zeros((6, 4), nl.float32))

    with pytest.raises(NkiValidationError, match="dst has the shape"):
        nki.simulate(kernel)(x)

    def of_psum(x: Any) -> Any:
        nl.store(x, nl.zeros((4, 6), nl.float32, nl.psum))

    with pytest.raises(NkiValidationError, match="psum"):
        nki.simulate(of_psum)(x)


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_load_transposed(dtype: Any) -> None:
    x = numbers(dtype, (7, 5))

    def kernel(x: Any) -> Any:
        tile = nl.load_transpose2d(x, dtype=nl.float32)
        result = nl.ndarray(tile.shape, tile.dtype, nl.shared_hbm)
        nl.store(result, tile)
        return result

    np.testing.assert_array_equal(nki.simulate(kernel)(x), x.T.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_broadcasting(dtype: Any) -> None:
    for shape in [(4, 1), (1, 6), (1, 1), (4, 6)]:
        x = numbers(dtype, shape)
        found = run(lambda t: nl.broadcast_to(t, (4, 6)), x)
        np.testing.assert_array_equal(found, np.broadcast_to(x, (4, 6)))
    x = numbers(dtype, (1, 3, 1))
    found = run(lambda t: nl.broadcast_to(t, (5, 3, 2), dtype=nl.float32), x)
    np.testing.assert_array_equal(
        found, np.broadcast_to(x, (5, 3, 2)).astype(np.float32)
    )
    refused(lambda t: nl.broadcast_to(t, (4, 7)), numbers(), match="broadcast_to")
    refused(lambda t: nl.broadcast_to(t, (2, 4, 6)), numbers(), match="broadcast_to")


def test_a_row_of_the_psum_is_broadcast() -> None:
    def broadcast(x: Any) -> Any:
        return nl.broadcast_to(nl.full((1, 6), 3.0, nl.float32, nl.psum), (4, 6))

    np.testing.assert_array_equal(run(broadcast, numbers()), np.full((4, 6), 3.0))


def test_expand_dims() -> None:
    x = numbers()
    found = run(lambda t: nl.expand_dims(t, 1), x)
    np.testing.assert_array_equal(found, np.expand_dims(x, 1))
    refused(lambda t: nl.expand_dims(t, 0), x, match="dim 0")


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_where(dtype: Any) -> None:
    condition = np.array([[0, 1, -2], [0.5, 0, 0]], np.float32)
    x, y = numbers(dtype, (2, 3)), numbers(dtype, (2, 3))[::-1].copy()
    for first, second in [(x, y), (x, 3), (2, y)]:
        tiles = [a for a in (first, second) if isinstance(a, np.ndarray)]

        def chosen(c: Any, *given: Any, f: Any = first, s: Any = second) -> Any:
            left = list(given)
            pair = [left.pop(0) if isinstance(a, np.ndarray) else a for a in (f, s)]
            return nl.where(c, *pair)

        found = run(chosen, condition, *tiles)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(
            found, np.where(condition != 0, first, second).astype(dtype)
        )
    both = run(lambda c: nl.where(c, 1.0, 2.0), condition)
    np.testing.assert_array_equal(both, np.where(condition != 0, 1.0, 2.0))
    refused(nl.where, condition, numbers(), numbers(), match="condition")


def test_gather() -> None:
    data = np.arange(16, dtype=np.float32).reshape(2, 2, 4)
    indices = np.array([[[0, 1, 7]], [[3, 3, 0]]], np.uint32)
    found = run(nl.gather_flattened, data, indices)
    flat = np.take_along_axis(data.reshape(2, -1), indices.reshape(2, -1), axis=1)
    np.testing.assert_array_equal(found, flat.reshape(indices.shape))
    refused(nl.gather_flattened, data, indices.astype(np.int32), match="uint32")


@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_transpose(dtype: Any) -> None:
    x = numbers(dtype, (5, 7))
    found = run(nl.transpose, x)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, x.T)
    wide = run(lambda t: nl.transpose(t, dtype=nl.float32), x)
    np.testing.assert_array_equal(wide, x.T.astype(np.float32))


@pytest.mark.parametrize("transposed", [False, True])
def test_matmul(transposed: bool) -> None:
    x, y = numbers(shape=(5, 7)), numbers(shape=(7, 9))
    given = x.T.copy() if transposed else x
    found = run(lambda a, b: nl.matmul(a, b, transpose_x=transposed), given, y)
    np.testing.assert_allclose(found, f64(x) @ f64(y), 1e-5, 1e-5)


def test_matmul_of_other_types_and_shapes() -> None:
    x, y = numbers(BF16, (7, 5)), numbers(BF16, (7, 9))
    found = run(lambda a, b: nl.matmul(a, b, True), x, y, target="trn3")
    assert found.dtype == BF16
    close(found / BF16.type(16), f64(x).T @ f64(y) / 16)
    refused(lambda a, b: nl.matmul(a, b, True), x, y, match="dst")
    refused(lambda a, b: nl.matmul(a, b), x, y, match="x @ y of the shapes")
