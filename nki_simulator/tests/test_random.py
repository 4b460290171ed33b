"""Random instructions: the state of their generators, and how numbers are spread."""

from __future__ import annotations

from typing import Any

import numpy as np

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.kernels import loaded, stored


def _bits(shape: tuple[int, ...], **options: Any) -> Any:
    tile = nl.ndarray(shape, nl.uint32)
    nisa.rng(tile, **options)
    return tile


def test_a_seed_gives_the_same_numbers_again_and_another_seed_others() -> None:
    def kernel(seeds: Any) -> Any:
        found = []
        for i in (0, 1, 0):
            nisa.set_rng_seed(loaded(seeds[i : i + 1, :]))
            found += [stored(_bits((128, 16))), stored(_bits((128, 16)))]
        return tuple(found)

    seeds = np.array([[41], [42]], np.int32)
    found = nki.simulate(kernel)(seeds)
    np.testing.assert_array_equal(found[0], found[4])
    np.testing.assert_array_equal(found[1], found[5])
    different = [found[0], found[1], found[2], found[3]]
    assert len({array.tobytes() for array in different}) == 4
    again = nki.simulate(kernel)(seeds)
    for one, other in zip(found, again):
        np.testing.assert_array_equal(one, other)


def test_an_engine_has_a_state_that_can_be_kept_and_set_again() -> None:
    for engine, words in ((nisa.engine.gpsimd, 6), (nisa.engine.vector, 24)):

        def kernel(engine: Any = engine, words: int = words) -> Any:
            before = nl.ndarray((128, words), nl.uint32)
            nisa.rand_get_state(before, engine=engine)
            first = stored(_bits((128, 7), engine=engine))
            nisa.rand_set_state(before, engine=engine)
            again = stored(_bits((128, 7), engine=engine))
            return first, again, stored(_bits((128, 7), engine=engine))

        first, again, later = nki.simulate(kernel, target="trn3")()
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, later)


def test_partitions_and_engines_have_generators_of_their_own() -> None:
    def kernel() -> Any:
        tile = nl.ndarray((128, 4), nl.uint32)
        nisa.rng(tile[64:128, :])
        nisa.rng(tile[0:64, :])
        other = _bits((128, 4), engine=nisa.engine.gpsimd)
        return stored(tile), stored(other), stored(_bits((128, 4)))

    def whole() -> Any:
        return stored(_bits((128, 8)))

    tile, other, later = nki.simulate(kernel)()
    np.testing.assert_array_equal(np.hstack([tile, later]), nki.simulate(whole)())
    assert len({row.tobytes() for row in (*tile, *other)}) == 256


def test_numpy_is_neither_asked_nor_changed() -> None:
    def kernel() -> Any:
        return stored(_bits((8, 8)))

    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    first = nki.simulate(kernel)()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]
    np.random.seed(2)
    np.testing.assert_array_equal(nki.simulate(kernel)(), first)


def test_bits_are_evenly_spread() -> None:
    def kernel() -> Any:
        tile = nl.ndarray((128, 512), nl.uint8)
        nisa.rng(tile)
        return stored(tile), stored(_bits((128, 512)))

    small, bits = nki.simulate(kernel)()
    # Chi-squared of 255 degrees of freedom: 400 is eight standard deviations off.
    for values in (small, bits >> 24, (bits >> 9) & 255):
        counts = np.bincount(values.reshape(-1), minlength=256)
        assert ((counts - 256.0) ** 2 / 256).sum() < 400
    # Neighbours in a partition, and partitions beside each other, do not correlate.
    unit = bits / 2.0**32 - 0.5
    for one, other in ((unit[:, 1:], unit[:, :-1]), (unit[1:], unit[:-1])):
        assert abs((one * other).mean() * 12) < 0.02


def test_uniform_numbers_stay_in_their_bounds() -> None:
    def kernel() -> Any:
        tile = nl.ndarray((128, 512), nl.float32)
        nisa.rand2(tile, -1.0, 3.0)
        return stored(tile)

    values = nki.simulate(kernel, target="trn3")()
    assert values.min() >= -1 and values.max() <= 3
    assert abs(values.mean() - 1) < 0.02
    assert abs(values.var() - 16 / 12) < 0.02


def test_dropout_drops_as_often_as_it_is_told_and_scales_nothing() -> None:
    def kernel(x: Any, prob: Any) -> Any:
        out = nl.ndarray(x.shape, x.dtype)
        nisa.dropout(out, loaded(x), loaded(prob))
        return stored(out)

    x = np.full((128, 512), 3, np.float32)
    prob = np.linspace(0, 1, 128, dtype=np.float32)[:, None]
    dropped = nki.simulate(kernel)(x, prob)
    assert set(np.unique(dropped)) == {0, 3}
    share = (dropped == 0).mean(1)
    assert share[0] == 0 and share[-1] == 1
    assert np.abs(share - prob[:, 0]).max() < 0.1
    assert abs((share - prob[:, 0]).mean()) < 0.01
