"""What is replayed for a call is what its lowering emits."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops import _replay
from nkipy.core.ops._registry import Op
from nkipy.core.trace import trace_function

REPLAYED = sorted(name for name, op in OPS.items() if op._recipes is not None)


def _texts(kernel, args, times=4):
    """The modules of a kernel that is traced again and again, and their hashes."""
    modules = [trace_function(kernel, args, {}).module for _ in range(times)]
    return [(m.to_text(), m.content_hash(), m.serialize()) for m in modules]


def _split(args):
    """Arrays, and what puts them back in their places."""
    arrays = [a for a in args if isinstance(a, np.ndarray)]

    def join(traced):
        left = iter(traced)
        return [next(left) if isinstance(a, np.ndarray) else a for a in args]

    return arrays, join


def _call(op, sample):
    """A kernel that makes the call of a sample, and its arguments."""
    arrays, join = _split(sample.args)
    options = {k: v for k, v in sample.kwargs.items() if k != "out"}
    op._forget()
    return lambda *traced: op(*join(traced), **options), arrays


@pytest.mark.parametrize("name", REPLAYED)
def test_a_replayed_call_emits_what_the_first_one_did(name):
    op = OPS[name]
    for dtype in {d for d in op.dtypes if d in (dt.float32, dt.bfloat16, dt.int8)}:
        for sample in op.samples(dtype):
            first, *others = _texts(*_call(op, sample))
            assert others == [first] * 3, sample.label


def _recipes(op):
    return [r for r in op._recipes.values() if type(r) is _replay.Recipe]


def _trace(kernel, *args):
    return [trace_function(kernel, args, {}).module.to_text() for _ in range(4)]


X = np.ones((2, 3), np.float32)


@pytest.mark.parametrize("name", ["add", "matmul", "sum", "mean", "getitem", "reshape"])
def test_the_commonest_ops_are_replayed(name):
    op = OPS[name]
    op._forget()
    rest = {
        "add": (X,),
        "matmul": (X.T,),
        "getitem": ((0, slice(1, None)),),
        "reshape": ((3, 2),),
    }.get(name, ())
    arrays, join = _split((X, *rest))
    _trace(lambda *a: op(*join(a)), *arrays)
    assert len(_recipes(op)) == 1


@pytest.mark.parametrize("scalar", [(0.0, -0.0), (1, True), (1, 1.0), (2.0, 3.0)])
def test_scalars_that_are_equal_are_still_told_apart(scalar):
    first, second = scalar
    alone = _trace(lambda x: x + second, X)[0].split("ENTRY")[1]
    OPS["add"]._forget()
    _trace(lambda x: x + first, X)
    assert _trace(lambda x: x + second, X)[-1].split("ENTRY")[1] == alone


def test_a_view_of_a_replayed_call_writes_to_its_base():
    def kernel(x):
        y = x + 0.0
        row = y[1]
        row[:] = 5.0
        y.T[0, 0] = 7.0
        return y

    texts = _trace(kernel, X)
    assert len(set(texts)) == 1
    assert texts[0].count("dynamic-update-slice") >= 2


def test_what_depends_on_how_an_operand_was_made_is_not_replayed():
    power = OPS["power"]
    power._forget()
    squared = _trace(lambda x: x ** np.full_like(x, 2.0), X)
    assert len(set(squared)) == 1
    assert "power" not in squared[0]
    assert "power" in _trace(lambda x, y: x**y, X, X)[-1]


def test_a_reshape_of_what_lies_otherwise_in_memory_is_not_a_view():
    def kernel(x):
        flat = np.reshape(x.T, (6,))
        flat[0] = 5.0
        return x + 0.0, flat

    def of_contiguous(x):
        flat = np.reshape(x, (6,))
        flat[0] = 5.0
        return x + 0.0, flat

    assert len(set(_trace(of_contiguous, X))) == 1
    assert len(set(_trace(kernel, X))) == 1
    module = [trace_function(kernel, (X,), {}).module for _ in range(4)][-1]
    assert not module.aliases


def test_views_of_one_shape_are_told_apart_by_how_they_lie_in_memory():
    y = np.ones((4, 4, 4), np.float32)

    def stores(view):
        def kernel(y):
            y = y + 0.0
            flat = np.reshape(view(y), (4, 8))
            flat[0] = 5.0
            return y

        return kernel

    copied = _trace(stores(lambda y: y.transpose(2, 1, 0)[:, :, :2]), y)
    shared = _trace(stores(lambda y: y[:, :2]), y)
    for texts in (copied, shared):
        assert len(set(texts)) == 1
    assert "dynamic-update-slice" in shared[0]
    assert "dynamic-update-slice" not in copied[0]


def test_errors_are_the_same_after_success():
    def kernel(x, y):
        return x + y

    _trace(kernel, X, X)
    for _ in range(3):
        with pytest.raises(ValueError, match="could not be broadcast"):
            trace_function(kernel, (X, np.ones((2, 4), np.float32)), {})


def test_an_implementation_registered_later_is_used():
    op = Op("twice", replays=True, register=False)
    op.impl("hlo")(lambda x: x + x)
    assert "add" in _trace(lambda x: op(x), X)[-1]
    op.impl("hlo")(lambda x: x * x)
    assert "multiply" in _trace(lambda x: op(x), X)[-1]


def test_lines_are_those_of_the_call():
    def kernel(x):
        a = x * 2.0
        b = x * 2.0
        return a, b

    module = [trace_function(kernel, (X,), {}).module for _ in range(4)][-1]
    products = [i for i in module.operations if i.opcode == "multiply"]
    lines = [i.source_location.line for i in products]
    start = kernel.__code__.co_firstlineno
    assert lines == [start + 1, start + 2]


@pytest.mark.parametrize(
    "name, good, bad",
    [
        ("sum", (1,), (1.0,)),
        ("sum", ((0, 1),), ((0, 1.0),)),
        ("reshape", ((3, 2),), ((3, 2.0),)),
        ("getitem", (slice(0, 1),), (slice(0.0, 1.0),)),
        ("getitem", (1,), (1.0,)),
        ("getitem", ((0, 1),), ((0.0, 1.0),)),
    ],
)
def test_equal_arguments_of_other_types_are_not_taken_for_those_seen(name, good, bad):
    op = OPS[name]
    op._forget()
    _trace(lambda x: op(x, *good), X)
    assert len(_recipes(op)) == 1
    for _ in range(3):
        with pytest.raises((TypeError, IndexError)):
            trace_function(lambda x: op(x, *bad), (X,), {})


def test_an_index_of_true_is_not_one_of_1():
    getitem = OPS["getitem"]
    getitem._forget()
    _trace(lambda x: x[1], X)
    assert len(_recipes(getitem)) == 1
    with pytest.raises(NotImplementedError, match="Boolean"):
        trace_function(lambda x: x[True], (X,), {})


def test_names_of_arguments_are_told_from_their_values():
    def kernel(x):
        return np.sum(x, axis=0), np.sum(x, axis=0, keepdims=True), np.sum(x, 0)

    for _ in range(4):
        results = trace_function(kernel, (X,), {}).module.results
        assert [r.shape for r in results] == [(3,), (1, 3), (3,)]


def test_where_is_replayed_with_an_array_as_condition():
    where = OPS["where"]
    where._forget()
    mask = np.array([True, False, True])

    def kernel(x):
        return np.where(mask, x, -1.0), np.where(~mask, x, -1.0)

    first, *others = (trace_function(kernel, (X,), {}).module for _ in range(4))
    assert [m.to_text() for m in others] == [first.to_text()] * 3
    assert len(_recipes(where)) == 1
    for module in (first, *others):
        literals = [
            i.attributes["literal"].tolist()
            for i in module.entry.instructions
            if i.opcode == "constant" and i.shape
        ]
        assert literals == [[True, False, True], [False, True, False]]
