"""Products of matrices, and systems of equations."""

from __future__ import annotations

from collections.abc import Sequence

from nkipy.hlo.rules.base import (
    Inst,
    Result,
    Rule,
    array,
    arrays,
    dimensions,
    element_type,
    fail,
    require,
    same_dtype,
    without,
)


def dot(inst: Inst) -> Result:
    """Batch dimensions, then what is left of the left, then of the right operand.

    The result may be of another type than the operands, in which case the products are
    accumulated in it.
    """
    x, y = arrays(inst)
    a = inst.attributes
    x_batch, y_batch = a["lhs_batch_dims"], a["rhs_batch_dims"]
    x_sum, y_sum = a["lhs_contracting_dims"], a["rhs_contracting_dims"]
    dimensions((*x_batch, *x_sum), len(x.shape), "dimensions of the left operand")
    dimensions((*y_batch, *y_sum), len(y.shape), "dimensions of the right operand")
    _same_sizes(x, x_batch, y, y_batch, "batch")
    _same_sizes(x, x_sum, y, y_sum, "contracting")
    same_dtype((x, y), "operands")
    dims = (
        *(x.shape[d] for d in x_batch),
        *without(x.shape, (*x_batch, *x_sum)),
        *without(y.shape, (*y_batch, *y_sum)),
    )
    return dims, element_type(inst)


def _same_sizes(
    x: Inst, x_dims: Sequence[int], y: Inst, y_dims: Sequence[int], what: str
) -> None:
    left = [x.shape[d] for d in x_dims]
    right = [y.shape[d] for d in y_dims]
    if left != right:
        fail(f"{what} dimensions are of sizes {left} and {right}")


def _square(inst: Inst) -> None:
    if len(inst.shape) < 2 or inst.shape[-1] != inst.shape[-2]:
        fail(f"{inst.shape_text()} is no square matrix, or batch of them")


def cholesky(inst: Inst) -> Result:
    x = array(inst.operands[0])
    _square(x)
    return x.shape, x.dtype


def triangular_solve(inst: Inst) -> Result:
    a, b = arrays(inst)
    _square(a)
    same_dtype((a, b), "operands")
    require(len(a.shape) == len(b.shape), "operands differ in rank")
    require(a.shape[:-2] == b.shape[:-2], "operands differ in batch dimensions")
    side = -2 if inst.attributes["left_side"] else -1
    require(a.shape[-1] == b.shape[side], "operands do not fit")
    return b.shape, b.dtype


RULES: dict[str, Rule] = {
    "dot": dot,
    "cholesky": cholesky,
    "triangular-solve": triangular_solve,
}
