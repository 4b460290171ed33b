"""Results that are views: made by torch of what programs return.

torch.compile makes what a user gets again from what a graph returns: by the sizes,
strides and place in memory of a result that is a view of an argument, or of another
result. A program's results have memory of their own, at its beginning, which would be
another part of the same memory.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from spiky.compiling.graph_ends import dynamic_sizes, outputs_of
from spiky.compiling.walk import is_copy_to_input, is_number, value_of
from spiky.errors import OptionError

#: Makes views of what a graph returns; in the same list.
MakeViews = Callable[[list[Any]], list[Any]]


def split_views(gm: fx.GraphModule, shown: int | None = None) -> MakeViews | None:
    """Have a graph return what views are of, and numbers that they depend on.

    Args:
        gm: the graph, which is changed.
        shown: how many of its results, from the first on, are the user's; None: all.

    Returns:
        What makes the views of its results; None if there are none.
    """
    outputs = outputs_of(gm)
    wanted = _shared_views(outputs[:shown])
    if not wanted:
        return None
    tail = _Tail(outputs, wanted)
    views = tail.function()
    (end,) = (n for n in gm.graph.nodes if n.op == "output")
    end.args = (tuple(tail.returned),)
    gm.graph.eliminate_dead_code()
    gm.recompile()
    count, used = len(outputs), tail.used

    def make(results: list[Any]) -> list[Any]:
        for place, view in zip(wanted, views(*(results[n] for n in used))):
            results[place] = view
        del results[count:]
        return results

    return make


def check_padded(gm: fx.GraphModule, shown: int | None) -> None:
    """Where results are padded, torch would make views again that nobody can read.

    Args:
        gm: the graph.
        shown: as of :func:`split_views`; None: there are no gradients, without which
            what is a view of another result is a result like all.

    Raises:
        OptionError: there is such a view.
    """
    outputs = outputs_of(gm)[:shown]
    for place in _shared_views(outputs):
        node = outputs[place]
        is_made_again = shown is not None or _argument_of(root_of(node)) is not None
        if is_made_again and dynamic_sizes(node):
            raise OptionError(
                f"option 'output_layout' is \"padded\", and result {place}, which has "
                "a dynamic size, is a view of an argument or of another result: torch "
                "makes it again without telling of padding. Return .clone() of it, or "
                'compile with output_layout="unpad"'
            )


def _shared_views(outputs: Sequence[Any]) -> list[int]:
    """The places of views of arguments, or of what others are, too."""
    tensors = {place: n for place, n in enumerate(outputs) if _is_tensor(n)}
    roots = {place: root_of(node) for place, node in tensors.items()}
    nodes_of = {root: set[fx.Node]() for root in roots.values()}
    for place, root in roots.items():
        nodes_of[root].add(tensors[place])
    counts = Counter({root: len(nodes) for root, nodes in nodes_of.items()})
    return [
        place
        for place, root in roots.items()
        if root is not tensors[place]
        and (_argument_of(root) is not None or counts[root] > 1)
    ]


def _is_tensor(node: Any) -> bool:
    return isinstance(node, fx.Node) and isinstance(value_of(node), torch.Tensor)


def _argument_of(node: fx.Node) -> fx.Node | None:
    """What is an argument's own memory and holds what a node is; None: nothing."""
    if node.op == "placeholder" or is_copy_to_input(node):
        return node
    return next((u for u in node.users if _writes(u, node)), None)


def _writes(copy: fx.Node, source: fx.Node) -> bool:
    return is_copy_to_input(copy) and copy.args[1] is source


def root_of(node: fx.Node) -> fx.Node:
    """What a node is a view of; itself if it is none."""
    while (source := _source(node)) is not None:
        node = source
    return node


def _source(node: fx.Node) -> fx.Node | None:
    """What a node is a view of directly."""
    if node.op != "call_function":
        return None
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node):
        return None
    if node.target is operator.getitem:
        return source if _is_view(source) else None
    return source if _is_view(node) else None


def _is_view(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target.is_view


class _Tail:
    """The graph of views, of what another graph returns.

    Args:
        outputs: of that graph.
        wanted: the places in it of views.

    Attributes:
        returned: what that is to return.
        used: the places in it of what this takes.
    """

    def __init__(self, outputs: Sequence[Any], wanted: Sequence[int]) -> None:
        self.returned = list(outputs)
        self.used: list[int] = []
        self._graph = fx.Graph()
        self._known: dict[fx.Node, fx.Node] = {}
        self._last: fx.Node | None = None
        self._places: dict[fx.Node, int] = {}
        for place, node in enumerate(outputs):
            if _is_tensor(node):
                root = root_of(node)
                if root is node or root not in self._places:
                    self._places[root] = place
        self._views = [self.of(outputs[place]) for place in wanted]
        for place in wanted:
            root = root_of(outputs[place])
            self.returned[place] = _argument_of(root) or root

    def of(self, node: fx.Node) -> fx.Node:
        """A node in this graph."""
        if node not in self._known:
            is_view = _source(node) is not None or _is_view(node)
            made = self._graph.node_copy(node, self.of) if is_view else self._take(node)
            self._known[node] = made
        return self._known[node]

    def _take(self, node: fx.Node) -> fx.Node:
        if is_number(value_of(node)):
            self._places[node] = len(self.returned)
            self.returned.append(node)
        self.used.append(self._places[node])
        with self._graph.inserting_after(self._last):
            self._last = self._graph.placeholder(f"given_{len(self.used)}")
        return self._last

    def function(self) -> Callable[..., tuple[Any, ...]]:
        """What makes the views, of what is used."""
        self._graph.output(tuple(self._views))
        return fx.GraphModule({}, self._graph).forward
