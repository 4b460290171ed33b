"""The attributes of instructions in HLO's text form, but for those that are callees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nkipy.hlo.ir import HLOInstruction
from nkipy.hlo.opcodes import WindowDim

Attributes = Mapping[str, Any]
API_VERSIONS = (
    "API_VERSION_UNSPECIFIED",
    "API_VERSION_ORIGINAL",
    "API_VERSION_STATUS_RETURNING",
    "API_VERSION_STATUS_RETURNING_UNIFIED",
    "API_VERSION_TYPED_FFI",
)


def attribute_texts(inst: HLOInstruction) -> list[str]:
    """Each attribute as ``name=value``."""
    texts = _TEXTS.get(inst.opcode)
    return texts(inst.attributes) if texts is not None else []


def braces(values: Iterable[int]) -> str:
    """``{1,2}``"""
    return "{" + ",".join(map(str, values)) + "}"


def quoted(value: str | bytes) -> str:
    """A string literal with C escapes."""
    data = value.encode() if isinstance(value, str) else value
    return '"' + "".join(map(_escaped, data)) + '"'


def _escaped(byte: int) -> str:
    char = chr(byte)
    if char in '"\\':
        return "\\" + char
    return char if 32 <= byte < 127 else f"\\{byte:03o}"


def _flag(a: Attributes, name: str) -> list[str]:
    return [f"{name}=true"] if a.get(name) else []


def _slice(a: Attributes) -> list[str]:
    rows = zip(a["starts"], a["limits"], a["strides"])
    return ["slice={" + ", ".join(f"[{s}:{e}:{t}]" for s, e, t in rows) + "}"]


def _pad(a: Attributes) -> list[str]:
    return ["padding=" + "x".join("_".join(map(str, row)) for row in a["padding"])]


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


def _dot(a: Attributes) -> list[str]:
    return [f"{name}={braces(dims)}" for name, dims in a.items() if dims]


def _ints(*names: str) -> Callable[[Attributes], list[str]]:
    """Attributes printed by their own names."""
    return lambda a: [f"{n}={_value(a[n])}" for n in names]


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return braces(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _gather(a: Attributes) -> list[str]:
    lists = ("offset_dims", "collapsed_slice_dims", "start_index_map")
    texts = _ints(*lists, "index_vector_dim", "slice_sizes")(a)
    return [*texts, *_flag(a, "indices_are_sorted")]


def _scatter(a: Attributes) -> list[str]:
    lists = ("update_window_dims", "inserted_window_dims")
    texts = _ints(*lists, "scatter_dims_to_operand_dims", "index_vector_dim")(a)
    return [*texts, *_flag(a, "indices_are_sorted"), *_flag(a, "unique_indices")]


def _convolution(a: Attributes) -> list[str]:
    window, labels = a["window"], a["dim_labels"]
    out = [f"window={window_text(window)}"] if window else []
    out.append(f"dim_labels={labels}")
    for name in ("feature_group_count", "batch_group_count"):
        if a.get(name, 1) != 1:
            out.append(f"{name}={a[name]}")
    return out


def _groups(a: Attributes) -> str:
    return "replica_groups={" + ",".join(map(braces, a["replica_groups"])) + "}"


def _pairs(a: Attributes) -> list[str]:
    rows = ",".join(map(braces, a["source_target_pairs"]))
    return ["source_target_pairs={" + rows + "}"]


def _triangular_solve(a: Attributes) -> list[str]:
    transpose = "TRANSPOSE" if a["transpose_a"] else "NO_TRANSPOSE"
    flags = _ints("left_side", "lower", "unit_diagonal")(a)
    return [*flags, f"transpose_a={transpose}"]


def _custom_call(a: Attributes) -> list[str]:
    out = [f"custom_call_target={quoted(a['custom_call_target'])}"]
    if a.get("has_side_effect"):
        out.append("custom_call_has_side_effect=true")
    if a.get("output_operand_aliasing"):
        entries = ", ".join(
            f"{{{'' if output is None else output}}}: ({operand}, {{}})"
            for output, operand in a["output_operand_aliasing"]
        )
        out.append(f"output_to_operand_aliasing={{{entries}}}")
    if a.get("api_version"):
        out.append(f"api_version={API_VERSIONS[a['api_version']]}")
    if a.get("backend_config"):
        out.append(f"backend_config={quoted(a['backend_config'])}")
    return out


_TEXTS: dict[str, Callable[[Attributes], list[str]]] = {
    "broadcast": _ints("dimensions"),
    "transpose": _ints("dimensions"),
    "reverse": _ints("dimensions"),
    "reduce": _ints("dimensions"),
    "iota": _ints("iota_dimension"),
    "compare": _ints("direction"),
    "concatenate": lambda a: [f"dimensions={{{a['dimension']}}}"],
    "slice": _slice,
    "dynamic-slice": _ints("dynamic_slice_sizes"),
    "pad": _pad,
    "reduce-window": lambda a: [f"window={window_text(a['window'])}"],
    "reduce-precision": _ints("exponent_bits", "mantissa_bits"),
    "dot": _dot,
    "convolution": _convolution,
    "gather": _gather,
    "scatter": _scatter,
    "sort": lambda a: [f"dimensions={{{a['dimension']}}}", *_flag(a, "is_stable")],
    "get-tuple-element": _ints("index"),
    "cholesky": _ints("lower"),
    "triangular-solve": _triangular_solve,
    "custom-call": _custom_call,
    "all-reduce": lambda a: [_groups(a)],
    "all-gather": lambda a: [_groups(a), *_ints("dimensions")(a)],
    "reduce-scatter": lambda a: [_groups(a), *_ints("dimensions")(a)],
    "all-to-all": lambda a: [_groups(a), *_ints("dimensions")(a)],
    "collective-permute": _pairs,
}
