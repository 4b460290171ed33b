"""``simulate_jit`` of several ranks."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.errors import NKIPyValueError
from nkipy.runtime import PerRank, baremetal_jit, simulate_jit

F32 = np.float32


def ones(*shape):
    return np.ones(shape, F32)


def test_ranks_take_their_own_arguments():
    kernel = simulate_jit(world_size=2)(lambda x, y: x + y)
    first, second = kernel(PerRank([ones(2), ones(2) * 2]), ones(2))
    np.testing.assert_array_equal(first, [2, 2])
    np.testing.assert_array_equal(second, [3, 3])
    with pytest.raises(NKIPyValueError, match="1 values for 2 ranks"):
        kernel(PerRank([ones(2)]), ones(2))


@pytest.mark.device
@pytest.mark.parametrize("decorate", [simulate_jit, baremetal_jit])
def test_one_rank_takes_no_values_per_rank(decorate):
    kernel = decorate(lambda x, y: x[0] + y)
    with pytest.raises(NKIPyValueError, match=r"PerRank of 2 .*world_size=2\)"):
        kernel([PerRank([ones(2), ones(2)])], ones(2))
    np.testing.assert_array_equal(kernel([ones(2)], ones(2)), [2, 2])


def test_ranks_that_write_need_their_own_arrays():
    @simulate_jit(world_size=2)
    def kernel(x):
        x += 1

    with pytest.raises(NKIPyValueError, match="PerRank"):
        kernel(ones(2))
    xs = [ones(2), ones(2) * 5]
    kernel(PerRank(xs))
    np.testing.assert_array_equal(xs, [[2, 2], [6, 6]])
