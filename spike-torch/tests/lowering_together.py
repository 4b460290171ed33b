"""Checks lowerings of many calls in one program, which XLA compiles in less time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import _pytree as pytree

from nkipy.execution import simulate
from nkipy.hlo.ir import HLOModule
from spike_torch.lowered.calls import lower_call, size_of
from spike_torch.lowering import Array, Graph, NeedsExactSize, Sizes, Unsupported
from spike_torch.lowering.graph import SIZES

from . import lowering_cases as cases
from .lowered_operation import parameter
from .lowering_cases import Call
from .op_samples import tensors

#: How many cases one program has: with more, XLA takes more time for each.
MOST = 40
#: How much larger than a size its bucket is.
EXTRA = 3

Dynamic = Callable[[int, int], bool]


class Case(NamedTuple):
    """A call, and which of its dimensions are padded.

    Attributes:
        call: what is checked.
        dynamic: by number of tensor and of dimension; None: all sizes are numbers.
        shared: whether dimensions of one size have one symbol.
    """

    call: Call
    dynamic: Dynamic | None = None
    shared: bool = False


def without_padding(calls: Iterable[Call]) -> list[Case]:
    return [Case(call) for call in calls]


def with_padding(calls: Iterable[Call], shared: bool = False) -> list[Case]:
    """All dimensions of each call in buckets, whose padding is NaN."""
    return [Case(call, lambda tensor, dim: True, shared) for call in calls]


def of_one_dimension(calls: Iterable[Call]) -> list[Case]:
    """Each dimension by itself, where there are others."""
    return [
        Case(call, dynamic)
        for call in calls
        if sum(t.dim() for t in tensors((call.args, call.kwargs))) > 1
        for dynamic in list(cases.every_dimension(call))[1:]
    ]


def check_together(
    wanted: Sequence[Case],
    compiled: Callable[[HLOModule], Any] | None = None,
    extra: int = EXTRA,
) -> list[Case]:
    """The programs of these compute what the CPU does.

    Args:
        wanted: what is checked.
        compiled: what each program is given to, which the target has to take.
        extra: how much larger than a size its bucket is.

    Returns:
        Those that have lowerings; the others need exact sizes, or run eagerly.

    Raises:
        AssertionError: results differ; it says which, and all of them.
    """
    checked: list[Case] = []
    wrong: list[str] = []
    for start in range(0, len(wanted), MOST):
        program = _Together(wanted[start : start + MOST], extra)
        checked += [each.case for each in program.lowered]
        if program.lowered:
            wrong += program.differences()
        if program.lowered and compiled is not None:
            compiled(program.module)
    assert not wrong, "\n".join(wrong)
    return checked


class _Lowered(NamedTuple):
    case: Case
    outputs: list[Array]


class _Together:
    """One program of many cases."""

    def __init__(self, wanted: Sequence[Case], extra: int) -> None:
        self._extra = extra
        self._shape_env = ShapeEnv()
        self._calls = 0
        self._buckets: dict[Any, int] = {}
        self._values: dict[Any, int] = {}
        known = [known for case in wanted for known in self._known(case)]
        self._g = Graph("together", Sizes(self._buckets))
        self._inputs: dict[str, np.ndarray] = {}
        self.lowered: list[_Lowered] = []
        for case, leaves, tree, returned in known:
            # Elsewhere first: what has been made before it is refused may be no HLO.
            trial = Graph("trial", Sizes(self._buckets))
            try:
                self._lower(trial, case, leaves, tree, returned)
            except (NeedsExactSize, Unsupported):
                continue
            outputs, inputs = self._lower(self._g, case, leaves, tree, returned)
            self._inputs |= inputs
            self.lowered.append(_Lowered(case, outputs))
        arrays = [array for each in self.lowered for array in each.outputs]
        self._g.module.set_results([array.value for array in arrays])

    @property
    def module(self) -> HLOModule:
        return self._g.module

    def _known(self, case: Case) -> Iterator[tuple[Case, list[Any], Any, Any]]:
        """What torch knows of a case: leaves of its arguments, and what it returns."""
        call = case.call
        if case.dynamic is None:
            leaves, tree = pytree.tree_flatten((call.args, call.kwargs))
            yield case, leaves, tree, call.returned
            return
        # Sizes of other calls are others, even if they are the same numbers.
        known = self._shape_env.val_to_var
        for value in [value for value in known if value not in (0, 1)]:
            del known[value]
        self._calls += 1
        fakes, leaves, tree = cases._fake(
            call, self._shape_env, case.dynamic, case.shared, f"c{self._calls}t"
        )
        args, kwargs = pytree.tree_unflatten(leaves, tree)
        try:
            with fakes:
                returned = cases._returned(call.op, args, kwargs)
        except NeedsExactSize:
            return
        for symbol in cases._symbols(leaves, self._shape_env):
            value = int(self._shape_env.backed_var_to_val[symbol])
            self._values[symbol] = value
            self._buckets[symbol] = value + self._extra
        yield case, leaves, tree, returned

    def _lower(
        self, g: Graph, case: Case, leaves: list[Any], tree: Any, returned: Any
    ) -> tuple[list[Array], dict[str, np.ndarray]]:
        """A case's results in a graph, and what its inputs are."""
        leaves, inputs = list(leaves), {}
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, torch.Tensor):
                name = f"input{len(self._inputs) + len(inputs)}"
                array = parameter(g, leaf, name)
                given = tensors((case.call.args, case.call.kwargs))
                place = sum(isinstance(each, Array) for each in leaves[:i])
                inputs[name] = cases._padded(given[place], array)
                leaves[i] = array
            elif isinstance(leaf, torch.SymInt):
                leaves[i] = size_of(leaf)
        args, kwargs = pytree.tree_unflatten(leaves, tree)
        made = lower_call(g, case.call.op, args, kwargs, returned)
        return [a for a in pytree.tree_leaves(made) if isinstance(a, Array)], inputs

    def differences(self) -> list[str]:
        """What each case says whose results are not the CPU's."""
        inputs = dict(self._inputs)
        if SIZES in [p.name for p in self.module.inputs]:
            inputs[SIZES] = np.array(list(self._values.values()), np.int32)
        made = simulate(self.module).bind({})(inputs)
        arrays = iter([np.asarray(made[spec.name]) for spec in self.module.outputs])
        found = []
        for case, outputs in self.lowered:
            cut = [cases._cut(next(arrays), out, self._values) for out in outputs]
            try:
                cases._compare(case.call, cut, {})
            except AssertionError as error:
                how = "padded" if case.dynamic else "static"
                args = pytree.tree_map(_short, (case.call.args, case.call.kwargs))
                found.append(f"{case.call.op} {how} {args}: {error}")
        return found


def _short(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return f"{str(value.dtype)[6:]}{list(value.shape)}"
