"""torch's higher-order operators, its operators of users' own, and torch.library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch.testing._internal.custom_op_db import custom_op_db
from torch.testing._internal.hop_db import hop_db
from torch.testing._internal.opinfo.core import OpInfo
from torch.utils._pytree import tree_leaves

from .op_samples import NotOfTheCpu, compare, samples

pytestmark = pytest.mark.filterwarnings("ignore")

#: What torch says of those that have a closed list of devices.
_CLOSED = {"flex_attention_simple": "FlexAttention is only supported on CUDA, CPU"}


@pytest.mark.parametrize("op", custom_op_db, ids=lambda op: op.formatted_name)
def test_operators_of_torchs_examples(op: OpInfo) -> None:
    for sample in samples(op, torch.float32, 2):
        compare(op, torch.float32, sample)


@pytest.mark.slow  # most compile what they are given
@pytest.mark.parametrize("op", hop_db, ids=lambda op: op.formatted_name)
def test_higher_order_operators(op: OpInfo) -> None:
    done = False
    for sample in samples(op, torch.float32, 1):
        if op.formatted_name in _CLOSED:
            with pytest.raises(ValueError, match=_CLOSED[op.formatted_name]):
                compare(op, torch.float32, sample)
            return
        torch._dynamo.reset()
        try:
            compare(op, torch.float32, sample)
            done = True
        except NotOfTheCpu:
            continue
    if not done:
        pytest.skip("the CPU does not do it")


def test_there_are_as_many_as_torch_has() -> None:
    assert len(hop_db) >= 15 and len(custom_op_db) >= 10


@pytest.fixture
def library() -> Iterator[torch.library.Library]:
    with torch.library._scoped_library("spike_torch_tests", "FRAGMENT") as made:
        yield made


def test_opcheck_of_an_operator_of_ones_own(library: torch.library.Library) -> None:
    @torch.library.custom_op(
        "spike_torch_tests::scaled", mutates_args=(), device_types="nkipy"
    )
    def scaled(x: torch.Tensor, by: float) -> torch.Tensor:
        assert x.device.type == "nkipy"
        return x * by

    @scaled.register_fake
    def _(x: torch.Tensor, by: float) -> torch.Tensor:
        return torch.empty_like(x)

    scaled.register_autograd(
        lambda ctx, gradient: (scaled(gradient, ctx.by), None),
        setup_context=lambda ctx, inputs, output: setattr(ctx, "by", inputs[1]),
    )
    given = torch.arange(6.0, device="nkipy").reshape(2, 3)
    torch.library.opcheck(scaled, (given, 2.0))
    torch.library.opcheck(
        scaled,
        (given.t().requires_grad_(), 2.0),
        # test_autograd_registration is for a closed list of devices
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic"),
    )
    with pytest.raises(NotImplementedError, match="'CPU' backend"):
        scaled(torch.ones(3), 2.0)


def test_opcheck_of_an_operator_that_writes(library: torch.library.Library) -> None:
    @torch.library.custom_op("spike_torch_tests::fill", mutates_args={"x"})
    def fill(x: torch.Tensor, value: int) -> None:
        x[:, ::2] = value

    given = torch.zeros(2, 3, device="nkipy")
    torch.library.opcheck(fill, (given, 3))
    fill(given.t(), 4)
    assert given.tolist() == [[4, 4, 4], [0, 0, 0]]


def test_an_operator_of_the_cpus_falls_back(library: torch.library.Library) -> None:
    library.define("twice(Tensor x, *, Tensor? other=None) -> (Tensor, Tensor[])")

    def twice(x: torch.Tensor, *, other: Any = None) -> tuple:
        assert x.device.type == "cpu"
        return x * 2, [x[0], x + 1 if other is None else other]

    library.impl("twice", twice, "CPU")
    given = torch.arange(4.0, device="nkipy").reshape(2, 2)
    product, parts = torch.ops.spike_torch_tests.twice(given)
    assert {x.device.type for x in tree_leaves((product, parts))} == {"nkipy"}
    assert_close(product.cpu(), given.cpu() * 2)
    parts[0].fill_(9)  # a view of the device's memory stays one
    assert given[0].tolist() == [9, 9] and parts[1].tolist() == [[1, 2], [3, 4]]
