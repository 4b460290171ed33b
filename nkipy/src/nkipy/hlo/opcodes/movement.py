"""Sources of values, and opcodes that move elements without computing with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.hlo.dtypes import HLO_NAMES, uint32
from nkipy.hlo.instruction import Shape
from nkipy.hlo.opcodes.attribute import (
    LITERAL_WIRE,
    Attribute,
    Fields,
    Kind,
    NameOf,
    PublicName,
    column,
    printed_elsewhere,
)
from nkipy.hlo.opcodes.compiled import AS_IT_IS, refused
from nkipy.hlo.opcodes.cost import (
    GPSIMD,
    MOVE,
    RENAME,
    SOURCE,
    TUPLE,
    VIEW,
    CostClass,
    CostKind,
    elementwise,
)
from nkipy.hlo.opcodes.kinds import INT, INTS, LITERAL, ONE_OF_INTS, is_rows
from nkipy.hlo.opcodes.record import NUMERIC, Keeps, define
from nkipy.hlo.opcodes.rule import (
    Inst,
    Result,
    array,
    arrays,
    dimension,
    dimensions,
    fail,
    integer_scalars,
    require,
    same_dtype,
    scalar,
    size_of,
)

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader


def parameter(inst: Inst) -> Result:
    """Whatever it says; the verifier checks that it is a shape at all."""
    if inst.tuple_shapes is not None:
        return inst.tuple_shapes
    return inst.shape, inst.dtype


def constant(inst: Inst) -> Result:
    literal = inst.attributes["literal"]
    if literal.dtype not in HLO_NAMES:
        fail(f"a literal of dtype {literal.dtype}")
    if not literal.flags.c_contiguous:
        fail("the literal is not C-contiguous")
    return literal.shape, literal.dtype


def iota(inst: Inst) -> Result:
    dimension(inst.attributes["iota_dimension"], len(inst.shape), "iota_dimension")
    return inst.shape, inst.dtype


def replica_id(inst: Inst) -> Result:
    return (), uint32


def reshape(inst: Inst) -> Result:
    (x,) = inst.operands
    if size_of(x.shape) != size_of(inst.shape):
        fail(f"{size_of(x.shape)} elements cannot become {size_of(inst.shape)}")
    return inst.shape, x.dtype


def broadcast(inst: Inst) -> Result:
    (x,) = inst.operands
    dims, shape = inst.attributes["dimensions"], inst.shape
    if not dims and x.shape == ():
        return shape, x.dtype
    if len(dims) != len(x.shape):
        fail(f"{len(dims)} dimensions for an operand of rank {len(x.shape)}")
    dimensions(dims, len(shape), "dimensions", ordered=True)
    for size, d in zip(x.shape, dims):
        if shape[d] != size:
            fail(f"dimension {d} of the result is {shape[d]}, in the operand {size}")
    return shape, x.dtype


def transpose(inst: Inst) -> Result:
    x = array(inst.operands[0])
    dims = inst.attributes["dimensions"]
    require(len(dims) == len(x.shape), f"dimensions do not permute rank {len(x.shape)}")
    dimensions(dims, len(x.shape), "dimensions")
    return tuple(x.shape[d] for d in dims), x.dtype


def reverse(inst: Inst) -> Result:
    x = array(inst.operands[0])
    dimensions(inst.attributes["dimensions"], len(x.shape), "dimensions")
    return x.shape, x.dtype


def concatenate(inst: Inst) -> Result:
    values = arrays(inst)
    d, first = inst.attributes["dimension"], values[0].shape
    dimension(d, len(first), "dimension")
    same_dtype(values, "operands")
    for v in values:
        if len(v.shape) != len(first) or _replaced(v.shape, d, 0) != _replaced(
            first, d, 0
        ):
            fail(f"operands differ in other dimensions than {d}")
    return _replaced(first, d, sum(v.shape[d] for v in values)), values[0].dtype


def _replaced(dims: tuple[int, ...], d: int, size: int) -> tuple[int, ...]:
    return (*dims[:d], size, *dims[d + 1 :])


def slice_(inst: Inst) -> Result:
    x = array(inst.operands[0])
    a = inst.attributes
    rows = (a["starts"], a["limits"], a["strides"])
    if any(len(row) != len(x.shape) for row in rows):
        fail(f"starts, limits and strides are not all of length {len(x.shape)}")
    for size, start, limit, stride in zip(x.shape, *rows):
        if not 0 <= start <= limit <= size or stride < 1:
            fail(f"[{start}:{limit}:{stride}] is not within a dimension of {size}")
    return tuple(-(-(e - s) // t) for s, e, t in zip(*rows)), x.dtype


def dynamic_slice(inst: Inst) -> Result:
    x, *starts = arrays(inst)
    sizes = inst.attributes["dynamic_slice_sizes"]
    rank = len(x.shape)
    require(
        len(starts) == len(sizes) == rank, f"not one start and size for each of {rank}"
    )
    integer_scalars(starts, "a start index")
    if any(not 0 <= size <= whole for size, whole in zip(sizes, x.shape)):
        fail("a slice size is negative or exceeds the operand's")
    return sizes, x.dtype


def dynamic_update_slice(inst: Inst) -> Result:
    x, update, *starts = arrays(inst)
    same_dtype((x, update), "operand and update")
    rank = len(x.shape)
    require(
        len(starts) == len(update.shape) == rank, f"update or starts not of rank {rank}"
    )
    integer_scalars(starts, "a start index")
    if any(size > whole for size, whole in zip(update.shape, x.shape)):
        fail("the update is larger than the operand")
    return x.shape, x.dtype


def pad(inst: Inst) -> Result:
    x, value = arrays(inst)
    scalar(value, "the padding value")
    same_dtype((x, value), "operand and padding value")
    config = inst.attributes["padding"]
    require(len(config) == len(x.shape), f"padding is not of length {len(x.shape)}")
    dims = []
    for size, (low, high, interior) in zip(x.shape, config):
        padded = size + max(size - 1, 0) * interior + low + high
        if interior < 0 or padded < 0:
            fail(f"padding ({low}, {high}, {interior}) of a dimension of {size}")
        dims.append(padded)
    return tuple(dims), x.dtype


def tuple_(inst: Inst) -> Result:
    return tuple(Shape(v.dtype, v.shape) for v in arrays(inst))


def get_tuple_element(inst: Inst) -> Result:
    (x,) = inst.operands
    index = inst.attributes["index"]
    if x.tuple_shapes is None:
        fail("the operand is not a tuple")
    if not 0 <= index < len(x.tuple_shapes):
        fail(f"index {index} of a tuple of {len(x.tuple_shapes)}")
    dtype, dims = x.tuple_shapes[index]
    return dims, dtype


# -- sources ---------------------------------------------------------------------------
define(
    "parameter",
    operands=0,
    rule=parameter,
    cost=SOURCE,
    compiled=AS_IT_IS,
    takes_tuples=True,
    attributes=(Attribute("parameter_number", INT, text=printed_elsewhere),),
)


def _literal(value: Any, so_far: Any, result: Shape) -> np.ndarray:
    """The literal of a constant: an array, or a scalar that all elements have."""
    array = np.asarray(value, dtype=result.dtype)
    if not array.shape:
        array = np.broadcast_to(array, result.dims)
    # Of bytes, so that nobody can ever write into it.
    return np.ndarray(array.shape, array.dtype, array.tobytes())


define(
    "constant",
    operands=0,
    rule=constant,
    cost=SOURCE,
    compiled=refused("NCC_ESFH002"),
    attributes=(
        Attribute(
            "literal",
            LITERAL,
            wire=LITERAL_WIRE,
            text=printed_elsewhere,
            public=(PublicName("value", _literal),),
        ),
    ),
)
define(
    "iota",
    operands=0,
    dtypes=NUMERIC,
    rule=iota,
    cost=elementwise(GPSIMD),
    compiled=AS_IT_IS,
    attributes=(Attribute("iota_dimension", ONE_OF_INTS, field="dimensions"),),
)
define(
    "replica-id partition-id",
    operands=0,
    dtypes=frozenset({uint32}),
    rule=replica_id,
    cost=SOURCE,
    compiled=AS_IT_IS,
)


# -- shape -----------------------------------------------------------------------------
def _dimensions(*public: str) -> Attribute:
    return Attribute("dimensions", INTS, public=tuple(map(PublicName, public)))


def _dimension_text(value: int, inst: Inst, name_of: NameOf) -> str:
    return f"dimensions={{{value}}}"


#: One dimension, which the text form calls ``dimensions``.
DIMENSION = Attribute(
    "dimension", ONE_OF_INTS, field="dimensions", text=_dimension_text
)
define(
    "reshape", operands=1, rule=reshape, cost=RENAME, compiled=AS_IT_IS, keeps=Keeps.ALL
)
define(
    "broadcast",
    operands=1,
    rule=broadcast,
    cost=VIEW,
    compiled=AS_IT_IS,
    keeps=Keeps.ALL,
    attributes=(_dimensions("broadcast_dimensions"),),
)
define(
    "transpose",
    operands=1,
    rule=transpose,
    cost=CostClass(CostKind.TRANSPOSE),
    compiled=AS_IT_IS,
    keeps=Keeps.ALL,
    attributes=(_dimensions("permutation"),),
)
define(
    "reverse",
    operands=1,
    rule=reverse,
    cost=MOVE,
    compiled=AS_IT_IS,
    keeps=Keeps.ALL,
    attributes=(_dimensions(),),
)
define(
    "concatenate",
    operands=(1, None),
    rule=concatenate,
    cost=MOVE,
    compiled=AS_IT_IS,
    attributes=(DIMENSION,),
)


# -- slices and padding ----------------------------------------------------------------
def _slice_text(starts: Any, inst: Inst, name_of: NameOf) -> str:
    rows = zip(starts, inst.attributes["limits"], inst.attributes["strides"])
    return "slice={" + ", ".join(f"[{s}:{e}:{t}]" for s, e, t in rows) + "}"


define(
    "slice",
    operands=1,
    rule=slice_,
    cost=VIEW,
    compiled=AS_IT_IS,
    keeps=Keeps.SOME,
    attributes=(
        Attribute(
            "starts",
            INTS,
            wire=column("slice_dimensions", "start"),
            text=_slice_text,
            public=(PublicName("start_indices"),),
        ),
        Attribute(
            "limits",
            INTS,
            wire=column("slice_dimensions", "limit"),
            text=printed_elsewhere,
            public=(PublicName("limit_indices"),),
        ),
        Attribute(
            "strides",
            INTS,
            wire=column("slice_dimensions", "stride"),
            text=printed_elsewhere,
            public=(PublicName("strides", absent=lambda r: (1,) * len(r.dims)),),
        ),
    ),
)
define(
    "dynamic-slice",
    operands=(1, None),
    rule=dynamic_slice,
    cost=MOVE,
    compiled=AS_IT_IS,
    keeps=Keeps.SOME,
    attributes=(Attribute("dynamic_slice_sizes", INTS),),
)
define(
    "dynamic-update-slice",
    operands=(2, None),
    rule=dynamic_update_slice,
    cost=MOVE,
    compiled=AS_IT_IS,
)

_PADDING = ("edge_padding_low", "edge_padding_high", "interior_padding")


def _encode_padding(value: tuple[tuple[int, ...], ...]) -> list[Fields]:
    return [dict(zip(_PADDING, row)) for row in value]


def _decode_padding(
    fields: Fields, name: str, reader: Reader
) -> tuple[tuple[int, ...], ...]:
    rows = fields.get(name, ())
    return tuple(tuple(row.get(n, 0) for n in _PADDING) for row in rows)


_LOW_HIGH_INTERIOR = Kind(
    "a tuple of (low, high, interior)",
    lambda value: is_rows(value, 3),
    _encode_padding,
    _decode_padding,
    lambda value: "x".join("_".join(map(str, row)) for row in value),
)
define(
    "pad",
    operands=2,
    rule=pad,
    cost=MOVE,
    compiled=AS_IT_IS,
    attributes=(
        Attribute(
            "padding",
            _LOW_HIGH_INTERIOR,
            field="padding_config.dimensions",
            public=(PublicName("padding_config"),),
        ),
    ),
)

# -- tuples ----------------------------------------------------------------------------
define("tuple", operands=(0, None), rule=tuple_, cost=TUPLE, compiled=AS_IT_IS)
define(
    "get-tuple-element",
    operands=1,
    rule=get_tuple_element,
    cost=TUPLE,
    compiled=AS_IT_IS,
    takes_tuples=True,
    attributes=(
        Attribute(
            "index", INT, field="tuple_index", public=(PublicName("tuple_index"),)
        ),
    ),
)
