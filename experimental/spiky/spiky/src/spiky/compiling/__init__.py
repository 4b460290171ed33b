"""From a graph that torch.compile has captured to what runs it."""

from spike_torch.aten.record import FINDERS
from spiky.compiling.graphs import compile_graph
from spiky.kernel_calls import record_of_kernel

__all__ = ["compile_graph"]

FINDERS.append(record_of_kernel)
