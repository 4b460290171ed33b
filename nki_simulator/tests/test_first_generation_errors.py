"""What the first generation refuses, by the documentation's names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nkipy_nki import NkiValidationError
from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl
from nkipy_nki.neuronxcc.nki import typing as nt


def tile(*shape: int, dtype: Any = nl.float32, **others: Any) -> Any:
    return nl.ones(shape, dtype, **others)


def _while_it_is_less() -> None:
    i = nl.arange(4)[:, None]
    if i < 2:
        pass


def _both_by_and() -> None:
    i = nl.arange(4)[:, None]
    nl.add(tile(4, 1), 1.0, mask=(i < 2) and (i > 0))


def _truth_of_a_tile() -> None:
    if nl.equal(tile(4, 1), 1.0):
        pass


def _shape_that_is_not() -> None:
    tile(4, 2).assert_shape((2, 4))


def _set_an_index() -> None:
    nl.arange(4)[:, None][0] = 3


def _loop_over_a_tile() -> None:
    for _ in nl.affine_range(tile(1, 1, dtype=nl.int32)):
        pass


def _mixed_indices() -> None:
    nl.exp(tile(8, 4)[nl.arange(8)[:, None], 0:2])


def _partition_second() -> None:
    nl.exp(tile(8, 8)[nl.arange(8)[None, :], nl.arange(8)[:, None]])


def _shared_in_a_loop() -> None:
    for _ in nl.affine_range(2):
        nl.ndarray((4, 4), nl.float32, buffer=nl.shared_hbm)


def _beyond() -> None:
    nl.exp(tile(8, 4)[nl.arange(8)[:, None], nl.arange(4)[None, :] + 1])


def _too_small() -> None:
    out = nl.ndarray((4, 4), nl.float32, buffer=nl.hbm)
    nl.store(out, tile(4, 8))


def _bias_of_integers() -> None:
    nisa.activation(nl.exp, tile(4, 4), bias=tile(4, 1, dtype=nl.int8))


def _scale_of_bfloat16() -> None:
    nisa.activation(nl.exp, tile(4, 4), scale=tile(4, 1, dtype=nl.bfloat16))


CASES: dict[str, tuple[str, Callable[[], Any]]] = {
    "arange": (
        "1d_arange_not_supported",
        lambda: nl.exp(tile(64, 1)[nl.arange(64), 0]),
    ),
    "bias": ("activation_bias_invalid_type", _bias_of_integers),
    "scale": ("activation_scale_invalid_type", _scale_of_bfloat16),
    "scale-shape": (
        "activation_scale_scalar_or_vector",
        lambda: nisa.activation(nl.exp, tile(4, 4), scale=tile(4, 4)),
    ),
    "truth": ("ambiguous_tensor_truth_value", _truth_of_a_tile),
    "shape": ("annotation_shape_mismatch", _shape_that_is_not),
    "index": ("cannot_assign_to_index", _set_an_index),
    "condition": ("control_flow_condition_depending_on_arange", _while_it_is_less),
    "and": ("control_flow_condition_depending_on_arange", _both_by_and),
    "loop": ("dynamic_control_flow_not_supported", _loop_over_a_tile),
    "zeros-in-hbm": (
        "hbm_tensor_with_init_value_not_supported",
        lambda: nl.zeros((4, 4), nl.float32, buffer=nl.shared_hbm),
    ),
    "mixed": ("unsupported_mixing_basic_advanced_tensor_indexing", _mixed_indices),
    "partitions-second": (
        "leading_dimension_of_tensor_must_be_partition",
        _partition_second,
    ),
    "partitions-in-a-row": (
        "leading_dimension_of_tensor_must_be_partition",
        lambda: nl.exp(tile(8, 8)[nl.arange(8)[None, :], 0]),
    ),
    "partitions-by-parts": (
        "leading_dimension_of_tensor_must_be_partition",
        lambda: nl.exp(
            tile(8, 8)[nl.arange(8)[:, None] // 2 + nl.arange(2)[None, :], 0]
        ),
    ),
    "columns-by-partition": (
        "leading_dimension_of_tensor_must_be_partition",
        lambda: nl.exp(
            tile(8, 8)[
                nl.arange(8)[:, None], (nl.arange(8)[:, None] + nl.arange(8)) % 8
            ]
        ),
    ),
    "partitions": ("num_partition_exceed_arch_limit", lambda: tile(129, 2)),
    "depth": (
        "num_partition_mismatch",
        lambda: nisa.nc_matmul(tile(64, 8), tile(32, 8)),
    ),
    "stationary": (
        "size_of_dimension_exceed_arch_limit",
        lambda: nisa.nc_matmul(tile(64, 129), tile(64, 8)),
    ),
    "moving": (
        "size_of_dimension_exceed_arch_limit",
        lambda: nl.matmul(tile(64, 64), tile(64, 513)),
    ),
    "shared": ("shared_hbm_must_in_kernel_level", _shared_in_a_loop),
    "store": ("store_dst_shape_smaller_than_other_shape", _too_small),
    "indices": ("tensor_access_out_of_bound", _beyond),
    "slice": ("tensor_access_out_of_bound", lambda: tile(8, 4)[0:9, 0:4]),
    "number": ("tensor_access_out_of_bound", lambda: tile(8, 4)[0:8, 4]),
    "mask": (
        "unsupported_expression_in_mask",
        lambda: nl.add(tile(4, 4), 1.0, mask=nl.arange(4)[:, None] < tile(4, 1)),
    ),
    "mask-of-a-number": (
        "unsupported_expression_in_mask",
        lambda: nl.add(tile(4, 4), 1.0, mask=3),
    ),
    "partly-masked-product": (
        "unsupported_expression_in_mask",
        lambda: nisa.nc_matmul(tile(4, 4), tile(4, 4), mask=nl.arange(4)[:, None] > 2),
    ),
    "load-of-a-tile": ("unsupported_memory", lambda: nl.load(tile(4, 4))),
    "store-to-a-tile": ("unsupported_memory", lambda: nl.store(tile(4, 4), tile(4, 4))),
    "allocator": (
        "unsupported_memory",
        lambda: nl.ndarray((4, 4), nl.float32, buffer="sb"),
    ),
}


@pytest.mark.parametrize("name, body", CASES.values(), ids=CASES)
def test_errors_have_names_and_the_kernels_line(
    name: str, body: Callable[[], Any]
) -> None:
    with pytest.raises(NkiValidationError, match=f"err_{name}: ") as caught:
        nki.jit(body)()
    assert f"{__file__}:" in str(caught.value)


# -- arguments and results -------------------------------------------------------------
def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_arguments_are_not_written_unless_they_are_declared_so() -> None:
    @nki.jit
    def kernel(a):
        nl.store(a, nl.load(a) + 1)
        return a

    with pytest.raises(NkiValidationError, match="cannot_update_immutable_parameter"):
        kernel(zeros(4, 4))


@pytest.mark.parametrize("decorate", [nki.baremetal, nki.benchmark])
def test_the_first_release_s_kernels_write_to_arguments_and_return_nothing(
    decorate: Callable[..., Any], capsys: Any
) -> None:
    @decorate
    def kernel(a, out):
        nl.store(out[0:2], nl.load(a[0:2]) + 1)
        nl.store(out[2:4], nl.load(a[2:4]) + 1)

    a, out = np.ones((4, 4), np.float32), zeros(4, 4)
    with pytest.warns(DeprecationWarning, match="argument out is written, .*2.20") as w:
        assert kernel(a, out) is None
    np.testing.assert_array_equal(out, a + 1)
    assert [Path(found.filename).name for found in w] == [Path(__file__).name]


def test_a_kernel_that_returns_something_writes_to_no_argument() -> None:
    @nki.baremetal
    def kernel(a, out):
        nl.store(out, nl.load(a) + 1)
        return out

    with pytest.warns(DeprecationWarning), pytest.raises(NkiValidationError) as caught:
        kernel(zeros(4, 4), zeros(4, 4))
    assert "err_cannot_update_immutable_parameter: the argument out" in str(
        caught.value
    )


def test_a_mutable_argument_must_be_returned() -> None:
    @nki.jit
    def kernel(a: nt.mutable_tensor):
        nl.store(a, nl.load(a) + 1)

    with pytest.raises(NkiValidationError, match="err_mutable_parameter_not_returned"):
        kernel(zeros(4, 4))


def test_a_result_must_be_written() -> None:
    @nki.jit
    def kernel(a):
        return nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)

    with pytest.raises(NkiValidationError, match="err_tensor_output_not_written_to"):
        kernel(zeros(4, 4))


def test_a_grid_in_a_kernel_is_refused() -> None:
    @nki.jit
    def inner(a):
        return a

    @nki.jit
    def outer(a):
        return inner[2](a)

    with pytest.raises(NkiValidationError, match="err_nested_kernel_with_spmd_grid"):
        outer(zeros(4, 4))


@pytest.mark.parametrize(
    "call",
    [lambda: nl.zeros((4, 4), nl.float32), lambda: nisa.memset((4, 4), 0, "int8")],
)
def test_functions_need_a_kernel(call: Callable[[], Any]) -> None:
    with pytest.raises(NkiValidationError, match="nki_api_outside_of_nki_kernel"):
        call()


@pytest.mark.parametrize("grid", [0, (2, -1), "x", 1.5, True])
def test_a_grid_has_whole_numbers_of_programs(grid: Any) -> None:
    with pytest.raises(NkiValidationError, match="positive whole numbers"):
        nki.jit(lambda a: a)[grid]


# -- what is refused by name -----------------------------------------------------------
@pytest.mark.parametrize("memory", ["sbuf", "psum"])
@pytest.mark.parametrize("name", ["alloc", "mod_alloc"])
def test_explicit_allocation_is_refused(memory: str, name: str) -> None:
    allocator = getattr(getattr(nki.compiler, memory), name)
    with pytest.raises(NkiValidationError, match=f"{memory}.{name}: explicit"):
        allocator(base_addr=0)


def test_private_names_are_refused() -> None:
    with pytest.raises(NkiValidationError, match="_tiled_offloaded_fma is refused"):
        nisa._tiled_offloaded_fma  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        nisa.nonsense  # noqa: B018


def test_a_mode_that_there_is_not() -> None:
    with pytest.raises(NkiValidationError, match="mode='cpu'"):
        nki.jit(mode="cpu")
