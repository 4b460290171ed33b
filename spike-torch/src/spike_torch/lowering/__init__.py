"""What lowerings of torch's operations to HLO are written with.

A lowering gets a :class:`Graph`, which is a module under construction, and the
operation's arguments: an :class:`Array` for each tensor, Python's numbers, ``torch``'s
dtypes, sizes. It returns an Array for each tensor that the operation returns. Records
with lowerings are in :mod:`spike_torch.aten`.

The program is static. A size that differs from call to call lies in a *bucket*: the
program computes with the bucket's size, the data comes first, and what follows it is
*padding*, of any content. :mod:`spike_torch.lowering.dims` says how arrays tell.
"""

from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dims import Dim, Factor
from spike_torch.lowering.errors import (
    LoweringError,
    NeedsExactSize,
    UnknownSize,
    Unsupported,
)
from spike_torch.lowering.graph import Graph, Result
from spike_torch.lowering.sizes import Size, Sizes

__all__ = [
    "Array",
    "Dim",
    "Factor",
    "Graph",
    "LoweringError",
    "NeedsExactSize",
    "Result",
    "Size",
    "Sizes",
    "UnknownSize",
    "Unsupported",
]
