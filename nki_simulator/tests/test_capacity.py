"""Tiles that do not fit, and tiles that overwrite each other, are found."""

from __future__ import annotations

import pytest

from nki_simulator.tests.hand_made import ADD, COPIES, LOAD, Kernel, part
from nkipy.chips import CHIPS, find_chip
from nkipy_nki.capacity import check_capacity, live_ranges, peak, usable_bytes
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.findings import Finding, Findings
from nkipy_nki.program import Allocation, Register
from nkipy_nki.regions import MemoryRegion

COPY = COPIES[Engine.vector]


def found_in(kernel: Kernel) -> list[Finding]:
    findings = Findings({"capacity": "warning", "address-overlap": "warning"})
    with pytest.warns() if _has(kernel) else _nothing():
        check_capacity(kernel.program, findings)
    return findings.found


def _has(kernel: Kernel) -> bool:
    try:
        check_capacity(kernel.program, Findings())
    except NkiValidationError:
        return True
    return False


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def held_together(count: int, shape: tuple[int, ...], **fields: object) -> Kernel:
    """So many tiles that are all written before the first is read."""
    made = Kernel()
    result = made.tile(shape[0], 1)
    tiles = [made.tile(*shape, line=10 + i, name=f"t{i}") for i in range(count)]
    for i, tile in enumerate(tiles):
        made.add(LOAD, 20 + i, dst=tile, src=made.hbm(*shape))
    for tile in tiles:
        made.add(COPY, 90, dst=result, src=tile)
    return made


def test_what_is_usable() -> None:
    sbuf = {chip.name: usable_bytes(MemoryRegion.sbuf, chip) for chip in CHIPS}
    assert sbuf["trn2"] == 224 * 1024 - 16384 - 8
    assert sbuf["trn1"] == sbuf["inf2"] == 192 * 1024 - 16384 - 8
    assert sbuf["trn3"] == 256 * 1024 - 16384 - 8
    assert {usable_bytes(MemoryRegion.psum, chip) for chip in CHIPS} == {16 * 1024}


def test_live_bytes_over_what_is_usable() -> None:
    size = 212984 // 4 // 4  # four tiles fit
    assert found_in(held_together(4, (128, size))) == []
    made = held_together(5, (128, size))
    (finding,) = found_in(made)
    assert (finding.kind, finding.line) == ("capacity", 24)
    assert finding.details["live_bytes"] == 5 * 4 * size
    assert finding.details["usable_bytes"] == 212984
    assert finding.details["peak_bytes"] == 5 * 4 * size + 4
    assert [tile["line"] for tile in finding.details["tiles"]] == [10, 11, 12, 13, 14]
    for i in range(5):
        assert f"{4 * size} bytes: t{i} [128, {size}]" in finding.message
        assert f"made at kernel.py:{10 + i}" in finding.message
    with pytest.raises(NkiValidationError, match=r"\[capacity\]"):
        check_capacity(made.program, Findings())
    check_capacity(made.program, Findings({"capacity": "off"}))


def test_tiles_that_are_dead_take_nothing() -> None:
    made = Kernel()
    result = made.tile(128, 1)
    for _ in range(8):
        tile = made.tile(128, 40000)
        made.add(LOAD, dst=tile, src=made.hbm(128, 40000))
        made.add(COPY, dst=result, src=part(tile, (0, 128), (0, 1)))
    assert found_in(made) == []


def test_tiles_of_few_partitions_may_lie_beside_each_other() -> None:
    assert found_in(held_together(4, (32, 50000))) == []
    assert found_in(held_together(5, (32, 50000)))
    assert found_in(held_together(2, (64, 50000))) == []
    assert found_in(held_together(3, (64, 50000)))
    # Two of more than half of the partitions may not.
    assert found_in(held_together(2, (65, 50000)))
    # And one is too long for any partition.
    (finding,) = found_in(held_together(1, (1, 60000)))
    assert finding.line == 10 and "takes 240000 bytes" in finding.message


def test_psum_has_its_own_bytes() -> None:
    made = Kernel()
    tiles = [made.psum(128, 512) for _ in range(9)]
    for tile in tiles:
        made.add(COPY, dst=tile, src=made.tile(128, 512))
    for tile in tiles[:8]:
        made.add(COPY, dst=made.tile(128, 512), src=tile)
    (finding,) = found_in(made)
    assert finding.details["memory"] == "psum"
    assert finding.details["live_bytes"] == 9 * 2048


def test_a_loop_keeps_what_the_next_iteration_reads() -> None:
    made = Kernel()
    outer, carried, inner = (made.tile(128, 8) for _ in range(3))
    made.add(LOAD, dst=outer, src=made.hbm(128, 8))
    made.add(LOAD, dst=carried, src=made.hbm(128, 8))

    def body(_: Register) -> None:
        made.add(ADD, dst=inner, a=outer, b=carried)
        made.add(COPY, dst=carried, src=inner)
        made.add(COPY, dst=made.tile(128, 8), src=inner)
        made.add(COPY, dst=made.tile(128, 8), src=made.tile(128, 8))

    made.loop(4, body)
    lives = live_ranges(made.program.body)
    spans = [(lives[t].first, lives[t].last) for t in (outer, carried, inner)]
    assert spans == [(0, 5), (1, 5), (2, 4)]
    # In what a run carried out, iterations count one by one.
    steps = [*made.program.body[:2], *made.program.body[2].body * 4]  # type: ignore[union-attr]
    lives = live_ranges(steps)
    spans = [(lives[t].first, lives[t].last) for t in (outer, carried, inner)]
    assert spans == [(0, 14), (1, 15), (2, 16)]


def test_the_peak_lists_what_is_live_there() -> None:
    made = held_together(3, (128, 100))
    tile = peak(live_ranges(made.program.body), MemoryRegion.sbuf)
    assert (tile.place, tile.nbytes) == (3, 1204)
    assert [t.name for t in tile.tiles] == ["t0", "t1", "t2", ""]


# -- addresses -------------------------------------------------------------------------
def two_at(first: tuple[int, int], second: tuple[int, int]) -> Kernel:
    """Both are written before the first is read."""
    made = Kernel()
    tiles = [
        made.tile(64, 100, address=at, name=name, line=line)
        for at, name, line in ((first, "first", 11), (second, "second", 12))
    ]
    for line, tile in enumerate(tiles, 21):
        made.add(LOAD, line, dst=tile, src=made.hbm(64, 100))
    made.add(COPY, 30, dst=made.tile(64, 100), src=tiles[0])
    return made


def test_live_tiles_at_one_address() -> None:
    (finding,) = found_in(two_at((0, 0), (0, 396)))
    assert (finding.kind, finding.line) == ("address-overlap", 30)
    for text in ("first", "kernel.py:11", "second", "kernel.py:12"):
        assert text in finding.message
    assert found_in(two_at((0, 0), (0, 400))) == []
    assert found_in(two_at((0, 0), (64, 0))) == []


def test_tiles_may_take_turns_at_an_address() -> None:
    made = Kernel()
    tiles = [made.tile(128, 100, address=(0, 0)) for _ in range(2)]
    copies = [made.tile(128, 100) for _ in range(2)]

    def turn(tile: Allocation) -> None:
        made.add(LOAD, dst=tile, src=made.hbm(128, 100))
        made.add(COPY, dst=copies[0], src=tile)

    for i in range(6):
        turn(tiles[i % 2])
    made.add(COPY, dst=tiles[1], src=tiles[1])
    made.add(COPY, dst=tiles[0], src=tiles[1])  # in place
    made.add(COPY, dst=copies[1], src=tiles[0])
    assert found_in(made) == []


def test_what_an_iteration_leaves_for_the_next() -> None:
    made = Kernel()
    kept, other = (made.tile(128, 8, address=(0, 0), line=i) for i in (11, 12))
    made.add(LOAD, dst=kept, src=made.hbm(128, 8))

    def body(_: Register) -> None:
        made.add(COPY, 31, dst=made.tile(128, 8), src=kept)
        made.add(LOAD, 32, dst=other, src=made.hbm(128, 8))

    made.loop(4, body)
    (finding,) = found_in(made)
    assert (finding.kind, finding.line) == ("address-overlap", 31)


def test_beyond_the_end_of_the_memory() -> None:
    made = Kernel()
    tile = made.tile(128, 100, line=7, address=(0, 212984 - 396))
    made.add(LOAD, dst=tile, src=made.hbm(128, 100))
    (finding,) = found_in(made)
    assert (finding.kind, finding.line) == ("capacity", 7)
    made = Kernel()
    tile = made.tile(128, 100, address=(0, 212984 - 400))
    made.add(LOAD, dst=tile, src=made.hbm(128, 100))
    assert found_in(made) == []


def test_loops_in_many_loops_take_no_time() -> None:
    made = Kernel()
    tiles = [made.tile(128, 8, address=(0, 0)) for _ in range(2)]

    def nest(depth: int) -> None:
        if depth:
            made.loop(1 << 30, lambda i: nest(depth - 1))
        else:
            made.add(COPY, dst=tiles[0], src=tiles[1])

    nest(60)
    assert [found.kind for found in found_in(made)] == ["address-overlap"]


def test_a_target_that_is_not_known() -> None:
    made = Kernel("trn99")
    with pytest.raises(ValueError, match="trn99"):
        check_capacity(made.program, Findings())
    assert find_chip("trn99") is None
