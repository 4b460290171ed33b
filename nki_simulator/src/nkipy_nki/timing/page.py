"""A report as one page of HTML: no script, nothing that is loaded from elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from nkipy_nki.engines import Engine
from nkipy_nki.timing.figures import Figures, LineTime, MemoryUse
from nkipy_nki.timing.labels import NAMES, shown
from nkipy_nki.timing.queues import engine_of
from nkipy_nki.timing.series import busy_shares
from nkipy_nki.timing.sources import shown_lines, source_of

__all__ = ["page"]

#: Of a drawing, in its own units.
_WIDTH = 1000
_LANE = 22
_PLOT = 60
#: Up to so many instructions each is drawn by itself, else how busy an engine is.
_EACH = 1000
_BINS = 500
#: Tiles that are listed at most.
_TILES = 200

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem;
  padding: 0 1rem; color: #1b1f24; background: #fff; }
h1, h3, p { overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; }
td, th { padding: .1rem .7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #999; font-weight: 600; }
td.text, th.text { text-align: left; }
.wide { overflow-x: auto; }
.code { overflow-x: auto; width: 96vw; margin-left: calc(50% - 48vw); }
.source td { font: 13px/1.45 ui-monospace, monospace; vertical-align: top; }
.source td, .source th { padding: .1rem .35rem; }
.source td:nth-child(5) { white-space: normal; }
.source td.text { white-space: pre; }
.source tr.timed { background: #eef4fb; }
.source rect { fill: #2f6fb3; }
svg { width: 100%; min-width: 30rem; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: #1b1f24; }
.lane { fill: #f1f3f5; }
.tensor { fill: #2f6fb3; } .vector { fill: #2b8a3e; } .scalar { fill: #c2410c; }
.gpsimd { fill: #7c3aed; } .dma { fill: #64748b; fill-opacity: .7; }
.sync, .unknown { fill: #999; }
.live { fill: #93b8dd; stroke: #2f6fb3; stroke-width: .5; }
.limit { stroke: #c2410c; stroke-dasharray: 4 3; }
"""
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
"""
_ESTIMATE = """<p>All times are <strong>estimates</strong>, made from documented
rates and a model of the engines' queues; nothing was measured.</p>
"""


def page(report: Figures) -> str:
    """The page of a report."""
    title = escape(
        f"{report.name} on {report.target}: {shown(report.total)} (estimate)"
    )
    parts = [
        _HEAD.format(title=title, style=_STYLE),
        _ESTIMATE,
        "<h2>Engines</h2>",
        *_engines(report),
        "<h2>Lanes over time</h2>",
        *_lanes(report),
        "<h2>Memory over time</h2>",
        *(line for use in report.memory.values() for line in _memory(report, use)),
        "<h2>Source, with the time of each line</h2>",
        "<p>A line's part of the critical path is what it adds to the total, waits "
        "before its instructions included; <em>busy</em> is how long engines work for "
        "it, beside one another or not.</p>",
        *_sources(report),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]], texts: Sequence[int] = (0,)
) -> Iterator[str]:
    """A table of texts, escaped here; of the columns `texts` are not numbers."""
    yield '<div class="wide"><table>'
    for tag, row in (("th", head), *(("td", row) for row in rows)):
        cells = (
            f"<{tag}{_class_of(i, texts)}>{escape(cell)}</{tag}>"
            for i, cell in enumerate(row)
        )
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</table></div>"


def _class_of(column: int, texts: Sequence[int]) -> str:
    return ' class="text"' if column in texts else ""


def _engines(report: Figures) -> Iterator[str]:
    rows = [
        (
            NAMES[engine],
            shown(busy),
            f"{report.share(engine):.1%}",
            str(report.engine_counts[engine]),
        )
        for engine, busy in report.schedule.busy.items()
    ]
    yield from _table(("engine", "busy", "share of the time", "instructions"), rows)
    counts = ", ".join(f"{n} × {name}" for name, n in report.counts.items())
    yield f"<p>{escape(counts)}; {report.dma_bytes:,} bytes transferred.</p>"


# -- drawings --------------------------------------------------------------------------
def _lanes(report: Figures) -> Iterator[str]:
    engines = [engine for engine in NAMES if engine in report.schedule.busy]
    height = len(engines) * _LANE + 20
    yield _svg(height, "the engines' lanes")
    for row, engine in enumerate(engines):
        top = row * _LANE
        yield _rectangle("lane", 70, top + 2, _WIDTH - 70, _LANE - 4)
        yield f'<text x="0" y="{top + 15}">{NAMES[engine]}</text>'
    if len(report.schedule.steps) <= _EACH:
        yield from _each(report, engines)
    else:
        yield from _shares(report, engines)
    yield from _axis(report.total, height - 6)
    yield "</svg></div>"


def _svg(height: int, label: str) -> str:
    return (
        f'<div class="wide"><svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}">'
    )


def _rectangle(
    name: str, x: float, y: float, width: float, height: float, more: str = ""
) -> str:
    return (
        f'<rect class="{name}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" '
        f'height="{height:.2f}"{more or "/>"}'
    )


def _x(time: float, total: float) -> float:
    """Where a time is drawn."""
    return 70 + (_WIDTH - 70) * (time / total if total else 0.0)


def _axis(total: float, y: float) -> Iterator[str]:
    for tenth in range(0, 10, 2):
        time = total * tenth / 10
        yield f'<text x="{_x(time, total):.1f}" y="{y}">{shown(time)}</text>'


def _each(report: Figures, engines: Sequence[Engine]) -> Iterator[str]:
    """Each instruction by itself; transfers may lie over one another."""
    rows = {engine: row for row, engine in enumerate(engines)}
    made = report.schedule
    for step, start, end in zip(made.steps, made.start, made.end):
        engine = engine_of(step)
        left, right = _x(start, report.total), _x(end, report.total)
        title = f"{step.record.name} at {step.line}: {shown(start)} to {shown(end)}"
        more = f"><title>{escape(title)}</title></rect>"
        width = max(right - left, 0.3)
        top = rows[engine] * _LANE + 4
        yield _rectangle(engine.name, left, top, width, _LANE - 8, more)


def _shares(report: Figures, engines: Sequence[Engine]) -> Iterator[str]:
    """How busy each engine is over time."""
    made = report.schedule
    starts: dict[Engine, list[float]] = defaultdict(list)
    ends: dict[Engine, list[float]] = defaultdict(list)
    for step, start, end in zip(made.steps, made.start, made.end):
        engine = engine_of(step)
        starts[engine].append(start)
        ends[engine].append(end)
    starts[Engine.dma], ends[Engine.dma] = (
        made.reservations.starts,
        made.reservations.ends,
    )
    width = (_WIDTH - 70) / _BINS
    for row, engine in enumerate(engines):
        shares = busy_shares(starts[engine], ends[engine], report.total, _BINS)
        for place, share in enumerate(shares):
            if share < 0.005:
                continue
            high = (_LANE - 4) * share
            top = row * _LANE + 2 + (_LANE - 4) - high
            yield _rectangle(engine.name, 70 + place * width, top, width, high)


def _memory(report: Figures, use: MemoryUse) -> Iterator[str]:
    total, usable = report.total, use.usable
    name = use.region.value.upper()
    tiles = len(use.peak.tiles)
    yield (
        f"<p>{name}: at most {use.peak.nbytes:,} of {usable:,} bytes of a partition "
        f"are live, in {tiles} tile{'s' * (tiles != 1)}.</p>"
    )
    highest = max([usable, *(nbytes for _, nbytes in use.by_time)])
    yield _svg(_PLOT + 20, f"live bytes of the {name} over time")
    path, level = [f"M 70 {_PLOT}"], float(_PLOT)
    for time, nbytes in use.by_time:
        x = _x(time, total)
        path.append(f"L {x:.2f} {level:.2f}")
        level = _PLOT - (_PLOT - 4) * nbytes / highest
        path.append(f"L {x:.2f} {level:.2f}")
    path.append(f"L {_WIDTH} {level:.2f} L {_WIDTH} {_PLOT} Z")
    yield f'<path class="live" d="{" ".join(path)}"/>'
    y = _PLOT - (_PLOT - 4) * usable / highest
    yield f'<line class="limit" x1="70" x2="{_WIDTH}" y1="{y:.2f}" y2="{y:.2f}"/>'
    yield f'<text x="0" y="{y + 8:.2f}">usable</text>'
    yield from _axis(total, _PLOT + 14)
    yield "</svg></div>"
    if use.peak.tiles:
        yield f"<details><summary>Tiles of the {name} where the most is live</summary>"
        rows = [
            (str(tile), f"{tile.partition_bytes:,}", str(tile.line))
            for tile in use.peak.tiles[:_TILES]
        ]
        yield from _table(("tile", "bytes of a partition", "made at"), rows, (0, 2))
        yield "</details>"


# -- source ----------------------------------------------------------------------------
def _sources(report: Figures) -> Iterator[str]:
    files: dict[str, dict[int, list[LineTime]]] = {}
    for time in report.lines:
        of_file = files.setdefault(time.line.file, {})
        of_file.setdefault(time.line.number, []).append(time)
    for file, times in files.items():
        yield f"<h3>{escape(file)}</h3>"
        yield '<div class="code"><table class="source">'
        yield (
            '<tr><th>line</th><th>critical path</th><th class="text"></th>'
            "<th>of it waits</th><th>busy</th><th>count</th>"
            '<th class="text">source</th></tr>'
        )
        text = source_of(file)
        for number in shown_lines(text, times):
            code = text[number - 1].rstrip() if 0 < number <= len(text) else ""
            yield _source_line(report, number, times.get(number, ()), code)
        yield "</table></div>"


def _source_line(
    report: Figures, number: int, times: Sequence[LineTime], code: str
) -> str:
    if not times:
        cells = [str(number), "", "", "", "", ""]
        return _row(cells, code, "")
    whole = sum(t.critical + t.wait for t in times)
    wait = sum(t.wait for t in times)
    busy: dict[Engine, float] = defaultdict(float)
    for time in times:
        for engine, ns in time.busy.items():
            busy[engine] += ns
    engines = ", ".join(f"{NAMES[e]} {shown(ns)}" for e, ns in busy.items())
    engines = engines.replace(" ", "\N{NO-BREAK SPACE}").replace(",\xa0", ", ")
    share = whole / report.total if report.total else 0.0
    width = 80 * share
    bar = (
        '<svg viewBox="0 0 80 10" style="width:80px;min-width:80px">'
        f'<rect width="{width:.1f}" height="10"/></svg>'
    )
    count = str(sum(t.instructions for t in times))
    cells = [str(number), f"{shown(whole)} {share:.1%}", bar]
    cells += [shown(wait), escape(engines), count]
    return _row(cells, code, ' class="timed"')


def _row(cells: Sequence[str], code: str, name: str) -> str:
    """A row of the source: cells of HTML, and the code, which is escaped here."""
    made = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr{name}>{made}<td class="text">{escape(code)}</td></tr>'
