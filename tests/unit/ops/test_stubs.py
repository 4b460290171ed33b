"""Ops as `inspect`, `help`, editors and type checkers see them: as functions."""

from __future__ import annotations

import ast
import inspect
import pydoc
import sys
from pathlib import Path

import pytest

from nkipy.core import ops, tensor_apis
from nkipy.core.ops._registry import OPS, Op
from nkipy.distributed import collectives

ROOT = Path(__file__).parents[3]
TOOLS = ROOT / "tools"


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(TOOLS))
    try:
        import generate_op_stubs
    finally:
        sys.path.remove(str(TOOLS))
    return generate_op_stubs


def test_stubs_and_index_are_those_of_the_records(tool):
    stale = [
        p for p, make in tool.GENERATED.items() if (ROOT / p).read_text() != make()
    ]
    assert stale == [], "uv run tools/generate_op_stubs.py"


def test_no_stub_is_left_of_a_chapter_that_is_gone(tool):
    found = {str(p.relative_to(ROOT)) for p in (ROOT / tool.FOLDER).rglob("*.pyi")}
    assert found == {p for p in tool.GENERATED if p.endswith(".pyi")}


def names_in(stub: Path) -> set[str]:
    """What a stub says that a module gives out."""
    names = set()
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets)
        elif isinstance(node, ast.ImportFrom):
            names.update(a.asname for a in node.names if a.asname)
    return names


def test_the_stub_has_the_names_that_the_package_has(tool):
    assert names_in(ROOT / tool.FOLDER / "__init__.pyi") == set(ops.__all__)
    assert names_in(ROOT / tool.FOLDER / "nn/__init__.pyi") == set(dir(ops.nn))


def test_each_op_has_a_signature_and_a_text():
    for op in OPS.values():
        text = inspect.getdoc(op)
        assert inspect.isroutine(op), op
        assert text and text != inspect.getdoc(type(op)), op
        assert "object at 0x" not in str(inspect.signature(op)), op


def test_signatures_are_those_of_the_implementations():
    assert str(inspect.signature(tensor_apis.softmax)) == (
        "(x: ArrayLike, axis: int | Sequence[int] | None = -1) -> NDArray[Any]"
    )
    assert [*inspect.signature(collectives.all_reduce).parameters] == [
        *("data", "replica_groups", "reduce_op")
    ]
    assert str(inspect.signature(tensor_apis.topk)).endswith(
        "-> tuple[NDArray[Any], NDArray[Any]]"
    )


@pytest.mark.parametrize("op", [ops.add, ops.modf, ops.exp, ops.abs], ids=str)
def test_signatures_of_ufuncs_take_what_numpy_takes(op):
    ufunc, signature = op.ufunc, inspect.signature(op)
    inputs = [None] * ufunc.nin
    signature.bind(*inputs, where=None, casting="no", order="C", dtype=None, subok=True)
    signature.bind(*inputs, *[None] * ufunc.nout)
    signature.bind(*inputs, out=None)
    for wrong in (inputs[1:], [*inputs, *[None] * ufunc.nout, None]):
        with pytest.raises(TypeError):
            signature.bind(*wrong)


def test_help_shows_an_op_as_a_function():
    text = pydoc.render_doc(tensor_apis.softmax, renderer=pydoc.plaintext)
    assert "\nsoftmax(x: ArrayLike, axis: int | Sequence[int] | None = -1)" in text
    assert "Exponentials along an axis" in text
    of_module = pydoc.render_doc(tensor_apis, renderer=pydoc.plaintext)
    _, functions = of_module.split("\nFUNCTIONS\n")
    functions = functions.partition("\nDATA\n")[0]
    for name in tensor_apis.__all__:
        assert f"    {name}(" in functions


def test_the_class_of_ops_has_its_own_signature_and_text():
    assert "register" in inspect.signature(Op).parameters
    assert "One operation" in inspect.getdoc(Op)


def test_an_op_is_the_same_wherever_it_stands():
    class Holder:
        op = tensor_apis.softmax

    assert Holder.op is Holder().op is tensor_apis.softmax


def test_an_op_without_an_implementation_has_no_signature():
    op = Op("nothing", register=False)
    assert not hasattr(op, "__signature__")
    assert op.__doc__ == ""
