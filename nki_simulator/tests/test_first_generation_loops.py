"""Loops of the first generation: iterations that depend, and reductions over loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nkipy_nki import NkiValidationError
from nkipy_nki import simulate as simulate_by
from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# -- iterations that depend ------------------------------------------------------------
def _carried(loop: Any, a: Any) -> Any:
    """Each iteration reads what the one before wrote."""
    total = nl.zeros((4, 1), nl.float32)
    for i in loop(4):
        total[...] = nl.add(total, a[:, i])
    return total


def _written_again(loop: Any, a: Any) -> Any:
    """All iterations write to one tile."""
    total = nl.zeros((4, 1), nl.float32)
    for i in loop(4):
        total[...] = nl.copy(a[:, i])
    return total


def _overlapping(loop: Any, a: Any) -> Any:
    """Iterations write columns that overlap by one."""
    total = nl.zeros((4, 5), nl.float32)
    for i in loop(4):
        total[:, i : i + 2] = nl.broadcast_to(nl.copy(a[:, i]), shape=(4, 2))
    return total


def _read_before(loop: Any, a: Any) -> Any:
    """An iteration reads what a later one writes."""
    total = nl.zeros((4, 6), nl.float32)
    for i in loop(4):
        total[:, i] = nl.add(total[:, i + 1], a[:, i])
    return total


def _two_operations(loop: Any, a: Any) -> Any:
    """Iterations add and multiply in turns."""
    total = nl.zeros((4, 1), nl.float32)
    for i in loop(4):
        if i % 2:
            total += a[:, i]
        else:
            total *= a[:, i]
    return total


def _read_while_added(loop: Any, a: Any) -> Any:
    """A sum is read before it is whole."""
    total, seen = nl.zeros((4, 1), nl.float32), nl.zeros((4, 4), nl.float32)
    for i in loop(4):
        total += a[:, i]
        seen[:, i] = nl.copy(total)
    return seen


def _left_from_before(loop: Any, a: Any) -> Any:
    """A tile of one iteration is used in the next."""
    kept: list[Any] = []
    total = nl.zeros((4, 4), nl.float32)
    for i in loop(4):
        if kept:
            kept[0] += 1.0
            kept[0][...] = nl.copy(a[:, i])
        else:
            kept.append(nl.copy(a[:, i]))
    total[:, 0] = nl.copy(kept[0])
    return total


DEPENDENT = [
    _carried,
    _written_again,
    _overlapping,
    _read_before,
    _two_operations,
    _read_while_added,
    _left_from_before,
]


def kernel_of(body: Callable[..., Any], loop: Any) -> Any:
    @nki.jit
    def kernel(a):
        made = body(loop, nl.load(a))
        out = nl.ndarray(made.shape, nl.float32, buffer=nl.shared_hbm)
        nl.store(out, made)
        return out

    return kernel


@pytest.mark.parametrize("body", DEPENDENT, ids=lambda body: body.__name__)
def test_iterations_that_depend_are_found(body: Callable[..., Any]) -> None:
    a = random(4, 4)
    with pytest.raises(NkiValidationError) as caught:
        kernel_of(body, nl.affine_range)(a)
    text = str(caught.value)
    assert "err_unexpected_output_dependencies" in text
    assert "[iteration-race]" in text and f"{__file__}:" in text
    kernel_of(body, nl.sequential_range)(a)
    kernel_of(body, nl.static_range)(a)


def test_the_finding_has_a_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = kernel_of(_carried, nl.affine_range)
    a = random(4, 4)
    wanted = a.sum(1, keepdims=True)
    off = simulate_by(kernel, findings={"iteration-race": "off"})
    np.testing.assert_allclose(off(a), wanted, rtol=1e-5, atol=1e-6)
    monkeypatch.setenv("NKIPY_NKI_FINDINGS", "iteration-race=warning")
    with pytest.warns(UserWarning, match="iteration-race"):
        kernel(a)


def _own_columns(loop: Any, a: Any) -> Any:
    total = nl.zeros((4, 8), nl.float32)
    i_p, i_f = nl.arange(4)[:, None], nl.arange(2)[None, :]
    for i in loop(4):
        total[i_p, i + 4 * i_f] = nl.broadcast_to(a[:, i] * 2.0, shape=(4, 2))
    return total


def _sums(loop: Any, a: Any) -> Any:
    total = nl.zeros((4, 1), nl.float32)
    for i in loop(4):
        total += a[:, i]
    return total


def _blocks(loop: Any, a: Any) -> Any:
    tiles = nl.ndarray((4, nl.par_dim(4), 1), nl.float32)
    made = nl.zeros((4, 4), nl.float32)
    for i in loop(4):
        tiles[i] = nl.exp(a[:, i])
        made[:, i] = nl.copy(tiles[i])
    return made


def _by_masks(loop: Any, a: Any) -> Any:
    """Each iteration writes a diagonal of its own."""
    made = nl.zeros((4, 4), nl.float32)
    i_p, i_f = nl.arange(4)[:, None], nl.arange(4)[None, :]
    for i in loop(4):
        made[i_p, i_f] = nl.copy(a, mask=(i_p + i_f) % 4 == i)
    return made


@pytest.mark.parametrize("body", [_own_columns, _sums, _blocks, _by_masks])
def test_iterations_that_do_not_depend_give_no_finding(body: Any) -> None:
    a = random(4, 4)
    made = kernel_of(body, nl.affine_range)(a)
    np.testing.assert_array_equal(made, kernel_of(body, nl.sequential_range)(a))


# -- reductions over loops -------------------------------------------------------------
@nki.jit
def reduced_over_loops(a):
    """The greatest of tiles, over two loops; and a sum over the inner one."""
    greatest = nl.ndarray((8, 4), a.dtype, buffer=nl.shared_hbm)
    sums = nl.ndarray((2, 8, 4), a.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(2):
        for j in nl.affine_range(3):
            x = nl.load(a[i, j])
            most = nl.loop_reduce(x, op=np.max, loop_indices=[i, j])
            total = nl.loop_reduce(nl.exp(x), op=np.add, loop_indices=[j])
        nl.store(sums[i], total)
    nl.store(greatest, most)
    return greatest, sums


def test_tiles_are_reduced_over_loops() -> None:
    a = random(2, 3, 8, 4)
    greatest, sums = reduced_over_loops(a)
    np.testing.assert_array_equal(greatest, a.max((0, 1)))
    np.testing.assert_allclose(sums, np.exp(a).sum(1), rtol=1e-5)


@nki.jit
def reduced_apart(a):
    """Sums over the outer loop: each place, and each of the inner ones, has its own."""

    def summed(x: Any, over: Any) -> Any:
        return nl.loop_reduce(x, op=np.add, loop_indices=[over])

    sums = nl.ndarray((4, 8, 4), a.dtype, buffer=nl.shared_hbm)
    kept = nl.ndarray((4, nl.par_dim(8), 4), a.dtype)
    for i in nl.sequential_range(2):
        for j in range(2):  # which is unrolled, and not seen
            kept[j] = summed(nl.load(a[i, j]), i)
        kept[2] = summed(nl.load(a[i, 2]), i)
        kept[3] = summed(nl.load(a[i, 0]) * 2.0, i)
    for j in nl.affine_range(4):
        nl.store(sums[j], kept[j])
    return sums


def test_reductions_of_one_function_are_told_apart() -> None:
    a = random(2, 3, 8, 4)
    total = a.sum(0)
    expected = np.stack([*total, 2 * total[0]])
    np.testing.assert_allclose(reduced_apart(a), expected, rtol=1e-5, atol=1e-6)


@nki.jit
def reduced_around_a_loop(a):
    """Over the outermost and the innermost of three loops."""
    sums = nl.ndarray((3, 8, 4), a.dtype, buffer=nl.shared_hbm)
    kept = nl.ndarray((3, nl.par_dim(8), 4), a.dtype)
    for i in nl.sequential_range(2):
        for j in nl.sequential_range(3):
            for _ in nl.sequential_range(2):
                over = [i, _]
                kept[j] = nl.loop_reduce(nl.load(a[i, j]), np.add, loop_indices=over)
    for j in nl.affine_range(3):
        nl.store(sums[j], kept[j])
    return sums


def test_reductions_keep_the_loop_between() -> None:
    a = random(2, 3, 8, 4)
    np.testing.assert_allclose(
        reduced_around_a_loop(a), 2 * a.sum(0), rtol=1e-5, atol=1e-6
    )


def test_reductions_over_no_loop_are_refused() -> None:
    @nki.jit
    def kernel():
        nl.loop_reduce(nl.ones((4, 4), nl.float32), op=np.add, loop_indices=[3])

    with pytest.raises(NkiValidationError, match="counters of loops"):
        kernel()


# -- updates in place ------------------------------------------------------------------
@nki.jit
def updated(a):
    out = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
    x = nl.load(a)
    x += 1.0
    x[0:2, 1:3] *= x[0:2, 0:2]
    x -= nl.exp(x)
    x[...] /= nl.ones((4, 1), nl.float32) * 4
    nl.store(out, x)
    return out


def test_updates_are_in_place() -> None:
    a = random(4, 4)
    wanted = a + 1
    wanted[:2, 1:3] *= wanted[:2, :2].copy()
    wanted = (wanted - np.exp(wanted)) / 4
    np.testing.assert_allclose(updated(a), wanted, rtol=1e-5, atol=1e-6)


def test_products_are_accumulated_by_one_instruction_each() -> None:
    @nki.jit
    def kernel(a):
        out = nl.ndarray((4, 4), a.dtype, buffer=nl.shared_hbm)
        total = nl.zeros((4, 4), nl.float32, buffer=nl.psum)
        for i in nl.affine_range(3):
            x = nl.load(a[i])
            total += nisa.nc_matmul(x, x)
        nl.store(out, total)
        return out

    a = random(3, 5, 4)
    run = kernel.simulate(a)
    wanted = np.einsum("bki,bkj->ij", a, a)
    np.testing.assert_allclose(run.values, wanted, rtol=1e-4, atol=1e-5)
    names = [made.record.name for made in run.programs[0].instructions()]
    assert names.count("nc_matmul") == 3 and "tensor_tensor" not in names
    assert run.report().total > 0 and not run.findings


def test_a_result_that_was_assigned_is_not_used_when_its_place_was_written() -> None:
    @nki.jit
    def kernel(a, changes):
        out = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray(a.shape, a.dtype)
        x = nl.load(a)
        tile[...] = x
        if changes:
            tile += 1.0
        nl.store(out, nl.multiply(x, 2.0))
        return out

    a = random(4, 4)
    np.testing.assert_array_equal(kernel(a, False), a * 2)
    with pytest.raises(NkiValidationError, match="was written since"):
        kernel(a, True)


@pytest.mark.parametrize(
    ("op", "reduced"),
    [
        (np.add, np.sum),
        (np.maximum, np.max),
        (np.minimum, np.min),
        (np.multiply, np.prod),
    ],
)
def test_a_mask_leaves_iterations_out_of_a_sum(
    op: np.ufunc, reduced: Callable[..., np.ndarray]
) -> None:
    x = -1 - np.arange(4 * 16, dtype=np.float32).reshape(4, 16) / 16
    given = masked_sum(op)(np.repeat(x, 4, axis=0))
    np.testing.assert_array_equal(given[0], reduced(x[1:], axis=0))  # all exact


@pytest.mark.parametrize("op", [np.subtract, np.divide, np.power])
def test_what_nothing_begins_with_takes_no_mask(op: np.ufunc) -> None:
    with pytest.raises(NkiValidationError, match="which no number begins with"):
        masked_sum(op)(np.ones((16, 16), np.float32))


def masked_sum(op: np.ufunc) -> Callable[..., np.ndarray]:
    """Reduces blocks of four rows with an operation, without the first block."""

    @nki.jit
    def kernel(a):
        out = nl.ndarray((4, 16), dtype=a.dtype, buffer=nl.shared_hbm)
        rows, columns = nl.mgrid[0:4, 0:16]
        for i in nl.affine_range(4):
            tile = nl.load(a[i * 4 + rows, columns])
            total = nl.loop_reduce(tile, op=op, loop_indices=[i], mask=(i > 0))
        nl.store(out[rows, columns], total)
        return out

    return kernel
