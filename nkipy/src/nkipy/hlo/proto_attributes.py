"""Each opcode's attributes as fields of ``HloInstructionProto``, and back.

Both directions stand next to each other, one pair per opcode. Callees and literals are
not here: the writer and the reader handle those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nkipy.hlo.errors import HLOProtoError
from nkipy.hlo.opcodes import DIRECTIONS, WindowDim
from nkipy.hlo.wire_reader import Reader

Attributes = Mapping[str, Any]
Fields = dict[str, Any]


class Codec(NamedTuple):
    """How the attributes of an opcode are written and read.

    ``reads`` names the fields that `from_fields` takes into account.
    """

    to_fields: Callable[[Attributes], Fields]
    from_fields: Callable[[Fields, Reader], dict[str, Any]]
    reads: tuple[str, ...]


CODECS: dict[str, Codec] = {}


def _register(
    opcodes: str,
    to_fields: Callable[[Attributes], Fields],
    from_fields: Callable[[Fields, Reader], dict[str, Any]],
    *reads: str,
) -> None:
    for opcode in opcodes.split():
        CODECS[opcode] = Codec(to_fields, from_fields, reads)


def _one(values: tuple[int, ...], what: str) -> int:
    if len(values) != 1:
        raise HLOProtoError(f"{what} has {len(values)} elements instead of one")
    return values[0]


def _dimensions(fields: Fields, reader: Reader) -> dict[str, Any]:
    return {"dimensions": reader.ints(fields, "dimensions")}


def _dimension(name: str) -> Codec:
    return Codec(
        lambda a: {"dimensions": (a[name],)},
        lambda f, r: {name: _one(r.ints(f, "dimensions"), "dimensions")},
        ("dimensions",),
    )


_register(
    "broadcast transpose reverse reduce",
    lambda a: {"dimensions": a["dimensions"]},
    _dimensions,
    "dimensions",
)
CODECS["iota"] = _dimension("iota_dimension")
CODECS["concatenate"] = _dimension("dimension")

_register(
    "compare",
    lambda a: {"comparison_direction": a["direction"]},
    lambda f, r: {"direction": _direction(f)},
    "comparison_direction",
    "comparison_type",
)


def _direction(fields: Fields) -> str:
    if fields.get("comparison_type") == "TOTALORDER":
        raise HLOProtoError("comparison_type TOTALORDER is not supported")
    direction = fields.get("comparison_direction", "")
    if direction not in DIRECTIONS:
        raise HLOProtoError(f"unknown comparison_direction {direction!r}")
    return direction


# -- slicing ---------------------------------------------------------------------------
def _slice_fields(a: Attributes) -> Fields:
    rows = zip(a["starts"], a["limits"], a["strides"])
    return {
        "slice_dimensions": [{"start": s, "limit": e, "stride": t} for s, e, t in rows]
    }


def _slice_attributes(fields: Fields, reader: Reader) -> dict[str, Any]:
    rows = fields.get("slice_dimensions", ())
    return {
        name + "s": tuple(row.get(name, 0) for row in rows)
        for name in ("start", "limit", "stride")
    }


_register("slice", _slice_fields, _slice_attributes, "slice_dimensions")
_register(
    "dynamic-slice",
    lambda a: {"dynamic_slice_sizes": a["dynamic_slice_sizes"]},
    lambda f, r: {"dynamic_slice_sizes": r.ints(f, "dynamic_slice_sizes")},
    "dynamic_slice_sizes",
)

_PADDING = ("edge_padding_low", "edge_padding_high", "interior_padding")


def _padding_attributes(fields: Fields, reader: Reader) -> dict[str, Any]:
    rows = fields.get("padding_config", {}).get("dimensions", ())
    return {"padding": tuple(tuple(row.get(n, 0) for n in _PADDING) for row in rows)}


_register(
    "pad",
    lambda a: {
        "padding_config": {
            "dimensions": [dict(zip(_PADDING, row)) for row in a["padding"]]
        }
    },
    _padding_attributes,
    "padding_config",
)

# -- windows ---------------------------------------------------------------------------
#: The names of WindowDim's fields in the proto, in WindowDim's order.
_WINDOW = (
    "size",
    "stride",
    "padding_low",
    "padding_high",
    "base_dilation",
    "window_dilation",
    "window_reversal",
)


def _window_field(window: tuple[WindowDim, ...]) -> Fields:
    return {"dimensions": [dict(zip(_WINDOW, d)) for d in window]}


def _window(fields: Fields) -> tuple[WindowDim, ...]:
    rows = fields.get("window", {}).get("dimensions", ())
    # A dilation of 0 in the proto is one that was not set.
    return tuple(
        WindowDim(
            row.get("size", 0),
            row.get("stride", 0),
            row.get("padding_low", 0),
            row.get("padding_high", 0),
            row.get("base_dilation", 0) or 1,
            row.get("window_dilation", 0) or 1,
            row.get("window_reversal", False),
        )
        for row in rows
    )


_register(
    "reduce-window",
    lambda a: {"window": _window_field(a["window"])},
    lambda f, r: {"window": _window(f)},
    "window",
)

#: The parts of dim_labels: prefix of the fields, and the two non-spatial letters.
_LABELS = (
    ("input", "b", "input_batch_dimension", "f", "input_feature_dimension"),
    (
        "kernel",
        "i",
        "kernel_input_feature_dimension",
        "o",
        "kernel_output_feature_dimension",
    ),
    ("output", "b", "output_batch_dimension", "f", "output_feature_dimension"),
)


def split_dim_labels(labels: str) -> tuple[str, str, str]:
    """The three parts of ``"bf01_oi01->bf01"``.

    Raises:
        ValueError: it does not have that form.
    """
    left, arrow, output = labels.partition("->")
    lhs, underscore, rhs = left.partition("_")
    parts = (lhs, rhs, output)
    spatial = len(lhs) - 2
    for part, (_, a, _, b, _) in zip(parts, _LABELS):
        digits = "".join(map(str, range(spatial)))
        if sorted(part) != sorted(digits + a + b) or spatial > 10:
            raise ValueError(f"malformed dim_labels {labels!r}")
    if not arrow or not underscore:
        raise ValueError(f"malformed dim_labels {labels!r}")
    return parts


def _convolution_numbers(labels: str) -> Fields:
    out: Fields = {}
    for part, (side, a, a_field, b, b_field) in zip(split_dim_labels(labels), _LABELS):
        out[a_field], out[b_field] = part.index(a), part.index(b)
        spatial = [part.index(str(i)) for i in range(len(part) - 2)]
        out[f"{side}_spatial_dimensions"] = spatial
    return out


def _dim_labels(numbers: Fields, reader: Reader) -> str:
    parts = []
    for side, a, a_field, b, b_field in _LABELS:
        spatial = reader.ints(numbers, f"{side}_spatial_dimensions", limit=8)
        part = [""] * (len(spatial) + 2)
        places = [(numbers.get(a_field, 0), a), (numbers.get(b_field, 0), b)]
        for place, letter in [*places, *((d, str(i)) for i, d in enumerate(spatial))]:
            if not 0 <= place < len(part) or part[place]:
                raise HLOProtoError(f"{side} dimension numbers are no permutation")
            part[place] = letter
        parts.append("".join(part))
    return f"{parts[0]}_{parts[1]}->{parts[2]}"


def _convolution_fields(a: Attributes) -> Fields:
    return {
        "window": _window_field(a["window"]),
        "convolution_dimension_numbers": _convolution_numbers(a["dim_labels"]),
        "feature_group_count": a.get("feature_group_count", 1),
        "batch_group_count": a.get("batch_group_count", 1),
    }


def _convolution_attributes(fields: Fields, reader: Reader) -> dict[str, Any]:
    numbers = fields.get("convolution_dimension_numbers", {})
    return {
        "window": _window(fields),
        "dim_labels": _dim_labels(numbers, reader),
        "feature_group_count": fields.get("feature_group_count", 0) or 1,
        "batch_group_count": fields.get("batch_group_count", 0) or 1,
    }


_register(
    "convolution",
    _convolution_fields,
    _convolution_attributes,
    "window",
    "convolution_dimension_numbers",
    "feature_group_count",
    "batch_group_count",
)


# -- dot, gather, scatter: a message of dimension lists ------------------------------
_DOT = {
    "lhs_contracting_dims": "lhs_contracting_dimensions",
    "rhs_contracting_dims": "rhs_contracting_dimensions",
    "lhs_batch_dims": "lhs_batch_dimensions",
    "rhs_batch_dims": "rhs_batch_dimensions",
}
_GATHER = ("offset_dims", "collapsed_slice_dims", "start_index_map")
_SCATTER = (
    "update_window_dims",
    "inserted_window_dims",
    "scatter_dims_to_operand_dims",
)
_BATCHING = (
    "operand_batching_dims",
    "start_indices_batching_dims",
    "input_batching_dims",
    "scatter_indices_batching_dims",
)


def _dot_attributes(fields: Fields, reader: Reader) -> dict[str, Any]:
    numbers = fields.get("dot_dimension_numbers", {})
    return {name: reader.ints(numbers, field) for name, field in _DOT.items()}


_register(
    "dot",
    lambda a: {"dot_dimension_numbers": {f: a[name] for name, f in _DOT.items()}},
    _dot_attributes,
    "dot_dimension_numbers",
)


def _index_numbers(numbers: Fields, reader: Reader, names: tuple[str, ...]) -> Fields:
    for name in _BATCHING:
        if reader.ints(numbers, name):
            raise HLOProtoError(f"{name} is not supported")
    out: Fields = {name: reader.ints(numbers, name) for name in names}
    out["index_vector_dim"] = numbers.get("index_vector_dim", 0)
    return out


def _gather_fields(a: Attributes) -> Fields:
    names = (*_GATHER, "index_vector_dim")
    return {
        "gather_dimension_numbers": {name: a[name] for name in names},
        "gather_slice_sizes": a["slice_sizes"],
        "indices_are_sorted": a.get("indices_are_sorted", False),
    }


def _gather_attributes(fields: Fields, reader: Reader) -> dict[str, Any]:
    numbers = fields.get("gather_dimension_numbers", {})
    return {
        **_index_numbers(numbers, reader, _GATHER),
        "slice_sizes": reader.ints(fields, "gather_slice_sizes"),
        "indices_are_sorted": fields.get("indices_are_sorted", False),
    }


_register(
    "gather",
    _gather_fields,
    _gather_attributes,
    "gather_dimension_numbers",
    "gather_slice_sizes",
    "indices_are_sorted",
)


def _scatter_fields(a: Attributes) -> Fields:
    names = (*_SCATTER, "index_vector_dim")
    return {
        "scatter_dimension_numbers": {name: a[name] for name in names},
        "indices_are_sorted": a.get("indices_are_sorted", False),
        "unique_indices": a.get("unique_indices", False),
    }


def _scatter_attributes(fields: Fields, reader: Reader) -> dict[str, Any]:
    numbers = fields.get("scatter_dimension_numbers", {})
    return {
        **_index_numbers(numbers, reader, _SCATTER),
        "indices_are_sorted": fields.get("indices_are_sorted", False),
        "unique_indices": fields.get("unique_indices", False),
    }


_register(
    "scatter",
    _scatter_fields,
    _scatter_attributes,
    "scatter_dimension_numbers",
    "indices_are_sorted",
    "unique_indices",
)
_register(
    "sort",
    lambda a: {
        "dimensions": (a["dimension"],),
        "is_stable": a.get("is_stable", False),
    },
    lambda f, r: {
        "dimension": _one(r.ints(f, "dimensions"), "dimensions"),
        "is_stable": f.get("is_stable", False),
    },
    "dimensions",
    "is_stable",
)
