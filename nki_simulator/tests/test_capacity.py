"""Tiles that do not fit, and tiles that overwrite each other, are found."""

from __future__ import annotations

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
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
    assert finding.message.endswith("made at kernel.py:14")
    with pytest.raises(NkiValidationError, match=r":14\n  \[capacity\]\n  at "):
        check_capacity(made.program, Findings())
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


# -- tiles that no partition can hold --------------------------------------------------
X = np.ones((128, 64), np.float32)


def placed(shape: tuple[int, int], **options: object) -> Exception | None:
    """What the run of a kernel raises that fills a tile, if it does."""

    def kernel(x: object) -> None:
        made = nl.ndarray(shape, nl.float32, **options)  # type: ignore[arg-type]
        nisa.memset(made, 1.0)

    try:
        nki.simulate(kernel, target="trn2").run(X)
    except Exception as error:
        return error
    return None


def line_of_placed() -> str:
    return f"{__file__}:{placed.__code__.co_firstlineno + 4} "


@pytest.mark.parametrize(
    "shape, options, text",
    [
        ((128, 60000), {}, "takes 240000 bytes of a partition"),
        ((1, 60000), {}, "takes 240000 bytes of a partition"),
        ((128, 1 << 28), {}, "takes 1073741824 bytes of a partition"),
        ((128, 4097), {"buffer": nl.psum}, "takes 16388 bytes of a partition"),
        ((128, 64), {"address": (0, 1 << 20)}, "from byte 1048576 on"),
        ((128, 64), {"address": (64, 0)}, "128 partitions from partition 64 on"),
        ((64, 64), {"address": (96, 0)}, "64 partitions from partition 96 on"),
        ((32, 64), {"address": (128, 0)}, "32 partitions from partition 128 on"),
    ],
)
def test_a_tile_that_does_not_fit_is_refused_where_it_is_made(
    shape: tuple[int, int], options: dict[str, object], text: str
) -> None:
    error = placed(shape, **options)
    assert isinstance(error, NkiValidationError)
    assert text in str(error) and "[capacity]" in str(error)
    assert line_of_placed() in str(error)
    assert error.finding.details["tiles"][0]["shape"] == list(shape)


@pytest.mark.parametrize("address", [(0, 0), (32, 0), (64, 64), (96, 128)])
def test_a_tile_ends_with_the_last_partition(
    address: tuple[int, int],
) -> None:
    assert placed((min(32, 128 - address[0]), 64), address=address) is None


@pytest.mark.parametrize(
    "shape, buffer",
    [
        ((128, 1 << 28), nl.sbuf),
        ((128, 4097), nl.psum),
        ((1 << 20, 1 << 20), nl.private_hbm),
        ((1 << 30, 30), nl.shared_hbm),  # fewer elements than there are bytes
    ],
)
def test_what_is_larger_than_the_memory_is_refused_in_any_case(
    shape: tuple[int, int], buffer: MemoryRegion
) -> None:
    def kernel(x: object) -> None:
        nl.ndarray(shape, nl.float32, buffer=buffer)

    off = nki.simulate(kernel, target="trn2", findings={"capacity": "off"})
    with pytest.raises(NkiValidationError, match="larger than the memory of a trn2"):
        off.run(X)


def none_left(*_: object, **__: object) -> None:
    raise MemoryError("no more")


def test_what_this_machine_cannot_hold_is_the_language_s_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kernel(x: object) -> object:
        return nl.ndarray((128, 64), nl.float32, buffer=nl.shared_hbm)

    monkeypatch.setattr("nkipy_nki.memory._bytes_for", none_left)
    made = f"{__file__}:{kernel.__code__.co_firstlineno + 1}"
    for error in (placed((128, 64)), _raised_by(kernel)):
        assert isinstance(error, NkiValidationError)
        assert "not enough memory here for tensor 1 [128, 64]" in str(error)
    assert str(error).endswith(f"at {made}")


def test_what_this_machine_cannot_compute_is_the_language_s_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kernel(x: object) -> None:
        nisa.memset(nl.ndarray((128, 64), nl.float32), 1.0)

    monkeypatch.setattr("nkipy_nki.calls.Call.store", none_left)
    monkeypatch.setattr("nkipy_nki.calls.Call.destination", none_left)
    error = _raised_by(kernel)
    assert isinstance(error, NkiValidationError)
    assert "memset: there is not enough memory here" in str(error)
    assert f"at {__file__}:{kernel.__code__.co_firstlineno + 1}" in str(error)


def _raised_by(kernel: object) -> Exception:
    with pytest.raises(Exception) as raised:
        nki.simulate(kernel).run(X)  # type: ignore[arg-type]
    return raised.value
