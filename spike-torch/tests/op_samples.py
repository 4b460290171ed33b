"""Samples of torch's operations, on the CPU and on the device, compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.testing import assert_close
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo, SampleInput
from torch.utils._pytree import tree_leaves, tree_map

#: Those that the CPU has arithmetic in.
DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    *(torch.complex64, torch.complex128),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
#: Results that nobody fills, or that nobody can know.
UNKNOWN_VALUES = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty"}
UNKNOWN_VALUES |= {"new_empty_strided"}
#: The argument that says where to split is the CPU's, on every device.
_HOST_ARGUMENTS = {"tensor_split"}

Call = tuple[tuple[Any, ...], dict[str, Any]]


def operations(dtype: torch.dtype) -> list[OpInfo]:
    """All of torch's database that the CPU has for a dtype."""
    return [op for op in op_db if op.supports_dtype(dtype, "cpu")]


def has_gradient(op: OpInfo, dtype: torch.dtype) -> bool:
    is_differentiable = dtype.is_floating_point or dtype.is_complex
    wanted = is_differentiable and op.supports_autograd
    return wanted and dtype in op.supported_backward_dtypes("cpu")


def samples(op: OpInfo, dtype: torch.dtype, most: int) -> Iterator[SampleInput]:
    torch.manual_seed(0)
    # Not op.sample_inputs: for messages it reads the source of each frame on the stack.
    found = op.sample_inputs_func(op, "cpu", dtype, has_gradient(op, dtype))
    for _, sample in zip(range(most), found, strict=False):
        yield sample


def on_device(value: Any) -> Any:
    """A copy on the device, with the same strides and all that lies between."""
    if isinstance(value, torch.device):
        return torch.device("nkipy")
    if not isinstance(value, torch.Tensor):
        return value
    if value.layout != torch.strided:
        return value.detach().to("nkipy").requires_grad_(value.requires_grad)
    plain = value.detach()
    made = torch.empty(0, dtype=plain.dtype, device="nkipy")
    storage = plain.untyped_storage().nkipy()
    made.set_(storage, plain.storage_offset(), plain.size(), plain.stride())
    if plain.is_conj():
        made = made.conj()
    if plain.is_neg():
        made = torch._neg_view(made)
    return made.requires_grad_(value.requires_grad)


def call_on_device(op: OpInfo, call: Call) -> Call:
    args, kwargs = tree_map(on_device, call)
    if "device" in kwargs:
        kwargs["device"] = "nkipy"
    if op.name in _HOST_ARGUMENTS:
        args = (args[0], *call[0][1:])
    return args, kwargs


def tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def run(op: OpInfo, call: Call) -> Any:
    torch.manual_seed(1)
    return op(*call[0], **call[1])


def gradients(call: Call, results: list[torch.Tensor]) -> list[torch.Tensor | None]:
    inputs = [x for x in tensors(call) if x.requires_grad]
    outputs = [x for x in results if x.requires_grad]
    if not outputs:
        return []
    sums = [x.abs().sum() if x.is_complex() else x.sum() for x in outputs]
    return list(torch.autograd.grad(sums, inputs, allow_unused=True))


class NotOfTheCpu(Exception):
    """The CPU itself does not do what a sample asks for."""


@contextmanager
def _by_the_cpu(op: OpInfo) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise NotOfTheCpu(op.name) from error


def of_the_cpu(op: OpInfo, call: Call) -> list[torch.Tensor]:
    with _by_the_cpu(op):
        return tensors(run(op, call))


def compare(
    op: OpInfo, dtype: torch.dtype, sample: SampleInput, narrow: float = 1e-3
) -> None:
    """Raise unless value, dtype, shape and strides are the CPU's, gradients too.

    Args:
        narrow: how far gradients of 16 bits may be from the CPU's.
    """
    call: Call = (sample.input, *sample.args), dict(sample.kwargs)
    there = call_on_device(op, call)
    wanted = of_the_cpu(op, call)
    found = tensors(run(op, there))
    assert len(wanted) == len(found)
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if theirs.layout == torch.strided and theirs.numel():
            assert ours.stride() == theirs.stride()
        if op.name not in UNKNOWN_VALUES:
            assert_close(ours.cpu(), theirs, equal_nan=True)
    if not has_gradient(op, dtype):
        return
    with _by_the_cpu(op):  # some take no transposed tensors
        of_cpu = gradients(call, wanted)
    for ours, theirs in zip(gradients(there, found), of_cpu, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            rough = {"rtol": narrow, "atol": narrow} if ours.dtype.itemsize < 4 else {}
            fine = {"rtol": 1e-4, "atol": 1e-4}
            assert_close(ours.cpu(), theirs, equal_nan=True, **(rough or fine))


def _in_64_bits(value: Any) -> Any:
    if isinstance(value, torch.dtype) and value.is_floating_point:
        return torch.float64
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    return value.detach().double().requires_grad_(value.requires_grad)


def _numbers(op: OpInfo, dtype: torch.dtype, call: Call) -> list[torch.Tensor]:
    """Results, and gradients if there are any."""
    results = tensors(run(op, call))
    made = gradients(call, results) if has_gradient(op, dtype) else []
    found = [*results, *(g for g in made if g is not None)]
    return [_in_64_bits(x.detach().cpu()) for x in found]


def is_as_near_as_the_cpu(op: OpInfo, dtype: torch.dtype, sample: SampleInput) -> bool:
    """Whether no result is further from that of float64 than the CPU's is."""
    call: Call = (sample.input, *sample.args), dict(sample.kwargs)
    calls = call_on_device(op, call), call, tree_map(_in_64_bits, call)
    found = [_numbers(op, dtype, each) for each in calls]
    for ours, theirs, exact in zip(*found, strict=True):
        if not exact.is_floating_point():
            if not torch.equal(ours, exact):
                return False
            continue
        if not torch.equal(ours.isfinite(), theirs.isfinite()):
            return False
        far, limit = ((x - exact).nan_to_num(0, 0, 0).abs() for x in (ours, theirs))
        if ours.numel() and far.max() > limit.max():
            return False
    return True
