"""explain: of what it is asked, and how it tells what compiling has found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import spiky
from spiky import report
from spiky.report import ExactSize, GraphReport, Mask, Operation, Part
from spiky.torch import _backend


@pytest.fixture(autouse=True)
def ready(backend: None) -> None:
    pass


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each graph; compiling reports one part of it."""
    options: list[dict[str, Any]] = []

    def compile_graph(gm: torch.fx.GraphModule, _: Any, __: Any, read: Any) -> Any:
        options.append(read)
        told = report.begin_graph()
        calls = [node for node in gm.graph.nodes if node.op == "call_function"]
        told.parts.append(Part(True, tuple(Operation(str(n.target)) for n in calls)))
        return gm.forward

    monkeypatch.setattr(_backend, "compile_graph", compile_graph)
    return options


def double(x: torch.Tensor) -> torch.Tensor:
    return x + x


@pytest.mark.smoke
def test_it_is_called_as_torchs_is(seen: list[dict[str, Any]]) -> None:
    x = torch.ones(3)
    for told in (spiky.explain(double)(x), spiky.explain(double, x)):
        assert isinstance(told, spiky.Report)
        assert len(told.graphs) == 1 and told.breaks == []
        assert len(told.compiled_parts) == 1 and told.eager_parts == []
        assert "1 part compiled, 0 eager" in str(told)
    with pytest.raises(TypeError, match="takes a module or a function"):
        spiky.explain(3)  # type: ignore[arg-type]


@pytest.mark.smoke
def test_its_text_is_written_once(
    seen: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A session shows the report's repr below it, which is short."""
    told = spiky.explain(double, torch.ones(3))
    assert capsys.readouterr().out == f"{told}\n"
    assert str(told).startswith("1 graph\nforward: 1 part compiled, 0 eager\n")
    assert repr(told) == "<1 graph: 1 part compiled, 0 eager>"


def test_nothing_is_written_where_the_model_raises(
    seen: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    def refusing(x: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError("the model's own")

    with pytest.raises(ArithmeticError, match="the model's own"):
        spiky.explain(refusing)(torch.ones(3))
    assert capsys.readouterr().out == ""


def test_it_can_be_asked_any_number_of_times(seen: list[dict[str, Any]]) -> None:
    """It neither finds what it compiled before, nor reaches torch's limit by it."""
    for _ in range(12):
        assert len(spiky.explain(double)(torch.ones(3)).graphs) == 1
    assert report.begin_graph() not in spiky.explain(double)(torch.ones(3)).graphs


@pytest.mark.parametrize("what", ["module", "function", "ours"])
def test_it_takes_options_of_what_is_compiled(
    seen: list[dict[str, Any]], what: str
) -> None:
    options: dict[str, Any] = {"max_bucket_size": 17}
    model = double if what == "function" else torch.nn.Linear(3, 3)
    if what == "ours":
        compiled: Any = spiky.compile(model, options)
    else:
        compiled = torch.compile(model, backend="nkipy", options=options, dynamic=True)
    assert len(spiky.explain(compiled)(torch.ones(2, 3)).graphs) == 1
    assert [read.max_bucket_size for read in seen] == [17]


def test_another_backends_is_refused() -> None:
    compiled = torch.compile(double, backend="aot_eager")
    with pytest.raises(ValueError, match="another backend"):
        spiky.explain(compiled)(torch.ones(3))


def test_it_tells_where_python_goes_on(seen: list[dict[str, Any]]) -> None:
    def two_graphs(x: torch.Tensor) -> torch.Tensor:
        x = x + 1
        torch._dynamo.graph_break()
        return x * 2

    told = spiky.explain(two_graphs)(torch.ones(3))
    assert len(told.graphs) == 2 and len(told.breaks) == 1
    assert __file__ in told.breaks[0].line
    assert f"graph break: {told.breaks[0].reason}" in str(told)


def test_lines_of_a_notebook_are_those_of_its_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def named(file: str) -> tuple[str, str] | None:
        return ("Cell", "In[3]") if file == __file__ else None

    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=named))
    monkeypatch.setattr("nkipy.hlo.notebook.active_shell", lambda: shell)

    def run(x: torch.Tensor) -> torch.Tensor:
        x = torch.linalg.qr(x + 1)[0]
        torch._dynamo.graph_break()
        return x * 2

    first = run.__code__.co_firstlineno
    with pytest.warns(UserWarning, match=rf"^Cell In\[3\], line {first + 1}: .*eager"):
        told = spiky.explain(run)(torch.ones(3, 3))
    lines = [o.line for part in told.compiled_parts for o in part.operations]
    assert lines == [f"Cell In[3], line {first + n}" for n in (1, 3)]
    assert told.breaks[0].line == f"Cell In[3], line {first + 2}"


def test_its_text_has_all_of_it() -> None:
    mm, sort = Operation("aten.mm", "m.py:3"), Operation("aten.sort")
    graph = GraphReport(
        "backward",
        [Part(True, (mm, mm)), Part(False, (sort,), "it has no lowering")],
        {"s0": [8, 16]},
        [Mask(mm, "s0", "0")],
        [ExactSize(sort, "s1", "its result depends on the size")],
        ["pipelined: calls are synchronous"],
    )
    told = spiky.Report([graph])
    assert repr(told) == "<1 graph: 1 part compiled, 1 eager>"
    assert str(told) == (
        "1 graph\n"
        "backward: 1 part compiled, 1 eager\n"
        "  compiled, 2 operations\n"
        "    aten.mm    m.py:3\n"
        "    aten.mm    m.py:3\n"
        "  eager, 1 operation (it has no lowering)\n"
        "    aten.sort\n"
        "  buckets of s0: 8, 16\n"
        "  masked along s0 by 0: aten.mm    m.py:3\n"
        "  exact size of s1: aten.sort\n"
        "    its result depends on the size\n"
        "  note: pipelined: calls are synchronous"
    )


def test_it_needs_the_backend() -> None:
    spiky.torch.reset_nkipy_backend()
    with pytest.raises(RuntimeError, match="is not initialized"):
        spiky.explain(double)(torch.ones(3))
