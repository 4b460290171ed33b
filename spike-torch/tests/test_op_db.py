"""All of torch's operations on the device, against the CPU's."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo

from .known_gaps import NAMES, is_gap
from .op_samples import DTYPES, NotOfTheCpu, compare, operations, samples
from .op_variants import variants

_FLOAT = operations(torch.float32)
#: How many samples that are to be refused the CPU does as well.
_NOT_REFUSED = {
    "clamp_max": 1,
    "clamp_min": 1,
    "__rmod__": 1,
    "__rpow__": 1,
    "__rsub__": 1,
}
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("by_the_cpu"),  # programs' are in test_eager_programs.py
]
_name = pytest.mark.parametrize("op", _FLOAT, ids=lambda op: op.formatted_name)


def check(op: OpInfo, dtype: torch.dtype, most: int) -> bool:
    """Whether the CPU does any of the samples; raise where the device differs."""
    done = False
    for sample in samples(op, dtype, most):
        try:
            compare(op, dtype, sample)
            done = True
        except NotOfTheCpu:
            pass
    return done


def check_variants(op: OpInfo, dtype: torch.dtype, most: int) -> bool:
    done = False
    for sample in samples(op, dtype, most):
        for variant in variants(op, sample, grows=most > 1):
            try:
                variant(op, sample)
                done = True
            except NotOfTheCpu:
                pass
    return done


@_name
def test_float32(op: OpInfo) -> None:
    if is_gap(op.formatted_name, torch.float32):
        with pytest.raises(Exception, match=""):  # one that works now is no gap
            check(op, torch.float32, 2)
    elif not check(op, torch.float32, 2):
        pytest.skip("the CPU does not do it")


@pytest.mark.parametrize(
    "op",
    [op for op in _FLOAT if op.supports_out or op.get_inplace()],
    ids=lambda op: op.formatted_name,
)
def test_float32_in_place_and_out(op: OpInfo) -> None:
    if is_gap(op.formatted_name, torch.float32):
        pytest.skip("known gap")
    if not check_variants(op, torch.float32, 1):
        pytest.skip("the CPU does not do it")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_in_place_and_out(dtype: torch.dtype) -> None:
    all_of_a_dtype(dtype, check_variants, 2)


# In CI, test_support_record.py has three samples of each dtype.
@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", [check, check_variants])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_more_samples(dtype: torch.dtype, kind: Callable) -> None:
    all_of_a_dtype(dtype, kind, 6)


def all_of_a_dtype(dtype: torch.dtype, kind: Callable, most: int) -> None:
    wrong = {}
    for op in operations(dtype):
        if is_gap(op.formatted_name, dtype):
            continue
        try:
            kind(op, dtype, most)
        except Exception as error:  # all are to be told
            wrong[op.formatted_name] = f"{type(error).__name__}: {error}"
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [check, check_variants])
@_name
def test_by_transfers(op: OpInfo, kind: Callable, by_transfers: None) -> None:
    """As on a device with memory of its own."""
    if is_gap(op.formatted_name, torch.float32):
        pytest.skip("known gap")
    kind(op, torch.float32, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES))
def test_gaps_are_there(name: str) -> None:
    """One that works now in all dtypes is no gap: it goes out of the list."""
    worked = []
    for op in (op for op in op_db if op.formatted_name == name):
        for dtype in DTYPES:
            if op.supports_dtype(dtype, "cpu") and is_gap(name, dtype):
                try:
                    worked.append(check(op, dtype, 30))
                except Exception:
                    return
    pytest.fail(f"all of {len(worked)} dtypes come out as the CPU's")


@pytest.mark.parametrize(
    "op",
    [op for op in op_db if op.error_inputs_func is not None],
    ids=lambda op: op.formatted_name,
)
def test_errors_are_torchs_own(op: OpInfo) -> None:
    """What torch's samples say is refused is refused, by the same errors."""
    done = 0
    for refused in op.error_inputs_func(op, "nkipy"):
        sample = refused.sample_input
        try:
            op(sample.input, *sample.args, **sample.kwargs)
            done += 1
        except refused.error_type as error:
            assert re.search(refused.error_regex, str(error))
    assert done == _NOT_REFUSED.get(op.name, 0)


def test_gaps_are_few_and_are_of_operations_that_there_are() -> None:
    names = {op.formatted_name for op in op_db}
    assert NAMES <= names
    assert len(NAMES) <= 0.05 * len(names)
