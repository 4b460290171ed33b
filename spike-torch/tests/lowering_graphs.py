"""Lowers functions of several operations, with sizes in larger buckets.

What one lowering makes the next one gets: merged dimensions, sizes that others gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from nkipy.execution import simulate
from spike_torch.lowered.calls import lower_call, size_of
from spike_torch.lowering import Array, Graph, Sizes
from spike_torch.lowering.graph import SIZES
from spike_torch.lowering.random_bits import SEED

from . import lowering_cases as cases
from .lowered_operation import Program, parameter
from .op_samples import tensors

Function = Callable[..., Any]


class _Lowering(TorchDispatchMode):
    """Lowers each operation on fake tensors, when torch has said what it returns."""

    def __init__(self, g: Graph, given: dict[int, Array]) -> None:
        super().__init__()
        self.g = g
        self.arrays = given
        self.kept: list[Any] = []  # what an id is of stays alive

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        returned = func(*args, **(kwargs or {}))
        own = tensors(returned)
        if not own:
            return returned
        given, named = pytree.tree_map(self._argument, (list(args), kwargs or {}))
        if func is torch.ops.aten.detach.default:  # which fake tensors add
            made = given[0]
        else:
            made = lower_call(self.g, func, given, named, returned)
        arrays = [a for a in pytree.tree_leaves(made) if isinstance(a, Array)]
        for tensor, array in zip(own, arrays, strict=True):
            self.arrays[id(tensor)] = array
            self.kept.append(tensor)
        return returned

    def _argument(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.arrays[id(value)]
        return size_of(value) if isinstance(value, torch.SymInt) else value


def check_function(
    function: Function,
    *given: torch.Tensor,
    static: Sequence[tuple[int, int]] = (),
    extra: int = 3,
) -> None:
    """The function's program computes what the function does.

    All sizes are symbols, but for those of ``static``: number of tensor, of dimension.
    """
    made = _made(function, given, static, extra)
    call = cases.Call(function, tuple(given), {}, function(*given))
    cases._compare(call, made, {"rtol": 0, "atol": 0})


def draw_padded(function: Function, *given: torch.Tensor) -> list[np.ndarray]:
    """What the program of a function computes that draws random numbers."""
    return _made(function, given, (), 3)


def _made(
    function: Function,
    given: Sequence[torch.Tensor],
    static: Sequence[tuple[int, int]],
    extra: int,
) -> list[np.ndarray]:
    """What counts of what the function's program computes."""
    shape_env = ShapeEnv()
    mode = FakeTensorMode(shape_env=shape_env)
    fakes = list(_fakes(mode, given, set(static)))
    # What is asked of sizes first, as the shape environment learns from it.
    with mode, enable_python_dispatcher():
        function(*fakes)
    values = {
        symbol: int(shape_env.backed_var_to_val[symbol])
        for symbol in cases._symbols(fakes, shape_env)
    }
    buckets = {symbol: value + extra for symbol, value in values.items()}
    g = Graph("graph", Sizes(buckets), seeded=True)
    inputs = [parameter(g, fake, f"input{i}") for i, fake in enumerate(fakes)]
    lowering = _Lowering(g, {id(f): a for f, a in zip(fakes, inputs)})
    with mode, enable_python_dispatcher(), lowering:
        results = tensors(function(*fakes))
    outputs = [lowering.arrays[id(t)] for t in results]
    g.module.set_results([a.value for a in outputs])
    program = Program(g.module, tuple(inputs), tuple(outputs))
    return _results(program, given, values)


def _fakes(
    mode: FakeTensorMode, given: Sequence[torch.Tensor], static: set[tuple[int, int]]
) -> Iterator[torch.Tensor]:
    for i, tensor in enumerate(given):
        dynamic = [
            DimDynamic.STATIC if (i, d) in static else DimDynamic.DYNAMIC
            for d in range(tensor.dim())
        ]
        context = StatelessSymbolicContext(dynamic_sizes=dynamic)
        yield mode.from_tensor(
            tensor, source=ConstantSource(f"t{i}"), symbolic_context=context
        )


def _results(
    program: Program, given: Sequence[torch.Tensor], values: dict[Any, int]
) -> list[np.ndarray]:
    inputs = {
        f"input{i}": cases._padded(t, a)
        for i, (t, a) in enumerate(zip(given, program.inputs))
    }
    names = [p.name for p in program.module.inputs]
    if SIZES in names:
        inputs[SIZES] = np.array(list(values.values()), np.int32)
    if SEED in names:
        inputs[SEED] = np.array([1, 2], np.uint32)
    made = simulate(program.module).bind({})(inputs)
    arrays = [np.asarray(made[spec.name]) for spec in program.module.outputs]
    return [
        cases._cut(array, out, values)
        for array, out in zip(arrays, program.outputs, strict=True)
    ]
