"""Runs one program of a lowering with every size that its bucket takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import _pytree as pytree

from nkipy.compiler.build import BuildOptions, build
from nkipy.execution import simulate
from spike_torch.aten import OPERATORS, Operator
from spike_torch.lowering import Array, Graph, Sizes
from spike_torch.lowering.graph import SIZES
from spike_torch.lowering.sizes import product

from .lowered_operation import Program, lower_operation
from .lowering_cases import Call, _compare, _cut, _fake, _padded, _symbols
from .op_samples import tensors

BUCKET = 32
#: The size that torch sees when the program is made. No other dimension has it.
HINT = 23

Arguments = tuple[Any, ...]


class Merging:
    """An operator, after the first dimensions of its first argument became one.

    Where the second of them is padded, what counts lies between padding.
    """

    def __init__(self, op: Any, count: int = 2) -> None:
        self.op, self.count = op, count
        self._schema = op._schema

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return self.op(x.flatten(0, self.count - 1), *args, **kwargs)

    def name(self) -> str:
        return f"merging::{self.op.name().partition('::')[2]}"

    def lower(self, g: Graph, x: Array, *args: Any, **kwargs: Any) -> Any:
        sizes = (product(x.sizes[: self.count]), *x.sizes[self.count :])
        lower = OPERATORS[self.op.name()].lower
        assert lower is not None
        return lower(g, g.reshape(x, sizes), *args, **kwargs)

    @property
    def record(self) -> Operator:
        return Operator(self.name(), lower=self.lower, padding="handled")


def program_of(
    op: Any, given: Arguments, kwargs: Mapping[str, Any]
) -> tuple[Program, list[Any]]:
    """The program of a call whose dimensions of size HINT lie in a bucket."""
    call = Call(op, given, dict(kwargs), None)
    shapes = [t.shape for t in tensors((given, kwargs))]
    shape_env = ShapeEnv()
    fakes, leaves, tree = _fake(call, shape_env, lambda t, d: shapes[t][d] == HINT)
    args, named = pytree.tree_unflatten(_with_sizes(leaves), tree)
    with fakes:
        returned = op(*args, **named)
    symbols = _symbols(leaves, shape_env)
    sizes = Sizes(dict.fromkeys(symbols, BUCKET))
    more = {op.name(): op.record} if isinstance(op, Merging) else {}
    with mock.patch.dict(OPERATORS, more):
        return lower_operation(op, args, named, returned, sizes), symbols


def _with_sizes(leaves: list[Any]) -> list[Any]:
    """Integers that are multiples of HINT, as sizes of the tensors that have it."""
    found = [
        size
        for leaf in leaves
        if isinstance(leaf, torch.Tensor)
        for size in leaf.shape
        if isinstance(size, torch.SymInt)
    ]
    return [
        found[0] * (leaf // HINT)
        if found and type(leaf) is int and leaf and leaf % HINT == 0
        else leaf
        for leaf in leaves
    ]


def check_every_size(
    op: Any,
    make: Callable[[int], Arguments],
    sizes: Iterable[int] = (*range(1, 21), BUCKET),
    tolerance: Mapping[str, float] | None = None,
    **kwargs: Any,
) -> None:
    """The result is the CPU's for each size, with NaN in what the bucket has beside.

    Args:
        op: the operator.
        make: its arguments, for a size.
        sizes: those that are tried.
        tolerance: what `assert_close` takes.
        kwargs: arguments by name.
    """
    program, symbols = program_of(op, make(HINT), kwargs)
    assert symbols, "no dimension has a symbol"
    run = simulate(program.module).bind({})
    for size in sizes:
        args = make(size)
        call = Call(op, args, kwargs, op(*args, **kwargs))
        given = tensors((args, kwargs))
        inputs = {
            f"input{i}": _padded(t, a)
            for i, (t, a) in enumerate(zip(given, program.inputs, strict=True))
        }
        actual = np.full(len(symbols), size, np.int32)
        inputs |= {p.name: actual for p in program.module.inputs if p.name == SIZES}
        made = run(inputs)
        found = [np.asarray(made[spec.name]) for spec in program.module.outputs]
        values = dict.fromkeys(symbols, size)
        cut = [_cut(x, a, values) for x, a in zip(found, program.outputs, strict=True)]
        _compare(call, cut, tolerance or {})


def compile_program(
    op: Any, args: Arguments, kwargs: Mapping[str, Any], directory: Any
) -> None:
    """Have the compiler take the program of a call, padded where a size is HINT.

    Raises:
        CompilationError: the target does not have an instruction.
    """
    program, _ = program_of(op, args, kwargs)
    build(program.module, BuildOptions(directory=directory))


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Such as differ from each other, of both signs, the same ones each time."""
    generator = torch.Generator().manual_seed(sum(shape))
    count = int(np.prod(shape))
    order = torch.randperm(count, generator=generator)
    return ((order - count // 3) / 4).reshape(shape).to(dtype)
