"""The HLO opcodes we use: how many operands, which attributes, which element types.

One record per opcode; the verifier, the printer and both sides of the proto go by it.
What an opcode does to shapes is in :mod:`nkipy.hlo.rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOComputation


class WindowDim(NamedTuple):
    """One dimension of the window of a convolution or reduce-window."""

    size: int
    stride: int = 1
    pad_low: int = 0
    pad_high: int = 0
    lhs_dilate: int = 1
    rhs_dilate: int = 1
    reverse: bool = False


ALL = frozenset(dt.HLO_NAMES)
FLOAT = frozenset(d for d in ALL if dt.is_float(d))
INTEGER = frozenset(d for d in ALL if dt.is_integer(d))
PRED = frozenset({dt.bool_})
SIGNED = FLOAT | frozenset(d for d in INTEGER if d.kind == "i")
NUMERIC = FLOAT | INTEGER
BITS = INTEGER | PRED

DIRECTIONS = ("EQ", "NE", "LT", "LE", "GT", "GE")
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


def _is_int(value: Any) -> bool:
    return type(value) is int and _INT64_MIN <= value <= _INT64_MAX


def _is_ints(value: Any) -> bool:
    return type(value) is tuple and (not value or all(map(_is_int, value)))


def _is_window(value: Any) -> bool:
    return type(value) is tuple and all(
        type(d) is WindowDim and _is_ints(d[:6]) and type(d.reverse) is bool
        for d in value
    )


def _is_rows(value: Any, length: int | None = None) -> bool:
    return type(value) is tuple and all(
        _is_ints(row) and length in (None, len(row)) for row in value
    )


def _is_aliasing(value: Any) -> bool:
    return type(value) is tuple and all(
        type(pair) is tuple
        and len(pair) == 2
        and (pair[0] is None or _is_int(pair[0]))
        and _is_int(pair[1])
        for pair in value
    )


def _is_computations(value: Any) -> bool:
    return type(value) is tuple and all(type(c) is HLOComputation for c in value)


def _is_strings(value: Any) -> bool:
    return type(value) is tuple and all(
        type(pair) is tuple and len(pair) == 2 and set(map(type, pair)) == {str}
        for pair in value
    )


class Attribute(NamedTuple):
    """What an attribute's value has to be."""

    description: str
    is_valid: Callable[[Any], bool]


INT = Attribute("an int", _is_int)
INTS = Attribute("a tuple of ints", _is_ints)
BOOL = Attribute("a bool", lambda v: type(v) is bool)
STR = Attribute("a str", lambda v: type(v) is str)
BYTES = Attribute("bytes", lambda v: type(v) is bytes)
LITERAL = Attribute("an ndarray", lambda v: type(v) is np.ndarray)
COMPUTATION = Attribute("an HLOComputation", lambda v: type(v) is HLOComputation)
COMPUTATIONS = Attribute("a tuple of HLOComputations", _is_computations)
DIRECTION = Attribute(f"one of {', '.join(DIRECTIONS)}", lambda v: v in DIRECTIONS)
PADDING = Attribute("a tuple of (low, high, interior)", lambda v: _is_rows(v, 3))
WINDOW = Attribute("a tuple of WindowDim", _is_window)
GROUPS = Attribute("a tuple of tuples of ints", _is_rows)
PAIRS = Attribute("a tuple of (source, target)", lambda v: _is_rows(v, 2))
ALIASING = Attribute("a tuple of (output or None, operand)", _is_aliasing)
STRINGS = Attribute("a tuple of (str, str)", _is_strings)


class Opcode(NamedTuple):
    """The record of one opcode.

    ``dtypes`` are the element types of the (first) operand, or of the result where
    there is none. ``operands`` is the least and the greatest number; None is no limit.
    """

    name: str
    operands: tuple[int, int | None]
    dtypes: frozenset[np.dtype]
    required: Mapping[str, Attribute]
    attributes: Mapping[str, Attribute]  # required or not
    arity: int  # the number of operands where only one is possible, else -1


OPCODES: dict[str, Opcode] = {}


def _define(
    names: str,
    operands: int | tuple[int, int | None],
    dtypes: frozenset[np.dtype] = ALL,
    optional: Mapping[str, Attribute] | None = None,
    **required: Attribute,
) -> None:
    count = (operands, operands) if isinstance(operands, int) else operands
    for name in names.split():
        arity = count[0] if count[0] == count[1] else -1
        OPCODES[name] = Opcode(
            name, count, dtypes, required, {**required, **(optional or {})}, arity
        )


#: Elementwise opcodes without attributes whose result has the operands' shape and
#: element type, by the types that they are defined for.
UNARY = {
    "abs sign": SIGNED,
    "negate": NUMERIC,
    "exponential exponential-minus-one log log-plus-one sqrt rsqrt cbrt sine cosine "
    "tan tanh erf logistic floor ceil round-nearest-even round-nearest-afz": FLOAT,
    "not": BITS,
    "popcnt count-leading-zeros": INTEGER,
    "copy": ALL,
}
BINARY = {
    "add multiply maximum minimum": ALL,
    "subtract divide remainder power": NUMERIC,
    "atan2": FLOAT,
    "and or xor": BITS,
    "shift-left shift-right-arithmetic shift-right-logical": INTEGER,
}
for _names, _dtypes in UNARY.items():
    _define(_names, 1, _dtypes)
for _names, _dtypes in BINARY.items():
    _define(_names, 2, _dtypes)

_define("is-finite", 1, FLOAT)
_define("convert bitcast-convert", 1)
_define("opt-barrier", 1)
_define("reduce-precision", 1, FLOAT, exponent_bits=INT, mantissa_bits=INT)
_define("compare", 2, direction=DIRECTION)
_define("select clamp", 3)

_define("parameter", 0, parameter_number=INT)
_define("constant", 0, literal=LITERAL)
_define("iota", 0, NUMERIC, iota_dimension=INT)
_define("replica-id partition-id", 0, frozenset({dt.uint32}))

_define("reshape", 1)
_define("broadcast transpose reverse", 1, dimensions=INTS)
_define("concatenate", (1, None), dimension=INT)
_define("slice", 1, starts=INTS, limits=INTS, strides=INTS)
_define("dynamic-slice", (1, None), dynamic_slice_sizes=INTS)
_define("dynamic-update-slice", (2, None))
_define("pad", 2, padding=PADDING)
_define("tuple", (0, None))
_define("get-tuple-element", 1, index=INT)

_define("reduce", (2, None), dimensions=INTS, to_apply=COMPUTATION)
_define("reduce-window", (2, None), window=WINDOW, to_apply=COMPUTATION)
_define(
    "dot",
    2,
    lhs_contracting_dims=INTS,
    rhs_contracting_dims=INTS,
    lhs_batch_dims=INTS,
    rhs_batch_dims=INTS,
)
_define(
    "convolution",
    2,
    NUMERIC,
    {"feature_group_count": INT, "batch_group_count": INT},
    window=WINDOW,
    dim_labels=STR,
)
_define("cholesky", 1, FLOAT, lower=BOOL)
_define(
    "triangular-solve",
    2,
    FLOAT,
    left_side=BOOL,
    lower=BOOL,
    unit_diagonal=BOOL,
    transpose_a=BOOL,
)
_define(
    "gather",
    2,
    optional={"indices_are_sorted": BOOL},
    offset_dims=INTS,
    collapsed_slice_dims=INTS,
    start_index_map=INTS,
    index_vector_dim=INT,
    slice_sizes=INTS,
)
_define(
    "scatter",
    3,
    optional={"indices_are_sorted": BOOL, "unique_indices": BOOL},
    update_window_dims=INTS,
    inserted_window_dims=INTS,
    scatter_dims_to_operand_dims=INTS,
    index_vector_dim=INT,
    to_apply=COMPUTATION,
)
_define(
    "sort",
    (1, None),
    optional={"is_stable": BOOL},
    dimension=INT,
    to_apply=COMPUTATION,
)

_define("while", 1, condition=COMPUTATION, body=COMPUTATION)
_define("conditional", (2, None), branches=COMPUTATIONS)
_define("call", (0, None), to_apply=COMPUTATION)
_define(
    "custom-call",
    (0, None),
    optional={
        "backend_config": BYTES,
        "api_version": INT,
        "has_side_effect": BOOL,
        "output_operand_aliasing": ALIASING,
        "frontend_attributes": STRINGS,
    },
    custom_call_target=STR,
)

_define("all-reduce", 1, replica_groups=GROUPS, to_apply=COMPUTATION)
_define("all-gather all-to-all", 1, replica_groups=GROUPS, dimensions=INTS)
_define(
    "reduce-scatter", 1, replica_groups=GROUPS, dimensions=INTS, to_apply=COMPUTATION
)
_define("collective-permute", 1, source_target_pairs=PAIRS)
