"""Convolution and reduce-window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nkipy.hlo.errors import HLOProtoError, HLOVerificationError
from nkipy.hlo.instruction import Shape
from nkipy.hlo.opcodes.attribute import (
    Attribute,
    Fields,
    Kind,
    NameOf,
    PublicName,
    Text,
    optional,
)
from nkipy.hlo.opcodes.calls import each_of, reducer
from nkipy.hlo.opcodes.compiled import Cast, refused
from nkipy.hlo.opcodes.cost import CostClass, CostKind
from nkipy.hlo.opcodes.kinds import COMPUTATION, INT, STR, is_ints
from nkipy.hlo.opcodes.record import NUMERIC, OnCpu, define
from nkipy.hlo.opcodes.rule import (
    Inst,
    Result,
    arrays,
    element_type,
    fail,
    require,
    same_dtype,
)

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader


class WindowDim(NamedTuple):
    """One dimension of the window of a convolution or reduce-window."""

    size: int
    stride: int = 1
    pad_low: int = 0
    pad_high: int = 0
    lhs_dilate: int = 1
    rhs_dilate: int = 1
    reverse: bool = False


def windowed(size: int, window: WindowDim) -> int:
    """How many places a window has in a dimension of `size`."""
    positive = (window.size, window.stride, window.lhs_dilate, window.rhs_dilate)
    if min(positive) < 1:
        fail(f"size, stride and dilation of a window have to be positive: {window}")
    base = (size - 1) * window.lhs_dilate + 1 if size else 0
    padded = base + window.pad_low + window.pad_high
    extent = (window.size - 1) * window.rhs_dilate + 1
    require(padded >= 0, f"negative padding {window} exceeds the dimension {size}")
    return (padded - extent) // window.stride + 1 if padded >= extent else 0


def reduce_window(inst: Inst) -> Result:
    values = arrays(inst)
    inputs, inits = values[: len(values) // 2], values[len(values) // 2 :]
    window = inst.attributes["window"]
    reducer(inst, inputs, inits)
    rank = len(inputs[0].shape)
    require(len(window) == rank, f"the window is not of rank {rank}")
    dims = tuple(map(windowed, inputs[0].shape, window))
    return each_of(inputs, dims)


def convolution(inst: Inst) -> Result:
    """The labels say which dimension is which; see HLO's text form."""
    x, w = arrays(inst)
    a = inst.attributes
    try:
        lhs, rhs, out = split_dim_labels(a["dim_labels"])
    except ValueError as e:
        fail(str(e))
    rank = len(lhs)
    if not len(x.shape) == len(w.shape) == rank == len(a["window"]) + 2:
        fail("operands, window and dim_labels are not of one rank")
    same_dtype((x, w), "operands")
    features = _features(
        (x.shape[lhs.index("b")], x.shape[lhs.index("f")]),
        (w.shape[rhs.index("i")], w.shape[rhs.index("o")]),
        a.get("feature_group_count", 1),
        a.get("batch_group_count", 1),
    )
    sizes = {"b": features[0], "f": features[1]}
    for i, window in enumerate(a["window"]):
        label = str(i)
        if w.shape[rhs.index(label)] != window.size:
            fail(f"window {i} is {window.size}, the kernel {w.shape[rhs.index(label)]}")
        sizes[label] = windowed(x.shape[lhs.index(label)], window)
    return tuple(sizes[label] for label in out), element_type(inst)


def _features(
    x: tuple[int, int], w: tuple[int, int], groups: int, batch_groups: int
) -> tuple[int, int]:
    (batch, features), (w_in, w_out) = x, w
    if groups < 1 or batch_groups < 1 or (groups > 1 and batch_groups > 1):
        fail(f"feature_group_count {groups}, batch_group_count {batch_groups}")
    if features != w_in * groups or w_out % groups:
        fail(
            f"{features} input features in {groups} groups, "
            f"a kernel of {w_in} and {w_out}"
        )
    if batch % batch_groups or w_out % batch_groups:
        fail(f"{batch_groups} groups of a batch of {batch}, {w_out} output features")
    return batch // batch_groups, w_out


# -- the window ------------------------------------------------------------------------
def _is_window(value: Any) -> bool:
    return type(value) is tuple and all(
        type(d) is WindowDim and is_ints(d[:6]) and type(d.reverse) is bool
        for d in value
    )


#: The names of WindowDim's fields in the proto, in WindowDim's order.
_FIELDS = (
    "size",
    "stride",
    "padding_low",
    "padding_high",
    "base_dilation",
    "window_dilation",
    "window_reversal",
)


def _encode_window(window: tuple[WindowDim, ...]) -> list[Fields]:
    return [dict(zip(_FIELDS, d)) for d in window]


def _decode_window(fields: Fields, name: str, reader: Reader) -> tuple[WindowDim, ...]:
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
        for row in fields.get(name, ())
    )


def window_text(window: Sequence[WindowDim]) -> str:
    """``{size=2x2 stride=1x2 ...}``, without what is as by default."""
    plain = WindowDim(0)
    fields: dict[str, list[Any]] = {
        "size": [w.size for w in window],
        "stride": [w.stride for w in window],
        "pad": [f"{w.pad_low}_{w.pad_high}" for w in window],
        "lhs_dilate": [w.lhs_dilate for w in window],
        "rhs_dilate": [w.rhs_dilate for w in window],
        "rhs_reversal": [int(w.reverse) for w in window],
    }
    defaults = {
        "stride": plain.stride,
        "pad": "0_0",
        "lhs_dilate": plain.lhs_dilate,
        "rhs_dilate": plain.rhs_dilate,
        "rhs_reversal": 0,
    }
    parts = [
        f"{name}={'x'.join(map(str, values))}"
        for name, values in fields.items()
        if any(v != defaults.get(name) for v in values)
    ]
    return "{" + " ".join(parts) + "}"


def _window_or_none(window: Any, inst: Inst, name_of: NameOf) -> str:
    return f"window={window_text(window)}" if window else ""


def _taken(field: str) -> Callable[[Any, Any, Shape], tuple[WindowDim, ...]]:
    """The window with one number of each dimension set, the others as they are."""

    def take(value: Any, so_far: Any, result: Shape) -> tuple[WindowDim, ...]:
        window = so_far or (WindowDim(1),) * len(value)
        if len(window) != len(value):
            raise HLOVerificationError(
                f"a window of {len(window)} dimensions, but {len(value)} sizes or "
                "strides of it"
            )
        return tuple(d._replace(**{field: n}) for d, n in zip(window, value))

    return take


def _column(name: str, field: str) -> PublicName:
    return PublicName(
        name, _taken(field), lambda window: tuple(getattr(d, field) for d in window)
    )


_WINDOW = Kind(
    "a tuple of WindowDim", _is_window, _encode_window, _decode_window, window_text
)
define(
    "reduce-window",
    operands=(2, None),
    rule=reduce_window,
    cost=CostClass(CostKind.WINDOW),
    compiled=refused("NCC_EVRF017", "NCC_EVRF018", "NCC_EVRF019"),
    on_cpu=OnCpu.CONTRACTS,
    attributes=(
        Attribute(
            "window",
            _WINDOW,
            field="window.dimensions",
            public=(
                _column("window_dimensions", "size"),
                _column("window_strides", "stride"),
            ),
        ),
        Attribute("to_apply", COMPUTATION),
    ),
)

# -- convolution -----------------------------------------------------------------------
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


def _encode_labels(labels: str) -> Fields:
    out: Fields = {}
    for part, (side, a, a_field, b, b_field) in zip(split_dim_labels(labels), _LABELS):
        out[a_field], out[b_field] = part.index(a), part.index(b)
        spatial = [part.index(str(i)) for i in range(len(part) - 2)]
        out[f"{side}_spatial_dimensions"] = spatial
    return out


def _decode_labels(fields: Fields, name: str, reader: Reader) -> str:
    numbers = fields.get(name, {})
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


_LABELS_KIND = Kind("a str", STR.check, _encode_labels, _decode_labels, str)


def _unless_one(name: str) -> Text:
    return lambda value, inst, name_of: f"{name}={value}" if value != 1 else ""


def _decode_count(fields: Fields, name: str, reader: Reader) -> int:
    return fields.get(name, 0) or 1


_COUNT = INT._replace(decode=_decode_count)


def _count(name: str) -> Attribute:
    return optional(name, _COUNT, text=_unless_one(name), default=1)


define(
    "convolution",
    operands=2,
    dtypes=NUMERIC,
    rule=convolution,
    cost=CostClass(CostKind.CONVOLUTION),
    compiled=refused("NCC_EVRF010", "NCC_EVRF011", cast=Cast.OPERANDS),
    # Integers end at the greatest and the least one, where they should wrap around.
    on_cpu=OnCpu.FOLDS_OTHERWISE,
    attributes=(
        Attribute("window", _WINDOW, field="window.dimensions", text=_window_or_none),
        Attribute("dim_labels", _LABELS_KIND, field="convolution_dimension_numbers"),
        _count("feature_group_count"),
        _count("batch_group_count"),
    ),
)
