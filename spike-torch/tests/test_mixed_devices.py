"""Tensors of two devices in one operation: refused where torch's CUDA refuses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.testing._internal.opinfo.core import OpInfo
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from .op_samples import (
    UNKNOWN_VALUES,
    Call,
    NotOfTheCpu,
    call_on_device,
    of_the_cpu,
    operations,
    run,
    samples,
    tensors,
)

functional = nn.functional
pytestmark = pytest.mark.filterwarnings("ignore")

#: Has results, and no way to say where they go.
_WITHOUT_OUT = {"_batch_norm_with_update", "nonzero"}
#: What torch accepts on any device, and why. Values are compared all the same.
ACCEPTED: dict[str, set[str]] = {
    "only a tensor's shape, or its one number, is asked for": {
        *("broadcast_tensors", "expand_as", "narrow", "reshape_as", "resize_as_"),
        *("view_as", "linspace_tensor_overload", "logspace_tensor_overload"),
    },
    "a part of a copy is copied to": {
        *("as_strided_scatter", "diagonal_scatter", "select_scatter", "slice_scatter"),
    },
    "indices may be the CPU's": {
        *("_unsafe_masked_index", "_unsafe_masked_index_put_accumulate", "index_put"),
    },
    "targets are moved to the device of the probabilities": {"nn_functional_ctc_loss"},
    "where there is nothing to multiply": {"nn_functional_bilinear"},
    "results are copied to what is given for them, in Python": {"lu"},
}
_ACCEPTED = set().union(*ACCEPTED.values())


def plain(call: Call) -> Call:
    return tree_map(lambda x: x.detach() if isinstance(x, torch.Tensor) else x, call)


def one_moved(call: Call, device: str) -> Iterator[Call]:
    """Calls with one tensor each on another device."""
    leaves, spec = tree_flatten(call)
    places = [
        place
        for place, leaf in enumerate(leaves)
        if isinstance(leaf, torch.Tensor) and leaf.device.type == "nkipy"
    ]
    if len(places) < 2:
        return
    for place in places:
        leaf = leaves[place]
        if leaf.dim() and leaf.layout == torch.strided:
            moved = [*leaves[:place], leaf.to(device), *leaves[place + 1 :]]
            yield tree_unflatten(moved, spec)


def accepted(work: Callable[[], Any]) -> Any:
    """What it returns; None if it is refused as torch refuses two devices."""
    try:
        return work()
    except RuntimeError as error:
        assert type(error) is RuntimeError
        text = str(error)
        assert "INTERNAL ASSERT" not in text and "no memory of a core" not in text
        assert any(word in text for word in ("evice", "should be the same")), text
        return None


def done_by_the_cpu(op: OpInfo, most: int) -> Iterator[tuple[Call, Any]]:
    """Calls with samples, and the CPU's results, up to the first that it refuses."""
    for sample in samples(op, torch.float32, most):
        call: Call = plain(((sample.input, *sample.args), dict(sample.kwargs)))
        try:
            wanted = of_the_cpu(op, call)
        except NotOfTheCpu:
            return
        yield call, wanted


def check(op: OpInfo, most: int, device: str) -> None:
    """Raise unless each argument in turn is refused, or makes no difference."""
    for call, wanted in done_by_the_cpu(op, most):
        for mixed in one_moved(plain(call_on_device(op, call)), device):
            found = accepted(partial(run, op, mixed))
            if found is None:
                continue
            assert op.formatted_name in _ACCEPTED, op.formatted_name
            for ours, theirs in zip(tensors(found), wanted, strict=True):
                if op.name not in UNKNOWN_VALUES:
                    assert_close(ours.cpu(), theirs, equal_nan=True)


def check_out(op: OpInfo, most: int, device: str) -> None:
    """Raise unless results on another device are refused: all of them, and the last."""
    for call, wanted in done_by_the_cpu(op, most):
        here = plain(call_on_device(op, call))
        if not tensors(here):
            return  # what makes tensors makes them where the result is
        for others in {0, len(wanted) - 1}:
            out: Any = tuple(
                torch.empty_like(x, device=device if i >= others else "nkipy")
                for i, x in enumerate(wanted)
            )
            if len(wanted) == 1:
                out = out[0]
            kwargs = {**here[1], "out": out}
            try:
                found = accepted(partial(op, *here[0], **kwargs))
            except TypeError:
                return  # it takes no out=
            assert found is None or op.formatted_name in _ACCEPTED


def failures(
    of: Callable[[OpInfo, int, str], None], most: int, device: str
) -> dict[str, str]:
    wrong = {}
    for op in operations(torch.float32):
        if op.formatted_name.startswith(("sparse_", "to_sparse")):
            continue
        takes_out = op.supports_out and op.name not in _WITHOUT_OUT
        if of is check_out and not takes_out:
            continue
        try:
            of(op, most, device)
        except Exception as error:  # all are to be told
            wrong[op.formatted_name] = f"{type(error).__name__}: {error}"
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "nkipy:1"])
def test_each_argument_in_turn(device: str, two_cores: None) -> None:
    assert failures(check, 3, device) == {}


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "nkipy:1"])
def test_results_elsewhere(device: str, two_cores: None) -> None:
    assert failures(check_out, 2, device) == {}


REFUSED: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "add": lambda here, other: here + other,
    "add in place, on the other": lambda here, other: other.add_(here),
    "matmul": lambda here, other: here @ other,
    "out=": lambda here, other: torch.matmul(here, here, out=other),
    "index_copy, out=": lambda here, other: torch.index_copy(
        here, 0, torch.tensor([0], device=here.device), here[:1], out=other
    ),
    "index_select": lambda here, other: here.index_select(0, other[0].long()),
    "index_fill": lambda here, other: here.index_fill(0, other[0].long(), 2.0),
    "embedding": lambda here, other: functional.embedding(other.long(), here),
    "linear solve": lambda here, other: torch.linalg.solve(here, other),
    "convolution": lambda here, other: functional.conv1d(here, other[..., None]),
    "convolution's bias": lambda here, other: functional.conv1d(
        here, here[..., None], other[0]
    ),
    "values of indices": lambda here, other: here.index_put(
        (torch.tensor([0]),), other[:1]
    ),
    "batch norm": lambda here, other: functional.batch_norm(here, other[0], other[0]),
    "cross entropy": lambda here, other: functional.cross_entropy(
        here, other[0].long()
    ),
    "foreach, across": lambda here, other: torch._foreach_add([here], [other]),
    "where": lambda here, other: torch.where(other > 0, here, here),
    "segments": lambda here, other: torch.segment_reduce(
        here[0], "sum", lengths=torch.tensor([3], device=other.device)
    ),
}


@pytest.mark.parametrize("device", ["cpu", "nkipy:1"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, device: str, two_cores: None) -> None:
    here, other = torch.eye(3, device="nkipy:0"), torch.eye(3, device=device)
    assert accepted(lambda: REFUSED[name](here, other)) is None
    assert here.tolist() == torch.eye(3).tolist() == other.tolist()


def test_what_is_accepted() -> None:
    """As on CUDA: numbers, indices, lengths and probabilities of the CPU's."""
    host = torch.arange(6.0).reshape(2, 3)
    here = host.to("nkipy")
    index, mask = torch.tensor([1, 0]), host > 2
    for work in (
        lambda x: x + torch.tensor(2.0),
        lambda x: torch.where(x > 2, torch.tensor(1.0), torch.tensor(0.0)),
        lambda x: x.masked_fill(x > 2, torch.tensor(9.0)),
        lambda x: torch.lerp(x, x * 2, torch.tensor(0.5)),
        lambda x: torch.searchsorted(x[0], torch.tensor(1.0)),
        lambda x: torch.linspace(torch.tensor(0.0), x[0, 1], 3, device=x.device),
        lambda x: x[index],
        lambda x: x[mask],
        lambda x: x.index_put((index,), x),
        lambda x: x.clone().index_put_((index,), torch.tensor(3.0)),
        lambda x: x.tensor_split(torch.tensor([1])),
        lambda x: nn.utils.rnn.pack_padded_sequence(x.t()[..., None], index + 2).data,
        lambda x: functional.ctc_loss(
            x.expand(4, 2, 3).log_softmax(-1), index[:, None] + 1, (4, 4), (1, 1)
        ),
        lambda x: x.clone().bernoulli_((host > 2).float()),
    ):
        found, wanted = tensors(work(here)), tensors(work(host))
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours.device.type == "nkipy"
            assert_close(ours.cpu(), theirs)
    assert not here.is_set_to(host)


def test_lists_of_tensors_may_be_of_several_devices(two_cores: None) -> None:
    """Each with its own partners, as foreach operators of CUDA's take them."""
    lists = [torch.ones(3, device=device) for device in ("nkipy:0", "cpu", "nkipy:1")]
    for found, given in zip(torch._foreach_add(lists, lists), lists, strict=True):
        assert found.device == given.device and found.tolist() == [2, 2, 2]


def test_generators_of_another_device() -> None:
    host = torch.Generator()
    own = torch.Generator("nkipy")
    with pytest.raises(RuntimeError, match="Expected a 'nkipy' device type for gen"):
        torch.rand(3, device="nkipy", generator=host)
    for work in (
        lambda: torch.rand(3, generator=own),
        lambda: torch.multinomial(torch.ones(3), 2, generator=own),
        lambda: torch.randperm(3, generator=own),
    ):
        with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for gen"):
            work()
