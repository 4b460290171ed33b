"""Devices, streams, events, random numbers, and what is refused."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from pathlib import Path

import pytest
import torch

import spike_torch
from nkipy.chips import find_chip

from .programs import machine, run


def test_properties_are_the_targets() -> None:
    found = torch.nkipy.get_device_properties()
    chip = find_chip(found.target)
    assert found.generation == chip.generation
    assert torch.nkipy.get_device_capability() == (chip.generation, 0)
    assert found.name == torch.nkipy.get_device_name(0) == "AWS Neuron Core 0"
    assert 0 < found.total_memory <= chip.hbm_bytes
    assert (found["name"], found[1], found[-1]) == (
        found.name,
        found.device_index,
        found.total_memory,
    )


@pytest.mark.parametrize("index", [99, 127])
def test_a_core_that_is_not_there(index: int) -> None:
    with pytest.raises(
        RuntimeError, match=f"invalid device ordinal: got nkipy:{index}"
    ):
        torch.empty(3, device=f"nkipy:{index}")
    with pytest.raises(RuntimeError, match="invalid device"):
        torch.nkipy.set_device(index)
    assert torch.nkipy.current_device() == 0


def test_other_devices_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="expected a device of type 'nkipy', got cpu"):
        torch.nkipy.set_device("cpu")


def test_each_thread_has_a_current_device(two_cores: None) -> None:
    torch.nkipy.set_device(1)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.nkipy.current_device()))
    thread.start()
    thread.join()
    assert (seen, torch.nkipy.current_device()) == ([0], 1)


def test_it_is_the_accelerator() -> None:
    assert torch.accelerator.current_accelerator() == torch.device("nkipy")
    assert torch.accelerator.device_count() == torch.nkipy.device_count()
    torch.accelerator.synchronize()


def test_streams_and_events() -> None:
    stream = torch.nkipy.Stream()
    assert stream != torch.nkipy.default_stream()
    with torch.nkipy.stream(stream):
        assert torch.nkipy.current_stream() == stream
        first = torch.nkipy.Event(enable_timing=True)
        first.record()
    assert torch.nkipy.current_stream() == torch.nkipy.default_stream()
    second = torch.nkipy.Event(enable_timing=True)
    second.record(stream)
    second.wait(torch.nkipy.current_stream())
    assert first.query() and stream.query()
    assert first.elapsed_time(second) >= 0
    stream.synchronize()


def test_random_numbers_are_the_cpus() -> None:
    torch.manual_seed(5)
    there = torch.randn(7, device="nkipy"), torch.randperm(9, device="nkipy")
    torch.manual_seed(5)
    assert torch.equal(there[0].cpu(), torch.randn(7))
    assert torch.equal(there[1].cpu(), torch.randperm(9))


def test_generators_have_states_of_their_own() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    state = torch.nkipy.get_rng_state()
    first = torch.rand(3, device="nkipy")
    assert torch.equal(torch.get_rng_state(), before)
    torch.nkipy.set_rng_state(state)
    assert torch.equal(torch.rand(3, device="nkipy"), first)
    torch.nkipy.manual_seed(-3)
    assert torch.nkipy.initial_seed() == 2**64 - 3
    own = torch.Generator(device="nkipy").manual_seed(11)
    cpu = torch.Generator().manual_seed(11)
    drawn = torch.rand(4, device="nkipy", generator=own)
    assert torch.equal(drawn.cpu(), torch.rand(4, generator=cpu))
    with torch.random.fork_rng(device_type="nkipy"):
        torch.nkipy.manual_seed(1)
        torch.rand(3, device="nkipy")
    assert torch.nkipy.initial_seed() == 2**64 - 3


@pytest.mark.parametrize("permuted", [(0, 1, 2), (2, 0, 1), (1, 2, 0)], ids=str)
def test_dropout_of_any_strides_draws_what_the_cpu_draws(
    permuted: tuple[int, ...],
) -> None:
    """Numbers go to elements in the order of the memory."""
    found = []
    for device in ("cpu", "nkipy"):
        ones = torch.ones(3, 5, 7, device=device).permute(permuted)
        torch.manual_seed(4)
        found.append(torch.nn.functional.dropout(ones, 0.3).cpu())
    assert 0 < (found[0] == 0).sum() < found[0].numel()
    assert torch.equal(*found)


def test_dropout_draws_from_the_devices_generator() -> None:
    ones = torch.ones(1000, device="nkipy")
    before = torch.get_rng_state()
    torch.nkipy.manual_seed(4)
    dropped = torch.nn.functional.dropout(ones, 0.25)
    assert torch.equal(torch.get_rng_state(), before)
    kept = dropped[dropped != 0].cpu()
    assert torch.allclose(kept, torch.tensor(4 / 3))
    assert 0.65 < (dropped != 0).float().mean().item() < 0.85


def _use_device() -> str:
    try:
        torch.ones(3, device="nkipy").sum()
    except RuntimeError as error:
        return str(error)
    return "no error"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_to_spawn() -> None:
    torch.ones(3, device="nkipy")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        said = pool.apply_async(_use_device).get(timeout=60)
    assert "must use the 'spawn' start method" in said


def test_a_reset_makes_tensors_invalid_and_nothing_else(tmp_path: Path) -> None:
    done = run(
        "import copy, io, pickle, torch, spike, spike_torch\n"
        "x = torch.ones(3, device='nkipy')\n"
        "m, storage = torch.nn.Linear(3, 3).nkipy(), x.untyped_storage()\n"
        "loss = (m(x) * x).sum()\n"
        "spike_torch.reset()\n"
        "new = torch.ones(3, device='nkipy')\n"
        "for use in (x.cpu, x.sum, lambda: x.add_(1), lambda: x + x, x.item,\n"
        "            x.clone, x.tolist, lambda: repr(x), lambda: x.copy_(new),\n"
        "            lambda: new.copy_(x), storage.cpu,\n"
        "            lambda: storage.resize_(100), lambda: storage.fill_(0),\n"
        "            lambda: copy.deepcopy(x), lambda: pickle.dumps(x), m.cpu,\n"
        "            lambda: torch.save(x, io.BytesIO()), lambda: m(new),\n"
        "            loss.backward, lambda: torch.cat([new, x]),\n"
        "            lambda: torch.add(new, 1, out=x)):\n"
        "    try:\n"
        "        use()\n"
        "    except RuntimeError as error:\n"
        "        assert 'runtime is closed' in str(error) or use == x.item, error\n"
        "    else:\n"
        "        raise SystemExit('used what is gone')\n"
        "spike.reset()\n"
        "y = torch.ones(3, device='nkipy')\n"
        "del x, m, storage, loss, new\n"
        "assert y.sum().item() == 3\n",
        machine(tmp_path),
    )
    assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr


def test_the_fallback_is_counted_told_once_or_refused(
    by_the_cpu: None, caplog: pytest.LogCaptureFixture
) -> None:
    ones = torch.ones(3, device="nkipy")
    image = torch.ones(1, 1, 3, 3, device="nkipy")
    spike_torch.reset_fallback_counts()
    assert spike_torch.get_fallback() == "log"
    with caplog.at_level(logging.INFO, "spike_torch.fallback"):
        ones + ones
        ones + ones
    assert caplog.messages == ["'aten::add.out' is computed by the CPU"]
    assert caplog.records[0].filename == "test_devices.py"
    assert spike_torch.fallback_counts()["aten::add.out"] == 2
    spike_torch.set_fallback("warn")
    spike_torch.reset_fallback_counts()
    with pytest.warns(UserWarning, match="'aten::add.out' is computed by the CPU"):
        ones + ones
    spike_torch.set_fallback("error")
    with pytest.raises(NotImplementedError, match="no program for 'aten::mul.out'"):
        ones * ones
    with pytest.raises(NotImplementedError, match="'aten::convolution_overrideable'"):
        torch.conv2d(image, image)
    spike_torch.set_fallback("silent")
    assert torch.conv2d(image, image).item() == 9
    assert spike_torch.fallback_counts()["aten::convolution_overrideable"] == 2
    assert (ones * ones).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="one of log, warn, silent, error: got 'loud'"):
        spike_torch.set_fallback("loud")


def test_tensors_of_the_cpu_are_refused_beside_the_devices() -> None:
    there, host = torch.ones(3, 3, device="nkipy"), torch.ones(3, 3)
    for mixed in (
        lambda: there @ host,
        lambda: there + host,
        lambda: torch.cat([there, host]),
        lambda: torch.matmul(there, there, out=host),
        lambda: host.add_(there),
        lambda: torch.nn.functional.linear(host, there),
    ):
        with pytest.raises(
            RuntimeError, match="Expected all tensors to be on the same"
        ):
            mixed()
    assert (there + torch.tensor(2.0)).sum().item() == 27
    assert there[torch.tensor([0, 2])].shape == (2, 3)
