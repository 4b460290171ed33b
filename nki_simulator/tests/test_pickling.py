"""Kernels are pickled by name, and run in other processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
import nkipy_nki.neuronxcc.nki as first_nki
import nkipy_nki.neuronxcc.nki.language as first_nl

X = np.arange(128 * 4, dtype=np.float32).reshape(128, 4)


@nki.jit
def doubled(x: Any) -> Any:
    """Each core doubles its share of the rows."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    cores = nl.num_programs(0) if nl.program_ndim() else 1
    rows = x.shape[0] // cores
    first = rows * nl.program_id(0) if cores > 1 else 0
    tile = nl.ndarray((rows, x.shape[1]), x.dtype)
    nisa.dma_copy(tile, x[first : first + rows])
    nisa.tensor_scalar(tile, tile, nl.multiply, 2.0)
    nisa.dma_copy(result[first : first + rows], tile)
    return result


@first_nki.jit
def first_doubled(x: Any) -> Any:
    result = first_nl.ndarray(x.shape, x.dtype, buffer=first_nl.shared_hbm)
    first_nl.store(result, first_nl.multiply(first_nl.load(x), 2.0))
    return result


def plain(x: Any) -> Any:
    return doubled(x)


timed = nki.benchmark(doubled)
KERNELS = {
    "kernel": doubled,
    "cores": doubled[2],
    "first": first_doubled,
    "grid": first_doubled[1, 1],
    "mode": first_nki.jit(first_doubled, mode="simulation"),
    "target": nki.jit(plain, compile_config=nki.compiler.CompileConfig()),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_is_what_it_was(name: str) -> None:
    kernel = KERNELS[name]
    again = pickle.loads(pickle.dumps(kernel))
    assert type(again) is type(kernel) and vars(again) == vars(kernel)
    np.testing.assert_array_equal(again(X), 2 * X)


def test_a_kernel_that_its_name_names_is_that() -> None:
    for kernel in (doubled, first_doubled):
        assert pickle.loads(pickle.dumps(kernel)) is kernel
        assert copy.copy(kernel) is copy.deepcopy(kernel) is kernel


def test_kernels_run_in_other_processes() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        for kernel in (doubled, doubled[2], first_doubled):
            np.testing.assert_array_equal(pool.submit(kernel, X).result(), 2 * X)


@nki.jit
def other(x: Any) -> Any:
    return doubled(x)


unscheduled, other = other, None


@pytest.mark.parametrize(
    "kernel",
    [
        nki.jit(lambda x: None),
        doubled.with_schedule([]),
        unscheduled,
        timed,  # `doubled` names a kernel whose time is not told
    ],
)
def test_a_kernel_that_has_no_name_is_refused(kernel: Any) -> None:
    with pytest.raises(pickle.PicklingError, match="cannot be pickled: .* by name"):
        pickle.dumps(kernel)
    assert copy.deepcopy([kernel]) == [kernel]


def test_a_simulation_says_what_to_send() -> None:
    run = nki.simulate(doubled).run(X)
    with pytest.raises(pickle.PicklingError, match="doubled .* values, findings"):
        pickle.dumps(run)
    assert copy.copy(run).values is run.values
    assert pickle.loads(pickle.dumps(run.findings)) == run.findings
