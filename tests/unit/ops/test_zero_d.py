"""Without axes, NumPy gives a scalar here and an array there; a store tells which.

``y += 1`` writes into a 0-d array, which others may hold, and makes a new scalar.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.testing import check_kernel

X = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
Z = np.array(2.5, np.float32)
INDEX = np.array(1, np.int32)

#: Where a value without axes comes from.
SOURCES: dict[str, Callable[[Any, Any], Any]] = {
    "argument": lambda x, z: z,
    "view": lambda x, z: x[0, 1, ...],
    "array made of a scalar": lambda x, z: np.array(x[0, 2]),
    "element": lambda x, z: x[1, 0],
    "sum": lambda x, z: x.sum(),
    "product": lambda x, z: x[1, 1] * 2,
}

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sinc": np.sinc,
    "sinc of zero": lambda s: np.sinc(s * 0),
    "[...]": lambda s: s[...],
    "[...][...]": lambda s: s[...][...],
    "[...][()]": lambda s: s[...][()],
    "[()]": lambda s: s[()],
    "[()][...]": lambda s: s[()][...],
    "[None]": lambda s: s[None],
    "[..., None]": lambda s: s[..., None],
    "[None][0]": lambda s: s[None][0],
    "[None][0, ...]": lambda s: s[None][0, ...],
    "expand_dims ()": lambda s: np.expand_dims(s, ()),
    "expand_dims []": lambda s: np.expand_dims(s, []),
    "expand_dims 0": lambda s: np.expand_dims(s, 0),
    "reshape": lambda s: s.reshape(()),
    "squeeze": np.squeeze,
    "transpose": np.transpose,
    "tile": lambda s: np.tile(s, ()),
    "pad": lambda s: np.pad(s, 0),
    "pad edge": lambda s: np.pad(s, 0, "edge"),
    "block": np.block,
    "real": np.real,
    "real_if_close": np.real_if_close,
    "imag of a scalar": lambda s: s[()].imag,
    "nan_to_num": np.nan_to_num,
    "einsum moves nothing": lambda s: np.einsum("->", s),
    "einsum": lambda s: np.einsum(",->", s, s),
    "require": lambda s: np.require(s, None, "C"),
    "copy": lambda s: s.copy(),
    "astype": lambda s: s.astype(np.float16),
    "where": lambda s: np.where(s > 1, s, 0),
    "add out": lambda s: np.add(s, s, out=np.zeros((), np.float32)),
    "add where": lambda s: np.add(s, s, where=s > 0),
    "choose": lambda s: np.choose(s > 1, [s, s * 2]),
    "choose beside an axis": lambda s: np.choose([1], [s, s * 2]),
    "choose out": lambda s: np.choose(1, [s, s * 2], out=np.zeros((), np.float32)),
}


@pytest.mark.filterwarnings("ignore:'where' used without 'out'")
@pytest.mark.parametrize("source", SOURCES)
def test_a_scalar_or_an_array(source):
    def kernel(x, z):
        results = {}
        for name, function in FUNCTIONS.items():
            made = function(SOURCES[source](x, z))
            results[name] = made, operator.iadd(made, 1)
        return results, x, z

    check_kernel(kernel, X, Z)


CHOICES: list[Callable[[Any, Any], Any]] = [
    lambda i, x: np.choose(i, x),
    lambda i, x: np.choose(i, x[0]),
    lambda i, x: np.choose(i, [1, 2]),
    lambda i, x: np.choose(i, [1.5, x[0, 0]]),
    lambda i, x: np.choose(i + 4, [x[0, 0], x[1, 1]], mode="wrap"),
    lambda i, x: np.choose(i - 4, [x[0, 0], x[1, 1]], mode="clip"),
    lambda i, x: np.choose(i.sum(), [x[0], x[1]]),
    lambda i, x: i.choose([x[0, 0], x[1, 1]]),
    lambda i, x: i[()].choose([x[0, 0], x[1, 1]]),
    lambda i, x: np.choose(np.array(1), [x[0, 0], x[1, 1]]),
    lambda i, x: np.choose(i, [x[0, 0], x[1, 1]], out=x[1, 2, ...]),
]


def test_choices_by_one_index():
    def kernel(i, x):
        results = []
        for choose in CHOICES:
            made = choose(i, x)
            results.append((made, operator.iadd(made, 1)))
        return results, i, x

    check_kernel(kernel, INDEX, X)


def test_a_store_of_replaced_values_reaches_a_0d_array_and_no_scalar():
    def kernel(x, z):
        first, second = x[0, 0, ...], z
        made = [np.nan_to_num(v, copy=False, nan=3) for v in (first, second)]
        return made, [operator.iadd(m, 1) for m in made], x, z

    check_kernel(kernel, X, np.array(np.nan, np.float32))
    with pytest.raises(ValueError, match="no scalar"):
        trace_function(lambda x: np.nan_to_num(x.sum(), copy=False), (X,), {})


def test_a_choice_goes_into_an_array_of_its_own_shape():
    with pytest.raises(ValueError, match=r"out= has shape \(2, 3\)"):
        trace_function(lambda i, x: np.choose(i, [1, 2], out=x), (INDEX, X), {})
