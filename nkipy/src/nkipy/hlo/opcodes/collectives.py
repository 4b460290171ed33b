"""Opcodes that exchange values between replicas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.hlo.errors import HLOProtoError
from nkipy.hlo.instruction import Shape
from nkipy.hlo.opcodes.attribute import Attribute, Fields, Kind, Wire, one_dimension
from nkipy.hlo.opcodes.compiled import AS_IT_IS, UNSUPPORTED, refused
from nkipy.hlo.opcodes.cost import COLLECTIVE
from nkipy.hlo.opcodes.kinds import COMPUTATION, INTS, is_rows
from nkipy.hlo.opcodes.record import define
from nkipy.hlo.opcodes.rule import (
    Inst,
    Result,
    array,
    callee,
    dimension,
    fail,
    require,
)
from nkipy.hlo.opcodes.text import braces

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader

#: XLA has a table with a row for each, up to the highest that is named.
MAX_REPLICAS = 1 << 16


def _group_size(inst: Inst, equal: bool = True) -> int | None:
    """Replicas in each group; None if there are no groups, meaning all replicas."""
    groups = inst.attributes["replica_groups"]
    members = [replica for group in groups for replica in group]
    if len(set(members)) != len(members):
        fail("a replica is in two replica_groups")
    _check_replicas(members)
    sizes = {len(group) for group in groups}
    if 0 in sizes or (equal and len(sizes) > 1):
        fail("replica_groups are empty or of different sizes")
    return sizes.pop() if sizes else None


def _check_replicas(replicas: Iterable[int]) -> None:
    wrong = next((r for r in replicas if not 0 <= r < MAX_REPLICAS), None)
    if wrong is not None:
        fail(f"replica {wrong} is not from 0 to {MAX_REPLICAS - 1}")


def _reducer(inst: Inst, x: Inst) -> None:
    element = Shape(x.dtype, ())
    callee(inst.attributes["to_apply"], (element, element), element, "to_apply")


def _single_dimension(inst: Inst, x: Inst) -> int:
    dims = inst.attributes["dimensions"]
    require(len(dims) == 1, f"{len(dims)} dimensions instead of one")
    dimension(dims[0], len(x.shape), "dimensions")
    return dims[0]


def all_reduce(inst: Inst) -> Result:
    x = array(inst.operands[0])
    _group_size(inst, equal=False)
    _reducer(inst, x)
    return x.shape, x.dtype


def all_gather(inst: Inst) -> Result:
    x = array(inst.operands[0])
    d, size = _single_dimension(inst, x), _group_size(inst)
    if size is None:  # over all replicas, whose number the module does not say
        require(inst.dtype is not None and len(inst.shape) == len(x.shape), "rank")
        whole = inst.shape[d]
        require(not x.shape[d] or whole % x.shape[d] == 0, f"{whole} of {x.shape[d]}")
    else:
        whole = x.shape[d] * size
    return (*x.shape[:d], whole, *x.shape[d + 1 :]), x.dtype


def reduce_scatter(inst: Inst) -> Result:
    x = array(inst.operands[0])
    d, size = _single_dimension(inst, x), _group_size(inst)
    _reducer(inst, x)
    if size is None:
        require(inst.dtype is not None and len(inst.shape) == len(x.shape), "rank")
        part = inst.shape[d]
        require(not part or x.shape[d] % part == 0, f"{x.shape[d]} in parts of {part}")
    else:
        require(x.shape[d] % size == 0, f"{x.shape[d]} does not divide by {size}")
        part = x.shape[d] // size
    return (*x.shape[:d], part, *x.shape[d + 1 :]), x.dtype


def all_to_all(inst: Inst) -> Result:
    """The array form: split, exchanged and concatenated along one dimension."""
    x = array(inst.operands[0])
    d, size = _single_dimension(inst, x), _group_size(inst)
    if size is not None and x.shape[d] % size:
        fail(f"dimension {d} of size {x.shape[d]} does not divide by {size}")
    return x.shape, x.dtype


def collective_broadcast(inst: Inst) -> Result:
    """Each group has what its first replica has; a replica in no group has zeros."""
    x = array(inst.operands[0])
    _group_size(inst, equal=False)
    return x.shape, x.dtype


def collective_permute(inst: Inst) -> Result:
    x = array(inst.operands[0])
    pairs = inst.attributes["source_target_pairs"]
    for ends, what in zip(zip(*pairs), ("source", "target")):
        if len(set(ends)) != len(ends):
            fail(f"a {what} occurs twice")
        _check_replicas(ends)
    return x.shape, x.dtype


# -- replica_groups --------------------------------------------------------------------
# Without a channel, XLA takes the ids of replica_groups for those of replicas, which is
# what the groups of nkipy's collectives are.
#: Where different releases of XLA write the groups.
_GROUP_FIELDS = (
    "replica_groups",
    "collective_device_list",
    "iota_collective_device_list",
)


def _rows_text(rows: Any) -> str:
    return "{" + ",".join(map(braces, rows)) + "}"


def _put_groups(fields: Fields, value: Any) -> None:
    fields["replica_groups"] = [{"replica_ids": group} for group in value]


def _get_groups(fields: Fields, reader: Reader) -> tuple[tuple[int, ...], ...]:
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
    ids = np.arange(np.prod(dims)).reshape(dims).transpose(order).reshape(groups, -1)
    return tuple(map(tuple, ids.tolist()))


_GROUPS = Attribute(
    "replica_groups",
    Kind("a tuple of tuples of ints", is_rows, text=_rows_text),
    wire=Wire(_put_groups, _get_groups, _GROUP_FIELDS),
)


def _dimension(public: str) -> Attribute:
    return Attribute("dimensions", INTS, public=(one_dimension(public),))


_TO_APPLY = Attribute("to_apply", COMPUTATION)
define(
    "all-reduce",
    operands=1,
    is_variadic_in_xla=True,
    rule=all_reduce,
    cost=COLLECTIVE,
    compiled=refused("NCC_EVRF061"),
    attributes=(_GROUPS, _TO_APPLY),
)
define(
    "all-gather",
    operands=1,
    is_variadic_in_xla=True,
    rule=all_gather,
    cost=COLLECTIVE,
    compiled=AS_IT_IS,
    attributes=(_GROUPS, _dimension("all_gather_dim")),
)
define(
    "all-to-all",
    operands=1,
    is_variadic_in_xla=True,
    rule=all_to_all,
    cost=COLLECTIVE,
    compiled=AS_IT_IS,
    attributes=(_GROUPS, _dimension("split_dimension")),
)
define(
    "reduce-scatter",
    operands=1,
    is_variadic_in_xla=True,
    rule=reduce_scatter,
    cost=COLLECTIVE,
    compiled=refused("NCC_EVRF063"),
    attributes=(_GROUPS, _dimension("reduce_scatter_dim"), _TO_APPLY),
)
# What is published of neuronx-cc does not name it: programs for it gather and slice.
define(
    "collective-broadcast",
    operands=1,
    is_variadic_in_xla=True,
    rule=collective_broadcast,
    cost=COLLECTIVE,
    compiled=refused(UNSUPPORTED),
    attributes=(_GROUPS,),
)


# -- source_target_pairs ---------------------------------------------------------------
def _encode_pairs(value: Any) -> list[Fields]:
    return [{"source": source, "target": target} for source, target in value]


def _decode_pairs(
    fields: Fields, name: str, reader: Reader
) -> tuple[tuple[int, int], ...]:
    rows = fields.get(name, ())
    return tuple((row.get("source", 0), row.get("target", 0)) for row in rows)


_PAIRS = Kind(
    "a tuple of (source, target)",
    lambda value: is_rows(value, 2),
    _encode_pairs,
    _decode_pairs,
    _rows_text,
)
define(
    "collective-permute",
    operands=1,
    is_variadic_in_xla=True,
    rule=collective_permute,
    cost=COLLECTIVE,
    compiled=AS_IT_IS,
    attributes=(Attribute("source_target_pairs", _PAIRS),),
)
