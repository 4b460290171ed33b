"""An estimate for people: as text, and as a table of a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from nkipy_emulator.cost_model.types import LANES, Estimate

#: How far columns are shortened, in this order, and which are left out then.
_SHORTENED = {"name": 8, "opcode": 8}
_LEFT_OUT = ("flops", "bytes", "opcode", "start us", "of total", "events", "name")
_GAP = "  "
#: Rows of a notebook's table.
_HTML_ROWS = 100
SEVERAL, NONE = "several at once", "none, waiting"


@dataclass(frozen=True)
class Column:
    """A column of a table, its cells as text."""

    title: str
    cells: list[str]
    right: bool = False

    @property
    def width(self) -> int:
        return max(map(len, (self.title, *self.cells)))


def estimate_table(
    estimate: Estimate, limit: int | None = None, width: int | None = None
) -> str:
    """The timeline as a table, and where the time goes, lane by lane.

    Times are in microseconds. The times of a lane's rows add up to the lane's time;
    those in which a lane works alone, several do or none does, to the total.

    Args:
        estimate: what is shown.
        limit: how many rows, at most; the others are summed up in one.
        width: how wide a line may be: names are shortened, then columns left out.
    """
    return "\n".join(_lines(estimate, limit, width)) + "\n"


def estimate_html(estimate: Estimate) -> str:
    """The same as tables of HTML, with the first rows of the timeline."""
    notes = "".join(f"<p>note: {escape(note)}</p>" for note in estimate.notes)
    return (
        f"<p><b>{escape(_title(estimate))}</b></p>"
        + _html(lane_columns(estimate))
        + f"<p>{_work(estimate)}</p>{notes}"
        + _html(event_columns(estimate, _HTML_ROWS))
    )


def _title(estimate: Estimate) -> str:
    cores = f", {estimate.lnc} cores as one" if estimate.lnc > 1 else ""
    return f"ESTIMATE for {estimate.target}{cores}; not a measurement, not calibrated"


def _work(estimate: Estimate) -> str:
    return f"{estimate.flops} flops, {estimate.dma_bytes} bytes by DMA"


def _lines(estimate: Estimate, limit: int | None, width: int | None) -> Iterator[str]:
    yield _title(estimate)
    yield ""
    yield from _text(event_columns(estimate, limit), width)
    yield ""
    yield from _text(lane_columns(estimate), width)
    yield f"estimated total: {_us(estimate.total_ns)} us"
    yield f"  {_work(estimate)}"
    for note in estimate.notes:
        yield f"  note: {note}"


def event_columns(estimate: Estimate, limit: int | None = None) -> list[Column]:
    """The timeline, an event a row; those beyond `limit` in one row."""
    shown = estimate.events[:limit]
    left = estimate.events[len(shown) :]
    rows = [
        (
            _us(e.start_ns),
            _us(e.duration_ns),
            e.engine,
            e.opcode,
            e.name,
            str(e.bytes or ""),
            str(e.flops or ""),
        )
        for e in shown
    ]
    if left:
        time, nbytes, flops = (
            sum(e.duration_ns for e in left),
            sum(e.bytes for e in left),
            sum(e.flops for e in left),
        )
        more = f"... and {len(left)} more events"
        rows.append(("", _us(time), "", "", more, str(nbytes or ""), str(flops or "")))
    titles = ("start us", "time us", "engine", "opcode", "name", "bytes", "flops")
    return _columns(titles, rows, left=("engine", "opcode", "name"))


def lane_columns(estimate: Estimate) -> list[Column]:
    """Each lane's time, which is that of its events, and the time that it works alone.

    The last column, with what several lanes and none of them had, adds up to the total.
    """
    alone = time_alone(estimate)
    rows = []
    for lane in LANES:
        events = [e.duration_ns for e in estimate.events if e.engine == lane]
        if events:
            rows.append((lane, str(len(events)), *_shares(estimate, sum(events)),
                         _us(alone[lane])))  # fmt: skip
    rows += [(what, "", "", "", _us(alone[what])) for what in (SEVERAL, NONE)]
    total = _us(estimate.total_ns)
    rows.append(("estimated total", str(len(estimate.events)), "", "", total))
    titles = ("lane", "events", "time us", "of total", "alone us")
    return _columns(titles, rows, left=("lane",))


def time_alone(estimate: Estimate) -> dict[str, int]:
    """How long each lane works alone, and several do, and none does; in ns.

    Adds up to ``total_ns``.
    """
    changes = sorted(
        (min(at, estimate.total_ns), step, e.engine)
        for e in estimate.events
        for at, step in ((e.start_ns, 1), (e.start_ns + e.duration_ns, -1))
    )
    spent = dict.fromkeys((*LANES, SEVERAL, NONE), 0)
    working: dict[str, int] = {}
    now = 0
    for at, step, lane in (*changes, (estimate.total_ns, 0, "")):
        spent[_who(working)] += at - now
        now = at
        if step:
            working[lane] = working.get(lane, 0) + step
            if not working[lane]:
                del working[lane]
    return spent


def _who(working: dict[str, int]) -> str:
    if len(working) > 1:
        return SEVERAL
    return next(iter(working), NONE)


def _shares(estimate: Estimate, ns: int) -> tuple[str, str]:
    return _us(ns), f"{100 * ns / max(1, estimate.total_ns):.1f} %"


def _columns(
    titles: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]
) -> list[Column]:
    return [
        Column(title, [row[i] for row in rows], right=title not in left)
        for i, title in enumerate(titles)
    ]


def _text(columns: list[Column], width: int | None) -> Iterator[str]:
    """The table's lines."""
    columns, widths = _fitted(columns, width)
    for row in zip(*([c.title, *c.cells] for c in columns)):
        cells = (_short(text, n) for text, n in zip(row, widths))
        aligned = (
            text.rjust(n) if c.right else text.ljust(n)
            for text, n, c in zip(cells, widths, columns)
        )
        yield _GAP.join(aligned).rstrip()


def _fitted(columns: list[Column], width: int | None) -> tuple[list[Column], list[int]]:
    """The columns that there is room for, and how wide each is."""
    widths = {c.title: c.width for c in columns}

    def excess() -> int:
        gaps = len(_GAP) * (len(widths) - 1)
        return 0 if width is None else sum(widths.values()) + gaps - width

    for title, least in _SHORTENED.items():
        if title in widths:
            widths[title] -= max(0, min(excess(), widths[title] - least))
    for title in _LEFT_OUT:
        if excess() > 0:
            widths.pop(title, None)
    kept = [c for c in columns if c.title in widths]
    return kept, [widths[c.title] for c in kept]


def _html(columns: list[Column]) -> str:
    def cell(tag: str, text: str, column: Column) -> str:
        side = "right" if column.right else "left"
        return f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>'

    head = "".join(cell("th", c.title, c) for c in columns)
    rows = (
        "".join(cell("td", text, c) for text, c in zip(row, columns))
        for row in zip(*(c.cells for c in columns))
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _us(ns: int) -> str:
    return f"{ns / 1000:.3f}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
