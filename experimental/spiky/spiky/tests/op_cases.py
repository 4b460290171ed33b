"""Samples of torch's operations, compiled and eager, compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.testing import assert_close
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo, SampleInput
from torch.utils._pytree import tree_leaves, tree_map

#: Results that nobody fills, or that nobody can know.
UNKNOWN_VALUES = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty"}
UNKNOWN_VALUES |= {"new_empty_strided"}
#: Samples are float32's: the core has no other numbers of more than 16 bits.
DTYPE = torch.float32
BACKEND = "nkipy"

OPERATIONS: dict[str, OpInfo] = {
    op.formatted_name: op for op in op_db if op.supports_dtype(DTYPE, "cpu")
}


def has_gradient(op: OpInfo) -> bool:
    return op.supports_autograd and DTYPE in op.supported_backward_dtypes("cpu")


def samples(op: OpInfo, most: int) -> list[SampleInput]:
    """Those of torch that the CPU takes: strided, and no error."""
    torch.manual_seed(0)
    # Not op.sample_inputs: for messages it reads the source of each frame on the stack.
    found = op.sample_inputs_func(op, "cpu", DTYPE, has_gradient(op))
    return [sample for _, sample in zip(range(most), found, strict=False)]


def tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def copied(value: Any) -> Any:
    """The same tensors again, as leaves with gradients of their own; what is one tensor
    stays one."""
    known: dict[int, torch.Tensor] = {}

    def copy(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or x.layout != torch.strided:
            return x
        if id(x) not in known:
            storage = x.detach().untyped_storage().clone()
            made = torch.empty(0, dtype=x.dtype)
            made.set_(storage, x.storage_offset(), x.size(), x.stride())
            known[id(x)] = made.requires_grad_(x.requires_grad)
        return known[id(x)]

    return tree_map(copy, value)


Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


def calls_of(op: OpInfo, most: int) -> list[Call]:
    return [(s.input, tuple(s.args), dict(s.kwargs)) for s in samples(op, most)]


def compiled(op: OpInfo) -> Callable[[Sequence[Call]], list[Any]]:
    """One function of all samples: a call takes less than each by itself."""
    function = op.op

    def run(calls: Sequence[Call]) -> list[Any]:
        return [function(x, *args, **kwargs) for x, args, kwargs in calls]

    return torch.compile(run, backend=BACKEND, dynamic=False)


def gradients(given: Any, made: Any) -> list[torch.Tensor | None]:
    inputs = [x for x in tensors(given) if x.requires_grad]
    outputs = [x for x in tensors(made) if x.requires_grad]
    if not outputs:
        return []
    sums = [x.abs().sum() if x.is_complex() else x.sum() for x in outputs]
    return list(torch.autograd.grad(sums, inputs, allow_unused=True))


@contextmanager
def quiet() -> Iterator[None]:
    """Without what is told of operators that run eagerly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _kind(x: torch.Tensor) -> tuple[Any, ...]:
    """What is compared besides the numbers."""
    is_strided = x.layout == torch.strided and x.numel()
    moves = [n for n, size in zip(x.stride(), x.shape) if size > 1] if is_strided else 0
    return x.dtype, tuple(x.shape), x.device, moves


def compare(op: OpInfo, most: int, computed: OpInfo | None = None) -> None:
    """Raise unless value, dtype, shape and strides are the CPU's, gradients too.

    Args:
        op: the operation.
        most: how many samples.
        computed: another operation that is compiled instead.
    """
    calls = calls_of(op, most)
    given = copied(calls)
    with quiet():
        torch.manual_seed(1)
        wanted = [op.op(x, *args, **kwargs) for x, args, kwargs in calls]
        torch.manual_seed(1)
        made = compiled(computed or op)(given)
        pairs = zip(tensors(made), tensors(wanted), strict=True)
        for ours, theirs in pairs:
            assert _kind(ours) == _kind(theirs), f"{_kind(ours)}, not {_kind(theirs)}"
            if op.name not in UNKNOWN_VALUES:
                assert_close(ours, theirs, equal_nan=True)
        if not has_gradient(op):
            return
        both = zip(gradients(given, made), gradients(calls, wanted), strict=True)
    for mine, truth in both:
        assert (mine is None) == (truth is None)
        if mine is not None and truth is not None:
            assert_close(mine, truth, equal_nan=True, rtol=1e-4, atol=1e-4)
