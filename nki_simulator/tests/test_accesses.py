"""A rectangle holds what a view accesses, and no more than it must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nki_simulator.tests.hand_made import ADD, Kernel, indexed, part
from nkipy_nki.accesses import Accesses
from nkipy_nki.program import Dynamic, View, whole
from nkipy_nki.regions import MemoryRegion


def places_of(view: View) -> np.ndarray:
    """Where each element lies, one by one."""
    return np.array(
        [
            view.offset + sum(i * s for i, s in zip(index, view.strides))
            for index in np.ndindex(view.shape)
        ]
    )


@st.composite
def views(draw: st.DrawFn) -> View:
    """A view within a tensor, of any strides."""
    region = draw(st.sampled_from(list(MemoryRegion)))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=2, max_size=4)))
    tile = Kernel().tile(*shape, region=region)
    rank = draw(st.integers(1, 4))
    counts = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    strides = tuple(draw(st.integers(-8, 8)) for _ in range(rank))
    low = sum(min(0, (c - 1) * s) for c, s in zip(counts, strides))
    high = sum(max(0, (c - 1) * s) for c, s in zip(counts, strides))
    if high - low >= tile.size:
        return whole(tile)
    offset = draw(st.integers(-low, tile.size - 1 - high))
    return View(tile, tile.dtype, offset, counts, strides)


@given(views())
def test_it_holds_every_element(view: View) -> None:
    _, rectangle = Accesses().place(view)
    assert rectangle is not None
    tile = view.allocation
    pitch = tile.size // tile.shape[0]
    if not tile.region.is_on_chip:
        pitch = tile.shape[-1]
    rows, columns = np.divmod(places_of(view), pitch)
    top, bottom, left, right = rectangle
    assert (top, bottom) == (rows.min(), rows.max() + 1)
    assert left <= 4 * columns.min() and 4 * columns.max() + 4 <= right
    assert 0 <= left < right <= 4 * pitch


def test_of_a_part_it_is_that_part() -> None:
    made = Kernel()
    for region in MemoryRegion:
        tile = made.tile(128, 64, region=region)
        found = Accesses().place(part(tile, (32, 16), (8, 4)))
        assert found == (tile, (32, 48, 32, 48))


def test_what_has_an_address_is_placed_there() -> None:
    tile = Kernel().tile(32, 8, address=(64, 1000))
    assert Accesses().place(whole(tile)) == (MemoryRegion.sbuf, (64, 96, 1000, 1032))


def test_a_view_without_elements_has_none() -> None:
    tile = Kernel().tile(32, 8)
    assert Accesses().place(part(tile, (0, 32), (0, 0))) == (tile, None)


def test_a_register_puts_a_view_where_it_says() -> None:
    made = Kernel()
    tile, register = made.tile(128, 64), made.register()
    view = indexed(part(tile, (0, 128), (0, 8)), register, step=8, limit=8)
    step = made.add(ADD, dst=tile, a=view, b=tile)
    known = Accesses().of(step, {register.id: 3})
    assert (tile, (0, 128, 96, 128), False) in known
    assert (register.id, (0, 1, 0, 1), False) in known
    # A further index is added.
    second = made.register()
    assert view.dynamic is not None
    chain = replace(view.dynamic, more=Dynamic(second, step=2, limit=8))
    view = View(tile, view.dtype, 0, view.shape, view.strides, chain)
    both = made.add(ADD, dst=tile, a=view, b=tile)
    found = Accesses().of(both, {register.id: 3, second.id: 1})
    assert (tile, (0, 128, 104, 136), False) in found
    assert (second.id, (0, 1, 0, 1), False) in found
    # Not known, or out of bounds: all of the tensor.
    for indices in ({}, {register.id: 9}):
        found = Accesses().of(step, indices)
        assert found.count((tile, (0, 128, 0, 256), False)) == 2
