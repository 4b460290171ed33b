"""What the CPU's operators write to, and whether somebody says so.

A device whose memory is not the host's gets back only what a schema or a record says is
written to: all else would be lost there, with nobody told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spike_torch.aten import OPERATORS

from . import op_samples, test_module_db

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
#: The CPU's alone: the device never comes to them.
_NOT_OF_THE_DEVICE = {("aten::mkldnn_rnn_layer_backward", "workspace")}


def bytes_of(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().resolve_conj().resolve_neg()
    return plain.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


class Writes(TorchDispatchMode):
    """Collects arguments that are written to, with no schema that says so."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = dict(zip((a.name for a in func._schema.arguments), args, strict=False))
        given |= kwargs or {}
        declared, others = set(), []
        for argument in func._schema.arguments:
            is_write = argument.alias_info is not None and argument.alias_info.is_write
            for tensor in tree_leaves(given.get(argument.name)):
                if not isinstance(tensor, torch.Tensor) or not self.is_plain(tensor):
                    continue
                if is_write:
                    declared.add(tensor.untyped_storage().data_ptr())
                else:
                    others.append((argument.name, tensor, bytes_of(tensor)))
        result = func(*args, **(kwargs or {}))
        for name, tensor, before in others:
            is_alias = tensor.untyped_storage().data_ptr() in declared
            if not is_alias and bytes_of(tensor) != before:
                self.found.add((func._schema.name, name))
        return result

    @staticmethod
    def is_plain(tensor: torch.Tensor) -> bool:
        is_dense = tensor.layout == torch.strided and not tensor.is_nested
        return is_dense and tensor.device.type == "cpu" and not tensor.is_quantized


def collect(work: Callable[[], Any]) -> set[tuple[str, str]]:
    with Writes() as writes:
        try:
            leaves = [x for x in tree_leaves(work()) if isinstance(x, torch.Tensor)]
            sums = [x.abs().sum() for x in leaves if x.requires_grad]
            if sums:
                sum(sums).backward()
        except Exception:  # what the CPU does not do writes nothing
            pass
    return writes.found


def declared() -> set[tuple[str, str]]:
    return {
        (name.partition(".")[0], argument)
        for name, record in OPERATORS.items()
        for argument in record.writes
    }


def test_of_all_modules() -> None:
    found = set()
    for info in module_db:
        for training in (True, False):
            for given in test_module_db.inputs(info, torch.float32, training):
                made, call = given.constructor_input, given.forward_input
                module = info.module_cls(*made.args, **made.kwargs).train(training)
                found |= collect(
                    lambda m=module, c=call: m(*c.args, **c.kwargs)  # type: ignore
                )
    assert ("aten::native_batch_norm", "running_mean") in found
    assert found - _NOT_OF_THE_DEVICE <= declared()


def test_of_all_operators() -> None:
    found = set()
    for op in op_db:
        if op.supports_dtype(torch.float32, "cpu"):
            for sample in op_samples.samples(op, torch.float32, 6):
                call = (sample.input, *sample.args), dict(sample.kwargs)
                found |= collect(lambda o=op, c=call: op_samples.run(o, c))
    assert ("aten::native_batch_norm", "running_mean") in found
    assert found - _NOT_OF_THE_DEVICE <= declared()
