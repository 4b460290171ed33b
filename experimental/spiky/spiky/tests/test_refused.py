"""Programs that the core's compiler refuses: what it refuses runs eagerly."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from math import prod
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import spiky
from nkipy.compiler.driver import CompilationError
from spike_torch.aten.pointwise import like
from spike_torch.aten.record import FINDERS, Operator
from spike_torch.lowering import Array, Graph
from spiky.compiling import part
from spiky.errors import UnsupportedOperationError

pytestmark = pytest.mark.usefixtures("backend")

NAME = "spiky_tests::shifted"


@torch.library.custom_op(NAME, mutates_args=())
def shifted(x: torch.Tensor) -> torch.Tensor:
    return (x.short() >> 1).float()


@shifted.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


shifted.register_autograd(lambda _, g: shifted(2 * g))


#: Of fewer elements, it is not refused.
LEAST = 1


def lower(g: Graph, x: Array) -> Array:
    """Narrow integers are not shifted arithmetically by a core."""
    if prod(x.value.shape) < LEAST:
        return x
    numbers = g.b.convert(x.value, np.dtype(np.int16))
    made = g.b.binary("shift-right-arithmetic", numbers, like(g.b, numbers, 1))
    return Array(g.b.convert(made, np.dtype(np.float32)), x.dims)


RECORD = Operator(NAME, lower=lower, padding="handled")


@pytest.fixture(autouse=True)
def recorded() -> Iterator[None]:
    def find(name: str) -> Operator | None:
        return RECORD if name == NAME else None

    FINDERS.append(find)
    yield
    FINDERS.remove(find)


def run(x: torch.Tensor) -> Any:
    y = shifted(x * 4)
    return y.sin() * 2, shifted(y + 1).sum()


def eager_warnings(found: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in found if "runs eagerly" in str(w.message)]


def test_what_the_compiler_refuses_runs_eagerly() -> None:
    """With one warning for each line, of forward, backward, and another size."""
    function = torch.compile(run, backend="nkipy", fullgraph=True, dynamic=True)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for size in (5, 3, 9):
            x = torch.arange(1.0, size + 1, requires_grad=True)
            theirs = x.detach().clone().requires_grad_()
            made, wanted = function(x), run(theirs)
            assert_close(made, wanted)
            for y, total in (made, wanted):
                (y.square().sum() + total).backward()
            assert_close(x.grad, theirs.grad)
    first = run.__code__.co_firstlineno
    told = eager_warnings(found)
    assert len(told) == 2
    for text, line in zip(told, (first + 1, first + 2)):
        assert f"test_refused.py:{line}: spiky_tests.shifted.default" in text
        assert "refused by the compiler, NCC_EVRF022" in text


def test_what_is_refused_for_another_size_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When it is called, all has been divided already; what was compiled goes on."""
    monkeypatch.setattr(sys.modules[__name__], "LEAST", 9)
    function = torch.compile(shifted, backend="nkipy", dynamic=True)
    small, large = torch.arange(7.0), torch.arange(16.0)
    assert_close(function(small), small)
    with pytest.raises(CompilationError, match="NCC_EVRF022"):
        function(large)
    assert_close(function(small), small)


def test_it_may_stand_beside_what_has_no_lowering() -> None:
    def both(x: torch.Tensor) -> torch.Tensor:
        return shifted(x.double().sin().float() * 9) + 1

    x = torch.randn(5)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        told = spiky.explain(both)(x)
        made = torch.compile(both, backend="nkipy", fullgraph=True)(x)
    assert_close(made, both(x))
    assert len(eager_warnings(found)) == 3  # two of float64
    reasons = [p.reason for p in told.eager_parts]
    assert sum("NCC_EVRF022" in why for why in reasons) == 1
    assert [len(p.operations) for p in told.compiled_parts] == [1, 1]


def test_it_may_be_an_error() -> None:
    options = {"unsupported": "error"}
    function = torch.compile(run, backend="nkipy", options=options)
    with pytest.raises(UnsupportedOperationError, match=r"shifted.*NCC_EVRF022"):
        function(torch.ones(3))


def test_a_compiler_that_fails_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        done = CompletedProcess([], 70, b"", b"out of memory")
        raise CompilationError("Compilation failed.", ["compiler"], done)

    monkeypatch.setattr(part, "build", fail)
    with pytest.raises(Exception, match="out of memory"):
        torch.compile(torch.sin, backend="nkipy")(torch.ones(3))
