"""A program of one operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils import _pytree as pytree

from nkipy.hlo.ir import HLOModule
from spike_torch.lowered.calls import lower_call, name_of, result_of, size_of
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dtypes import hlo_dtype
from spike_torch.lowering.graph import Graph
from spike_torch.lowering.sizes import Sizes


class Program(NamedTuple):
    """A module, and what its parameters and results are.

    Attributes:
        module: the module. After a parameter for each tensor comes the one of actual
            sizes, if the program looks at them.
        inputs: for each tensor among the arguments, its Array.
        outputs: for each result, its Array.
    """

    module: HLOModule
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


def lower_operation(
    op: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    returned: Any,
    sizes: Sizes | None = None,
    seeded: bool = False,
) -> Program:
    """The program of one call of an operator.

    Args:
        op: torch's operator, with its overload.
        args: its arguments, with tensors that may be fake.
        kwargs: the same.
        returned: what torch returns for it, which may be fake.
        sizes: the symbols among the tensors' sizes, and their buckets.
        seeded: whether the program may have the input of a seed.

    Raises:
        Unsupported, NeedsExactSize: as :func:`~spike_torch.lowered.calls.lower_call`.
    """
    g = Graph(name_of(op).replace("::", ".").replace(".", "_"), sizes, seeded)
    leaves, tree = pytree.tree_flatten((list(args), dict(kwargs)))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    inputs = [parameter(g, leaves[i], f"input{n}") for n, i in enumerate(places)]
    for place, array in zip(places, inputs):
        leaves[place] = array
    leaves = [size_of(x) if isinstance(x, torch.SymInt) else x for x in leaves]
    given, named = pytree.tree_unflatten(leaves, tree)
    made = lower_call(g, op, given, named, returned)
    outputs = [a for a in pytree.tree_leaves(made) if isinstance(a, Array)]
    g.module.set_results([a.value for a in outputs])
    return Program(g.module, tuple(inputs), tuple(outputs))


def parameter(g: Graph, tensor: torch.Tensor, name: str) -> Array:
    """A parameter of the program, with the dimensions of a tensor that may be fake."""
    result = result_of(tensor)
    dims = g.dims(result.sizes)
    shape = [d.padded for d in dims]
    return Array(g.module.add_parameter(shape, hlo_dtype(result.dtype), name), dims)
