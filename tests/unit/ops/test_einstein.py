"""np.einsum: views, the form without a string, mixed dtypes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.testing import run_simulated
from tests.support.kernels import check_kernel
from tests.unit.ops.test_linalg import array


@pytest.mark.parametrize(
    ("subscripts", "shape"),
    [
        ("ij->ji", (2, 3)),
        ("ii->i", (3, 3)),
        ("iji->ji", (3, 2, 3)),
        ("iji->ij", (3, 2, 3)),
        ("ijij->ji", (2, 3, 2, 3)),
        ("iii->i", (3, 3, 3)),
    ],
)
def test_store_through_a_view_reaches_the_array(subscripts, shape):
    def kernel(a):
        view = np.einsum(subscripts, a)
        view[...] = np.arange(view.size, dtype=np.float32).reshape(view.shape) + 100
        return view

    check_kernel(kernel, array(*shape))


def test_diagonal_keeps_special_values():
    x = np.full((3, 3), np.nan, np.float32)
    x[range(3), range(3)] = [-0.0, np.inf, 1]
    got = run_simulated(lambda a: np.einsum("ii->i", a), x)
    np.testing.assert_array_equal(got, [-0.0, np.inf, 1])
    assert np.signbit(got[0])


def test_sublists_with_ellipsis():
    check_kernel(
        lambda a, b: (
            np.einsum(a, [Ellipsis, 1], b, [1]),
            np.einsum(a, [..., 0, 1], b, [1], [..., 0]),
            np.einsum(a, [2, 0, 1]),
        ),
        array(2, 3, 4),
        array(4),
    )


def test_mixed_dtypes_out_and_dtype():
    def kernel(a, b, c):
        np.einsum("ij,jk->ik", a, b, out=c)
        return (
            np.einsum("ij,jk", a, b, dtype=np.float32),
            np.einsum("ij,ij->", a, a),
        )

    check_kernel(
        kernel,
        array(2, 3, dtype=np.int8),
        array(3, 2, dtype=np.int16),
        np.zeros((2, 2), np.int32),
    )


def test_bfloat16_is_summed_in_float32_and_rounded_once():
    x = np.full((4096,), 0.25, ml_dtypes.bfloat16)
    got = run_simulated(lambda a: np.einsum("i,i,i->", a, a, a), x)
    assert got.dtype == ml_dtypes.bfloat16 and got == 64


def test_a_chain_is_contracted_pairwise():
    x, y, z = array(50, 2), array(2, 50), array(50, 3)
    module = trace_function(
        lambda a, b, c: np.einsum("ij,jk,kl->il", a, b, c), (x, y, z), {}
    ).module
    dots = [i for i in module.operations if i.opcode == "dot"]
    assert [d.shape for d in dots][0] in ((2, 3), (3, 2))
    assert len(dots) == 2
