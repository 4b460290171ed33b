"""Each op is given out by its chapter, and by no other."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from nkipy.core import ops
from nkipy.core.ops._coverage import markdown, numpy_names
from nkipy.core.ops._numpy_chapters import NUMPY_CHAPTERS, numpy_page
from nkipy.core.ops._registry import OPS, Op

#: Where users find the ops that NKIPy has had from the beginning.
CHAPTERS = {
    "binary": (
        "add subtract multiply divide power maximum minimum bitwise_and bitwise_or "
        "bitwise_xor equal not_equal greater greater_equal less less_equal logical_and "
        "logical_or logical_xor logaddexp remainder mod floor_divide"
    ),
    "unary": (
        "abs absolute exp log sqrt negative sin cos tan arctan tanh ceil floor rint "
        "trunc round_ sign invert bitwise_not logical_not reciprocal square clip log1p "
        "log2 expm1 isnan isfinite"
    ),
    "reduce": "sum prod max min mean var std any argmax argmin cumsum count_nonzero",
    "transform": (
        "reshape transpose expand_dims squeeze swapaxes stack concatenate split copy "
        "copyto astype broadcast_to repeat tile pad diff flip roll"
    ),
    "indexing": (
        "where take take_along_axis put_along_axis static_slice dynamic_update_slice "
        "scatter_strided scatter_along_axis"
    ),
    "creation": (
        "zeros full constant zeros_like ones_like empty_like full_like tril triu diag"
    ),
    "conv": "conv2d conv3d",
    "nn": "softmax rms_norm topk",
    "linalg": "matmul dot norm outer trace",
    "collectives": "all_gather all_reduce reduce_scatter all_to_all",
}
#: Of what NumPy's manual has besides.
FURTHER = {"datatypes", "logic", "sorting", "statistics", "ufuncs"}


def chapter(name):
    return import_module(f"nkipy.core.ops.{name}")


@pytest.mark.parametrize(
    ("name", "op"),
    [(name, op) for name, listed in CHAPTERS.items() for op in listed.split()],
)
def test_an_op_is_found_in_its_chapter(name, op):
    found = getattr(chapter(name), op)
    assert isinstance(found, Op)
    assert found is getattr(ops, op)


def test_the_chapters_are_those_of_the_specification_and_of_the_manual():
    folder = Path(ops.__file__).parent
    files = {p.stem for p in folder.iterdir() if not p.name.startswith(("_", "."))}
    assert files == CHAPTERS.keys() | FURTHER
    assert {op.chapter for op in OPS.values()} == files


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_no_other_chapter_gives_out_an_op(op):
    names = [n for n in (op.name, *op.aliases) if n.isidentifier()]
    for name in (*CHAPTERS, *FURTHER):
        for own in names:
            if name == op.chapter:
                assert getattr(chapter(name), own) is op
            else:
                assert getattr(chapter(name), own, None) is not op


@pytest.mark.parametrize("name", sorted(CHAPTERS.keys() | FURTHER))
def test_a_chapter_lists_its_ops(name):
    module = chapter(name)
    own = {
        n
        for op in OPS.values()
        if op.chapter == name
        for n in (op.name, *op.aliases)
        if n.isidentifier()
    }
    assert own <= set(dir(module))
    if hasattr(module, "__path__"):  # a chapter of several files has nothing else
        assert set(module.__all__) == own
        space = {}
        exec(f"from {module.__name__} import *", space)
        assert {n: space[n] for n in own} == {n: getattr(module, n) for n in own}


def test_an_unknown_name_is_refused_as_in_any_module():
    with pytest.raises(ImportError, match="no_such_op"):
        from nkipy.core.ops.transform import no_such_op  # noqa: F401
    with pytest.raises(AttributeError, match=r"ops\.unary.*no_such_op"):
        chapter("unary").no_such_op  # noqa: B018


def test_the_coverage_table_has_a_row_for_each_function_that_an_op_answers():
    """In chapters of NumPy's reference, each with a link to NumPy's page."""
    rows = {}
    for line in markdown().splitlines():
        if found := re.match(r"\| \[`(.*?)`\]\((.*?)\) \| (.*?) \| ", line):
            rows.setdefault(found[1], set()).add(found.groups()[1:])
    for op in OPS.values():
        for name in numpy_names(op):
            page = f"https://numpy.org/doc/stable/reference/generated/numpy.{name}.html"
            to_ours = f"{{py:func}}`{op.name} <nkipy.core.ops.{op.chapter}.{op.name}>`"
            assert rows[name] == {(page, to_ours)}, name
        assert numpy_names(op) or not op.numpy
    assert rows["linalg.svd"] == {(numpy_page("linalg.svd"), "–")}


def test_the_coverage_table_lists_each_function_once():
    listed = [name for *_, names in NUMPY_CHAPTERS for name in names.split()]
    assert len(listed) == len(set(listed))


def test_the_coverage_table_has_the_ops_that_numpy_lacks():
    _, table = markdown().split("## Ops that are no functions of NumPy's")
    for op in (op for op in OPS.values() if not op.numpy):
        assert re.search(
            rf"^\| {op.chapter} \| .*\b{re.escape(op.name)}\b", table, re.M
        )
