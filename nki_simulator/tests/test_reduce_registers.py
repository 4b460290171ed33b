"""Reduce registers over several instructions, and what is found about their use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nkipy_nki import NkiValidationError, simulate
from nkipy_nki import isa as nisa
from nkipy_nki import language as nl
from nkipy_nki.isa import reduce_cmd

A = np.arange(-12, 12, dtype=np.float32).reshape(4, 6) / np.float32(4)


def _run(
    body: Callable[[Any, Any], None], target: str = "trn3", **findings: str
) -> np.ndarray:
    """What `body` writes to a tile ``[4, 1]``, from a tile of `A`."""

    def kernel(a: Any) -> Any:
        tile = nl.ndarray(a.shape, nl.float32)
        nisa.dma_copy(tile, a)
        result = nl.ndarray((4, 1), nl.float32)
        body(tile, result)
        out = nl.ndarray((4, 1), nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(out, result)
        return out

    return simulate(kernel, target=target, findings=findings)(A)


def _like(tile: Any) -> Any:
    return nl.ndarray(tile.shape, nl.float32)


def _activation(
    tile: Any, command: Any, result: Any = None, reduce_op: Any = "add"
) -> None:
    nisa.activation(
        _like(tile),
        "square",
        tile,
        reduce_op=reduce_op,
        reduce_cmd=command,
        reduce_res=result,
    )


def _exponential(tile: Any, command: Any, result: Any = None) -> None:
    nisa.exponential(_like(tile), tile, reduce_cmd=command, reduce_res=result)


def _scalar_reduce(
    tile: Any, command: Any, result: Any = None, reduce_op: Any = "add"
) -> None:
    dst = _like(tile)
    nisa.tensor_scalar_reduce(
        dst, tile, "add", 1.0, reduce_op, result, reduce_cmd=command
    )


def _sum(values: np.ndarray) -> np.ndarray:
    return values.sum(axis=1, keepdims=True, dtype=np.float32)


# -- what they hold --------------------------------------------------------------------
def test_sums_go_on_over_instructions() -> None:
    def body(tile: Any, result: Any) -> None:
        _activation(tile, reduce_cmd.reset_reduce)
        _activation(tile, reduce_cmd.reduce)
        _activation(tile, reduce_cmd.reduce, result)

    np.testing.assert_allclose(_run(body), 3 * _sum(A * A), rtol=1e-6)


def test_a_reset_alone_begins_at_0_and_idle_leaves_the_scalar_engines_alone() -> None:
    def body(tile: Any, result: Any) -> None:
        _activation(tile, reduce_cmd.reset_reduce)
        _activation(tile, reduce_cmd.reset)
        _activation(tile, reduce_cmd.reduce)
        _activation(tile, reduce_cmd.idle, reduce_op=None)
        _activation(tile, reduce_cmd.reduce, result)

    np.testing.assert_allclose(_run(body), 2 * _sum(A * A), rtol=1e-6)


def test_registers_are_read_without_a_reduction() -> None:
    def body(tile: Any, result: Any) -> None:
        _activation(tile, reduce_cmd.reset_reduce)
        _activation(tile, reduce_cmd.idle, result, reduce_op=None)

    np.testing.assert_allclose(_run(body), _sum(A * A), rtol=1e-6)


def test_instructions_of_an_engine_share_its_registers() -> None:
    def body(tile: Any, result: Any) -> None:
        _exponential(tile, reduce_cmd.reset_reduce)
        _scalar_reduce(tile, reduce_cmd.reduce)
        running = _like(tile)
        nisa.tensor_scalar_cumulative(
            running, tile, "multiply", "add", 2.0, reduce_cmd=reduce_cmd.reduce
        )
        _scalar_reduce(tile, reduce_cmd.reduce, result)

    expected = _sum(np.exp(A)) + 2 * _sum(A + 1) + _sum(2 * A)
    np.testing.assert_allclose(_run(body), expected, rtol=1e-5)


def test_the_scalar_and_the_vector_engine_have_registers_of_their_own() -> None:
    def body(tile: Any, result: Any) -> None:
        _activation(tile, reduce_cmd.reset_reduce)
        _scalar_reduce(tile, reduce_cmd.reset_reduce)
        _activation(tile, reduce_cmd.reduce, result)

    np.testing.assert_allclose(_run(body), 2 * _sum(A * A), rtol=1e-6)


def test_a_running_reduction_goes_on_where_the_last_one_ended() -> None:
    def body(tile: Any, result: Any) -> None:
        halves = [nl.ndarray((4, 3), nl.float32) for _ in range(2)]
        for i, command in enumerate((reduce_cmd.reset_reduce, reduce_cmd.reduce)):
            half = tile[:, 3 * i : 3 * i + 3]
            nisa.tensor_scalar_cumulative(
                halves[i], half, "add", "subtract", 1.0, reduce_cmd=command
            )
        nisa.tensor_copy(result, halves[1][:, 2:3])

    state = np.zeros(4, np.float32)
    for column in A.T:
        state = (column + np.float32(1)) - state
    np.testing.assert_array_equal(_run(body), state[:, None])


def test_the_greatest_of_two_choices() -> None:
    def body(tile: Any, result: Any) -> None:
        mask = nl.ndarray(tile.shape, nl.uint8)
        nisa.tensor_scalar(mask, tile, "greater", 0.0)
        dst = _like(tile)
        nisa.select_reduce(dst, mask, tile, -100.0, reduce_cmd=reduce_cmd.reset_reduce)
        low, high = (nl.ndarray((4, 1), nl.float32) for _ in range(2))
        nisa.memset(low, 0.0)
        nisa.memset(high, 2.0)
        nisa.range_select(
            dst,
            tile,
            "greater_equal",
            "less",
            low,
            high,
            reduce_cmd=reduce_cmd.reduce,
            reduce_res=result,
        )

    chosen = np.where(A > 0, A, np.float32(-100)).max(axis=1)
    expected = np.maximum(chosen, A[:, :2].max(axis=1))
    np.testing.assert_array_equal(_run(body), expected[:, None])


def test_reduce_res_may_be_the_destination() -> None:
    def body(tile: Any, result: Any) -> None:
        nisa.activation_reduce(result, "square", tile[:, 0:1], "add", result)

    np.testing.assert_array_equal(_run(body), A[:, :1] ** 2)


def test_what_is_summed_is_not_rounded_to_the_destination() -> None:
    def body(tile: Any, result: Any) -> None:
        whole = nl.ndarray(tile.shape, nl.int8)
        nisa.activation_reduce(whole, "copy", tile, "add", result)

    np.testing.assert_allclose(_run(body), _sum(A), rtol=1e-6)


# -- what is found ---------------------------------------------------------------------
def _go_on_after_nothing(tile: Any, result: Any) -> None:
    _scalar_reduce(tile, reduce_cmd.reduce, result)


def _read_after_nothing(tile: Any, result: Any) -> None:
    _activation(tile, reduce_cmd.idle, result, reduce_op=None)


def _go_on_after_idle(tile: Any, result: Any) -> None:
    _exponential(tile, reduce_cmd.reset_reduce)
    _exponential(tile, reduce_cmd.idle)
    _exponential(tile, reduce_cmd.reduce, result)


def _read_after_idle(tile: Any, result: Any) -> None:
    _scalar_reduce(tile, reduce_cmd.reset_reduce)
    _exponential(tile, reduce_cmd.idle, result)


def _mix_operations(tile: Any, result: Any) -> None:
    _scalar_reduce(tile, reduce_cmd.reset_reduce)
    _scalar_reduce(tile, reduce_cmd.reduce, result, reduce_op="maximum")


def _mix_instructions(tile: Any, result: Any) -> None:
    nisa.tensor_scalar_cumulative(_like(tile), tile, "add", "multiply", 1.0)
    _exponential(tile, reduce_cmd.reduce, result)


def _other_partitions(tile: Any, result: Any) -> None:
    _scalar_reduce(tile[:2], reduce_cmd.reset_reduce)
    _scalar_reduce(tile, reduce_cmd.reduce, result)


MISUSES = {
    _go_on_after_nothing: "were never reset, of partition 0",
    _read_after_nothing: "were never reset, of partition 0",
    _go_on_after_idle: "reduce_cmd.idle",
    _read_after_idle: "reduce_cmd.idle",
    _mix_operations: "reduction by add, of partition 0, and it goes on by maximum",
    _mix_instructions: "reduction by multiply, of partition 0, and it goes on by add",
    _other_partitions: "were never reset, of partition 2",
}


@pytest.mark.parametrize("body", MISUSES, ids=lambda body: body.__name__.strip("_"))
def test_misuse_is_found(body: Callable[[Any, Any], None]) -> None:
    with pytest.raises(NkiValidationError, match=r"\[reduce-register\]") as raised:
        _run(body)
    assert MISUSES[body] in str(raised.value)
    assert "test_reduce_registers.py" in str(raised.value)


def test_a_reset_mends_every_misuse() -> None:
    def body(tile: Any, result: Any) -> None:
        _exponential(tile, reduce_cmd.reset_reduce)
        _exponential(tile, reduce_cmd.idle)
        _scalar_reduce(tile, reduce_cmd.reset_reduce, reduce_op="maximum")
        _scalar_reduce(tile, reduce_cmd.reset_reduce, result)

    np.testing.assert_allclose(_run(body), _sum(A + 1), rtol=1e-6)


def test_the_finding_has_a_switch() -> None:
    found = _run(_mix_operations, **{"reduce-register": "off"})
    expected = np.maximum(_sum(A + 1), (A + 1).max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
