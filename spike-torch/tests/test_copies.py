"""Copies: strided, broadcast, converting, between cores; what views share."""

from __future__ import annotations

import io
import pickle
from copy import deepcopy

import pytest
import torch

from .op_samples import DTYPES


def values(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 9).to(
        dtype
    )


LAYOUTS = {
    "transposed": lambda t: t.t(),
    "every second": lambda t: t[:, ::2],
    "a column": lambda t: t[:, 1],
    "expanded": lambda t: t[:1].expand(3, -1),
    "with an offset": lambda t: t[1:, 1:],
    "flipped": lambda t: t.flip(0),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_there_and_back(reach: None, dtype: torch.dtype) -> None:
    host = values(dtype, 5, 6)
    there = host.to("nkipy")
    assert (there.device.type, there.dtype, there.shape) == ("nkipy", dtype, (5, 6))
    assert torch.equal(there.cpu(), host)
    for layout in LAYOUTS.values():
        assert torch.equal(layout(there).cpu(), layout(host))
        assert torch.equal(layout(host).to("nkipy").cpu(), layout(host))
    assert torch.equal(there.to(torch.float32).cpu(), host.to(torch.float32))


#: Not to be written to, or no view.
_NOT_WRITTEN = ("expanded", "flipped")


@pytest.mark.parametrize("layout", [n for n in LAYOUTS if n not in _NOT_WRITTEN])
def test_views_keep_strides_and_are_written_in_place(layout: str) -> None:
    host = torch.arange(30.0).reshape(5, 6)
    there = host.to("nkipy")
    views = LAYOUTS[layout](host), LAYOUTS[layout](there)
    assert views[0].stride() == views[1].stride()
    for view in views:
        view.fill_(7)
        view.add_(torch.tensor(2.0))
    assert torch.equal(there.cpu(), host)
    views[1].copy_(torch.ones(()))
    views[0].copy_(torch.ones(()))
    assert torch.equal(there.cpu(), host)


def test_resizing_a_view_of_the_same_size_changes_nothing() -> None:
    there = torch.arange(6.0, device="nkipy").reshape(2, 3)
    turned = there.t()
    turned.resize_(3, 2)
    assert turned.stride() == (1, 3)
    turned[0].fill_(9)
    assert there.tolist() == [[9, 1, 2], [9, 4, 5]]


def test_growing_keeps_what_there_is_and_views_follow() -> None:
    there = torch.arange(4.0, device="nkipy")
    view = there[:2]
    there.resize_(100)
    assert there[:4].tolist() == [0, 1, 2, 3]
    there[0] = 5
    assert view.tolist() == [5, 1]
    there[10:].resize_(200)
    assert there.untyped_storage().nbytes() == 4 * 210


def test_a_copy_is_asked_for() -> None:
    there = torch.ones(3, device="nkipy")
    assert there.to("nkipy", copy=True).data_ptr() != there.data_ptr()
    assert there.to("nkipy").data_ptr() == there.data_ptr()


def test_conjugated_and_negated_views() -> None:
    host = torch.view_as_complex(torch.randn(4, 2))
    there = host.to("nkipy")
    assert torch.equal(there.conj().cpu(), host.conj())
    assert torch.equal(there.imag.cpu(), host.imag)
    assert torch.equal(torch.fft.hfft(there).cpu(), torch.fft.hfft(host))
    assert torch.equal(there.conj().imag.cpu(), host.conj().imag)


def test_between_cores(two_cores: None) -> None:
    there = torch.arange(12.0, device="nkipy:0").reshape(3, 4)
    other = there.t().to("nkipy:1")
    assert other.device == torch.device("nkipy", 1)
    assert torch.equal(other.cpu(), there.t().cpu())
    other.copy_(there.to(torch.float64).t() * 2)
    assert torch.equal(other.cpu(), there.t().cpu() * 2)
    assert torch.nkipy.current_device() == 0
    with torch.nkipy.device(1):
        assert torch.empty(1, device="nkipy").device.index == 1
    with pytest.raises(RuntimeError, match="nkipy:0 and nkipy:1|nkipy:1 and nkipy:0"):
        there + other.t()


def test_saved_loaded_pickled_and_copied() -> None:
    there = torch.arange(6.0, device="nkipy").reshape(2, 3).t()
    file = io.BytesIO()
    torch.save({"a": there, "b": there[0]}, file)
    file.seek(0)
    found = torch.load(file)
    assert found["a"].device.type == "nkipy" and torch.equal(found["a"], there)
    found["a"][0, 0] = 8
    assert found["b"][0].item() == 8  # one storage, as before
    file.seek(0)
    assert torch.load(file, map_location="cpu")["a"].device.type == "cpu"
    for copy in (deepcopy(there), pickle.loads(pickle.dumps(there))):
        assert copy.stride() == there.stride() and torch.equal(copy, there)
        assert copy.data_ptr() != there.data_ptr()


def test_dlpack_by_capsule() -> None:
    there = torch.arange(4.0, device="nkipy")
    back = torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(there))
    assert back.data_ptr() == there.data_ptr()


def test_pinned_memory() -> None:
    host = torch.arange(5.0).pin_memory()
    assert host.is_pinned() and not torch.arange(5.0).is_pinned()
    assert host.to("nkipy", non_blocking=True).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="can be pinned"):
        torch.empty(3, device="nkipy", pin_memory=True)


def test_zero_tensors_of_autograd_have_memory() -> None:
    there = torch.zeros(3, device="nkipy", dtype=torch.complex64, requires_grad=True)
    there.sgn().abs().sum().backward()
    assert there.grad is not None and there.grad.shape == (3,)
