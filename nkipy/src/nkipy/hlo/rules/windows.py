"""Convolution and reduce-window."""

from __future__ import annotations

from nkipy.hlo.opcodes import WindowDim
from nkipy.hlo.proto_attributes import split_dim_labels
from nkipy.hlo.rules.base import (
    Inst,
    Result,
    Rule,
    arrays,
    element_type,
    fail,
    require,
    same_dtype,
)
from nkipy.hlo.rules.calls import each_of, reducer


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


RULES: dict[str, Rule] = {
    "reduce-window": reduce_window,
    "convolution": convolution,
}
