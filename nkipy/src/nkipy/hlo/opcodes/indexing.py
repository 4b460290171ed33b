"""Gather and scatter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nkipy.hlo.dtypes import is_integer
from nkipy.hlo.errors import HLOUnsupportedError
from nkipy.hlo.instruction import Shape
from nkipy.hlo.opcodes.attribute import (
    Attribute,
    Fields,
    PublicName,
    Wire,
    field_of,
    if_true,
    optional,
)
from nkipy.hlo.opcodes.compiled import refused
from nkipy.hlo.opcodes.cost import MOVE
from nkipy.hlo.opcodes.kinds import BOOL, COMPUTATION, INT, INTS
from nkipy.hlo.opcodes.record import Keeps, define
from nkipy.hlo.opcodes.rule import (
    Inst,
    Result,
    arrays,
    callee,
    dimensions,
    fail,
    require,
    same_dtype,
    without,
)

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader


def _index_dims(indices: Inst, index_map: Sequence[int], vector_dim: int) -> list[int]:
    """The dimensions of `indices` over which index vectors are spread."""
    rank = len(indices.shape)
    require(is_integer(indices.dtype), "indices are not integers")
    if not 0 <= vector_dim <= rank:
        fail(f"index_vector_dim {vector_dim} is out of range for rank {rank}")
    length = indices.shape[vector_dim] if vector_dim < rank else 1
    if length != len(index_map):
        fail(f"index vectors of {length} for {len(index_map)} mapped dimensions")
    return [s for i, s in enumerate(indices.shape) if i != vector_dim]


def gather(inst: Inst) -> Result:
    x, indices = arrays(inst)
    a = inst.attributes
    rank, sizes = len(x.shape), a["slice_sizes"]
    dimensions(a["collapsed_slice_dims"], rank, "collapsed_slice_dims", ordered=True)
    dimensions(a["start_index_map"], rank, "start_index_map")
    batch = _index_dims(indices, a["start_index_map"], a["index_vector_dim"])
    require(len(sizes) == rank, f"slice_sizes are not of length {rank}")
    if any(not 0 <= s <= whole for s, whole in zip(sizes, x.shape)):
        fail("a slice size is negative or exceeds the operand's")
    if any(sizes[d] > 1 for d in a["collapsed_slice_dims"]):
        fail("a collapsed dimension has a slice size over 1")
    kept = without(sizes, a["collapsed_slice_dims"])
    return _interleave(a["offset_dims"], kept, batch), x.dtype


def _interleave(
    places: Sequence[int], inner: Sequence[int], outer: Sequence[int]
) -> tuple[int, ...]:
    """Window sizes at `places`, index sizes in the others."""
    rank = len(inner) + len(outer)
    require(len(places) == len(inner), f"{len(places)} offset_dims for {len(inner)}")
    dimensions(places, rank, "offset_dims", ordered=True)
    rest, window = iter(outer), iter(inner)
    return tuple(next(window if i in places else rest) for i in range(rank))


def scatter(inst: Inst) -> Result:
    x, indices, updates = arrays(inst)
    a = inst.attributes
    rank = len(x.shape)
    windows, inserted = a["update_window_dims"], a["inserted_window_dims"]
    dimensions(inserted, rank, "inserted_window_dims", ordered=True)
    dimensions(windows, len(updates.shape), "update_window_dims", ordered=True)
    index_map = a["scatter_dims_to_operand_dims"]
    dimensions(index_map, rank, "scatter_dims_to_operand_dims")
    batch = _index_dims(indices, index_map, a["index_vector_dim"])
    require(len(windows) + len(inserted) == rank, f"windows are not of rank {rank}")
    same_dtype((x, updates), "operand and updates")
    if list(without(updates.shape, windows)) != batch:
        fail("updates and indices differ in their other dimensions")
    kept = without(x.shape, inserted)
    if any(updates.shape[d] > size for d, size in zip(windows, kept)):
        fail("a window of the updates is larger than the operand")
    element = Shape(x.dtype, ())
    callee(a["to_apply"], (element, element), element, "to_apply")
    return x.shape, x.dtype


# -- the records -----------------------------------------------------------------------
_BATCHING = (
    "operand_batching_dims",
    "start_indices_batching_dims",
    "input_batching_dims",
    "scatter_indices_batching_dims",
)


def _flag(name: str) -> Attribute:
    return optional(name, BOOL, text=if_true(name), default=False)


def _vector_dim(message: str) -> Attribute:
    """``index_vector_dim``; batching, which is in its message too, is refused."""
    assert INT.encode is not None and INT.decode is not None
    inner = field_of(f"{message}.index_vector_dim", INT.encode, INT.decode)

    def get(fields: Fields, reader: Reader) -> Any:
        for name in _BATCHING:
            if reader.ints(fields.get(message, {}), name):
                raise HLOUnsupportedError(f"{name} is not supported")
        return inner.get(fields, reader)

    return Attribute("index_vector_dim", INT, wire=Wire(inner.put, get, inner.paths))


def _dims(message: str, name: str) -> Attribute:
    return Attribute(name, INTS, field=f"{message}.{name}")


_GATHER, _SCATTER = "gather_dimension_numbers", "scatter_dimension_numbers"
define(
    "gather",
    operands=2,
    rule=gather,
    cost=MOVE,
    compiled=refused("NCC_EVRF056"),
    keeps=Keeps.SOME,
    attributes=(
        _dims(_GATHER, "offset_dims"),
        _dims(_GATHER, "collapsed_slice_dims"),
        _dims(_GATHER, "start_index_map"),
        _vector_dim(_GATHER),
        Attribute(
            "slice_sizes",
            INTS,
            field="gather_slice_sizes",
            public=(PublicName("gather_slice_sizes"),),
        ),
        _flag("indices_are_sorted"),
    ),
)
define(
    "scatter",
    operands=3,
    is_variadic_in_xla=True,
    rule=scatter,
    cost=MOVE,
    compiled=refused("NCC_EVRF060", "NCC_EVRF016", "NCC_EVRF031"),
    attributes=(
        _dims(_SCATTER, "update_window_dims"),
        _dims(_SCATTER, "inserted_window_dims"),
        _dims(_SCATTER, "scatter_dims_to_operand_dims"),
        _vector_dim(_SCATTER),
        _flag("indices_are_sorted"),
        _flag("unique_indices"),
        Attribute("to_apply", COMPUTATION),
    ),
)
