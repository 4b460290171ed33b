"""One broken kernel for each finding, which is caught by its name and line; and mended.

The line that is found ends in a comment, ``# found``.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
import nkipy_nki.neuronxcc.nki as first_nki
import nkipy_nki.neuronxcc.nki.language as first_nl
from nkipy_nki.findings import FINDINGS, NkiWarning

X = np.arange(128 * 64, dtype=np.float32).reshape(128, 64)


def _result(x: Any) -> Any:
    return nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)


def uninitialized_read(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile[:64] if broken else tile, x[:64] if broken else x)
    nisa.dma_copy(result, tile)  # found
    return result


def output_not_written(x: Any, broken: bool) -> Any:
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)  # found
    rows = 100 if broken else 128
    nisa.dma_copy(result[:rows], x[:rows])
    return result


def out_of_bounds(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    part = tile[:, 33:65] if broken else tile[:, 32:64]  # found
    nisa.dma_copy(result[:, 0:32], part)
    nisa.dma_copy(result[:, 32:64], tile[:, 0:32])
    return result


def wrong_operand(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nisa.tensor_tensor(tile, x if broken else tile, tile, op=nl.add)  # found
    nisa.dma_copy(result, tile)
    return result


def generation(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    if broken:
        nisa.exponential(tile, tile)  # found
    else:
        nisa.activation(tile, op=nl.exp, data=tile)
    nisa.dma_copy(result, tile)
    return result


def capacity(x: Any, broken: bool) -> Any:
    result = _result(x)
    tiles = [nl.ndarray((128, 1 << 14), nl.float32) for _ in range(4 if broken else 3)]
    for tile in tiles:
        nisa.memset(tile, 0.0)  # found
    for tile in tiles:
        nisa.dma_copy(result, tile[:, :64])
    return result


def address_overlap(x: Any, broken: bool) -> Any:
    result = _result(x)
    one = nl.ndarray(x.shape, x.dtype, address=(0, 0))
    two = nl.ndarray(x.shape, x.dtype, address=(0, 128 if broken else 256))
    nisa.dma_copy(one, x)
    nisa.dma_copy(two, x)
    nisa.tensor_tensor(two, one, two, op=nl.add)  # found
    nisa.dma_copy(result, two)
    return result


def core_race(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    half = slice(0, 64) if broken else nl.ds(64 * nl.program_id(0), 64)
    nisa.dma_copy(result[half], tile[half])  # found
    if broken:
        nisa.dma_copy(result[64:], tile[64:])
    return result


def _product(x: Any, prepare: Callable[[Any], Any], accumulate: bool | None) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    left = nl.ndarray((128, 128), x.dtype)
    nisa.dma_copy(tile, x)
    nisa.memset(left, 1.0)
    total = nl.ndarray(x.shape, nl.float32, buffer=nl.psum)
    prepare(total)
    nisa.nc_matmul(total, left, tile, accumulate=accumulate)  # found
    out = nl.ndarray(x.shape, x.dtype)
    nisa.tensor_copy(out, total)
    nisa.dma_copy(result, out)
    return result


def psum_never_written(x: Any, broken: bool) -> Any:
    return _product(x, lambda total: None, True if broken else None)


def psum_value_initialized(x: Any, broken: bool) -> Any:
    def prepare(total: Any) -> None:
        if broken:
            nisa.memset(total, 0.0)

    return _product(x, prepare, None)


def reduce_register(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    total = nl.ndarray((128, 1), nl.float32)
    nisa.dma_copy(tile, x)
    command = nisa.reduce_cmd.reduce if broken else nisa.reduce_cmd.reset_reduce
    nisa.activation(  # found
        tile, nl.copy, tile, reduce_op=nl.add, reduce_res=total, reduce_cmd=command
    )
    nisa.dma_copy(result, tile)
    return result


def would_not_compile(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nisa.tensor_tensor(tile, tile, tile, op=nl.divide if broken else nl.add)  # found
    nisa.dma_copy(result, tile)
    return result


def iteration_race(x: Any, broken: bool) -> Any:
    result = first_nl.ndarray(x.shape, x.dtype, buffer=first_nl.shared_hbm)
    total = first_nl.load(x)
    loop = first_nl.affine_range if broken else first_nl.sequential_range
    for _ in loop(3):
        total[...] = first_nl.multiply(total, 2.0)  # found
    first_nl.store(result, total)
    return result


KERNELS: dict[str, Callable[[Any, bool], Any]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(uninitialized_read, output_not_written, out_of_bounds, wrong_operand),
        *(generation, capacity, address_overlap, core_race, psum_never_written),
        *(reduce_register, psum_value_initialized, would_not_compile, iteration_race),
    )
}


def _run(kind: str, broken: bool) -> Any:
    function = KERNELS[kind]

    def kernel(x: Any) -> Any:
        return function(x, broken)

    if kind == "iteration-race":
        return first_nki.simulate_kernel(first_nki.jit(kernel), X.copy())
    made: Any = nki.jit(kernel)
    if kind == "core-race":
        made = made[2]
    return nki.simulate(made, target="trn2").run(X.copy())


def _line(kind: str) -> int:
    """The line that is to be found: the function's own, or that of what it calls."""
    function: Any = KERNELS[kind]
    if kind.startswith("psum-"):
        function = _product
    lines, first = inspect.getsourcelines(function)
    (place,) = (i for i, line in enumerate(lines) if line.rstrip().endswith("# found"))
    return first + place


def test_every_finding_has_a_kernel() -> None:
    assert KERNELS.keys() == FINDINGS.keys()


@pytest.mark.parametrize("kind", KERNELS)
def test_a_broken_kernel_is_found_by_name_and_line(kind: str) -> None:
    record = FINDINGS[kind]
    level = record.first if kind == "iteration-race" else record.level
    if level == "error":
        with pytest.raises(nki.NkiValidationError) as raised:
            _run(kind, broken=True)
        found = raised.value.finding
    else:
        with pytest.warns(NkiWarning, match=kind) as seen:
            (found,) = _run(kind, broken=True).findings
        assert [(w.filename, w.lineno) for w in seen] == [(__file__, _line(kind))]
    assert (found.kind, found.level, found.file) == (kind, level, __file__)
    assert found.line == _line(kind)
    assert json.loads(json.dumps(found.as_json()))["kind"] == kind


@pytest.mark.parametrize("kind", KERNELS)
def test_the_kernel_is_sound_when_it_is_mended(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = _run(kind, broken=False)
    assert kind == "iteration-race" or made.findings == []
