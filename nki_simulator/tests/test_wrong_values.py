"""Any value for each parameter of each function, of both generations of the language.

A function takes it, or refuses it by the documented class of error, at its line.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
import nkipy_nki.neuronxcc.nki as first_nki
from nkipy_nki.neuronxcc.nki.state import settle
from tests.support.nki import values
from tests.support.nki.values import ANYTHING, MODULES, called, functions, parameters

FUNCTIONS = [(module, name) for module in MODULES for name in functions(module)]
#: These are documented to raise TypeError and ValueError.
GRIDS = ("alloc_blocks", "alloc_tiles", "blocks", "tiles")
#: With these a kernel runs on for long.
#: (the value `1 << 40`)
ENDLESS = {("fori_loop", "upper"), ("while_loop", "init")}
#: What only trn3 has.
LATE = ("abs_max", "abs_min")


def _ran(module: str, name: str, body: Callable[[], Any]) -> None:
    """Run a kernel that does something."""

    def kernel(x: Any) -> None:
        body()
        if module != "nl":
            settle()

    made = kernel if module == "nl" else first_nki.jit(kernel)
    target = "trn3" if name in LATE else "trn2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nki.simulate(made, target=target)(np.ones((4, 4), np.float32))


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_a_function_takes_a_value_or_refuses_it(module: str, name: str) -> None:
    """No value of any kind for a parameter is another error than the language's."""
    _ran(module, name, lambda: called(module, name, {}))
    allowed: tuple[type[Exception], ...] = (nki.NkiValidationError,)
    if name in GRIDS:
        allowed += (TypeError, ValueError)
    for parameter in parameters(module, name):
        for value in ANYTHING:
            if value is ANYTHING[4] and (name, parameter.name) in ENDLESS:
                continue
            given = {parameter.name: value}
            try:
                _ran(module, name, lambda given=given: called(module, name, given))
            except allowed as error:
                assert f"\n  at {values.__file__}:" in str(error), (given, error)


def _error(call: Callable[[Any], Any]) -> str:
    with pytest.raises(nki.NkiValidationError) as raised:
        nki.simulate(call, target="trn2")(np.ones((4, 4), np.float32))
    return str(raised.value)


def test_a_refused_value_is_named_with_what_is_wrong_about_it() -> None:
    text = _error(lambda x: nl.sum(nl.load(x), 1, keepdims=np.ones(2)))
    assert "nl.sum(" in text and "keepdims=array([1., 1.])" in text
    assert "truth value" in text and f"\n  at {__file__}:" in text


def test_arguments_that_are_missing_or_unknown_are_a_type_error() -> None:
    for call, name in (
        (lambda x: nl.sum(nl.load(x)), "sum"),
        (lambda x: nl.sum(x, 1, axes=2), "sum"),
        (lambda x: nisa.tensor_tensor(x, x), "tensor_tensor"),
        (lambda x: nisa.tensor_copy(x, x, foo=1), "tensor_copy"),
    ):
        with pytest.raises(TypeError, match=rf"{name}\(\).* argument") as raised:
            nki.simulate(call)(np.ones((4, 4), np.float32))
        line = call.__code__.co_firstlineno
        assert str(raised.value).endswith(f"\n  at {__file__}:{line}")


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda x: nl.load(x)[np.ones(4, bool)], r"tensor.<array .4. bool>.: .* mask"),
        (lambda x: nl.ndarray((), x.dtype), "shape is .., and must have a dimension"),
    ],
)
def test_a_refused_index_or_shape_says_what_it_is(call, text: str) -> None:
    assert re.search(text, _error(call))


def test_the_line_is_that_of_the_call_and_not_of_what_uses_its_result() -> None:
    first_isa, first_nl = MODULES["first nisa"], MODULES["first nl"]

    def kernel(x: Any) -> None:
        tile = first_nl.load(x)
        made = first_isa.tensor_copy(tile, engine="vector")
        first_nl.copy(made)

    with pytest.raises(nki.NkiValidationError, match="engine is 'vector'") as raised:
        first_nki.simulate_kernel(first_nki.jit(kernel), np.ones((4, 4), np.float32))
    line = kernel.__code__.co_firstlineno + 2
    assert f"\n  at {__file__}:{line}" in str(raised.value)
