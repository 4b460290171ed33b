"""Loops of ``nki.language``, and programs that are run again."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.language_functions import (
    numbers,
    run,
)
from nkipy_nki import NkiValidationError
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode


def test_older_loops_warn_once_a_line() -> None:
    def kernel(x: Any) -> Any:
        for _ in nl.affine_range(3):
            for _ in nl.sequential_range(2):
                pass
        for _ in nl.static_range(1, 3):
            pass
        return x

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nki.simulate(kernel)(numbers())
    lines = [w.lineno for w in caught if w.category is DeprecationWarning]
    first = kernel.__code__.co_firstlineno
    assert lines == [first + 1, first + 2, first + 4]
    assert {w.filename for w in caught} == {__file__}


@pytest.mark.parametrize("bounds", [(3,), (1, 4), (0, 4, 2), (2, 2)])
def test_dynamic_range(bounds: tuple[int, ...]) -> None:
    def kernel(x: Any) -> Any:
        result = nl.zeros(x.shape, x.dtype, nl.shared_hbm)
        for i in nl.dynamic_range(*bounds):
            nl.store(result[nl.ds(i, 1)], nl.load(x[nl.ds(i, 1)]))
        return result

    x = numbers()
    with pytest.warns(DeprecationWarning, match="fori_loop"):
        found = nki.simulate(kernel)(x)
    expected = np.zeros_like(x)
    expected[list(range(*bounds))] = x[list(range(*bounds))]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_dynamic_loop_cannot_be_left() -> None:
    def kernel(x: Any) -> Any:
        for _ in nl.dynamic_range(4):
            break
        return x

    with pytest.raises(NkiValidationError, match="left before its end"):
        nki.simulate(kernel)(numbers())


@pytest.mark.filterwarnings("ignore:nl[.].* on hardware")
def test_programs_run_again_from_their_bytes() -> None:
    def kernel(x: Any) -> Any:
        tile = nl.load(x)
        nl.device_print("x", tile)
        constant = nl.load(nl.shared_constant(np.full((4, 6), 2.5, np.float32)))
        made = nl.add(nl.softmax(nl.multiply(tile, constant)), nl.floor(tile))
        result = nl.zeros(x.shape, x.dtype, nl.shared_hbm)
        for i in nl.dynamic_range(1, 4):
            nisa.dma_copy(result[nl.ds(i, 1)], made[nl.ds(i, 1)])
        return result

    x, other = numbers(), numbers()[::-1].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        simulator = nki.Simulator(kernel)
        read = decode(encode(simulator.run(x).programs))
        for array in (x, other):
            (again,) = replay(read, [array])
            np.testing.assert_array_equal(again, simulator(array))


def test_generations_give_the_same() -> None:
    """What all chips have: several steps, with each engine's own rules."""

    def several(x: Any) -> Any:
        made = nl.rms_norm(nl.softmax(x), nl.sin(x), axis=1, n=6)
        made = nl.add(made, nl.broadcast_to(nl.mean(x, 0), (4, 6)))
        made = nl.where(nl.less(x, 0.0), nl.floor(x), made)
        identity = nl.shared_identity_matrix(4, nl.float32)
        return nl.matmul(identity, nl.multiply(made, nl.gelu(x)), transpose_x=True)

    x = numbers()
    expected = run(several, x)
    for target in ("trn1", "trn3"):
        np.testing.assert_array_equal(run(several, x, target=target), expected)
