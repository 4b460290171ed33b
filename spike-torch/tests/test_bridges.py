"""torch's tensors and spike's on one memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spike_torch
from spike import SpikeTensor


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
