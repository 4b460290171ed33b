"""What an operation writes to, beside what it returns: the device's as the CPU's."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import spike_torch

pytestmark = pytest.mark.filterwarnings("ignore")


# ---- Of which the schema says nothing ------------------------------------------------


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics(reach: None, momentum: float | None) -> None:
    here = nn.BatchNorm1d(3, momentum=momentum)
    there = copy.deepcopy(here).to("nkipy")
    for step in range(2):
        batch = torch.arange(12.0).reshape(4, 3) * (step + 1)
        assert_close(there(batch.to("nkipy")).cpu(), here(batch))
    assert here.running_mean is not None and there.running_mean is not None
    assert_close(there.running_mean.cpu(), here.running_mean)
    for name, value in here.state_dict().items():
        assert_close(there.state_dict()[name].cpu(), value)
    here.eval(), there.eval()
    assert_close(there(batch.to("nkipy")).cpu(), here(batch))


def test_running_statistics_without_a_normalization(reach: None) -> None:
    batch = torch.arange(12.0).reshape(4, 3)
    mean, variance = torch.zeros(3, device="nkipy"), torch.ones(3, device="nkipy")
    torch.batch_norm_update_stats(batch.to("nkipy"), mean, variance, 0.5)
    assert mean.tolist() == [2.25, 2.75, 3.25]
    assert variance.tolist() == [8, 8, 8]  # (1 + 15) / 2


# ---- Operators of others -------------------------------------------------------------


class Defined:
    """An operator `spike_torch_tests::of`, for as long as it is wanted."""

    def __init__(self, schema: str, compute: Callable) -> None:
        self._library = torch.library.Library("spike_torch_tests", "DEF")
        self._library.define(f"of{schema}")
        self._library.impl("of", compute, "CPU")

    def __enter__(self) -> Any:
        return torch.ops.spike_torch_tests.of

    def __exit__(self, *_: object) -> None:
        self._library._destroy()


def test_an_operator_that_is_defined_anew_is_another(reach: None) -> None:
    there = torch.zeros(3, device="nkipy")
    spike_torch.reset_fallback_counts()
    with Defined("(Tensor x) -> Tensor", lambda x: x + 1) as of:
        assert of(there).tolist() == [1, 1, 1]
    with Defined("(Tensor(a!) x) -> ()", lambda x: x.add_(2) and None) as of:
        assert of(there[:1]) is None
    assert there.tolist() == [2, 0, 0]
    with Defined("(Tensor x) -> (Tensor, Tensor)", lambda x: (x + 3, x + 4)) as of:
        assert [part.tolist() for part in of(there)] == [[5, 3, 3], [6, 4, 4]]
    with Defined(
        "(Tensor x, Tensor(a!) y) -> Tensor(a!)", lambda x, y: y.add_(x)
    ) as of:
        result = of(there, there[1:2].expand(3).clone())
        assert result.tolist() == [2, 0, 0]
    assert spike_torch.fallback_counts()["spike_torch_tests::of"] == 4


def test_what_an_operator_of_others_keeps_is_memory_of_the_cpus() -> None:
    kept = []

    def compute(x: torch.Tensor) -> torch.Tensor:
        kept.append(torch.arange(3.0))
        return x + kept[0]

    with Defined("(Tensor x) -> Tensor", compute) as of:
        result = of(torch.ones(3, device="nkipy"))
    assert result.tolist() == [1, 2, 3] and result.is_nkipy
    with pytest.raises(ValueError, match="no tensor"):  # the core's, which may close
        spike_torch.get_tensor_info(kept[0].data_ptr())


def test_an_array_that_is_kept_of_an_argument_stays_the_arguments() -> None:
    """NumPy has its address: nobody else is to be given the memory meanwhile."""
    kept = []

    def compute(x: torch.Tensor) -> torch.Tensor:
        kept.append(x.numpy())
        return x + 1

    with Defined("(Tensor x) -> Tensor", compute) as of:
        of(torch.ones(1000, device="nkipy"))
    other = torch.full((1000,), 7.0, device="nkipy")
    assert (kept[0] == 1).all()
    kept[0][:] = 5
    assert (other == 7).all()


def test_an_operator_that_fails_leaves_what_it_has_written(reach: None) -> None:
    def compute(x: torch.Tensor) -> None:
        x.add_(1).resize_(7)[3:] = 5
        raise KeyError("midway")

    there = torch.zeros(3, device="nkipy")
    with (
        Defined("(Tensor(a!) x) -> ()", compute) as of,
        pytest.raises(KeyError, match="midway"),
    ):
        of(there)
    assert there.tolist() == [1, 1, 1, 5, 5, 5, 5]
    assert torch.ones(2, device="nkipy").tolist() == [1, 1]


# ---- Results in what is given --------------------------------------------------------


def both(act: Callable[[str], Any]) -> None:
    """What raises on the CPU raises the same on the device."""
    raised = []
    for device in ("cpu", "nkipy"):
        with pytest.raises(RuntimeError) as error:
            act(device)
        raised.append((error.type, str(error.value)))
    assert raised[0] == raised[1]


@pytest.mark.parametrize("name", ["logical_and_", "logical_or_", "logical_xor_"])
def test_a_result_in_place_is_not_made_larger(reach: None, name: str) -> None:
    def act(device: str) -> None:
        one = torch.ones(1, device=device)
        try:
            getattr(one, name)(torch.ones(1, 4, device=device))
        finally:
            assert one.shape == (1,)

    both(act)


def test_a_result_into_an_argument_is_not_made_larger(reach: None) -> None:
    def act(device: str) -> None:
        narrow, wide = torch.ones(2, device=device), torch.ones(4, 2, device=device)
        try:
            torch.add(narrow, wide, out=narrow)
        finally:
            assert narrow.shape == (2,)

    both(act)


@pytest.mark.parametrize(("to", "of"), [((0,), (3,)), ((0, 2), (2, 3)), ((1, 0), (4,))])
def test_a_copy_into_nothing_has_to_fit(reach: None, to: tuple, of: tuple) -> None:
    def act(device: str) -> None:
        torch.empty(to, device=device).copy_(torch.ones(of, device=device))

    both(act)
    with pytest.raises(RuntimeError, match=r"size|shape"):
        torch.empty(to, device="nkipy").copy_(torch.ones(of))
    torch.empty(to, device="nkipy").copy_(torch.ones(1))


@pytest.mark.parametrize("dtype", [torch.int16, torch.bool])
def test_dropout_of_integers_is_refused(dtype: torch.dtype) -> None:
    both(lambda on: torch.dropout(torch.ones(4, dtype=dtype, device=on), 0.5, True))


# ---- Threads -------------------------------------------------------------------------


def test_threads_that_write_to_parts_of_one_tensor(by_transfers: None) -> None:
    there = torch.zeros(3, 64, device="nkipy")

    def add(row: torch.Tensor) -> None:
        for _ in range(100):
            row.add_(1)

    threads = [threading.Thread(target=add, args=(row,)) for row in there]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert there.cpu().unique().tolist() == [100]


def test_numbers_that_are_drawn_while_another_thread_seeds() -> None:
    torch.nkipy.manual_seed(1)
    wanted = torch.empty(1_000_000, device="nkipy").uniform_()
    found = torch.empty_like(wanted)
    torch.nkipy.manual_seed(1)
    thread = threading.Thread(target=found.uniform_)
    thread.start()
    while thread.is_alive():
        torch.nkipy.manual_seed(1)
    thread.join()
    assert torch.equal(found, wanted)
