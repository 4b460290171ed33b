"""Products of matrices, and systems of equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nkipy.hlo.errors import HLOProtoError
from nkipy.hlo.opcodes.attribute import Attribute, Fields, Kind, NameOf, PublicName
from nkipy.hlo.opcodes.compiled import AS_IT_IS, UNSUPPORTED, Cast, refused
from nkipy.hlo.opcodes.cost import CostClass, CostKind
from nkipy.hlo.opcodes.kinds import BOOL, INTS
from nkipy.hlo.opcodes.record import FLOAT, define
from nkipy.hlo.opcodes.rule import (
    Inst,
    Result,
    array,
    arrays,
    dimensions,
    element_type,
    fail,
    require,
    same_dtype,
    without,
)
from nkipy.hlo.opcodes.text import braces

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader


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
        *[x.shape[d] for d in x_batch],
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


def _dims(name: str) -> Attribute:
    """An attribute of dot, which is not printed where it is empty."""

    def text(value: tuple[int, ...], inst: Inst, name_of: NameOf) -> str:
        return f"{name}={braces(value)}" if value else ""

    whole = f"{name.removesuffix('dims')}dimensions"
    field = f"dot_dimension_numbers.{whole}"
    public = (PublicName(whole, absent=lambda result: ()),)
    return Attribute(name, INTS, field=field, text=text, public=public)


define(
    "dot",
    operands=2,
    rule=dot,
    cost=CostClass(CostKind.DOT),
    compiled=refused("NCC_EVRF035", cast=Cast.OPERANDS),
    attributes=(
        _dims("lhs_contracting_dims"),
        _dims("rhs_contracting_dims"),
        _dims("lhs_batch_dims"),
        _dims("rhs_batch_dims"),
    ),
)
define(
    "cholesky",
    operands=1,
    dtypes=FLOAT,
    rule=cholesky,
    cost=CostClass(CostKind.FACTOR),
    compiled=AS_IT_IS,
    attributes=(Attribute("lower", BOOL, field="cholesky_options.lower"),),
)

_NO_TRANSPOSE, _TRANSPOSE, _ADJOINT = 1, 2, 3


def _decode_transpose(fields: Fields, name: str, reader: Reader) -> bool:
    value = fields.get(name, 0)
    if value not in (_NO_TRANSPOSE, _TRANSPOSE, _ADJOINT):
        raise HLOProtoError(f"unknown {name} {value}")
    # For real numbers, all that we have, the adjoint is the transpose.
    return value != _NO_TRANSPOSE


_TRANSPOSED = Kind(
    "a bool",
    BOOL.check,
    lambda value: _TRANSPOSE if value else _NO_TRANSPOSE,
    _decode_transpose,
    lambda value: "TRANSPOSE" if value else "NO_TRANSPOSE",
)


def _option(name: str, kind: Kind = BOOL) -> Attribute:
    return Attribute(name, kind, field=f"triangular_solve_options.{name}")


define(
    "triangular-solve",
    operands=2,
    dtypes=FLOAT,
    rule=triangular_solve,
    cost=CostClass(CostKind.FACTOR),
    compiled=refused(UNSUPPORTED),
    attributes=(
        _option("left_side"),
        _option("lower"),
        _option("unit_diagonal"),
        _option("transpose_a", _TRANSPOSED),
    ),
)
