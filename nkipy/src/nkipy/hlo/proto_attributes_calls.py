"""The rest of :mod:`proto_attributes`: calls, collectives and single numbers."""

from __future__ import annotations

from typing import Any

from nkipy.hlo.errors import HLOProtoError
from nkipy.hlo.proto_attributes import Attributes, Codec, Fields, _register
from nkipy.hlo.rules.collectives import MAX_REPLICAS
from nkipy.hlo.wire_reader import Reader


def _single(opcode: str, attribute: str, field: str = "") -> None:
    field = field or attribute
    _register(
        opcode,
        lambda a: {field: a[attribute]},
        lambda f, r: {attribute: f.get(field, 0)},
        field,
    )


_single("parameter", "parameter_number")
_single("get-tuple-element", "index", "tuple_index")
_register(
    "reduce-precision",
    lambda a: {k: a[k] for k in ("exponent_bits", "mantissa_bits")},
    lambda f, r: {k: f.get(k, 0) for k in ("exponent_bits", "mantissa_bits")},
    "exponent_bits",
    "mantissa_bits",
)
_register(
    "cholesky",
    lambda a: {"cholesky_options": {"lower": a["lower"]}},
    lambda f, r: {"lower": f.get("cholesky_options", {}).get("lower", False)},
    "cholesky_options",
)

# -- triangular-solve ------------------------------------------------------------------
_NO_TRANSPOSE, _TRANSPOSE, _ADJOINT = 1, 2, 3
_TRIANGULAR = ("left_side", "lower", "unit_diagonal")


def _triangular_fields(a: Attributes) -> Fields:
    transpose = _TRANSPOSE if a["transpose_a"] else _NO_TRANSPOSE
    options = {**{k: a[k] for k in _TRIANGULAR}, "transpose_a": transpose}
    return {"triangular_solve_options": options}


def _triangular_attributes(fields: Fields, reader: Reader) -> dict[str, Any]:
    options = fields.get("triangular_solve_options", {})
    transpose = options.get("transpose_a", 0)
    if transpose not in (_NO_TRANSPOSE, _TRANSPOSE, _ADJOINT):
        raise HLOProtoError(f"unknown transpose_a {transpose}")
    out = {k: options.get(k, False) for k in _TRIANGULAR}
    # For real numbers, all that we have, the adjoint is the transpose.
    return {**out, "transpose_a": transpose != _NO_TRANSPOSE}


_register(
    "triangular-solve",
    _triangular_fields,
    _triangular_attributes,
    "triangular_solve_options",
)


# -- custom-call -----------------------------------------------------------------------
def _custom_call_fields(a: Attributes) -> Fields:
    aliasing = [
        {"output_shape_index": () if out is None else (out,), "operand_index": operand}
        for out, operand in a.get("output_operand_aliasing", ())
    ]
    strings = a.get("frontend_attributes", ())
    out: Fields = {
        "backend_config": a.get("backend_config", b""),
        "custom_call_target": a["custom_call_target"],
        "custom_call_has_side_effect": a.get("has_side_effect", False),
        "output_operand_aliasing": aliasing,
        "custom_call_api_version": a.get("api_version", 0),
    }
    if strings:
        out["frontend_attributes"] = string_map(strings)
    return out


def string_map(pairs: Any) -> Fields:
    """Fields of a ``FrontendAttributes`` message."""
    return {"map": [{"key": key, "value": value} for key, value in pairs]}


def read_string_map(fields: Fields) -> dict[str, str]:
    """The entries of a ``FrontendAttributes`` message."""
    return {e.get("key", ""): e.get("value", "") for e in fields.get("map", ())}


def _custom_call_attributes(fields: Fields, reader: Reader) -> dict[str, Any]:
    out: dict[str, Any] = {"custom_call_target": fields.get("custom_call_target", "")}
    if "backend_config" in fields:
        out["backend_config"] = bytes(fields["backend_config"])
    if fields.get("custom_call_api_version"):
        out["api_version"] = fields["custom_call_api_version"]
    if fields.get("custom_call_has_side_effect"):
        out["has_side_effect"] = True
    if "output_operand_aliasing" in fields:
        entries = fields["output_operand_aliasing"]
        out["output_operand_aliasing"] = tuple(_aliasing(e, reader) for e in entries)
    if "frontend_attributes" in fields:
        strings = read_string_map(fields["frontend_attributes"])
        out["frontend_attributes"] = tuple(strings.items())
    return out


def _aliasing(entry: Fields, reader: Reader) -> tuple[int | None, int]:
    index = reader.ints(entry, "output_shape_index")
    if len(index) > 1 or reader.ints(entry, "operand_shape_index"):
        raise HLOProtoError("output_operand_aliasing of nested tuples")
    return (index[0] if index else None, entry.get("operand_index", 0))


_register(
    "custom-call",
    _custom_call_fields,
    _custom_call_attributes,
    "custom_call_target",
    "backend_config",
    "custom_call_has_side_effect",
    "output_operand_aliasing",
    "custom_call_api_version",
    "frontend_attributes",
)


# -- collectives -----------------------------------------------------------------------
# Without a channel, XLA takes the ids of replica_groups for those of replicas, which is
# what the groups of nkipy's collectives are.
#: Where different releases of XLA write the groups.
_GROUP_FIELDS = (
    "replica_groups",
    "collective_device_list",
    "iota_collective_device_list",
)


def _group_fields(a: Attributes) -> Fields:
    return {"replica_groups": [{"replica_ids": group} for group in a["replica_groups"]]}


def _groups(fields: Fields, reader: Reader) -> tuple[tuple[int, ...], ...]:
    devices = fields.get("collective_device_list", {})
    rows = fields.get("replica_groups") or devices.get("replica_groups", ())
    iota = fields.get("iota_collective_device_list")
    iota = iota or devices.get("iota_replica_group_list")
    if iota and not rows:
        return _iota_groups(iota, reader)
    return tuple(reader.ints(row, "replica_ids", MAX_REPLICAS) for row in rows)


def _iota_groups(fields: Fields, reader: Reader) -> tuple[tuple[int, ...], ...]:
    dims = reader.ints(fields, "iota_reshape_dims", limit=16)
    order = reader.ints(fields, "iota_transpose_perm", limit=16)
    groups = fields.get("num_replica_groups", 0)
    size = fields.get("num_devices_per_group", 0)
    total = 1
    for d in dims:
        total = total * d if 0 < d <= MAX_REPLICAS and total <= MAX_REPLICAS else 0
    valid = sorted(order) == list(range(len(dims))) if order else bool(dims)
    if not valid or not 0 < total <= MAX_REPLICAS or groups * size != total:
        raise HLOProtoError("malformed iota_replica_group_list")
    return _transposed_iota(dims, order or tuple(range(len(dims))), groups)


def _transposed_iota(
    dims: tuple[int, ...], order: tuple[int, ...], groups: int
) -> tuple[tuple[int, ...], ...]:
    import numpy as np

    ids = np.arange(np.prod(dims)).reshape(dims).transpose(order).reshape(groups, -1)
    return tuple(map(tuple, ids.tolist()))


_register(
    "all-reduce",
    _group_fields,
    lambda f, r: {"replica_groups": _groups(f, r)},
    *_GROUP_FIELDS,
)
_register(
    "all-gather all-to-all reduce-scatter",
    lambda a: {"dimensions": a["dimensions"], **_group_fields(a)},
    lambda f, r: {
        "replica_groups": _groups(f, r),
        "dimensions": r.ints(f, "dimensions"),
    },
    "dimensions",
    *_GROUP_FIELDS,
)
_register(
    "collective-permute",
    lambda a: {
        "source_target_pairs": [
            {"source": s, "target": t} for s, t in a["source_target_pairs"]
        ]
    },
    lambda f, r: {
        "source_target_pairs": tuple(
            (p.get("source", 0), p.get("target", 0))
            for p in f.get("source_target_pairs", ())
        )
    },
    "source_target_pairs",
)

#: Opcodes that have nothing to write but operands and callees.
NO_CODEC = Codec(lambda a: {}, lambda f, r: {}, ())
