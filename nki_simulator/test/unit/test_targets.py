# SPDX-License-Identifier: MIT-0
"""Every sample kernel on every target: the same numbers, and nothing is found."""

from __future__ import annotations

import ml_dtypes
import nki
import numpy as np
import pytest

from tools import generate_nki_benchmarks as tool
from tools.generate_nki_benchmarks import Case

#: Each kernel once, for arrays as small as it takes.
QKV = (1, 1, 32, 256), (1, 1, 32, 256), (1, 1, 256, 32)
SCAN = (128, 48), (128, 48), (128, 2), (2, 48), (2, 48)
PRODUCT = (512, 512), (512, 1024)
CASES = [
    Case(tool.attention.flash_fwd, QKV),
    Case(tool.attention.flash_fwd, QKV, more=(("causal", True),)),
    Case(tool.mamba.mamba_scan, SCAN, float32=(2,)),
    Case(tool.rotary.rotary_embedding, ((130, 2, 8), (130, 4), (130, 4))),
    Case(tool.softmax.softmax, ((130, 70),)),
    Case(tool.rmsnorm.rmsnorm, ((130, 70), (70,))),
    Case(tool.layernorm.layernorm, ((130, 600), (600,), (600,))),
    Case(tool.layernorm.layernorm_from_sums, ((130, 70), (70,), (70,))),
    Case(tool.tensor_addition.tensor_add, ((130, 600), (130, 600))),
    Case(tool.tensor_addition.tensor_add_spmd, ((130, 600), (130, 600))),
    Case(tool.transpose2d.transpose_2d, ((130, 600),)),
    Case(tool.transpose2d.transpose_free, ((130, 6, 7),)),
    Case(tool.matrix_multiplication.matmul_basic, ((64, 32), (64, 40))),
    *(Case(kernel, PRODUCT) for kernel in tool.matrix_multiplication.STAGES),
]


def arrays(case: Case, dtype: type) -> list[np.ndarray]:
    """Small numbers for a case; of `delta`, which is a time, and all else above 0."""
    rng = np.random.default_rng(0)
    types = [
        np.float32 if i in case.float32 else dtype for i in range(len(case.shapes))
    ]
    return [
        rng.random(s).astype(np.float32).astype(t) for s, t in zip(case.shapes, types)
    ]


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_targets_agree_and_nothing_is_found(case, dtype):
    given = arrays(case, dtype)
    results = []
    for target in tool.TARGETS:
        run = nki.simulate(case.kernel, target=target).run(*given, **dict(case.more))
        assert run.findings == []
        results.append(run.values)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_every_kernel_is_tried():
    tried = {case.kernel.func.__name__ for case in CASES}
    timed = {
        c.title.partition("[")[0] for _, cases in tool.PAGES.values() for c in cases()
    }
    assert timed == tried
