"""Tells the report of a graph what has become of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from torch import fx

from spike_torch.lowering import NeedsExactSize
from spiky.compiling.sources import location_of
from spiky.report import ExactSize, GraphReport, Mask, Operation, Part


def operation_of(node: fx.Node) -> Operation:
    """A node as reports have it."""
    location = location_of(node)
    line = f"{location.filename}:{location.line}" if location else ""
    return Operation(str(node.target), line)


def tell_parts(
    report: GraphReport, gm: fx.GraphModule, refused: Mapping[fx.Node, str]
) -> None:
    """Which operations are compiled, and which run eagerly, in the graph's order."""
    nodes = [n for n in gm.graph.nodes if n.op == "call_function"]
    for why, found in groupby(nodes, refused.get):
        operations = tuple(operation_of(node) for node in found)
        report.parts.append(Part(why is None, operations, why or ""))


def tell_masks(
    report: GraphReport | None, masks: Iterable[tuple[fx.Node, Any, Any]]
) -> None:
    """What padding was replaced by, and before which operation."""
    if report is None:
        return
    for node, size, value in masks:
        mask = Mask(operation_of(node), str(size), str(value))
        if mask not in report.masks:
            report.masks.append(mask)


def tell_exact(
    report: GraphReport | None, symbols: Sequence[Any], cause: NeedsExactSize
) -> None:
    """What has no bucket, and why."""
    node = getattr(cause, "node", None)
    if report is not None:
        operation = operation_of(node) if node is not None else Operation("")
        report.exact += (ExactSize(operation, str(s), cause.reason) for s in symbols)


def tell_buckets(
    report: GraphReport | None, symbols: Sequence[Any], buckets: Sequence[int]
) -> None:
    """What is compiled."""
    if report is None:
        return
    for symbol, bucket in zip(symbols, buckets, strict=True):
        known = report.buckets.setdefault(str(symbol), [])
        if bucket not in known:
            known.append(bucket)
