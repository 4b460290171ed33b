"""An estimate as text, for people."""

from __future__ import annotations

from collections.abc import Iterator

from nkipy_emulator.cost_model.types import Estimate, Event

_COLUMNS = "{:>12}  {:>12}  {:<11}  {:<24}  {:<32}  {:>14}  {:>16}"


def estimate_table(estimate: Estimate, limit: int | None = None) -> str:
    """The timeline as a table, with totals; `limit` bounds the rows.

    Times are in microseconds.
    """
    return "\n".join(_lines(estimate, limit)) + "\n"


def _lines(estimate: Estimate, limit: int | None) -> Iterator[str]:
    cores = f", {estimate.lnc} cores as one" if estimate.lnc > 1 else ""
    yield f"ESTIMATE for {estimate.target}{cores}; not a measurement, not calibrated"
    yield ""
    yield _COLUMNS.format(
        "start us", "time us", "engine", "opcode", "name", "bytes", "flops"
    ).rstrip()
    for event in estimate.events[:limit]:
        yield _row(event)
    left = len(estimate.events) - len(estimate.events[:limit])
    if left:
        yield f"... and {left} more events"
    yield ""
    yield from _totals(estimate)


def _row(event: Event) -> str:
    return _COLUMNS.format(
        _us(event.start_ns),
        _us(event.duration_ns),
        event.engine,
        _short(event.opcode, 24),
        _short(event.name, 32),
        event.bytes or "",
        event.flops or "",
    ).rstrip()


def _totals(estimate: Estimate) -> Iterator[str]:
    yield f"estimated total: {_us(estimate.total_ns)} us"
    for lane, busy in estimate.busy_ns.items():
        share = 100 * busy / max(1, estimate.total_ns)
        yield f"  {lane:<11}  {_us(busy):>12} us  {share:5.1f} %"
    yield f"  {estimate.flops} flops, {estimate.dma_bytes} bytes by DMA"
    for note in estimate.notes:
        yield f"  note: {note}"


def _us(ns: int) -> str:
    return f"{ns / 1000:.3f}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
