"""Indices out of bounds: which are told, and that results are there all the same."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.rewrites.bounds import with_bounds_flag
from nkipy_emulator.errors import OutOfBoundsError

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def take_rows(b, x, i):
    dims = {"offset_dims": (1,), "collapsed_slice_dims": (0,), "start_index_map": (0,)}
    return b.gather(x, i, **dims, slice_sizes=(1, 3))


def take_blocks(b, x, i):
    dims = {
        "offset_dims": (1, 2),
        "collapsed_slice_dims": (),
        "start_index_map": (0, 1),
    }
    return b.gather(x, i, **dims, slice_sizes=(2, 2))


def put_rows(b, x, i, u):
    return b.scatter(
        *(x, i, u),
        update_window_dims=(1,),
        inserted_window_dims=(0,),
        scatter_dims_to_operand_dims=(0,),
    )


def cut(b, x, i, j):
    return b.dynamic_slice(x, (i, j), (2, 2))


def paste(b, x, u, i, j):
    return b.dynamic_update_slice(x, u, (i, j))


def scalar(value):
    return np.array(value, np.int32)


def column(*values, dtype=np.int32):
    return np.array(values, dtype).reshape(-1, 1)


def rows(count):
    return np.full((count, 3), -1, np.float32)


INSIDE = [
    (take_rows, column(0, 3)),
    (take_rows, column(0, 3, dtype=np.uint8)),
    (take_rows, column()),
    (take_blocks, np.array([[2, 1], [0, 0]], np.int32)),
    (put_rows, column(3, 0), rows(2)),
    (cut, scalar(2), scalar(1)),
    (paste, np.ones((2, 2), np.float32), scalar(2), scalar(0)),
]
OUTSIDE = [
    (take_rows, column(0, 4)),
    (take_rows, column(-1, 0)),
    (take_rows, column(0, 200, dtype=np.uint8)),
    (take_blocks, np.array([[0, 0], [3, 1]], np.int32)),
    (take_blocks, np.array([[0, 2], [2, 1]], np.int32)),
    (put_rows, column(4, 0), rows(2)),
    (cut, scalar(3), scalar(0)),
    (cut, scalar(0), scalar(-1)),
    (paste, np.ones((2, 2), np.float32), scalar(0), scalar(2)),
]


def name_of(case):
    return case[0].__name__


def run(engine, module, arrays, check_bounds):
    out = np.zeros(module.results[0].shape, module.results[0].dtype)
    failed = False
    executable = engine.compile(module, check_bounds=check_bounds)
    try:
        executable.run(arrays, [out])
    except OutOfBoundsError as e:
        assert "out of bounds" in str(e)
        failed = True
    return out, failed


@pytest.mark.parametrize("case", INSIDE, ids=name_of)
def test_indices_inside_are_fine(engine, module_of, case):
    body, *rest = case
    module = module_of(body, X, *rest)
    plain, _ = run(engine, module, [X, *rest], False)
    checked, failed = run(engine, module, [X, *rest], True)
    assert not failed
    np.testing.assert_array_equal(checked, plain)


@pytest.mark.parametrize("case", OUTSIDE, ids=name_of)
def test_indices_outside_are_told_and_results_are_xlas(engine, module_of, case):
    body, *rest = case
    module = module_of(body, X, *rest)
    plain, failed = run(engine, module, [X, *rest], False)
    assert not failed
    checked, failed = run(engine, module, [X, *rest], True)
    assert failed
    np.testing.assert_array_equal(checked, plain)


def test_one_of_several_is_enough_and_the_next_call_is_judged_anew(engine, module_of):
    def body(b, x, i, j):
        return take_rows(b, x, i), take_rows(b, x, j)

    module = module_of(body, X, column(0), column(0))
    executable = engine.compile(module, check_bounds=True)
    outs = [np.zeros((1, 3), np.float32) for _ in range(2)]
    for _ in range(2):
        executable.run([X, column(1), column(2)], outs)
        np.testing.assert_array_equal(outs[1], X[2:3])
        for i, j in ((0, 9), (9, 0)):
            with pytest.raises(OutOfBoundsError):
                executable.run([X, column(i), column(j)], outs)


def test_a_program_that_asks_for_any_as_the_check_does(engine, module_of):
    def body(b, x, i):
        positive = b.compare(x, b.full_like(x, 0), "GT")
        return take_rows(b, x, i), b.reduce(positive, "or", False, (0, 1))

    module = module_of(body, X, column(0))
    outs = [np.zeros((1, 3), np.float32), np.zeros((), bool)]
    engine.compile(module, check_bounds=True).run([X, column(1)], outs)
    np.testing.assert_array_equal(outs[0], X[1:2])
    assert outs[1] == (X > 0).any()


WITH_INDICES = [case for case in (*INSIDE, *OUTSIDE) if case[1].size]


@pytest.mark.parametrize("case", WITH_INDICES, ids=name_of)
def test_the_flag_is_a_value_of_the_program(engine, module_of, case):
    """No handler is needed: any client may make a result of it."""
    body, *rest = case
    module = module_of(body, X, *rest)
    before = module.serialize()
    copy, flag = with_bounds_flag(module)
    assert module.serialize() == before
    copy.set_results(flag)
    copy.verify()
    outside = np.empty((), np.bool_)
    engine.compile(copy).run([X, *rest], [outside])
    assert outside == any(case is other for other in OUTSIDE)


def test_without_indices_there_is_no_flag(module_of):
    for module in (
        module_of(lambda b, x: b.negate(x), X),
        module_of(take_rows, X, column()),
    ):
        assert with_bounds_flag(module) == (module, None)
