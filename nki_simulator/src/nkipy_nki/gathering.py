"""Views whose place only the run knows: by registers, and by tiles of indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from nkipy_nki.program import Dynamic, Register, View, runs_of
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current, is_running, kernel_line
from nkipy_nki.views import (
    axis_of,
    derive,
    is_fixed,
    refuse,
    require_direct,
    sizes_of,
)

V = TypeVar("V", bound=View)

__all__ = ["add_index", "indirect", "run_time_index", "vector_of", "vector_select"]


def add_index(
    view: V,
    offset: int,
    shape: Sequence[int],
    strides: Sequence[int],
    dynamic: Dynamic,
    **others: Any,
) -> V:
    """A view that has one more index at run time."""
    linked = replace(dynamic, more=others.pop("before", view.dynamic))
    return derive(view, offset, shape, strides, dynamic=linked, **others)


def run_time_index(view: View, given: Any, what: str) -> Register | View:
    """A register, or a tile of integers, that was given as an index."""
    found = getattr(given, "register", given)
    if is_running() and isinstance(found, (Register, View)):
        held = found.allocation if isinstance(found, View) else found
        current().require_own(held, f"{what}: an index")
    if isinstance(found, Register):
        if found.dtype == "int64" and view.region.is_on_chip:
            refuse(view, what, "an index of 64 bits, and on the chip it must have 32")
        return found
    problem = f"an index is {given!r}, and must be"
    if not isinstance(found, View):
        refuse(view, what, f"{problem} an int, a register or a tile of integers")
    if found.dtype.is_float or found.region is not MemoryRegion.sbuf:
        refuse(view, what, f"{problem} a register or a tile of integers in the SBUF")
    return found


def vector_select(view: V, dim: int, given: Any) -> V:
    """Elements of dimension 0, in HBM, by a tensor ``[n, 1]`` of indices."""
    what = f"vector_select({dim})"
    if axis_of(view, dim, what) != 0 or view.region.is_on_chip:
        refuse(view, what, "it is of dim 0 of a tensor in HBM")
    if is_fixed(view):
        refuse(view, what, "dim 0 is indexed at run time already")
    found = vector_of(view, given, what)
    dynamic = Dynamic(found, view.strides[0], view.shape[0], axis=0)
    shape = (found.size, *view.shape[1:])
    return add_index(view, view.offset, shape, view.strides, dynamic)


def vector_of(view: View, given: Any, what: str) -> View:
    """A tile of indices."""
    found = run_time_index(view, given, what)
    if not isinstance(found, View):
        refuse(view, what, f"the indices are {given!r}, and must be a tile")
    return found


def indirect(view: V, index: Any, num_elem: int | None) -> V:
    """Elements of each partition by indices: those of groups of partitions differ.

    Index i of a partition in group g is ``index[g * n + i % n, i // n]``, where n is
    16, and 32 for the tensor engine.

    Args:
        view: on the chip; the elements of a partition must follow each other.
        index: on the chip, of integers, of shape (partitions, k).
        num_elem: how many; all that `index` has for groups of 16, if None.
    """
    what = f"indirect({num_elem})"
    require_direct(view, what)
    _require_generation(what)
    found = run_time_index(view, index, what)
    if not view.region.is_on_chip or not isinstance(found, View):
        refuse(view, what, "it is of a tile on the chip, by a tile of indices")
    if len(found.shape) != 2:
        refuse(view, what, "the indices must be a tile of two dimensions")
    runs = runs_of(view.shape[1:], view.strides[1:])
    if len(runs) > 1:
        refuse(view, what, "the elements of a partition must follow each other")
    step = runs[0][1] if runs else 1
    most = found.shape[1] * 16
    (count,) = sizes_of(view, most if num_elem is None else num_elem, what)
    if count > 2 * most:
        refuse(view, what, f"the indices {list(found.shape)} are at most {2 * most}")
    dynamic = Dynamic(found, step, view.free_size, axis=1, interleaved=True)
    shape, strides = (view.shape[0], count), (view.strides[0], step)
    return add_index(view, view.offset, shape, strides, dynamic)


def _require_generation(what: str) -> None:
    if is_running() and current().chip.generation < 4:
        text = f"{what}: tensor indirection is of gen4 and later"
        current().findings.report("generation", text, kernel_line())
