"""What is remembered in a run: forms that are sound, tiles' bytes, whole results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.kernels import loaded
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.simulation import Simulator

X = np.arange(128 * 8, dtype=np.float32).reshape(128, 8)


# -- forms -----------------------------------------------------------------------------
def test_a_place_that_is_not_allowed_is_refused_after_ones_that_are() -> None:
    def kernel(x: Any) -> None:
        tile = loaded(x)
        for first in (0, 32, 64, 5):
            part = tile[first : first + 32, :]
            nisa.tensor_copy(part, part)

    with pytest.raises(NkiValidationError, match="begins at partition 5"):
        nki.simulate(kernel)(X)


def test_a_bank_is_looked_at_after_another_offset() -> None:
    def kernel(x: Any) -> None:
        tile = loaded(x)
        total = nl.ndarray((8, 1024), nl.float32, buffer=nl.psum)
        for first in (0, 512, 508):
            nisa.nc_matmul(total[:, first : first + 8], tile, tile, accumulate=False)

    with pytest.raises(NkiValidationError, match="several banks"):
        nki.simulate(kernel, target="trn2")(X)


def test_numbers_that_are_equal_are_not_the_same_to_rules() -> None:
    def kernel(value: Any) -> None:
        tile = nl.ndarray((4, 8), nl.int32)
        nisa.memset(tile, 1)
        nisa.memset(tile, value)

    nki.simulate(kernel)(1)
    with pytest.raises(NkiValidationError, match="an int"):
        nki.simulate(kernel)(1.0)


def test_attributes_that_a_rule_writes_otherwise_are_so_each_time() -> None:
    def kernel(x: Any) -> Any:
        tile, result = loaded(x), nl.ndarray((3, 128, 1), nl.float32, nl.shared_hbm)
        for i, axis in enumerate((1, 1, -1)):
            made = nl.ndarray((128, 1), nl.float32)
            nisa.tensor_reduce(made, op=nl.add, data=tile, axis=axis)
            nisa.dma_copy(result[i], made)
        return result

    made = nki.simulate(kernel).run(X)
    assert (made.values[..., 0] == X.sum(axis=1)).all()
    (program,) = made.programs
    reductions = [i for i in program.instructions() if i.record.name == "tensor_reduce"]
    assert [i.attributes["axis"] for i in reductions] == [(1,)] * 3


def test_a_warning_is_given_at_each_line() -> None:
    def kernel(x: Any) -> None:
        tile = loaded(x)
        nisa.tensor_tensor(tile, tile, tile, op=nl.divide)
        nisa.tensor_tensor(tile, tile, tile, op=nl.divide)

    found = nki.simulate(kernel).run(X).findings
    assert len({f.line for f in found if f.kind == "would-not-compile"}) == 2


# -- bytes -----------------------------------------------------------------------------
def test_what_was_never_written_is_0_wherever_it_lies() -> None:
    """Bytes of tiles that went before are not seen, where reading them is allowed."""

    def kernel(x: Any) -> Any:
        result = nl.ndarray((4, 128, 8), nl.float32, buffer=nl.shared_hbm)
        for i in range(4):
            old = loaded(x)
            nisa.tensor_copy(old, old)
            del old
            new = nl.ndarray((128, 8), nl.float32)
            nisa.memset(new[:, 2:5], 7.0)
            nisa.dma_copy(result[i], new)
        return result

    run = Simulator(kernel, findings={"uninitialized-read": "off"})
    expected = np.zeros_like(X)
    expected[:, 2:5] = 7
    assert (run(X) == expected).all()


def test_an_output_that_is_partly_written_is_0_elsewhere() -> None:
    def kernel(x: Any) -> Any:
        result = nl.ndarray((128, 8), nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(result[:, 1:3], x[:, 1:3])
        return result

    run = Simulator(kernel, findings={"output-not-written": "off"})
    expected = np.zeros_like(X)
    expected[:, 1:3] = X[:, 1:3]
    for _ in range(3):
        assert (run(X) == expected).all()


def test_results_of_two_runs_and_of_two_views_are_apart() -> None:
    def kernel(x: Any) -> Any:
        result = nl.ndarray((128, 8), nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(result, x)
        return result, result[0:4, :]

    run = nki.simulate(kernel)
    whole, part = run(X)
    whole[...] = -1
    assert (part == X[:4]).all()
    again, _ = run(X)
    assert (again == X).all() and (X[0] == np.arange(8)).all()
