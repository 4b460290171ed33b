"""Errors that the first generation's documentation explains: each broken, and mended.

A broken kernel is told of under the documented name at the line that is marked so; its
mended form computes what NumPy does, and gives no finding.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from nkipy_nki import NkiValidationError
from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl
from nkipy_nki.neuronxcc.nki import typing as nt

X = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
INDICES = np.array([[5], [2], [7], [0]], np.int32)


class Case(NamedTuple):
    """A mistake.

    Attributes:
        name: the documentation's.
        broken: a kernel with a line that is marked "# broken".
        mended: the same without the mistake.
        expected: what that gives.
        args: what both are called with.
    """

    name: str
    broken: Callable[..., Any]
    mended: Callable[..., Any]
    expected: np.ndarray
    args: tuple[Any, ...] = (X,)


def _result(like: Any) -> Any:
    """A place for a result, of which these kernels need to know no more."""
    return {"shape": like.shape, "dtype": like.dtype, "buffer": nl.shared_hbm}


# -- indices ---------------------------------------------------------------------------
def one_dimension(x):
    out = nl.ndarray((64, 1), x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    i = nl.arange(64)
    nl.store(out, nl.exp(tile[i, 0]))  # broken
    return out


def two_dimensions(x):
    out = nl.ndarray((64, 1), x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    i = nl.arange(64)[:, None]
    nl.store(out, nl.exp(tile[i, 0]))
    return out


def slice_and_index(x):
    out = nl.ndarray(**_result(x))
    tile = nl.load(x)
    nl.store(out, nl.exp(tile[nl.arange(64)[:, None], :]))  # broken
    return out


def indices_alone(x):
    out = nl.ndarray(**_result(x))
    tile = nl.load(x)
    nl.store(out, nl.exp(tile[nl.arange(64)[:, None], nl.arange(32)[None, :]]))
    return out


def beyond_the_end(x):
    out = nl.ndarray(**_result(x))
    p, f = nl.mgrid[0:64, 0:24]
    for i in nl.affine_range(math.ceil(32 / 24)):
        nl.store(out[p, i * 24 + f], 0.5)  # broken
    return out


def up_to_the_end(x):
    out = nl.ndarray(**_result(x))
    p, f = nl.mgrid[0:64, 0:24]
    for i in nl.affine_range(math.ceil(32 / 24)):
        nl.store(out[p, i * 24 + f], 0.5, mask=i * 24 + f < 32)
    return out


def index_assigned(x):
    out = nl.ndarray((1, 8), nl.int32, buffer=nl.shared_hbm)
    _, f = nl.mgrid[0:1, 0:8]
    f[0, 5] = 1024  # broken
    nl.store(out, nisa.iota(f, dtype=nl.int32))
    return out


def tile_assigned(x):
    out = nl.ndarray((1, 8), nl.int32, buffer=nl.shared_hbm)
    _, f = nl.mgrid[0:1, 0:8]
    tile = nisa.iota(f, dtype=nl.int32)
    tile[0, 5] = 1024
    nl.store(out, tile)
    return out


def gathered_as_it_is_transposed(x, indices):
    out = nl.ndarray((32, 4), x.dtype, buffer=nl.shared_hbm)
    rows, f = nl.load(indices), nl.arange(32)[None, :]
    nl.store(out, nl.load_transpose2d(x[rows, f]))  # broken
    return out


def gathered_and_transposed(x, indices):
    out = nl.ndarray((32, 4), x.dtype, buffer=nl.shared_hbm)
    rows, f = nl.load(indices), nl.arange(32)[None, :]
    nl.store(out, nl.transpose(nl.load(x[rows, f])))
    return out


def columns_by_a_tile(x, indices):
    out = nl.ndarray((4, 4), x.dtype, buffer=nl.shared_hbm)
    columns, p = nl.load(indices), nl.arange(4)[:, None]
    nl.store(out, nl.load(x[p, columns]))  # broken
    return out


def rows_by_a_tile(x, indices):
    out = nl.ndarray((4, 32), x.dtype, buffer=nl.shared_hbm)
    rows, f = nl.load(indices), nl.arange(32)[None, :]
    nl.store(out, nl.load(x[rows, f]))
    return out


def read_where_the_run_knows(x, indices):
    out = nl.ndarray((64, 2), x.dtype, buffer=nl.shared_hbm)
    tile, at = nl.load(x), nl.load(indices)
    p, f = nl.mgrid[0:64, 0:2]
    nl.store(out, tile[p, at[0, 0] + f])  # broken
    return out


def copied_from_where_the_run_knows(x, indices):
    out = nl.ndarray((64, 2), x.dtype, buffer=nl.shared_hbm)
    tile, at = nl.load(x), nl.load(indices)
    p, f = nl.mgrid[0:64, 0:2]
    nl.store(out, nisa.tensor_copy_dynamic_src(tile[p, at[0, 0] + f]))
    return out


# -- masks and conditions --------------------------------------------------------------
def condition_of_indices(x):
    out = nl.ndarray(**_result(x))
    tile, (p, f) = nl.load(x), nl.mgrid[0:64, 0:32]
    if f >= 8:  # broken
        tile[p, f] = nl.add(tile[p, f], 1.0)
    nl.store(out, tile)
    return out


def mask_of_indices(x):
    out = nl.ndarray(**_result(x))
    tile, (p, f) = nl.load(x), nl.mgrid[0:64, 0:32]
    tile[p, f] += nl.zeros((64, 32), x.dtype)
    made = nl.add(tile[p, f], 1.0, mask=f >= 8)
    tile[p, f] = nl.copy(made, mask=f >= 8)
    nl.store(out, tile)
    return out


def mask_of_a_tile(x):
    out = nl.ndarray(**_result(x))
    tile = nl.load(x)
    limit = nl.zeros((64, 1), nl.int32)
    nl.store(out, tile, mask=nl.arange(64)[:, None] > limit)  # broken
    return out


def mask_of_numbers(x):
    out = nl.ndarray(**_result(x))
    tile, p = nl.load(x), nl.arange(64)[:, None]
    nl.store(out, 0.0)
    nl.store(out, tile, mask=p > 0)
    return out


def truth_of_a_tile(x):
    out = nl.ndarray(**_result(x))
    tile = nl.load(x)
    positive = not (tile < 0)  # broken
    nl.store(out, tile * positive)
    return out


def truths_of_a_tile(x):
    out = nl.ndarray(**_result(x))
    tile = nl.load(x)
    nl.store(out, tile * nl.logical_not(tile < 0))
    return out


def condition_of_a_number(x):
    out = nl.ndarray(**_result(x))
    first = nl.load(x[0:1, 0:1])
    if first > 0:  # broken
        nl.store(out, 1.0)
    return out


def choice_by_a_number(x):
    out = nl.ndarray(**_result(x))
    first = nl.load(x[0:1, 0:1])
    chosen = nl.where(first > 0, 1.0, 0.0)
    nl.store(out, chosen.broadcast_to(x.shape))
    return out


def iterations_depend(x):
    out = nl.ndarray(**_result(x))
    total = nl.zeros((64, 1), x.dtype)
    for i in nl.affine_range(32):
        total[...] = nl.add(total, nl.load(x[:, i : i + 1]))  # broken
        nl.store(out[:, i : i + 1], total)
    return out


def iterations_in_order(x):
    out = nl.ndarray(**_result(x))
    total = nl.zeros((64, 1), x.dtype)
    for i in nl.sequential_range(32):
        total[...] = nl.add(total, nl.load(x[:, i : i + 1]))
        nl.store(out[:, i : i + 1], total)
    return out


# -- shapes ----------------------------------------------------------------------------
def too_many_partitions(x):
    out = nl.ndarray((64 * 32, 1), x.dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.load(x.reshape((64 * 32, 1))))  # broken
    return out


def partitions_in_turn(x):
    out = nl.ndarray((64 * 32, 1), x.dtype, buffer=nl.shared_hbm)
    column = x.reshape((64 * 32, 1))
    for i in nl.affine_range(16):
        rows = nl.ds(i * 128, 128)
        nl.store(out[rows], nl.load(column[rows]))
    return out


def other_partitions(x):
    out = nl.ndarray(**_result(x))
    nl.store(out, nisa.tensor_tensor(nl.load(x), nl.load(x[0:1]), np.add))  # broken
    return out


def partitions_repeated(x):
    out = nl.ndarray(**_result(x))
    row = nl.load(x[0:1]).broadcast_to(x.shape)
    nl.store(out, nisa.tensor_tensor(nl.load(x), row, np.add))
    return out


def three_dimensions_transposed(x):
    out = nl.ndarray((32, 64), x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x.reshape((64, 4, 8)))
    nl.store(out, nl.transpose(tile))  # broken
    return out


def two_dimensions_transposed(x):
    out = nl.ndarray((32, 64), x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x.reshape((64, 4, 8)))
    nl.store(out, nl.transpose(tile.reshape((64, 32))))
    return out


def much_transposed(x):
    out = nl.ndarray((256, 8), x.dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.transpose(nl.load(x.reshape((8, 256)))))  # broken
    return out


def transposed_in_turn(x):
    out = nl.ndarray((256, 8), x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x.reshape((8, 256)))
    for i in nl.affine_range(2):
        rows = nl.ds(i * 128, 128)
        nl.store(out[rows], nl.transpose(tile[:, rows]))
    return out


def assigned_to_less(x):
    out = nl.ndarray((64, 1), x.dtype, buffer=nl.shared_hbm)
    column = nl.zeros((64, 1), x.dtype)
    column[...] = nl.load(x)  # broken
    nl.store(out, column)
    return out


def assigned_to_as_much(x):
    out = nl.ndarray((64, 1), x.dtype, buffer=nl.shared_hbm)
    column = nl.zeros((64, 1), x.dtype)
    column[...] = nl.load(x)[:, 3]
    nl.store(out, column)
    return out


def blocks_at_once(x):
    out = nl.ndarray((2, 32, 32), x.dtype, buffer=nl.shared_hbm)
    blocks = nl.zeros((2, nl.par_dim(32), 32), x.dtype)
    made = nl.add(blocks, 32.0)  # broken
    for i in nl.affine_range(2):
        nl.store(out[i], made[i])
    return out


def blocks_in_turn(x):
    out = nl.ndarray((2, 32, 32), x.dtype, buffer=nl.shared_hbm)
    blocks = nl.zeros((2, nl.par_dim(32), 32), x.dtype)
    for i in nl.affine_range(2):
        nl.store(out[i], nl.add(blocks[i], 32.0))
    return out


def partitions_second(x):
    out = nl.ndarray((32, 32), x.dtype, buffer=nl.shared_hbm)
    tile, i = nl.load(x[0:32]), nl.arange(32)
    nl.store(out, nl.exp(tile[i[None, :], i[:, None]]))  # broken
    return out


def partitions_first(x):
    out = nl.ndarray((32, 32), x.dtype, buffer=nl.shared_hbm)
    tile, i = nl.load(x[0:32]), nl.arange(32)
    nl.store(out, nl.exp(tile[i[:, None], i[None, :]]))
    return out


# -- memories, arguments and results ---------------------------------------------------
def computed_in_hbm(x):
    out = nl.ndarray(**_result(x))
    nl.store(out, nl.exp(x))  # broken
    return out


def computed_on_the_chip(x):
    out = nl.ndarray(**_result(x))
    nl.store(out, nl.exp(nl.load(x)))
    return out


def made_with_values(x):
    out = nl.full(x.shape, 2.5, x.dtype, buffer=nl.shared_hbm)  # broken
    return out


def stored_values(x):
    out = nl.ndarray(**_result(x))
    nl.store(out, 2.5)
    return out


def argument_written(x):
    nl.store(x, nl.load(x) + 1)  # broken
    return x


def argument_copied(x):
    out = nl.ndarray(**_result(x))
    nisa.dma_copy(dst=out, src=x)
    nl.store(out, nl.load(out) + 1)
    return out


def never_stored(x):
    out = nl.ndarray(**_result(x))  # broken
    for _ in nl.affine_range(64 // 128):
        nl.store(out, nl.load(x))
    return out


def stored_once(x):
    out = nl.ndarray(**_result(x))
    for _ in nl.affine_range(math.ceil(64 / 128)):
        nl.store(out, nl.load(x))
    return out


def shared_in_a_loop(x):
    for _ in nl.sequential_range(2):
        out = nl.ndarray(**_result(x))  # broken
        nl.store(out, nl.load(x))
    return out


def shared_before_a_loop(x):
    out = nl.ndarray(**_result(x))
    for _ in nl.sequential_range(2):
        nl.store(out, nl.load(x))
    return out


@nki.jit
def negated(x, out):
    nl.store(out, -nl.load(x))


def with_a_grid(x):
    out = nl.ndarray(**_result(x))
    negated[2, 2](x, out)  # broken
    return out


def without_a_grid(x):
    out = nl.ndarray(**_result(x))
    negated(x, out)
    return out


# -- activations -----------------------------------------------------------------------
def bias_of_integers(x):
    out = nl.ndarray(**_result(x))
    bias = nisa.memset((64, 1), 2, dtype=np.int8)
    nl.store(out, nisa.activation(np.exp, nl.load(x), bias=bias))  # broken
    return out


def bias_of_floats(x):
    out = nl.ndarray(**_result(x))
    bias = nisa.memset((64, 1), 2, dtype=nl.bfloat16)
    nl.store(out, nisa.activation(np.exp, nl.load(x), bias=bias))
    return out


def scale_of_half_precision(x):
    out = nl.ndarray(**_result(x))
    scale = nisa.memset((64, 1), 0.5, dtype=np.float16)
    nl.store(out, nisa.activation(np.exp, nl.load(x), scale=scale))  # broken
    return out


def scale_of_a_row(x):
    out = nl.ndarray(**_result(x))
    scale = nisa.memset((1, 64), 0.5, dtype=np.float32)
    nl.store(out, nisa.activation(np.exp, nl.load(x), scale=scale))  # broken
    return out


def scale_of_a_column(x):
    out = nl.ndarray(**_result(x))
    scale = nisa.memset((64, 1), 0.5, dtype=np.float32)
    nl.store(out, nisa.activation(np.exp, nl.load(x), scale=scale))
    return out


_ADDED = X + (np.arange(32) >= 8)
_LATER_ROWS = np.where(np.arange(64)[:, None] > 0, X, np.float32(0))
_COUNTED = np.where(np.arange(8) == 5, 1024, np.arange(8))[None]
_FIRST = np.full_like(X, X[0, 0] > 0)
_GATHER = (X, INDICES)
_ROWS = X[INDICES[:, 0]]

CASES = [
    Case("1d_arange_not_supported", one_dimension, two_dimensions, np.exp(X[:, :1])),
    Case(
        "unsupported_mixing_basic_advanced_tensor_indexing",
        *(slice_and_index, indices_alone, np.exp(X)),
    ),
    Case(
        "tensor_access_out_of_bound",
        *(beyond_the_end, up_to_the_end, np.full_like(X, 0.5)),
    ),
    Case("cannot_assign_to_index", index_assigned, tile_assigned, _COUNTED),
    Case(
        "indirect_indices_are_not_supported_with_nki_api",
        *(gathered_as_it_is_transposed, gathered_and_transposed, _ROWS.T, _GATHER),
    ),
    Case(
        "indirect_indices_free_dim", columns_by_a_tile, rows_by_a_tile, _ROWS, _GATHER
    ),
    Case(
        "copy_dynamic_indirect_indices_not_natively_supported",
        *(read_where_the_run_knows, copied_from_where_the_run_knows),
        *(X[:, 5:7], _GATHER),
    ),
    Case(
        "control_flow_condition_depending_on_arange",
        *(condition_of_indices, mask_of_indices, _ADDED),
    ),
    Case(
        "unsupported_expression_in_mask", mask_of_a_tile, mask_of_numbers, _LATER_ROWS
    ),
    Case(
        "ambiguous_tensor_truth_value",
        *(truth_of_a_tile, truths_of_a_tile, X * (X >= 0)),
    ),
    Case(
        "dynamic_control_flow_not_supported",
        *(condition_of_a_number, choice_by_a_number, _FIRST),
    ),
    Case(
        "unexpected_output_dependencies",
        *(iterations_depend, iterations_in_order, np.cumsum(X, axis=1)),
    ),
    Case(
        "num_partition_exceed_arch_limit",
        *(too_many_partitions, partitions_in_turn, X.reshape(-1, 1)),
    ),
    Case("num_partition_mismatch", other_partitions, partitions_repeated, X + X[:1]),
    Case(
        "exceed_max_supported_dimension",
        *(three_dimensions_transposed, two_dimensions_transposed, X.T),
    ),
    Case(
        "size_of_dimension_exceed_arch_limit",
        *(much_transposed, transposed_in_turn, X.reshape(8, 256).T),
    ),
    Case(
        "store_dst_shape_smaller_than_other_shape",
        *(assigned_to_less, assigned_to_as_much, X[:, 3:4]),
    ),
    Case(
        "failed_to_infer_tile_from_local_tensor",
        *(blocks_at_once, blocks_in_turn, np.full((2, 32, 32), 32.0)),
    ),
    Case(
        "leading_dimension_of_tensor_must_be_partition",
        *(partitions_second, partitions_first, np.exp(X[:32])),
    ),
    Case("unsupported_memory", computed_in_hbm, computed_on_the_chip, np.exp(X)),
    Case(
        "hbm_tensor_with_init_value_not_supported",
        *(made_with_values, stored_values, np.full_like(X, 2.5)),
    ),
    Case("cannot_update_immutable_parameter", argument_written, argument_copied, X + 1),
    Case("tensor_output_not_written_to", never_stored, stored_once, X),
    Case("shared_hbm_must_in_kernel_level", shared_in_a_loop, shared_before_a_loop, X),
    Case("nested_kernel_with_spmd_grid", with_a_grid, without_a_grid, -X),
    Case(
        "activation_bias_invalid_type", bias_of_integers, bias_of_floats, np.exp(X + 2)
    ),
    Case(
        "activation_scale_invalid_type",
        *(scale_of_half_precision, scale_of_a_column, np.exp(X / 2)),
    ),
    Case(
        "activation_scale_scalar_or_vector",
        *(scale_of_a_row, scale_of_a_column, np.exp(X / 2)),
    ),
]


def _line_of(function: Callable[..., Any]) -> int:
    """The line that is marked as broken."""
    lines, first = inspect.getsourcelines(function)
    (found,) = (i for i, line in enumerate(lines) if "# broken" in line)
    return first + found


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_broken_is_told_by_its_name_and_line(case: Case) -> None:
    with pytest.raises(NkiValidationError, match=f"err_{case.name}: ") as raised:
        nki.jit(case.broken)(*(array.copy() for array in case.args))
    assert f"{__file__}:{_line_of(case.broken)}" in str(raised.value)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_mended_is_sound(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = nki.jit(case.mended)(*(array.copy() for array in case.args))
    np.testing.assert_allclose(made, case.expected, rtol=2e-5, atol=2e-6)


def test_what_is_declared_mutable_may_be_written_and_is_returned() -> None:
    @nki.jit
    def kept(x: nt.mutable_tensor):
        nl.store(x, nl.load(x) + 1)

    @nki.jit
    def returned(x: nt.mutable_tensor):
        nl.store(x, nl.load(x) + 1)
        return x

    with pytest.raises(NkiValidationError, match="err_mutable_parameter_not_returned"):
        kept(X.copy())
    np.testing.assert_array_equal(returned(X.copy()), X + 1)
