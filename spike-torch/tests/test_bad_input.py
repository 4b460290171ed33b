"""What is refused says what it was, with torch's own exceptions, and harms none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

import spike_torch

VALUES = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


@pytest.fixture
def here() -> Iterator[torch.Tensor]:
    """A tensor that is as it was, on a device that computes, whatever is refused."""
    made = torch.tensor(VALUES, device="nkipy")
    yield made
    assert made.tolist() == VALUES
    assert (made + 1).sum().item() == 21


Work = Callable[[torch.Tensor], object]


def refused(work: Callable[[], object], kind: type, *said: str) -> None:
    with pytest.raises(kind) as caught:
        work()
    assert type(caught.value) is kind
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["nkipy:-1", "nkipy:", "nkipy:a", "nkipy0", "nkipy:0:0", "nkipy: 0", "NKIPY", ""],
)
def test_names_of_no_device(name: str, here: torch.Tensor) -> None:
    refused(lambda: torch.empty(1, device=name), RuntimeError, "evice")
    refused(lambda: torch.nkipy.set_device(name), RuntimeError, "evice")


@pytest.mark.parametrize("index", [-5, 99, 127, 128, 255, 2**31, 2**40, -(2**40)])
def test_indices_of_no_device(index: int, here: torch.Tensor) -> None:
    calls: list[Callable[[int], object]] = [
        *(torch.nkipy.set_device, torch.nkipy.synchronize, torch.nkipy.memory_stats),
        *(torch.nkipy.get_device_name, torch.nkipy._get_generator),
        lambda i: torch.ops.spike_torch.rng_state(i),
    ]
    if index > 0:
        calls.append(torch.nkipy._exchange_device)
        calls.append(torch.nkipy.device)
    for call in calls:
        said = "invalid device", str(index)
        refused(lambda call=call: call(index), RuntimeError, *said)
    assert torch.nkipy.current_device() == 0


def test_what_is_no_device(here: torch.Tensor) -> None:
    refused(lambda: torch.nkipy.set_device(1.5), TypeError, "float 1.5")
    refused(lambda: torch.nkipy.synchronize("cpu"), ValueError, "got cpu")
    refused(lambda: here.nkipy("cpu"), RuntimeError, "must be nkipy device")
    refused(lambda: here.cpu().nkipy(99), RuntimeError, "nkipy:99")


def test_sizes_beyond_all_memory(here: torch.Tensor) -> None:
    for work in (
        lambda: torch.empty(1 << 45, device="nkipy"),
        lambda: here[0].expand(1 << 38, 3) + 1,
        lambda: here.clone().resize_(1 << 45),
        lambda: torch.UntypedStorage(1 << 48, device="nkipy"),
        lambda: torch.ones(1).expand(1 << 44).to("nkipy"),
        lambda: torch.empty_strided((2,), (1 << 44,), device="nkipy"),
    ):
        refused(work, torch.OutOfMemoryError, "Tried to allocate", "nkipy:0")
    refused(lambda: torch.empty(1 << 62, 4, device="nkipy"), RuntimeError, "overflow")
    refused(lambda: torch.empty(-1, device="nkipy"), RuntimeError, "-1")
    storage = here.clone().untyped_storage()
    refused(lambda: storage.resize_(-3), RuntimeError, "-3 bytes")
    assert storage.nbytes() == 24


COPIES = "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
COPIES += " complex32 uint16 uint32 uint64"


@pytest.mark.parametrize("name", COPIES.split())
def test_rare_dtypes_are_kept_and_converted_as_on_the_cpu(name: str) -> None:
    dtype = getattr(torch, name)
    host = torch.tensor(VALUES)
    there = host.to("nkipy").to(dtype)
    assert there.dtype == dtype
    for found in (there, host.to(dtype).to("nkipy"), host.to("nkipy", dtype)):
        assert torch.equal(
            found.cpu().view(torch.uint8), host.to(dtype).view(torch.uint8)
        )


def test_dtypes_that_the_cpu_cannot_convert_either(here: torch.Tensor) -> None:
    for name in ("float4_e2m1fn_x2", "bits8", "int4"):
        dtype = getattr(torch, name)
        refused(lambda dtype=dtype: here.to(dtype), NotImplementedError)
        refused(lambda dtype=dtype: here.cpu().to(dtype), NotImplementedError)


INDICES = torch.tensor([[0], [0]])
SPARSE: dict[str, Work] = {
    "to_sparse": lambda x: x.to_sparse(),
    "to_sparse_csr": lambda x: x.to_sparse_csr(),
    "moved": lambda x: torch.eye(2).to_sparse().to("nkipy"),
    "moved, compressed": lambda x: torch.eye(2).to_sparse_csr().to("nkipy"),
    "made": lambda x: torch.sparse_coo_tensor(INDICES, [1.0], (2, 2), device="nkipy"),
    "made of the device's": lambda x: torch.sparse_coo_tensor(
        INDICES.nkipy(), x[0, :1], (2, 2)
    ),
    "made, compressed": lambda x: torch.sparse_csr_tensor(
        torch.tensor([0, 1]).nkipy(), torch.tensor([0]).nkipy(), x[0, :1]
    ),
    "empty": lambda x: torch.empty(2, device="nkipy", layout=torch.sparse_coo),
    "product": lambda x: torch.eye(2).to_sparse() @ x,
    "sum": lambda x: x + x.cpu().to_sparse(),
    "added": lambda x: x.add_(x.cpu().to_sparse()),
    "copied": lambda x: x.copy_(x.cpu().to_sparse()),
    "gradient of an embedding": lambda x: (
        nn.functional.embedding(
            torch.tensor([1], device="nkipy"), x.clone().requires_grad_(), sparse=True
        )
        .sum()
        .backward()
    ),
    "gradient of a bag": lambda x: (
        nn.functional.embedding_bag(
            torch.tensor([[1]], device="nkipy"),
            x.clone().requires_grad_(),
            mode="sum",
            sparse=True,
        )
        .sum()
        .backward()
    ),
}
QUANTIZED: dict[str, Work] = {
    "quantize": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
    "moved": lambda x: torch.quantize_per_tensor(x.cpu(), 0.1, 0, torch.quint8).to(
        "nkipy"
    ),
    "copied": lambda x: x.copy_(
        torch.quantize_per_tensor(x.cpu(), 0.1, 0, torch.quint8)
    ),
    "empty": lambda x: torch._empty_affine_quantized(
        [2], scale=1.0, zero_point=0, dtype=torch.quint8, device="nkipy"
    ),
}


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.filterwarnings("ignore")
def test_sparse_tensors(name: str, here: torch.Tensor) -> None:
    refused(lambda: SPARSE[name](here), NotImplementedError, "sparse", ".cpu()")


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.filterwarnings("ignore")
def test_quantized_tensors(name: str, here: torch.Tensor) -> None:
    work = QUANTIZED[name]
    refused(lambda: work(here), NotImplementedError, "quantized", ".cpu()")


def test_other_kinds(here: torch.Tensor) -> None:
    refused(here.to_mkldnn, NotImplementedError, "opaque", ".cpu()")
    parts = [torch.ones(2), torch.ones(3)]
    jagged = torch.nested.nested_tensor(parts, device="nkipy", layout=torch.jagged)
    assert (jagged * 2).values().tolist() == [2] * 5


def test_a_storage_that_was_made_smaller(here: torch.Tensor) -> None:
    """Reading beyond what there is would read what is others', or fail hard."""
    for left in (0, 8):
        there = here.clone()
        there.untyped_storage().resize_(left)
        for work in (
            *(there.sum, there.cpu, there.clone, there.tolist, lambda t=there: t + t),
            *(lambda t=there: t.copy_(here), lambda t=there: t.zero_()),
            lambda t=there: here.copy_(t),
        ):
            refused(work, RuntimeError, "storage was resized to")
        there.untyped_storage().resize_(24)
        assert there.copy_(here).tolist() == VALUES


def test_storages_of_another_device(here: torch.Tensor, two_cores: None) -> None:
    host, other = torch.ones(2), torch.ones(2, device="nkipy:1")
    for to, from_ in ((here, host), (host, here), (here, other), (other, here)):
        for source in (from_, from_.untyped_storage()):
            refused(
                lambda to=to, source=source: to.detach().set_(source),
                RuntimeError,
                "storage on different device",
            )
    assert host.tolist() == other.tolist() == [1, 1]


def test_addresses_of_no_tensor(here: torch.Tensor) -> None:
    for address in (-5, 64, 2**70):
        refused(
            lambda address=address: spike_torch.get_tensor_info(address),
            ValueError,
            str(address),
        )
    refused(lambda: spike_torch.get_tensor_info("a"), TypeError, "'a'")
