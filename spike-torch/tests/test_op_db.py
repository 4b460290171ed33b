"""All of torch's operations on the device, against the CPU's."""

from __future__ import annotations

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

from .known_gaps import NAMES
from .op_samples import NotOfTheCpu, compare, operations, samples

_FLOAT = operations(torch.float32)
_OTHERS = [
    *(torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("op", _FLOAT, ids=lambda op: op.formatted_name)
def test_float32(op) -> None:
    if op.formatted_name in NAMES:
        pytest.skip("known gap")
    try:
        for sample in samples(op, torch.float32, 2):
            compare(op, torch.float32, sample)
    except NotOfTheCpu:
        pytest.skip("the CPU does not do it")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", _OTHERS, ids=str)
def test_other_dtypes(dtype: torch.dtype) -> None:
    wrong = {}
    for op in operations(dtype):
        if op.formatted_name in NAMES:
            continue
        for sample in samples(op, dtype, 3):
            try:
                compare(op, dtype, sample)
            except NotOfTheCpu:
                break
            except Exception as error:  # all are to be told
                wrong[op.formatted_name] = f"{type(error).__name__}: {error}"
    assert wrong == {}


def test_gaps_are_few_and_are_of_operations_that_there_are() -> None:
    names = {op.formatted_name for op in op_db}
    assert NAMES <= names
    assert len(NAMES) <= 0.05 * len(names)
