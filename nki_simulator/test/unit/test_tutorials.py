# SPDX-License-Identifier: MIT-0
"""The tutorials' kernels, and the tutorials as scripts."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from nki_simulator.src import tutorials
from nki_simulator.src.tutorials import layernorm, matrix_multiplication, transpose2d
from nki_simulator.src.tutorials.rmsnorm import rmsnorm
from nki_simulator.src.tutorials.tensor_addition import tensor_add, tensor_add_spmd
from nki_simulator.test import expected
from nki_simulator.test.expected import DTYPES, check, numbers, wide

SCRIPTS = sorted(Path(next(iter(tutorials.__path__))).glob("*.py"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 512), (300, 700), (1, 1)])
def test_tensor_addition(shape, dtype):
    a, b = (numbers(*shape, dtype=dtype, seed=seed) for seed in range(2))
    for kernel in (tensor_add, tensor_add_spmd, tensor_add_spmd[2]):
        np.testing.assert_array_equal(kernel(a, b), a + b)


def test_tensors_of_two_shapes_are_refused():
    for kernel in (tensor_add, tensor_add_spmd):
        with pytest.raises(ValueError, match="of the shapes"):
            kernel(numbers(2, 3), numbers(3, 2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 128), (600, 200), (3, 5)])
def test_transpose_2d(shape, dtype):
    x = numbers(*shape, dtype=dtype)
    np.testing.assert_array_equal(transpose2d.transpose_2d(x), x.T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 16, 24), (150, 3, 5)])
def test_transpose_of_free_dimensions(shape, dtype):
    x = numbers(*shape, dtype=dtype)
    result = transpose2d.transpose_free(x)
    np.testing.assert_array_equal(result, x.transpose(0, 2, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 64, 512), (7, 3, 5)])
def test_one_product(shape, dtype):
    k, m, n = shape
    lhs_t, rhs = numbers(k, m, dtype=dtype), numbers(k, n, dtype=dtype, seed=1)
    left, right = wide(lhs_t, rhs)
    check(matrix_multiplication.matmul_basic(lhs_t, rhs), left.T @ right, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "kernel", matrix_multiplication.STAGES, ids=lambda kernel: kernel.__name__
)
def test_products_in_tiles(kernel, dtype):
    k, m, n = 1024, 512, 1024
    lhs_t, rhs = numbers(k, m, dtype=dtype), numbers(k, n, dtype=dtype, seed=1)
    left, right = wide(lhs_t, rhs)
    check(kernel(lhs_t, rhs), left.T @ right, dtype)


@pytest.mark.parametrize("kernel", matrix_multiplication.STAGES)
def test_products_of_parts_of_tiles_are_refused(kernel):
    with pytest.raises(ValueError, match="must be multiples"):
        kernel(numbers(100, 512), numbers(100, 1024))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 512), (300, 1000), (2, 3)])
@pytest.mark.parametrize("name", ["layernorm", "layernorm_from_sums"])
def test_layernorm(name, shape, dtype):
    x = numbers(*shape, dtype=dtype) + dtype(3)
    weight, bias = (numbers(shape[1], dtype=dtype, seed=seed) for seed in (1, 2))
    result = getattr(layernorm, name)(x, weight, bias)
    check(result, expected.layernorm(*wide(x, weight, bias)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 512), (300, 1000), (2, 3)])
def test_rmsnorm(shape, dtype):
    x, weight = numbers(*shape, dtype=dtype), numbers(shape[1], dtype=dtype, seed=1)
    check(rmsnorm(x, weight), expected.rmsnorm(*wide(x, weight)), dtype)


def test_rows_of_zeros_stay_zeros():
    zeros, ones = np.zeros((4, 8), np.float32), np.ones(8, np.float32)
    np.testing.assert_array_equal(rmsnorm(zeros, ones), zeros)
    np.testing.assert_array_equal(layernorm.layernorm(zeros, ones, zeros[0]), zeros)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_runs_as_a_script_and_calls_times_estimates(script, capsys):
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    assert "us (estimate)" in printed
