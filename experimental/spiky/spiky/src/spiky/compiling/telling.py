"""Tells the report of a graph what has become of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Any

from torch import fx

from spike_torch.lowering import NeedsExactSize
from spiky.compiling.functionalized import operator_of
from spiky.compiling.sources import location_of
from spiky.report import ExactSize, GraphReport, Mask, Operation, Part


def operation_of(node: fx.Node) -> Operation:
    """A node as reports have it."""
    return Operation(operator_of(node), str(location_of(node) or ""))


def tell_parts(
    report: GraphReport,
    gm: fx.GraphModule,
    refused: Mapping[fx.Node, str] = MappingProxyType({}),
) -> None:
    """What is compiled and what runs eagerly, in the order in which it runs.

    Args:
        report: what it is told.
        gm: a graph that is one part, or one that has parts as submodules.
        refused: why nodes run eagerly.
    """
    reasons = {node.name: why for node, why in refused.items()}  # graphs are copied
    all_nodes = list(gm.graph.nodes)
    is_divided = any(n.op == "call_module" for n in all_nodes)
    for why, group in groupby(all_nodes, lambda n: reasons.get(n.name)):
        nodes = list(group)
        for node in nodes:
            if node.op == "call_module":
                own = getattr(gm, str(node.target)).nodes
                report.parts.append(Part(True, _operations(own)))
        if why is not None or not is_divided:
            report.parts.append(Part(why is None, _operations(nodes), why or ""))


def _operations(nodes: Iterable[fx.Node]) -> tuple[Operation, ...]:
    return tuple(operation_of(n) for n in nodes if n.op == "call_function")


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


def tell_notes(report: GraphReport | None, notes: Iterable[str]) -> None:
    """What lowerings have to say."""
    if report is not None:
        report.notes += (n for n in dict.fromkeys(notes) if n not in report.notes)


def tell_exact(
    report: GraphReport | None, symbols: Sequence[Any], cause: NeedsExactSize
) -> None:
    """What has no bucket, and why."""
    node = getattr(cause, "node", None)
    if report is not None:
        operation = operation_of(node) if node is not None else Operation("")
        report.exact += (ExactSize(operation, str(s), cause.reason) for s in symbols)


def tell_buckets(
    report: GraphReport | None, buckets: Iterable[tuple[Any, int]]
) -> None:
    """What is compiled."""
    if report is None:
        return
    for symbol, bucket in buckets:
        known = report.buckets.setdefault(str(symbol), [])
        if bucket not in known:
            known.append(bucket)
