"""torch.autocast("nkipy") casts where torch casts for the CPU."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from .known_gaps import NAMES
from .op_samples import (
    NotOfTheCpu,
    call_on_device,
    of_the_cpu,
    operations,
    run,
    samples,
    tensors,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.slow
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16], ids=str)
def test_results_have_the_dtypes_of_the_cpus(given: torch.dtype) -> None:
    wrong = {}
    for op in operations(given):
        if op.formatted_name in NAMES:
            continue
        for sample in samples(op, given, 1):
            call = (sample.input, *sample.args), dict(sample.kwargs)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                try:
                    wanted = of_the_cpu(op, call)
                except NotOfTheCpu:
                    continue  # such as what mixes dtypes
            with torch.autocast("nkipy", dtype=torch.bfloat16):
                found = tensors(run(op, call_on_device(op, call)))
            dtypes = [x.dtype for x in wanted], [x.dtype for x in found]
            if dtypes[0] != dtypes[1]:
                wrong[op.formatted_name] = dtypes
    assert wrong == {}


def test_training_with_it() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 8).to("nkipy")
    inputs = torch.randn(4, 8, device="nkipy")
    with torch.autocast("nkipy", dtype=torch.bfloat16):
        product = layer(inputs)
        loss = torch.nn.functional.mse_loss(product, inputs)
    assert (product.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    loss.backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = torch.nn.functional.linear(
            inputs.cpu(), layer.weight.cpu(), layer.bias.cpu()
        )
    assert_close(product.cpu(), wanted)
