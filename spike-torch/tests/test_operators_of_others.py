"""Operators that others have written for the CPU, on the device's tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import spike_torch

from .programs import machine, run

KEPT: list[torch.Tensor] = []


@torch.library.custom_op("spike_torch_tests::kept", mutates_args=(), device_types="cpu")
def kept(x: torch.Tensor) -> list[torch.Tensor]:
    table = torch.arange(3.0)
    KEPT[:] = [x, x[1:], table]
    return [x * table, x.new_zeros(2)]


@torch.library.custom_op(
    "spike_torch_tests::doubled_into", mutates_args=("out",), device_types="cpu"
)
def doubled_into(x: torch.Tensor, out: torch.Tensor) -> None:
    KEPT[:] = [out]
    out.copy_(x * 2)


@pytest.mark.usefixtures("reach")
def test_results_are_on_the_device_and_what_is_kept_on_the_cpu() -> None:
    there = torch.tensor([1.0, 2, 3], device="nkipy")
    product, zeros = kept(there)
    assert (product.device, product.tolist()) == (there.device, [0, 2, 6])
    assert (zeros.device, zeros.tolist()) == (there.device, [0, 0])
    there.zero_()  # what was kept is a copy
    assert [x.tolist() for x in KEPT] == [[1, 2, 3], [2, 3], [0, 1, 2]]
    assert {x.device.type for x in KEPT} == {"cpu"}
    assert KEPT[1].untyped_storage().data_ptr() == KEPT[0].untyped_storage().data_ptr()


@pytest.mark.usefixtures("reach")
def test_what_is_written_to_is_the_devices() -> None:
    there = torch.arange(6.0, device="nkipy")
    doubled_into(torch.full((3,), 4.0, device="nkipy"), there[::2])
    assert there.tolist() == [8, 1, 8, 3, 8, 5]
    there.zero_()
    assert KEPT[0].tolist() == [8, 8, 8]


@pytest.mark.usefixtures("reach")
def test_errors_are_theirs() -> None:
    with pytest.raises(RuntimeError, match="size of tensor a"):
        kept(torch.ones(4, device="nkipy"))
    assert kept(torch.ones(3, device="nkipy"))[0].tolist() == [0, 1, 2]


def test_what_lies_beside_is_not_written_to(reach: None) -> None:
    """Another thread, here the operator itself, may write there meanwhile."""
    buffer = torch.zeros(9, device="nkipy")
    written, beside = buffer[3:6], buffer.view(3, 3)[::2]

    @torch.library.custom_op(
        "spike_torch_tests::beside", mutates_args=("out",), device_types="cpu"
    )
    def fill(out: torch.Tensor) -> None:
        out.fill_(1)
        beside.fill_(2)

    fill(written)
    assert buffer.tolist() == [2, 2, 2, 1, 1, 1, 2, 2, 2]


@torch.library.custom_op(
    "spike_torch_tests::reset_within", mutates_args=(), device_types="cpu"
)
def reset_within(x: torch.Tensor) -> torch.Tensor:
    spike_torch.reset()
    return x.clone()


def test_a_reset_within_an_operator_is_refused() -> None:
    """It would wait for the operator."""
    there = torch.ones(3, device="nkipy")
    with pytest.raises(RuntimeError, match="one of them calls it"):
        reset_within(there)
    assert there.tolist() == [1, 1, 1]


RESET = """
import torch, spike_torch
kept = []
@torch.library.custom_op("mine::twice", mutates_args=(), device_types="cpu")
def twice(x: torch.Tensor) -> torch.Tensor:
    kept.extend([x, torch.arange(1000.0)])
    return x * 2
@torch.library.custom_op("mine::fails", mutates_args=(), device_types="cpu")
def fails(x: torch.Tensor) -> torch.Tensor:
    kept.append(x)
    raise KeyError("on purpose")
there = torch.ones(3, device="nkipy")
assert twice(there).tolist() == [2, 2, 2]
try: fails(there * 5)
except KeyError as error: kept.append(error)
spike_torch.reset()
others = torch.zeros(1 << 18, device="nkipy")
print(kept[0].tolist(), kept[1].sum().item(), kept[2].tolist())
"""


def test_what_is_kept_outlives_the_runtime(tmp_path: Path) -> None:
    """It was the core's memory: reading it ended the process, or read others' data."""
    done = run(RESET, machine(tmp_path))
    assert (done.returncode, done.stdout) == (
        0,
        "[1.0, 1.0, 1.0] 499500.0 [5.0, 5.0, 5.0]\n",
    ), done.stderr
