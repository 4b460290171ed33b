"""Results in containers: what a kernel returns, its caller gets in the same ones."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.runtime import simulate_jit
from nkipy_nki import NkiValidationError
from nkipy_nki.neuronxcc import nki as first
from nkipy_nki.neuronxcc.nki import language as first_nl

X = np.arange(12, dtype=np.float32).reshape(3, 4)


class Pair(NamedTuple):
    one: Any
    two: Any


@dataclass(frozen=True)
class Norm:
    values: Any
    parts: dict[str, Any]
    epsilon: float = 1e-6


def times(x: Any, factor: float) -> Any:
    tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(tile, x)
    nisa.tensor_scalar(tile, tile, nl.multiply, factor)
    nisa.dma_copy(result, tile)
    return result


def _grouped(values: Any) -> defaultdict[str, Any]:
    made: defaultdict[str, Any] = defaultdict(list)
    made["all"] = list(values)
    return made


#: Of two values, containers of all kinds; those that are within others among them.
MAKERS = {
    "dict": lambda a, b: {"a": a, "b": b},
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: (a, b),
    "named": Pair,
    "dataclass": lambda a, b: Norm(a, {"b": b}),
    "ordered": lambda a, b: OrderedDict(b=b, a=a),
    "default": lambda a, b: _grouped((a, b)),
    "nested": lambda a, b: {"x": [(a, {"y": Pair(b, a)}), None, 3], "z": "name"},
    "empty": lambda a, b: {"nothing": [], "one": a},
}


def same(given: Any, expected: Any) -> bool:
    """Whether these are of the same types, with equal arrays."""
    if type(given) is not type(expected):
        return False
    if isinstance(given, np.ndarray):
        return given.dtype == expected.dtype and np.array_equal(given, expected)
    if isinstance(given, dict):
        return list(given) == list(expected) and same(
            list(given.values()), list(expected.values())
        )
    if isinstance(given, (tuple, list)):
        return len(given) == len(expected) and all(map(same, given, expected))
    if isinstance(given, Norm):
        return same(vars(given), vars(expected))
    return bool(given == expected)


@pytest.mark.parametrize("kind", MAKERS)
def test_results_come_back_in_what_the_kernel_returned_them_in(kind):
    make = MAKERS[kind]

    @nki.jit
    def kernel(x):
        return make(times(x, 2.0), times(x, 3.0))

    assert same(kernel(X), make(X * 2, X * 3))


def test_in_numpy_too():
    @nki.jit
    def kernel(x):
        return Norm(times(x, 2.0), {"b": [times(x, 3.0)]})

    def layer(x):
        made = kernel(x)
        assert isinstance(made, Norm) and isinstance(made.parts["b"], list)
        return {"sum": made.values + made.parts["b"][0], "made": made}

    assert same(simulate_jit(layer)(X), layer(X))


def test_an_argument_that_is_returned_is_the_callers_array():
    @nki.jit
    def kernel(x):
        nisa.dma_copy(x, times(x, 2.0))
        return {"x": x, "again": [x]}

    given = X.copy()
    made = kernel(given)
    assert made["x"] is given and made["again"][0] is given
    np.testing.assert_array_equal(given, X * 2)


def test_results_of_two_cores():
    @nki.jit
    def kernel(x):
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        mine = slice(2 * nl.program_id(0), 2 * nl.program_id(0) + 2)
        nisa.dma_copy(result[mine], x[mine])
        return {"copied": result}

    x = np.ones((4, 4), np.float32)
    assert same(kernel[2](x), {"copied": x})


def test_the_first_generation():
    @first.jit
    def kernel(x):
        tile = first_nl.load(x)
        results = [
            first_nl.ndarray(x.shape, x.dtype, buffer=first_nl.shared_hbm)
            for _ in range(2)
        ]
        for factor, result in enumerate(results, 2):
            first_nl.store(result, tile * factor)
        return {"a": results[0], "b": [results[1]]}

    assert same(kernel(X), {"a": X * 2, "b": [X * 3]})


def test_what_has_no_end_is_refused():
    @nki.jit
    def kernel(x):
        made = {"x": times(x, 2.0)}
        made["self"] = made
        return made

    with pytest.raises(NkiValidationError, match="returns a dict that holds itself"):
        kernel(X)


def test_a_grid_is_no_result():
    @nki.jit
    def kernel(x):
        return [nl.tiles(times(x, 2.0), tile_shape=(1, 4))]

    with pytest.raises(NkiValidationError, match="a NkiTileGrid.* return its data"):
        kernel(X)


def test_one_in_a_dict_that_was_not_written_is_told():
    @nki.jit
    def kernel(x):
        return {"x": nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)}

    with pytest.raises(NkiValidationError, match="12 of 12 elements of the result"):
        kernel(X)


@pytest.mark.parametrize("kind", [lambda t: {"x": t}, lambda t: Norm(t, {}), tuple])
def test_one_in_a_container_that_is_not_in_hbm_is_told(kind):
    @nki.jit
    def kernel(x):
        tile = nl.load(x)
        return kind([tile]) if kind is tuple else kind(tile)

    for call in (kernel, simulate_jit(lambda x: kernel(x))):
        with pytest.raises(Exception, match="in sbuf, and results must be in shared"):
            call(X)


def test_what_is_no_tensor_is_returned_as_it_is():
    @nki.jit
    def kernel(x):
        return times(x, 2.0), 5, np.ones(3), None

    values, number, array, nothing = kernel(X)
    np.testing.assert_array_equal(values, 2 * X)
    np.testing.assert_array_equal(array, np.ones(3))
    assert (number, nothing) == (5, None)
