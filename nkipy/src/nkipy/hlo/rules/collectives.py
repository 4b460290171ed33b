"""Opcodes that exchange values between replicas."""

from __future__ import annotations

from collections.abc import Iterable

from nkipy.hlo.ir import Shape
from nkipy.hlo.rules.base import (
    Inst,
    Result,
    Rule,
    array,
    callee,
    dimension,
    fail,
    require,
)

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


def collective_permute(inst: Inst) -> Result:
    x = array(inst.operands[0])
    pairs = inst.attributes["source_target_pairs"]
    for ends, what in zip(zip(*pairs), ("source", "target")):
        if len(set(ends)) != len(ends):
            fail(f"a {what} occurs twice")
        _check_replicas(ends)
    return x.shape, x.dtype


RULES: dict[str, Rule] = {
    "all-reduce": all_reduce,
    "all-gather": all_gather,
    "reduce-scatter": reduce_scatter,
    "all-to-all": all_to_all,
    "collective-permute": collective_permute,
}
