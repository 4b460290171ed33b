"""spiky.compile: what torch.compile does, and closing."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch

import spiky
from spiky import resources


@pytest.fixture(autouse=True)
def ready(backend: None) -> Iterator[None]:
    yield


@pytest.mark.smoke
def test_it_computes_what_the_model_does() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    x = torch.randn(5, 3)
    with spiky.compile(model, options={"buckets": [4, 8]}) as compiled:
        for size in (5, 3, 2):
            torch.testing.assert_close(compiled(x[:size]), model(x[:size]))
        assert compiled.flush() is None
        assert compiled.model is model and compiled.dynamic is True
    assert "closed" in repr(compiled)


def test_a_function_trains_through_it() -> None:
    x = torch.randn(4, requires_grad=True)
    spiky.compile(lambda x: (x * x).sum(), fullgraph=True)(x).backward()
    torch.testing.assert_close(x.grad, 2 * x.detach())


def test_a_copy_has_weights_of_its_own() -> None:
    x = torch.ones(1, 2)
    with torch.no_grad(), spiky.compile(torch.nn.Linear(2, 2)) as compiled:
        before = compiled(x)
        copy = deepcopy(compiled)
        for weight in copy.model.parameters():
            weight.mul_(3)
        torch.testing.assert_close(copy(x), 3 * before)
        torch.testing.assert_close(compiled(x), before)


def test_two_of_one_model_have_nothing_to_do_with_each_other() -> None:
    model = torch.nn.Linear(2, 2)
    x = torch.ones(1, 2)
    first, second = spiky.compile(model), spiky.compile(model, {"pipelined": False})
    expected = model(x)
    torch.testing.assert_close(first(x), expected)
    torch.testing.assert_close(second(x), expected)
    first.close()
    torch.testing.assert_close(second(x), expected)


class Recorded:
    """A program that counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_closing_closes_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    from spiky.torch import _backend

    made: list[Recorded] = []

    def compile_graph(gm: torch.fx.GraphModule, *_: Any) -> Any:
        made.append(Recorded())
        resources.hold(made[-1])
        return gm.forward

    monkeypatch.setattr(_backend, "compile_graph", compile_graph)
    compiled, other = spiky.compile(torch.neg), spiky.compile(torch.abs)
    compiled(torch.ones(2))
    other(torch.ones(2))
    torch.compile(torch.sin, backend="nkipy")(torch.ones(2))
    compiled.close()
    compiled.close()
    assert [program.closed for program in made] == [2, 0, 0]
    for call in (compiled.flush, lambda: compiled(torch.ones(2))):
        with pytest.raises(RuntimeError, match="was closed"):
            call()


def test_closing_unloads_programs_forward_and_backward() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    compiled = spiky.compile(lambda x: (x * x).sin(), {"buckets": [4, 8]})
    compiled(x).sum().backward()
    parts = list(compiled._programs)
    assert sorted(part.name for part in parts) == ["backward", "forward"]
    programs = [
        part._function.variant(buckets).resident
        for part in parts
        for buckets in part._function.compiled()
    ]
    assert [program.is_loaded for program in programs] == [True, True]
    compiled.close()
    assert [program.is_loaded for program in programs] == [False, False]


def test_arguments_by_keyword_are_refused() -> None:
    compiled = spiky.compile(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="by position, got input by keyword"):
        compiled(input=torch.ones(1, 2))
    by_torch = torch.compile(torch.nn.Linear(2, 2), backend="nkipy")
    assert by_torch(input=torch.ones(1, 2)).shape == (1, 2)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="a model is a module or a function"):
        spiky.compile(3)  # type: ignore[arg-type]
