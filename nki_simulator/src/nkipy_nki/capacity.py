"""How much of the on-chip memories a program's tiles take, and whether they fit.

A tile takes its bytes from its first write to its last read, in the program's order;
what a loop reads of what was written before it, or in the iteration before, it keeps to
its end. A partition must hold the bytes of all tiles that are live together, and such
tiles may lie beside each other as have few partitions: up to 32 take a quarter of the
memory's breadth, up to 64 a half, up to 96 three quarters. This is the least that any
allocation needs; fragmentation is not modelled.

Of the SBUF a kernel can use what the chip's record does not reserve
(``sbuf_usable_bytes``: on trn2 224 KiB less 16 KiB less 8 bytes; of other chips no
figure is documented, and as much is taken off), of the PSUM all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nkipy.chips import Chip, find_chip
from nkipy_nki.accesses import Accesses, Rectangle
from nkipy_nki.findings import Findings
from nkipy_nki.geometry import QUADRANT
from nkipy_nki.program import Allocation, Instruction, Line, Loop, Program, Step, View
from nkipy_nki.regions import MemoryRegion

__all__ = [
    "LiveRange",
    "MEMORIES",
    "Peak",
    "check_capacity",
    "check_tile",
    "described",
    "live_ranges",
    "line_fields",
    "peak",
    "size_problem",
    "tiles_of",
    "usable_bytes",
    "usage_over",
]

#: The memories that are on the chip.
MEMORIES = (MemoryRegion.sbuf, MemoryRegion.psum)
_DEPTH = 4


def usable_bytes(region: MemoryRegion, chip: Chip) -> int:
    """Bytes of a partition that tiles can have."""
    if region is MemoryRegion.sbuf:
        return chip.sbuf_usable_bytes
    return chip.psum_partition_bytes


def size_problem(made: Allocation, chip: Chip) -> str | None:
    """What is wrong with a tensor that is larger than all of the memory it lies in.

    It can have no bytes here either; what fits a partition is :func:`check_tile`'s.
    """
    rooms = {MemoryRegion.sbuf: chip.sbuf_bytes, MemoryRegion.psum: chip.psum_bytes}
    room = rooms.get(made.region, chip.hbm_bytes)
    nbytes = made.size * made.dtype.device_itemsize
    if nbytes <= room:
        return None
    return (
        f"{made} is larger than the memory of a {chip.name}: it has {nbytes} bytes, "
        f"and {made.region.value} has {room}"
    )


@dataclass(slots=True)
class LiveRange:
    """The live range of a tile: from a step to a step, both by their places.

    Attributes:
        first: the step of its first write, or the first that has to do with it.
        last: the step of its last read, or of its last write if nothing reads it after.
    """

    first: int
    last: int


def live_ranges(steps: Sequence[Step]) -> dict[Allocation, LiveRange]:
    """When each tile on the chip is live.

    Args:
        steps: of a program, whose loops count once; or what a run carried out.
    """
    found: dict[Allocation, LiveRange] = {}
    _live_in(steps, 0, found)
    return found


def _live_in(
    steps: Sequence[Step], place: int, found: dict[Allocation, LiveRange]
) -> int:
    """Add what steps from a place on have to do with tiles; the place behind them."""
    for step in steps:
        if isinstance(step, Loop):
            begin = place
            place = _live_in(step.body, begin, found)
            _keep_carried(step, begin, place - 1, found)
            continue
        for view in _tiles_in(step):
            known = found.get(view.allocation)
            if known is None:
                found[view.allocation] = LiveRange(place, place)
            else:
                known.last = place
        place += 1
    return place


def _keep_carried(
    loop: Loop, begin: int, last: int, found: dict[Allocation, LiveRange]
) -> None:
    """Tiles that the next iteration reads before it writes them live to the end."""
    written: set[Allocation] = set()
    for step in _flat(loop.body):
        for is_write, view in sorted(tiles_of(step), key=lambda tile: tile[0]):
            allocation = view.allocation
            if is_write:
                written.add(allocation)
            elif allocation not in written:
                life = found[allocation]
                life.first, life.last = min(life.first, begin), max(life.last, last)


def _flat(
    steps: Sequence[Step], times: int = 1, depth: int = 0
) -> Iterator[Instruction]:
    """The instructions of steps; of loops, those of so many iterations.

    Of loops in many others it is one iteration: their number would double with each.
    """
    for step in steps:
        if isinstance(step, Loop):
            for _ in range(times if depth < _DEPTH else 1):
                yield from _flat(step.body, times, depth + 1)
        else:
            yield step


def tiles_of(step: Instruction) -> Iterator[tuple[bool, View]]:
    """The views on the chip that an instruction has, and whether it writes them."""
    rules = step.record.operands
    for name, operand in step.operands.items():
        for view in operand if isinstance(operand, tuple) else (operand,):
            if not isinstance(view, View):
                continue
            rule = rules[name]
            if view.dynamic is not None:
                for link in view.dynamic.chain():
                    if isinstance(link.index, View) and _is_on_chip(link.index):
                        yield False, link.index
            if _is_on_chip(view):
                if rule.read or not rule.written:
                    yield False, view
                if rule.written:
                    yield True, view


def _tiles_in(step: Instruction) -> list[View]:
    """The same views."""
    found: list[View] = []
    for operand in step.operands.values():
        if isinstance(operand, View):
            if operand.dynamic is not None:
                return [view for _, view in tiles_of(step)]
            if operand.allocation.region.is_on_chip:
                found.append(operand)
        elif isinstance(operand, tuple):
            return [view for _, view in tiles_of(step)]
    return found


def _is_on_chip(view: View) -> bool:
    region = view.allocation.region
    return region is MemoryRegion.sbuf or region is MemoryRegion.psum


# -- how much is live ------------------------------------------------------------------
@dataclass(slots=True)
class Usage:
    """What live tiles take of a memory; tiles come and go.

    Attributes:
        area: a quarter of the sum of their bytes for each quarter that they lie in.
        broad: the bytes of those that have more than half of the partitions.
    """

    area: int = 0
    broad: int = 0

    def change(self, tile: Allocation, sign: int) -> None:
        """Add a tile, or take it away (`sign` is -1)."""
        nbytes = sign * tile.partition_bytes
        quarters = -(-tile.shape[0] // QUADRANT)
        self.area += nbytes * (4 if quarters > 4 else quarters)
        if quarters > 2:
            self.broad += nbytes

    @property
    def nbytes(self) -> int:
        """The least bytes of a partition that hold them."""
        return max(-(-self.area // 4), self.broad)


def usage_over(
    times: Mapping[Allocation, tuple[float, float]], region: MemoryRegion
) -> Iterator[tuple[float, int]]:
    """How many bytes of a partition are live, wherever that changes.

    Args:
        times: from when to when each tile is live, the end not included.
        region: the memory.

    Yields:
        A time, and the bytes from then on.
    """
    events = []
    for tile, (first, last) in times.items():
        if tile.region is region:
            events += [(first, 1, tile), (last, -1, tile)]
    events.sort(key=lambda event: (event[0], event[1]))
    usage = Usage()
    for i, (time, sign, tile) in enumerate(events):
        usage.change(tile, sign)
        if i + 1 == len(events) or events[i + 1][0] > time:
            yield time, usage.nbytes


@dataclass(frozen=True)
class Peak:
    """Where the most of a memory is live.

    Attributes:
        place: the step's.
        nbytes: bytes of a partition.
        tiles: those that are live, the largest first.
    """

    place: int
    nbytes: int
    tiles: tuple[Allocation, ...]


def peak(
    found: Mapping[Allocation, LiveRange], region: MemoryRegion, over: int | None = None
) -> Peak:
    """Where the most of a memory is live; or, first of all, more than `over` bytes."""
    times = {tile: (life.first, life.last + 1) for tile, life in found.items()}
    most, at = 0, 0
    for time, nbytes in usage_over(times, region):
        if nbytes > most:
            most, at = nbytes, int(time)
            if over is not None and most > over:
                break
    tiles = [
        tile
        for tile, life in found.items()
        if tile.region is region and life.first <= at <= life.last
    ]
    tiles.sort(key=lambda tile: (-tile.partition_bytes, tile.id))
    return Peak(at, most, tuple(tiles))


# -- findings --------------------------------------------------------------------------
def check_capacity(program: Program, findings: Findings) -> None:
    """Report tiles that do not fit, and tiles that overwrite each other.

    Args:
        program: the whole of it; bodies of loops count once.
        findings: what is found goes there, as ``capacity`` and ``address-overlap``.

    Raises:
        NkiValidationError: there is something, and it is an error.
        ValueError: the program's target is not known.
    """
    chip = find_chip(program.chip)
    if chip is None:
        raise ValueError(f"no chip is called {program.chip!r}")
    if findings.wants("capacity"):
        found = live_ranges(program.body)
        for region in MEMORIES:
            _check_memory(program, found, region, chip, findings)
    if findings.wants("address-overlap"):
        _check_addresses(program, findings)


def _check_memory(
    program: Program,
    found: Mapping[Allocation, LiveRange],
    region: MemoryRegion,
    chip: Chip,
    findings: Findings,
) -> None:
    usable = usable_bytes(region, chip)
    for tile in found:
        if tile.region is region:
            check_tile(tile, chip, findings)
    top = peak(found, region, over=usable)
    if top.nbytes <= usable:
        return
    step = next(s for i, s in enumerate(_flat(program.body)) if i == top.place)
    listed = "\n".join(
        f"    {tile.partition_bytes} bytes: {tile}, made at {tile.line}"
        for tile in top.tiles
    )
    findings.report(
        "capacity",
        f"{top.nbytes} bytes of a partition are live in {region.value}, and "
        f"{chip.name} has {usable} that can be used; live are\n{listed}",
        step.line,
        step.record.name,
        memory=region.value,
        live_bytes=top.nbytes,
        peak_bytes=peak(found, region).nbytes,
        usable_bytes=usable,
        tiles=[described(tile) for tile in top.tiles],
    )


def check_tile(tile: Allocation, chip: Chip, findings: Findings) -> None:
    """Report a tile that does not fit, whatever else is live.

    Args:
        tile: on the chip.
        chip: the target.
        findings: where it is reported, as ``capacity``.

    Raises:
        NkiValidationError: it does not fit, and that is an error.
    """
    usable = usable_bytes(tile.region, chip)
    if _end_of(tile) > usable:
        _report_large(tile, usable, chip, findings)
    elif tile.address and tile.address[0] + tile.shape[0] > chip.partitions:
        first, count = tile.address[0], tile.shape[0]
        findings.report(
            "capacity",
            f"{tile} takes {count} partitions from partition {first} on, and "
            f"{chip.name} has {chip.partitions}",
            tile.line,
            memory=tile.region.value,
            tiles=[described(tile)],
        )


def _end_of(tile: Allocation) -> int:
    """The byte of a partition behind its last one, so far as that is known."""
    begin = 0 if tile.address is None else tile.address[1]
    return begin + tile.partition_bytes


def _report_large(
    tile: Allocation, usable: int, chip: Chip, findings: Findings
) -> None:
    where = "" if tile.address is None else f", from byte {tile.address[1]} on,"
    findings.report(
        "capacity",
        f"{tile} takes {tile.partition_bytes} bytes of a partition{where} and "
        f"{chip.name} has {usable} that can be used",
        tile.line,
        memory=tile.region.value,
        live_bytes=_end_of(tile),
        usable_bytes=usable,
        tiles=[described(tile)],
    )


def described(tile: Allocation) -> dict[str, Any]:
    """A tile as JSON has it."""
    return {
        "name": tile.name,
        "shape": list(tile.shape),
        "dtype": str(tile.dtype.name),
        "bytes_per_partition": tile.partition_bytes,
        **line_fields(tile.line),
    }


def line_fields(line: Line) -> dict[str, Any]:
    """A line as JSON has it."""
    return {"file": line.file, "line": line.number, "function": line.function}


def _check_addresses(program: Program, findings: Findings) -> None:
    """Report reads of what another tile at the same address has overwritten."""
    for region in MEMORIES:
        tiles = [
            tile
            for tile in program.allocations
            if tile.region is region and tile.address and min(tile.address) >= 0
        ]
        if shared := _overlapping(tiles):
            _Owners(shared, findings).run(program.body)


def _overlapping(tiles: Sequence[Allocation]) -> set[Allocation]:
    """Those that share bytes with another one."""
    found: set[Allocation] = set()
    if not tiles:
        return found
    bounds = np.array([_extent(tile) for tile in tiles])
    for tile, (top, bottom, left, right) in zip(tiles, bounds):
        tops, bottoms, lefts, rights = bounds.T
        hit = (tops < bottom) & (top < bottoms) & (lefts < right) & (left < rights)
        if hit.sum() > 1:
            found.add(tile)
    return found


def _extent(tile: Allocation) -> Rectangle:
    assert tile.address is not None
    row, byte = tile.address
    return row, row + tile.shape[0], byte, byte + tile.partition_bytes


class _Access(NamedTuple):
    """An access to a tile at an address: a rectangle, which it writes or reads."""

    step: Instruction
    tile: int
    is_write: bool
    bounds: Rectangle


class _Owners:
    """Which tile wrote each part of a memory last.

    A part is what no access divides: it has all of the rows, and all of the bytes in
    them, from one bound of an access to the next.
    """

    def __init__(self, tiles: Iterable[Allocation], findings: Findings) -> None:
        self._tiles = {tile.id: tile for tile in tiles}
        self._findings = findings
        self._reported: set[tuple[int, int]] = set()

    def run(self, steps: Sequence[Step]) -> None:
        """Go through steps; twice through a loop, for what an iteration leaves."""
        accesses = list(self._accesses(steps))
        rows = _numbers(a.bounds[:2] for a in accesses)
        columns = _numbers(a.bounds[2:] for a in accesses)
        owners = np.full((len(rows), len(columns)), -1, np.int32)
        for step, mine, is_write, (top, bottom, left, right) in accesses:
            part = owners[rows[top] : rows[bottom], columns[left] : columns[right]]
            if is_write:
                part[...] = mine
                continue
            others = part[(part != mine) & (part >= 0)]
            if others.size:
                self._report(step, mine, int(others[0]))

    def _accesses(self, steps: Sequence[Step]) -> Iterator[_Access]:
        finder = Accesses()
        for step in _flat(steps, times=2):
            for is_write, view in sorted(tiles_of(step), key=lambda tile: tile[0]):
                if view.allocation.id not in self._tiles:
                    continue
                _, bounds = finder.place(view)
                if bounds is not None:
                    yield _Access(step, view.allocation.id, is_write, bounds)

    def _report(self, step: Instruction, mine: int, other: int) -> None:
        if (mine, other) in self._reported:
            return
        self._reported.add((mine, other))
        tile, by = self._tiles[mine], self._tiles[other]
        self._findings.report(
            "address-overlap",
            f"{tile} at {tile.address}, made at {tile.line}, is read after {by} at "
            f"{by.address}, made at {by.line}, was written over it",
            step.line,
            step.record.name,
            tiles=[described(tile), described(by)],
        )


def _numbers(bounds: Iterable[Sequence[int]]) -> dict[int, int]:
    """Bounds, each once, with their numbers in order."""
    found = sorted({bound for pair in bounds for bound in pair})
    return {bound: number for number, bound in enumerate(found)}
