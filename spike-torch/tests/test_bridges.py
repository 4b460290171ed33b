"""torch's tensors and spike's on one memory."""

from __future__ import annotations

import gc
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import spike_torch
from nkipy.runtime import DeviceTensor, baremetal_jit
from spike import SpikeTensor
from spike_torch.tensors import _BY_NUMPY


def test_a_spike_tensor_of_torchs_memory() -> None:
    there = torch.arange(12, dtype=torch.int32, device="nkipy").reshape(3, 4)[1:]
    shared = spike_torch.to_spike(there)
    assert (shared.shape, shared.dtype) == ((2, 4), np.dtype(np.int32))
    assert np.array_equal(shared.numpy(), there.cpu().numpy())
    there.fill_(5)
    assert (shared.numpy() == 5).all()
    del there
    assert (shared.numpy() == 5).all()  # it keeps the memory


def test_a_torch_tensor_of_spikes_memory() -> None:
    ours = SpikeTensor.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3))
    there = spike_torch.from_spike(ours)
    assert there.device.type == "nkipy" and there.tolist() == [[0, 1, 2], [3, 4, 5]]
    there.mul_(2)
    assert (ours.numpy() == np.arange(0, 12, 2).reshape(2, 3)).all()
    del ours
    assert there.sum().item() == 30


def test_what_libnrt_knows_of_a_tensor() -> None:
    there = torch.arange(10.0, device="nkipy")
    info = spike_torch.get_tensor_info(there[3:].data_ptr())
    assert info.core_id == 0
    for found in (info.tensor, spike_torch.get_nrt_tensor(there[3:])):
        read = np.empty(7, np.float32)
        found.read_into(read, 0, read.nbytes)
        assert read.tolist() == there[3:].tolist()


def test_what_is_refused() -> None:
    there = torch.ones(3, 4, device="nkipy")
    with pytest.raises(ValueError, match=r"no one piece of memory: call .contiguous"):
        spike_torch.get_nrt_tensor(there.t())
    with pytest.raises(ValueError, match="has no elements"):
        spike_torch.to_spike(torch.empty(0, device="nkipy"))
    with pytest.raises(TypeError, match="expected a tensor on 'nkipy', got cpu"):
        spike_torch.get_nrt_tensor(torch.ones(3))
    with pytest.raises(ValueError, match="no tensor on nkipy is at the address 64"):
        spike_torch.get_tensor_info(64)
    with pytest.raises(TypeError, match="expected a SpikeTensor, got ndarray"):
        spike_torch.from_spike(np.ones(3))


# -- DeviceTensor ----------------------------------------------------------------------
def test_a_device_tensor_of_torchs_memory() -> None:
    there = torch.arange(12.0, device="nkipy").reshape(3, 4)
    ours = DeviceTensor.from_torch(there[1:], "mine")
    assert (ours.shape, ours.dtype, ours.name) == ((2, 4), np.dtype("float32"), "mine")
    assert ours.tensor_ref.va == there[1].data_ptr()
    ours.write_from_numpy(np.full((2, 4), 7, np.float32))
    assert there.tolist() == [[0, 1, 2, 3], [7] * 4, [7] * 4]
    back = ours.torch()
    assert back.data_ptr() == there[1].data_ptr() and back.shape == (2, 4)
    parts = ours.slice(1, 2).reshape(2, 2), ours.view(np.int32), ours.slice(1)
    for part in parts:
        assert part.torch().data_ptr() == part.tensor_ref.va
        assert part.torch().untyped_storage() == there.untyped_storage()
    assert ours.torch("cpu").device.type == "cpu"
    assert parts[1].torch().dtype == torch.int32


@pytest.mark.parametrize("way", [DeviceTensor.from_torch, spike_torch.to_spike])
def test_memory_of_torchs_is_kept_by_all_that_share_it(way: Any) -> None:
    there = torch.full((256, 4), 5.0, device="nkipy")
    part = way(there).slice(2, 4).reshape(8).view(np.int32).view(np.float32)
    back = spike_torch.from_spike(part)
    del there, part
    gc.collect()
    others = [torch.zeros(256, 4, device="nkipy") for _ in range(4)]
    torch.nkipy.empty_cache()
    assert back.tolist() == [5] * 8 and not any(other.any() for other in others)


@pytest.mark.parametrize("way", [DeviceTensor.from_torch, spike_torch.to_spike])
def test_closing_what_shares_memory_leaves_torchs_tensor(way: Any) -> None:
    there = torch.ones(4, device="nkipy")
    double = baremetal_jit(lambda x: x * 2)
    for _ in range(2):
        with way(there) as ours:
            assert (double(there) == 2).all() and (np.asarray(double(ours)) == 2).all()
        assert (double(there) == 2).all() and there.tolist() == [1] * 4
        with pytest.raises(RuntimeError, match="freed"):
            ours.numpy()
        with pytest.raises(RuntimeError, match="freed"):
            spike_torch.from_spike(ours)


def test_a_torch_tensor_of_a_device_tensors_memory() -> None:
    ours = DeviceTensor.from_numpy(np.arange(6, dtype=np.int32).reshape(2, 3))
    here, there = ours.torch(), ours.torch("nkipy")
    assert here.device.type == "cpu" and here.tolist() == there.tolist()
    assert there.device == torch.device("nkipy:0")
    there.add_(1)
    assert ours.numpy().tolist() == [[1, 2, 3], [4, 5, 6]]
    ours.close()
    del ours
    gc.collect()
    assert there.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert DeviceTensor.zeros((0, 3)).torch("nkipy").shape == (0, 3)
    assert DeviceTensor.from_torch(torch.empty(0, 3, device="nkipy")).shape == (0, 3)
    for device in ("nkipy:1", "meta", "cuda"):
        with pytest.raises(ValueError, match=f"on nkipy:0, and not on {device}"):
            DeviceTensor.zeros(3).torch(device)
    with pytest.raises(TypeError, match="torch has no dtype float8_e4m3"):
        DeviceTensor.zeros(3, ml_dtypes.float8_e4m3).torch("nkipy")


def test_tensors_of_the_host_are_copied_as_ever() -> None:
    here = torch.arange(4.0, requires_grad=True)
    ours = DeviceTensor.from_torch(here)
    ours.fill(9)
    assert here.tolist() == [0, 1, 2, 3] and ours.torch().device.type == "cpu"
    there = torch.arange(4.0, device="nkipy")
    ours.write_from_torch(there)
    assert ours.torch().tolist() == [0, 1, 2, 3]
    assert ours.torch().data_ptr() != there.data_ptr()


def test_what_other_libraries_are_told() -> None:
    there = torch.ones(3, device="nkipy")
    for take in (np.asarray, torch.Tensor.numpy, np.from_dlpack):
        with pytest.raises((TypeError, RuntimeError, BufferError)):
            take(there)
    with pytest.raises(TypeError, match="can't convert nkipy:0 device type tensor"):
        SpikeTensor.from_numpy(there)
    ours = DeviceTensor.from_torch(there)
    assert np.asarray(ours).tolist() == [1, 1, 1]
    assert torch.from_dlpack(ours).device.type == "cpu"


def test_every_dtype_goes_there_and_back() -> None:
    for dtype, name in _BY_NUMPY.items():
        array = np.arange(6).astype(dtype)
        ours = SpikeTensor.from_numpy(array)
        there = spike_torch.from_spike(ours)
        assert there.dtype == name
        again = spike_torch.to_spike(there)
        assert again.dtype == dtype and again.numpy().tobytes() == array.tobytes()
