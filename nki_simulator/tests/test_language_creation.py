"""New tensors of ``nki.language``: what is in them, where, and what is refused."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.language_functions import (
    BF16,
    numbers,
    refused,
    run,
)


@pytest.mark.parametrize("buffer", [nl.sbuf, nl.psum, nl.shared_hbm, nl.private_hbm])
@pytest.mark.parametrize("dtype", [nl.float32, nl.bfloat16, nl.int32])
def test_filled(buffer: Any, dtype: Any) -> None:
    def kernel() -> Any:
        made = [
            nl.full((3, 5), 7, dtype, buffer),
            nl.zeros((3, 5), dtype, buffer),
            nl.ones((3, 5), dtype, buffer=buffer),
        ]
        assert {t.buffer for t in made} == {buffer}
        results = [nl.ndarray((3, 5), dtype, nl.shared_hbm) for _ in made]
        for result, tensor in zip(results, made):
            if nl.is_on_chip(tensor):
                nl.store(result, nl.copy(tensor))
            else:
                nisa.dma_copy(result, tensor)
        return tuple(results)

    for result, value in zip(nki.simulate(kernel)(), (7, 0, 1)):
        assert result.dtype.name == dtype
        np.testing.assert_array_equal(result, np.full((3, 5), value, result.dtype))


def test_hbm_beyond_a_tile_is_filled() -> None:
    def kernel() -> Any:
        return nl.full((300, 2, 3), -np.inf, nl.float32, nl.shared_hbm)

    np.testing.assert_array_equal(
        nki.simulate(kernel)(), np.full((300, 2, 3), -np.inf, np.float32)
    )


def test_like_another() -> None:
    def kernel(x: Any) -> Any:
        tile = nl.zeros_like(x)
        assert (tile.shape, tile.dtype, tile.buffer) == ((4, 6), "bfloat16", nl.sbuf)
        other = nl.empty_like(x, dtype=nl.int8, buffer=nl.shared_hbm, name="o")
        assert (other.shape, other.dtype, other.name) == ((4, 6), "int8", "o")
        nl.store(other, tile)
        return other

    assert not nki.simulate(kernel)(numbers(BF16)).any()
    refused(lambda x: nl.zeros_like(3), numbers(), match="must be a tensor")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_identity(dtype: str) -> None:
    found = run(lambda x: nl.shared_identity_matrix(5, dtype), numbers())
    np.testing.assert_array_equal(found, np.eye(5, dtype=found.dtype))
    assert found.dtype.name == dtype


def test_identity_into_a_tile() -> None:
    def into(x: Any) -> Any:
        dst = nl.ndarray((3, 3), nl.float32)
        nl.shared_identity_matrix(3, nl.float32, dst)
        return dst

    np.testing.assert_array_equal(run(into, numbers()), np.eye(3))
    refused(lambda x: nl.shared_identity_matrix(129), numbers(), match="1 to 128")
    refused(
        lambda x: nl.shared_identity_matrix(3, nl.float32, x), numbers(), match="dst is"
    )


def test_constants(tmp_path: Any) -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    np.save(tmp_path / "c.npy", array)

    def kernel() -> Any:
        constants = (nl.shared_constant(array), nl.shared_constant(tmp_path / "c.npy"))
        results = tuple(nl.empty_like(c, buffer=nl.shared_hbm) for c in constants)
        for result, constant in zip(results, constants):
            assert constant.buffer is nl.shared_hbm
            nl.store(result, nl.load(constant))
        return results

    for result in nki.simulate(kernel)():
        np.testing.assert_array_equal(result, array)
    refused(lambda x: nl.shared_constant(np.float32(1)), numbers(), match="elements")


def test_a_constant_of_a_pipe_is_refused_at_once(tmp_path: Any) -> None:
    os.mkfifo(tmp_path / "c.npy")
    with pytest.raises(nki.NkiValidationError, match="is no regular file"):
        nki.simulate(lambda x: nl.shared_constant(tmp_path / "c.npy"))(numbers())


@pytest.mark.parametrize("target", ["trn2", "trn3"])
@pytest.mark.parametrize("buffer", [nl.sbuf, nl.psum])
def test_random_numbers(target: str, buffer: Any) -> None:
    def drawn(seed: Any) -> Any:
        nl.random_seed(seed)
        first = nl.copy(nl.rand((64, 40), nl.float32, buffer=buffer))
        nl.random_seed(seed)
        again = nl.copy(nl.rand((64, 40), nl.float32, buffer=buffer))
        result = nl.ndarray((64, 80), nl.float32)
        result[:, :40], result[:, 40:] = first, again
        return result

    found = run(drawn, np.array([[42]], np.int32), target=target)
    np.testing.assert_array_equal(found[:, :40], found[:, 40:])
    assert 0 <= found.min() and found.max() <= 1
    assert 0.45 < found.mean() < 0.55
    assert 0.07 < found.var() < 0.1


@pytest.mark.parametrize(
    "shape, buffer, problem",
    [
        ((4, 4), "sbuf", "buffer is 'sbuf'"),
        ((4, -1), nl.sbuf, "must be of whole numbers"),
        ((4, 1.5), nl.sbuf, "must be of whole numbers"),
        ((), nl.sbuf, "must have a dimension"),
        ((1 << 20, 1 << 20), nl.shared_hbm, "larger than the memory"),
    ],
)
def test_what_cannot_be_a_tensor_is_refused(
    shape: Any, buffer: Any, problem: str
) -> None:
    def kernel() -> None:
        nl.ndarray(shape, nl.float32, buffer=buffer)

    with pytest.raises(nki.NkiValidationError, match=problem) as raised:
        nki.simulate(kernel)()
    assert __file__ in str(raised.value)


@pytest.mark.parametrize("shape", [(3, 70000), (2, 2, 40000), (100000,)])
def test_full_in_hbm_of_long_rows(shape: tuple[int, ...]) -> None:
    @nki.jit
    def kernel() -> Any:
        return nl.full(shape, 2.5, nl.float32, buffer=nl.shared_hbm)

    made = kernel()
    assert made.shape == shape and (made == 2.5).all()
