"""Operations that write where they are told: in place, and to ``out=``.

Targets lie scattered in a larger buffer, which is compared as a whole: what lies
between the elements must stay as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.testing import assert_close
from torch.testing._internal.opinfo.core import OpInfo, SampleInput
from torch.utils._pytree import tree_map

from .op_samples import (
    UNKNOWN_VALUES,
    Call,
    NotOfTheCpu,
    call_on_device,
    of_the_cpu,
    tensors,
)

#: What lies between the elements.
_BETWEEN = 1


class Target:
    """Every second element of a buffer, on the CPU and on the device."""

    def __init__(self, values: torch.Tensor) -> None:
        size = 2 * values.numel() + 1
        self.buffer = torch.full((size,), _BETWEEN, dtype=values.dtype)
        self.host = self._view(self.buffer, values.shape)
        self.host.copy_(values.detach())
        self.buffer_there = self.buffer.to("nkipy")
        self.there = self._view(self.buffer_there, values.shape)

    @staticmethod
    def _view(buffer: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        strides = torch.empty(shape, device="meta").stride()
        return buffer.as_strided(shape, [2 * stride for stride in strides], 1)

    def compare(self, op: OpInfo) -> None:
        ours, theirs = self.there, self.host
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.stride() == theirs.stride()
        if op.name not in UNKNOWN_VALUES:
            assert_close(self.buffer_there.cpu(), self.buffer, equal_nan=True)
            assert_close(ours.cpu(), theirs, equal_nan=True)


def _call(function: Callable, call: Call) -> Any:
    torch.manual_seed(1)
    return function(*call[0], **call[1])


def _call_both(op: OpInfo, function: Callable, host: Call, there: Call) -> None:
    """The device does it, or raises what the CPU raises."""
    try:
        _call(function, host)
    except Exception as error:
        try:
            _call(function, there)
        except type(error):
            raise NotOfTheCpu(op.name) from error
        raise AssertionError(f"only the CPU raises {error!r}") from error
    _call(function, there)


def _without_gradients(call: Call) -> Call:
    detached = tree_map(
        lambda x: x.detach() if isinstance(x, torch.Tensor) else x, call
    )
    return detached[0], detached[1]


def compare_in_place(op: OpInfo, sample: SampleInput) -> None:
    """Raise unless the in-place variant writes what the CPU's does, and no more."""
    function = op.get_inplace()
    call = _without_gradients(((sample.input, *sample.args), dict(sample.kwargs)))
    (_, *args), kwargs = call
    there_args, there_kwargs = call_on_device(op, call)
    if isinstance(sample.input, torch.Tensor):
        targets = [Target(sample.input)]
        host, there = targets[0].host, targets[0].there
    else:  # a list of tensors, each written to
        targets = [Target(one) for one in sample.input]
        host, there = [t.host for t in targets], [t.there for t in targets]
    _call_both(
        op,
        function,
        ((host, *args), kwargs),
        ((there, *there_args[1:]), there_kwargs),
    )
    for target in targets:
        target.compare(op)


def compare_out(op: OpInfo, sample: SampleInput) -> None:
    """Raise unless ``out=`` gets what the CPU writes to it, and nothing else does."""
    call = _without_gradients(((sample.input, *sample.args), dict(sample.kwargs)))
    with torch.no_grad():
        results = of_the_cpu(op, call)
    targets = [Target(torch.zeros_like(result)) for result in results]
    there = call_on_device(op, call)

    def with_out(call: Call, outs: list[torch.Tensor]) -> Call:
        out = outs[0] if len(outs) == 1 else tuple(outs)
        return call[0], {**call[1], "out": out}

    _call_both(
        op,
        op,
        with_out(call, [target.host for target in targets]),
        with_out(there, [target.there for target in targets]),
    )
    for target in targets:
        target.compare(op)


def compare_out_that_grows(op: OpInfo, sample: SampleInput) -> None:
    """An empty ``out=`` takes the shape and strides that the CPU gives it."""
    call = _without_gradients(((sample.input, *sample.args), dict(sample.kwargs)))
    with torch.no_grad():
        results = of_the_cpu(op, call)
    outs = [
        [torch.empty(0, dtype=result.dtype, device=device) for result in results]
        for device in ("cpu", "nkipy")
    ]
    calls = [
        (made[0], {**made[1], "out": out[0] if len(out) == 1 else tuple(out)})
        for made, out in zip((call, call_on_device(op, call)), outs, strict=True)
    ]
    _call_both(op, op, *calls)
    for theirs, ours in zip(*outs, strict=True):
        assert (ours.shape, ours.stride()) == (theirs.shape, theirs.stride())
        if op.name not in UNKNOWN_VALUES:
            assert_close(ours.cpu(), theirs, equal_nan=True)


def variants(op: OpInfo, sample: SampleInput, grows: bool) -> list[Callable]:
    """Those that there are of an operation, for a sample."""
    found: list[Callable] = []
    if op.get_inplace() is not None and not sample.broadcasts_input:
        found.append(compare_in_place)
    if op.supports_out and tensors(sample.input):
        found.append(compare_out)
        if grows:
            found.append(compare_out_that_grows)
    return found
