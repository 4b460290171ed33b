"""Tells users of the operators of a graph that run eagerly, between compiled parts."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Iterator

import torch
from torch import fx
from torch._higher_order_ops.effects import with_effects
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

from spiky.compiling.functionalized import operator_of
from spiky.compiling.sources import location_of
from spiky.compiling.support import OF_DATA, Refused
from spiky.compiling.walk import value_of
from spiky.errors import UnsupportedOperationError
from spiky.warned import is_new


class EagerOperators:
    """Tells of those of one function's graphs, forward and backward.

    Args:
        is_error: whether it is an error that an operator runs eagerly.
    """

    def __init__(self, *, is_error: bool) -> None:
        self._is_error = is_error
        #: The sizes that data tells operators of which is told.
        self._given: set[object] = set()

    def tell(self, refused: Refused) -> None:
        """Warn of operators that run eagerly, once for each and each line.

        Args:
            refused: nodes that run eagerly, and why, in their order.

        Raises:
            UnsupportedOperationError: one does, and that is an error.
        """
        calls = {n: why for n, why in refused.items() if n.op == "call_function"}
        causes = list(self._causes(calls))
        if not causes and not self._given:
            causes = list(calls)[:1]
        for node in causes:
            name, location = operator_of(node), location_of(node)
            where = f"{location}: " if location else ""
            text = f"{where}{name} {refused[node]}"
            if self._is_error:
                raise UnsupportedOperationError(text)
            if is_new(where, name):
                warnings.warn(
                    f"{text}; it runs eagerly, between compiled parts", stacklevel=2
                )

    def _causes(self, calls: Refused) -> Iterator[fx.Node]:
        """Those that do not run eagerly only because another does."""
        for node, why in calls.items():
            if why == OF_DATA:
                sizes = _sizes_of_data(node.all_input_nodes)
                is_cause = self._given.isdisjoint(sizes)
            else:
                is_cause = not _belongs_to_another(node)
            self._given |= _sizes_of_data([node])
            if is_cause:
                yield node


def _sizes_of_data(nodes: Iterable[fx.Node]) -> set[object]:
    return set(free_unbacked_symbols([value_of(n) for n in nodes]))


def _belongs_to_another(node: fx.Node) -> bool:
    """Whether it is a result of a node before it, or torch's check of one."""
    if node.target is with_effects:
        return "_check_errors" in str(node.args[1])
    results_and_checks = operator.getitem, torch.ops.aten._assert_scalar.default
    return node.target in results_and_checks
