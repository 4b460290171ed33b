"""Which operations of a graph the core's compiler refuses, where it refuses one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import fx

from nkipy.compiler.build import BuildOptions, build
from nkipy.compiler.driver import CompilationError
from nkipy.execution.device_module import device_module
from spike_torch.lowering import NeedsExactSize, Sizes, Unsupported
from spiky.compiling import symbols as sym
from spiky.compiling.sources import location_of
from spiky.compiling.support import Refused, lower_alone, trial_sizes
from spiky.compiling.walk import is_number, value_of

#: What the compiler says of programs: its codes of errors but those of arguments.
_FINDING = re.compile(r"\[(?P<code>(?:NCC_E(?!ARG)|NKIPY_EMU)\w+)\] (?P<text>[^\n]*)")
_PLACE = re.compile(r"^ *at (?P<place>.+)$", re.MULTILINE)


def refused_nodes(
    gm: fx.GraphModule,
    options: BuildOptions,
    error: CompilationError,
) -> Refused:
    """The nodes that the compiler refuses, and why.

    Each is compiled by itself: first those of the lines that the compiler has told, and
    the others only if it is none of these. If it is none at all, it is what stands in
    those lines together.

    Args:
        gm: a graph whose program was refused, or a part of it.
        options: how programs are built.
        error: what the compiler has said of the whole.

    Raises:
        CompilationError: `error`, which is no node's fault.
    """
    finding = _FINDING.search(str(error))
    if finding is None:
        raise error
    places = {match["place"] for match in _PLACE.finditer(str(error))}
    nodes = [n for n in gm.graph.nodes if n.op == "call_function" and _computes(n)]
    named = [n for n in nodes if str(location_of(n)) in places]
    others = [n for n in nodes if n not in set(named)]
    check = _Check(gm, options)
    found = check.refused(named) or check.refused(others)
    if not (found or named):
        raise error
    return found or dict.fromkeys(named, _reason(finding))


def _computes(node: fx.Node) -> bool:
    return hasattr(node.target, "_schema") and not is_number(value_of(node))


def _reason(finding: re.Match[str]) -> str:
    text = finding["text"].rstrip(".")
    return f"is refused by the compiler, {finding['code']}: {text}"


class _Check:
    """Compiles operations one by one, each kind once."""

    def __init__(self, gm: fx.GraphModule, options: BuildOptions) -> None:
        self._sizes, self._options = trial_sizes(gm), options
        seen = sym.hints(gm, list(self._sizes.places))
        self._exact = Sizes({}, seen, seen)  # for what takes no bucket
        self._known: dict[str, str | None] = {}

    def refused(self, nodes: Iterable[fx.Node]) -> dict[fx.Node, str]:
        reasons = {node: self._reason_of(node) for node in nodes}
        return {node: why for node, why in reasons.items() if why is not None}

    def _reason_of(self, node: fx.Node) -> str | None:
        given = [value_of(n) for n in node.all_input_nodes]
        kind = f"{node.target} {given} {_without_names(node)} {value_of(node)}"
        if kind not in self._known:
            self._known[kind] = self._compile(node)
        return self._known[kind]

    def _compile(self, node: fx.Node) -> str | None:
        try:
            try:
                module = lower_alone(node, self._sizes)
            except NeedsExactSize:
                module = lower_alone(node, self._exact)
        except (NeedsExactSize, Unsupported):
            return None  # it is told of by others
        program = device_module(module).module
        if program is None:
            return None
        try:
            build(program, self._options, str(node.target))
        except CompilationError as error:
            finding = _FINDING.search(str(error))
            return None if finding is None else _reason(finding)
        return None


def _without_names(node: fx.Node) -> Any:
    """Arguments, with a number in place of each node's name."""
    places = {n: f"%{place}" for place, n in enumerate(node.all_input_nodes)}
    return fx.map_arg((node.args, node.kwargs), places.__getitem__)
