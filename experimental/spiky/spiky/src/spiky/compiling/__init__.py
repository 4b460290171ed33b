"""From a graph that torch.compile has captured to what runs it."""

from spiky.compiling.graphs import compile_graph

__all__ = ["compile_graph"]
