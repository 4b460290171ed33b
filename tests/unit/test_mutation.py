"""Stores into parameters, their views, and arrays made inside the kernel, as in NumPy.

Each kernel runs both ways: as plain NumPy, and traced and executed.
"""

from __future__ import annotations

import re
import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from nkipy.core.known_tensor import KnownTensor
from nkipy.core.trace import trace_function
from nkipy.runtime import simulate_jit
from nkipy.testing import run_simulated
from tests.support.kernels import check_kernel

X = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
Y = np.full((3, 4), 0.5, np.float32)


def check(kernel: Any) -> None:
    check_kernel(kernel, X, Y)


# -- parameters and their views --------------------------------------------------------
def test_stores_through_views_reach_the_parameter():
    def kernel(x: Any, y: Any) -> Any:
        x[0][1:] = 4
        x.T[3] = y[:, 0]
        x[1:, ::2][:, ::-1][0] = y[0, :2] * 3
        x[2, None][0, 1:2] += 7
        return x

    check(kernel)


def test_augmented_assignment_mutates_what_others_see():
    def kernel(x: Any, y: Any) -> Any:
        row = x[1]
        whole = x
        x[1] += y[1]
        row *= 2
        x -= 1
        return row, whole

    check(kernel)


def test_a_copy_is_not_a_view():
    def kernel(x: Any, y: Any) -> Any:
        fancy, scalar, copied = x[[0, 1]], x[0, 0], x.copy()
        fancy[:] = 0
        x[0, 0] = 99
        copied[1] = -1
        return fancy, scalar, copied, x

    check(kernel)


def test_an_old_view_sees_later_stores():
    def kernel(x: Any, y: Any) -> Any:
        column, part = x[:, 1], x[1:, 1:][::-1]
        before = part * 1
        x[...] = y
        x[2, 1] = 8
        return column, part, before

    check(kernel)


def test_overlapping_store_reads_before_it_writes():
    def kernel(x: Any, y: Any) -> Any:
        x[1:] = x[:-1]
        x[:, ::-1] = x
        return x

    check(kernel)


def test_swap_rows_and_columns():
    def kernel(x: Any, y: Any) -> Any:
        x[[0, 2]] = x[[2, 0]]
        a, b = x[:, 0].copy(), x[:, 1].copy()
        x[:, 0], x[:, 1] = b, a
        return x

    check(kernel)


def test_scalars_are_not_mutated_but_zero_d_arrays_are():
    def kernel(x: Any, y: Any, t: Any) -> Any:
        total = x.sum()
        kept = total
        total += 1
        row = x[0, 0]
        row += y[0]
        count = (x > 3).sum()
        count /= 2
        part = x[1, 1, ...]
        same = part
        part += 1
        also = t
        t += 2
        t += 3
        return total, kept, row, count, same, x, also

    check_kernel(kernel, X, Y, np.array(5, np.int32))


def test_integers_with_ellipsis_or_none_give_views():
    def kernel(x: Any, y: Any) -> Any:
        whole, element, longer = x[0, 0, ...], x[0, 1], x[0, 2, None]
        whole[...] = 9
        longer[0] = 5
        x[()][1] = 0
        return whole, element, longer, x

    check(kernel)


def test_augmented_assignment_through_arrays_of_indices():
    def kernel(x: Any, y: Any) -> Any:
        x[[0, 0, 1]] += 1
        x[:, [1, 3]] *= 2
        x[np.array([True, False, True])] -= 3
        x[x > 10] = x.max()
        return x

    check(kernel)


def test_sorting_and_filling_views_in_place():
    def kernel(x: Any, y: Any) -> Any:
        np.multiply(x[0], -2, out=x[1])
        x[1].sort()
        x.T[0].fill(1.5)
        x.ravel()[1] = 7
        np.flip(x, 1)[0, 0] = 3
        np.expand_dims(x, 0)[0, 1, 1] = -5
        return x

    check(kernel)


# -- arrays made inside the kernel -----------------------------------------------------
def test_buffer_collects_traced_values():
    def kernel(x: Any, y: Any) -> Any:
        buffer = np.zeros((4, 4), np.float32)
        buffer[0] = x[0] * 2
        buffer[1:] += y
        return buffer

    check(kernel)


def test_views_taken_before_the_first_traced_store_follow():
    def kernel(x: Any, y: Any) -> Any:
        buffer = np.empty((4, 4), np.float32)
        rows, turned, flat = buffer[1:], buffer.T, buffer.reshape(-1)
        strided = buffer[::2, 1::2]
        buffer[:] = 1
        buffer[2] = x[0]
        rows[0, 1] = y[0, 0]
        turned[0] = 7
        flat[3] += x[1, 1]
        strided *= 2
        return buffer, rows, turned * 1, flat.sum(), strided

    check(kernel)


def test_reshapes_that_no_basic_index_expresses():
    def kernel(x: Any, y: Any) -> Any:
        buffer = np.zeros((4, 6), np.float32)
        split = buffer.reshape(2, 2, 3, 2)
        split[1, :, 2] = x[0, 0]
        run = buffer[1:3].reshape(-1)
        run[5:8] = y[0, :3]
        halves = buffer[:, :4].reshape(4, 2, 2)
        halves[0] = x[0].reshape(2, 2)
        loose = buffer[:, :4].ravel()
        loose[0] = 100
        return buffer, split, run, halves, loose

    check(kernel)


@pytest.mark.parametrize("order", ["C", "F"])
def test_fortran_order_and_diagonals(order):
    def kernel(x: Any, y: Any) -> Any:
        buffer = np.zeros((3, 4), np.float32, order=order)
        part = buffer.T[1:, ::-1]
        buffer[1] = x[1]
        part[0] = y[:, 0]
        np.fill_diagonal(buffer, x[2, 2])
        return buffer, part, buffer.diagonal(), buffer[:, None, 2:]

    check(kernel)


def test_conversions_of_traced_values():
    def kernel(x: Any, y: Any) -> Any:
        return (
            np.array([x[0], x[1] * 2]),
            np.array([[x[0, 0], 1], [2, y[0, 0]]]),
            np.asarray([1, x[0, 1]], np.float16),
            np.array(x, ndmin=3),
            np.full((2, 3), x[1, 1]),
            np.full_like(np.ones(3, np.float32), y[0, 0]),
        )

    check(kernel)


def test_asarray_of_a_traced_array_is_that_array():
    def kernel(x: Any, y: Any) -> Any:
        np.asarray(x)[0] = 5
        np.array(x)[1] = 6
        return x

    check(kernel)


def test_known_values_steer_the_trace():
    def kernel(x: Any, y: Any) -> Any:
        steps = np.arange(4)
        out = np.zeros(len(steps), np.float32)
        for i in steps[steps % 2 == 0]:
            out[i] = x[:, i].sum()
        if np.ones(2).sum() == 2:
            out[int(steps[1])] = -1
        return out, np.zeros(tuple(steps[1:3]), np.float32)

    check(kernel)


def test_copies_and_functions_of_a_traced_buffer():
    def kernel(x: Any, y: Any) -> Any:
        a = np.zeros((2, 3, 4), np.float32)
        a[0] = x
        b = a.copy()
        b[1] = y
        a[1, :, 1] = 5
        first, second = a
        return (
            a + b,
            np.add(a, 1) * b,
            a.sum(axis=0),
            a.max(),
            np.concatenate([a, b]),
            np.where(a > 2, a, b),
            first - second,
            len(a),
            a.T.reshape(4, -1),
            a.astype(np.int32),
        )

    check(kernel)


def test_functions_that_write_their_argument():
    def kernel(x: Any, y: Any) -> Any:
        a, b = np.zeros((3, 4), np.float32), np.zeros(4, np.float32)
        np.copyto(a, x)
        np.add(a, y, out=a)
        np.sum(x, axis=0, out=b)
        c = np.ones(4, np.float32)
        np.put(c, [1, 3], x[0, :2])
        d = np.zeros((3, 4), np.float32)
        d.fill(x[0, 1])
        np.multiply(d, d, out=d)
        return a, b, c, d

    check(kernel)


def test_in_place_operators_rebind_to_the_same_memory():
    def kernel(x: Any, y: Any) -> Any:
        a = np.ones((3, 4), np.float32)
        alias = a
        a += x
        b = a
        b *= 2
        a[0] -= 1
        alias[:, 1:3] /= 4
        return a, b, alias

    check(kernel)


def test_traced_index_into_known_values():
    def kernel(table: Any, t: Any) -> Any:
        squares = np.arange(6, dtype=np.float32) ** 2
        read = squares[t]
        squares[t] = -1
        return read, squares, table[t]

    check_kernel(kernel, np.arange(6, dtype=np.int32), np.array([1, -1, 4], np.int32))


def test_sixty_four_bit_buffers_are_narrowed():
    def kernel(x: Any) -> Any:
        buffer, counts = np.zeros((2, 2)), np.zeros(3, int)
        buffer[0, 0] = x[0, 0]
        counts[1] = x[0, 1]
        return buffer, counts

    got = run_simulated(kernel, X)
    assert [g.dtype for g in got] == [np.float32, np.int32]
    np.testing.assert_array_equal(got[0], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(got[1], [0, 2, 0])


def test_uninitialised_memory_is_no_constant():
    def kernel(x: Any) -> Any:
        buffer = np.empty((64, 64), np.float32)
        buffer[0, :3] = x
        return buffer

    module = trace_function(kernel, (np.ones(3, np.float32),), {}).module
    constants = [i for i in module.operations if i.opcode == "constant"]
    assert all(c.attributes["literal"].size == 1 for c in constants)


def test_recurrences_and_lists_of_states():
    def kernel(x: Any, y: Any) -> Any:
        out = np.zeros_like(x)
        state, states = np.zeros(4, np.float32), []
        for i in range(3):
            state = state * 0.5 + x[i]
            states.append(state)
            out[i] = out[i - 1] + state
        return out, np.array(states), np.stack(states)

    check(kernel)


def test_arrays_derived_from_arrays_made_here():
    def kernel(x: Any, y: Any) -> Any:
        a = np.concatenate([np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)])
        b = np.tile(np.arange(2, dtype=np.float32), 2)
        c = np.ones(3, np.float32) * 2
        a[0], b[1], c[0] = x[0], x[0, 1], x[1, 1]
        return a, b, c

    check(kernel)


# -- what is refused -------------------------------------------------------------------
def test_store_into_an_array_from_outside():
    outside = np.zeros(4, np.float32)

    def kernel(x: Any) -> None:
        outside[:] = x[0]

    with pytest.raises(TypeError, match="np.zeros, np.empty"):
        trace_function(kernel, (X,), {})
    assert (outside == 0).all()


def test_an_array_kept_from_another_trace_stays_known():
    kept: list[Any] = []

    def first(x: Any) -> Any:
        kept.append(np.ones(4, np.float32))
        return x

    def second(x: Any) -> None:
        kept[0][:] = x[0]

    trace_function(first, (X,), {})
    with pytest.raises(TypeError, match="outside of this trace"):
        trace_function(second, (X,), {})
    assert (kept[0] + 1 == 2).all()


@pytest.mark.parametrize("use", [float, int, bool, list, lambda a: a.tolist()])
def test_values_of_a_traced_buffer_are_not_known(use):
    def kernel(x: Any) -> Any:
        buffer = np.zeros((), np.float32)
        buffer[...] = x[0, 0]
        return use(buffer)

    with pytest.raises(TypeError, match="not known|0-d"):
        trace_function(kernel, (X,), {})


def test_read_only_array():
    def kernel(x: Any) -> None:
        buffer = np.zeros(4, np.float32)
        buffer.setflags(write=False)
        buffer[:] = x[0]

    with pytest.raises(ValueError, match="read-only"):
        trace_function(kernel, (X,), {})


# -- the hooks themselves --------------------------------------------------------------
def test_numpy_is_untouched_afterwards_and_when_a_kernel_fails():
    before = (np.zeros, np.array, np.random.rand, np.take)

    def kernel(x: Any) -> None:
        assert isinstance(np.zeros(3), KnownTensor)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        trace_function(kernel, (X,), {})
    assert before == (np.zeros, np.array, np.random.rand, np.take)
    assert type(np.zeros(3)) is np.ndarray


def test_other_threads_get_plain_arrays():
    seen: list[type] = []

    def kernel(x: Any) -> Any:
        worker = threading.Thread(target=lambda: seen.append(type(np.zeros(3))))
        worker.start()
        worker.join()
        return x

    trace_function(kernel, (X,), {})
    assert seen == [np.ndarray]


def test_a_trace_inside_of_a_trace():
    def inner(x: Any) -> Any:
        buffer = np.zeros(4, np.float32)
        buffer[:] = x[0]
        return buffer

    def outer(x: Any) -> Any:
        before = np.zeros(4, np.float32)
        trace_function(inner, (X,), {})
        before[:] = x[1]
        after = np.ones(4, np.float32)
        after[0] = x[0, 0]
        return before, after

    check_kernel(outer, X)


def test_random_numbers_are_announced_as_constants():
    def kernel(x: Any) -> Any:
        return x + np.random.rand(3, 4).astype(np.float32)

    with pytest.warns(UserWarning, match=r"np\.random\.rand .* become constants"):
        trace_function(kernel, (X,), {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.random.rand(2)


def test_default_rng_is_announced_too():
    def kernel(x: Any) -> Any:
        return x * np.random.default_rng(0).random()

    with pytest.warns(UserWarning, match="default_rng"):
        trace_function(kernel, (X,), {})


def test_views_made_by_functions_share_memory():
    def kernel(x: Any, y: Any) -> Any:
        buffer = np.zeros((4, 4), np.float32)
        top, bottom = np.split(buffer, 2)
        same = np.asarray(buffer)
        views = [np.atleast_3d(buffer), np.flip(buffer), np.moveaxis(buffer, 0, 1)]
        spread = np.expand_dims(buffer, 0)
        same[0] = x[0]
        bottom[1] += y[0]
        spread[0, 1] = x[1]
        return buffer, top, bottom, same, *views

    check(kernel)


@pytest.mark.filterwarnings("ignore:argument 'x'")
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_what_is_left_alone_keeps_its_digits():
    def kernel(x: Any) -> None:
        x[0] = 5
        x[2] = -x[2]

    x = np.array([1, 1 / 3, 0, np.nan, 1e300])
    want = x.copy()
    kernel(want)
    simulate_jit(kernel)(x)
    assert x.tobytes() == want.tobytes()


# -- containers among the arguments ----------------------------------------------------
@dataclass
class State:
    w: Any
    step: int = 0


class Named(dict):
    step = 0


@pytest.mark.parametrize(
    ("argument", "change", "name"),
    [
        ({"w": X}, lambda p: p.update(w=p["w"] - 1), "p.w"),
        ({"w": X}, lambda p: p.update(v=p["w"]), "p.v"),
        ({"n": {"t": 1}}, lambda p: p["n"].update(t=2), "p.n.t"),
        ([X], lambda p: p.append(p[0] * 2), "p.1"),
        ([X], lambda p: p.pop(), "p.0"),
        ((State(X),), lambda p: setattr(p[0], "w", p[0].w - 1), "p.0.w"),
        (State(X), lambda p: setattr(p, "step", 1), "p.step"),
        (State(X), lambda p: setattr(p, "other", p.w), "p._other"),
        (Named(w=X), lambda p: setattr(p, "step", 1), "p._step"),
    ],
)
def test_something_else_put_into_an_argument_is_refused(argument, change, name):
    def kernel(p: Any) -> None:
        change(p)

    match = rf"(?s)in the place of '{re.escape(name)}'.*test_mutation\.py:\d"
    with pytest.raises(NotImplementedError, match=match):
        trace_function(kernel, (argument,), {})


def test_containers_that_the_kernel_returns_or_has_for_itself_may_change():
    def kernel(p: dict[str, Any], **options: Any) -> Any:
        p["w"] = p["w"] - options.pop("rate")
        p["n"] *= 2  # in place, the same array
        scratch = dict(p["same"])
        scratch["w"] = p["w"]
        return [p], scratch["w"]

    def arguments() -> dict[str, Any]:
        return {"w": X.copy(), "n": X.copy(), "same": {"w": X.copy()}}

    want, got = arguments(), arguments()
    expected, result = kernel(want, rate=2), simulate_jit(kernel)(got, rate=2)
    np.testing.assert_array_equal(result[0][0]["w"], expected[0][0]["w"])
    np.testing.assert_array_equal(result[1], expected[1])
    np.testing.assert_array_equal(got["n"], want["n"])
