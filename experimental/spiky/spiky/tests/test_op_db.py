"""torch's samples of its operations: compiled as eager, forward and backward."""

from __future__ import annotations

import pytest

from . import known_gaps
from .op_cases import OPERATIONS, UNKNOWN_VALUES, calls_of, compare

pytestmark = pytest.mark.usefixtures("backend")

#: One of each kind: by element, sums, views, places, contractions, layers, losses, and
#: what runs eagerly.
CHOSEN = (
    *("add", "div_floor_rounding", "gelu", "logit", "where", "clamp", "isnan"),
    *("sum", "var_mean", "amax", "logsumexp", "cumsum", "argmin"),
    *("transpose", "cat", "roll", "index_select", "scatter_add", "masked_fill"),
    *("matmul", "einsum", "nn_functional_conv2d", "nn_functional_layer_norm"),
    *("softmax", "nn_functional_cross_entropy", "nn_functional_max_pool2d"),
    *("nonzero", "linalg_cholesky"),
)


def _named(name: str) -> str:
    return next(n for n in (name, *OPERATIONS) if n in OPERATIONS and name in n)


@pytest.mark.parametrize("name", CHOSEN)
def test_chosen_operation_is_eager_s(name: str) -> None:
    compare(OPERATIONS[_named(name)], most=1)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - known_gaps.NAMES))
def test_operation_is_eager_s(name: str) -> None:
    compare(OPERATIONS[name], most=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(known_gaps.NAMES))
def test_gap_is_one_still(name: str) -> None:
    with pytest.raises(Exception):  # noqa: B017 - whatever it is
        compare(OPERATIONS[name], most=2)


def test_names_are_of_operations() -> None:
    assert known_gaps.NAMES <= OPERATIONS.keys()
    assert UNKNOWN_VALUES <= {op.name for op in OPERATIONS.values()}


def test_a_difference_is_found() -> None:
    """The comparison fails where an operation is another."""
    op, other = OPERATIONS["add"], OPERATIONS["sub"]
    assert calls_of(op, 1)
    with pytest.raises(AssertionError, match="not close"):
        compare(op, most=1, computed=other)
