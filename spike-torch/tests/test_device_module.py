"""What is asked of a device's module, and of tensors, modules and storages on it."""

from __future__ import annotations

import inspect
import io
import pickle
import types
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import spike_torch

#: Names of other devices' modules, public, that this one has not, and why.
LEFT_OUT = {
    "graphs of work": (
        "XPUGraph CUDAGraph MTIAGraph graph graphs graph_pool_handle "
        "make_graphed_callables GreenContext"
    ),
    "allocators and pools of the user's own": (
        "MemPool use_mem_pool change_current_allocator XPUPluggableAllocator "
        "CUDAPluggableAllocator caching_allocator_alloc caching_allocator_delete "
        "caching_allocator_disabled caching_allocator_enable get_allocator_backend "
        "host_memory_stats host_memory_stats_as_nested_dict "
        "reset_accumulated_host_memory_stats reset_peak_host_memory_stats "
        "attach_out_of_memory_observer "
        "record_memory_history snapshot"
    ),
    "the vendor's compilers, libraries and drivers": (
        "get_arch_list get_gencode_flags cudaStatus cudart check_error CudaError "
        "current_blas_handle current_solver_handle has_half has_magma jiterator nccl "
        "nvtx profiler tunable is_tf32_supported sparse get_stream_from_external "
        "ExternalStream DeferredCudaCallError get_sync_debug_mode set_sync_debug_mode"
    ),
    "what a driver measures": (
        "clock_rate device_memory_used list_gpu_processes memory_usage power_draw "
        "temperature utilization"
    ),
    "types of tensors and storages, which torch has given up": (
        "BFloat16Storage BFloat16Tensor BoolStorage BoolTensor ByteStorage ByteTensor "
        "CharStorage CharTensor ComplexDoubleStorage ComplexFloatStorage "
        "DoubleStorage DoubleTensor FloatStorage FloatTensor HalfStorage HalfTensor "
        "IntStorage IntTensor LongStorage LongTensor ShortStorage ShortTensor"
    ),
    "names that torch has given up, parts of modules, and memory between processes": (
        "amp ipc_collect max_memory_cached memory memory_cached random streams "
        "reset_max_memory_allocated reset_max_memory_cached"
    ),
}


def public(module: types.ModuleType) -> set[str]:
    return {name for name in module.__all__ if not name.startswith("_")}


@pytest.mark.parametrize("other", [torch.cuda, torch.xpu, torch.mtia], ids=str)
def test_it_has_what_other_devices_have(other: types.ModuleType) -> None:
    left_out = set(" ".join(LEFT_OUT.values()).split())
    ours = set(dir(torch.nkipy)) | {"default_generators"}
    assert public(other) - ours <= left_out


def test_all_that_the_package_is_to_have() -> None:
    for name in (
        *("device_count", "current_device", "set_device", "is_available", "reset"),
        *("empty_cache", "get_cached_blocks", "get_tensor_info", "configure"),
        *("_ensure_initialized", "get_nrt_tensor"),
    ):
        assert callable(getattr(spike_torch, name))
    for name in torch.nkipy.__all__:
        assert getattr(torch.nkipy, name).__doc__
    assert torch.get_device_module("nkipy") is torch.nkipy is torch.get_device_module()


def test_the_accelerator() -> None:
    kept = torch.ones(1000, device="nkipy")
    for name in (
        *("max_memory_allocated", "max_memory_reserved", "memory_allocated"),
        *("memory_reserved", "current_device_index", "device_count"),
    ):
        ours = name.replace("_index", "")
        found = getattr(torch.accelerator, name)()
        assert found == getattr(torch.nkipy, ours)()
    assert kept.nbytes <= torch.accelerator.memory_allocated()
    dtypes = torch.accelerator.get_device_capability()["supported_dtypes"]
    assert {torch.float32, torch.bfloat16, torch.int64, torch.bool} <= dtypes
    assert torch.qint8 not in dtypes
    assert torch.accelerator.current_stream() == torch.nkipy.current_stream()
    for clear in ("empty_cache", "empty_host_cache", "reset_peak_memory_stats"):
        getattr(torch.accelerator, clear)()


def test_the_accelerators_current_device(two_cores: None) -> None:
    with torch.accelerator.device_index(1):
        assert torch.nkipy.current_device() == 1
        assert torch.ones(1, device="nkipy").device.index == 1
    torch.accelerator.set_device_index(1)
    assert torch.nkipy.current_device() == 1
    torch.accelerator.set_device_index("nkipy:0")
    with pytest.raises(RuntimeError, match="got nkipy:9"):
        torch.accelerator.set_device_index(9)
    with pytest.raises(ValueError, match="doesn't match the current accelerator"):
        torch.accelerator.set_device_index("cpu")
    assert torch.nkipy.current_device() == 0


def test_pinned_batches() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(4.0))
    batches = [
        batch for (batch,) in torch.utils.data.DataLoader(data, 2, pin_memory=True)
    ]
    assert all(batch.is_pinned() for batch in batches)
    assert torch.cat([batch.nkipy() for batch in batches]).tolist() == [0, 1, 2, 3]


def test_scaled_gradients() -> None:
    weight = nn.Parameter(torch.ones(3, device="nkipy"))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scaler = torch.amp.GradScaler("nkipy", init_scale=4.0)
    scaler.scale(weight.sum()).backward()
    assert weight.grad is not None and weight.grad.tolist() == [4, 4, 4]
    scaler.step(optimizer)
    assert weight.tolist() == [0.5, 0.5, 0.5]
    weight.grad.fill_(float("inf"))
    scaler.update()
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == [0.5, 0.5, 0.5] and scaler.get_scale() == 2.0


def test_peers(two_cores: None) -> None:
    assert torch.nkipy.can_device_access_peer(0, 1)
    assert not torch.nkipy.can_device_access_peer(0, "nkipy:0")


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoints_draw_the_same_numbers_again(use_reentrant: bool) -> None:
    weight = torch.ones(64, device="nkipy", requires_grad=True)
    inputs = torch.ones(64, device="nkipy", requires_grad=True)
    found = checkpoint(
        lambda x: nn.functional.dropout(x * weight, 0.5),
        inputs,
        use_reentrant=use_reentrant,
    )
    torch.rand(3, device="nkipy")  # others draw in between
    found.sum().backward()
    assert weight.grad is not None and torch.equal(found, weight.grad)


def test_generators_are_the_cpus_in_all_but_the_device() -> None:
    for seed in (0, 5, 2**63, -1):
        own = torch.Generator("nkipy").manual_seed(seed)
        host = torch.Generator().manual_seed(seed)
        assert own.initial_seed() == host.initial_seed()
        for draw in (torch.rand, torch.randn):
            drawn = draw(20, device="nkipy", generator=own)
            assert torch.equal(drawn.cpu(), draw(20, generator=host))
        assert torch.equal(own.get_state(), host.get_state())
        for copy in (pickle.loads(pickle.dumps(own)), own.clone_state()):
            assert copy.device == own.device
            assert torch.equal(copy.get_state(), own.get_state())
    default = torch.nkipy.default_generators[0]
    default.manual_seed(8)
    assert torch.nkipy.initial_seed() == 8
    assert len(torch.nkipy.default_generators) == torch.nkipy.device_count()


def test_types_and_texts() -> None:
    there = torch.arange(3.0, device="nkipy")
    assert there.type() == "torch.nkipy.FloatTensor"
    assert torch.ones(2).type("torch.nkipy.FloatTensor").is_nkipy
    assert there.type(torch.float64).dtype == torch.float64
    assert not there.type("torch.FloatTensor").is_nkipy
    assert repr(there) == "tensor([0., 1., 2.], device='nkipy:0')"
    assert f"{there[1]:.2f}" == "1.00" and [1, 2][there[1].int()] == 2


def test_what_nobody_fills_is_filled_where_that_is_asked_for() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        empty = torch.empty(3, device="nkipy")
        whole = torch.empty_strided((2,), (2,), dtype=torch.int32, device="nkipy")
        grown = torch.zeros(2, device="nkipy").resize_(4)
    finally:
        torch.use_deterministic_algorithms(False)
    assert empty.isnan().all() and whole.tolist() == [2**31 - 1] * 2
    assert grown[:2].tolist() == [0, 0] and grown[2:].isnan().all()


def test_making_tensors_of_what_there_is() -> None:
    there = torch.arange(3.0, device="nkipy")
    assert torch.asarray(there).data_ptr() == there.data_ptr()
    assert torch.as_tensor(there, device="cpu").device.type == "cpu"
    for made in (
        torch.tensor([there[0], there[1]], device="nkipy"),
        torch.asarray([0.0, 1.0], device="nkipy"),
        torch.frombuffer(bytearray(b"\0\0\0\0\0\0\x80?"), dtype=torch.float32).nkipy(),
    ):
        assert made.is_nkipy and made.tolist() == [0, 1]
    with pytest.raises(TypeError, match="can't convert nkipy:0 device type tensor to"):
        there.numpy()
    assert there.numpy(force=True).tolist() == [0, 1, 2]


def test_the_default_device(two_cores: None) -> None:
    torch.set_default_device("nkipy")
    try:
        made = [torch.ones(2), torch.tensor([1]), nn.Linear(2, 2).weight]
    finally:
        torch.set_default_device(None)
    assert {str(x.device) for x in made} == {"nkipy:0"}
    with torch.device("nkipy:1"):
        made = [torch.zeros(2), torch.randperm(3), nn.Linear(2, 2).weight]
    assert {str(x.device) for x in made} == {"nkipy:1"}


def test_storages(two_cores: None) -> None:
    host = torch.arange(4, dtype=torch.uint8)
    storage = host.untyped_storage().nkipy()
    assert storage.is_nkipy and storage.tolist() == [0, 1, 2, 3] and storage[2] == 2
    assert host.untyped_storage().nkipy(1).device == torch.device("nkipy", 1)
    assert storage.cpu().device.type == "cpu" and storage.cpu().tolist() == [0, 1, 2, 3]
    other = torch.UntypedStorage(4, device="nkipy").fill_(7)
    assert other.tolist() == [7] * 4 and other.copy_(storage).tolist() == [0, 1, 2, 3]
    for copy in (storage.clone(), deepcopy(storage)):
        copy[0] = 9
        assert copy.is_nkipy and storage[0] == 0
    assert storage.resize_(8).nbytes() == 8 and storage.tolist()[:4] == [0, 1, 2, 3]
    assert not storage.is_pinned()
    with pytest.raises(TypeError, match="only CPU memory can be pinned"):
        storage.pin_memory()
    with pytest.warns(UserWarning, match="TypedStorage is deprecated"):
        typed = torch.arange(2.0).storage()
    assert typed.nkipy().is_nkipy and typed.nkipy().cpu().tolist() == [0, 1]


def test_packed_sequences() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 2), torch.ones(2, 2)])
    for there in (packed.nkipy(), packed.to("nkipy")):
        assert there.data.is_nkipy and there.batch_sizes.device.type == "cpu"
        padded, lengths = nn.utils.rnn.pad_packed_sequence(there)
        assert padded.is_nkipy and lengths.tolist() == [3, 2]
        assert nn.LSTM(2, 3).nkipy()(there)[0].data.shape == (5, 3)
    assert packed.nkipy().cpu().data.device.type == "cpu"


def tied() -> nn.Module:
    made = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    made[1].weight = made[0].weight
    made.register_buffer("extra", torch.ones(2))
    return made


MOVES: dict[str, tuple[Any, str, torch.dtype]] = {
    "nkipy()": (lambda m: m.nkipy(), "nkipy:0", torch.float32),
    "nkipy(1)": (lambda m: m.nkipy(1), "nkipy:1", torch.float32),
    "to": (lambda m: m.to("nkipy"), "nkipy:0", torch.float32),
    "with a dtype": (lambda m: m.to("nkipy", torch.half), "nkipy:0", torch.half),
    "between cores": (lambda m: m.nkipy(0).to("nkipy:1"), "nkipy:1", torch.float32),
    "there and back": (lambda m: m.nkipy().cpu(), "cpu", torch.float32),
    "dtype there": (lambda m: m.nkipy().double(), "nkipy:0", torch.float64),
    "dtype of the CPU's": (lambda m: m.half(), "cpu", torch.half),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_keep_parameters_and_ties(name: str, two_cores: None) -> None:
    move, device, dtype = MOVES[name]
    model = tied()
    model(torch.ones(2, 3)).sum().backward()
    view = model[0].weight.detach()[0]  # which is alive, and stays where it is
    kept = [(p, p.grad) for p in model.parameters()]
    move(model)
    for (parameter, gradient), found in zip(kept, model.parameters(), strict=True):
        assert found is parameter and found.grad is gradient
        assert (str(found.device), found.dtype) == (device, dtype)
        assert gradient is not None and str(gradient.device) == device
    assert model[0].weight is model[1].weight
    assert str(model.extra.device) == device and view.device.type == "cpu"


def test_moves_between_other_devices_are_torchs_own() -> None:
    model = tied()
    kept = list(model.parameters())
    model.to("meta")
    assert not {id(p) for p in kept} & {id(p) for p in model.parameters()}
    model.to_empty(device="nkipy")
    assert {str(p.device) for p in model.parameters()} == {"nkipy:0"}
    with pytest.raises(RuntimeError, match="incompatible tensor type"):
        torch.ones(3, device="nkipy").data = torch.ones(3, device="meta")
    lazy = nn.LazyLinear(2).nkipy()
    assert lazy(torch.ones(1, 3, device="nkipy")).is_nkipy


@pytest.mark.parametrize("assign", [False, True])
def test_loading_a_state(assign: bool) -> None:
    for source, target in ((tied().nkipy(), tied()), (tied(), tied().nkipy())):
        kept, state = list(target.parameters()), source.state_dict()
        result = target.load_state_dict(state, assign=assign)
        assert not result.missing_keys and not result.unexpected_keys
        for old, new in zip(kept, target.parameters(), strict=False):
            assert (old is new) is not assign
        there = source if assign else kept[0]
        wanted = next(there.parameters()).device if assign else there.device
        assert target[0].weight.device == wanted
        assert torch.equal(target[0].weight.cpu(), source[0].weight.cpu())


def test_copies_of_modules() -> None:
    model = tied().nkipy()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for copy in (
        *(deepcopy(model), pickle.loads(pickle.dumps(model))),
        torch.load(file, weights_only=False),
    ):
        assert copy[0].weight is copy[1].weight and copy[0].weight.is_nkipy
        assert torch.equal(copy[0].weight, model[0].weight)
        assert copy[0].weight.data_ptr() != model[0].weight.data_ptr()
    graph = deepcopy(torch.fx.symbolic_trace(model))
    inputs = torch.ones(2, 3, device="nkipy")
    assert torch.equal(graph(inputs), model(inputs))


def test_where_loaded_tensors_go(two_cores: None, tmp_path: Path) -> None:
    path = tmp_path / "saved.pt"
    torch.save({"a": torch.arange(3.0).nkipy(0), "b": torch.arange(3.0).nkipy(1)}, path)
    for options, wanted in (
        ({}, ("nkipy:0", "nkipy:1")),
        ({"map_location": "cpu"}, ("cpu", "cpu")),
        ({"map_location": "nkipy"}, ("nkipy:0", "nkipy:0")),
        ({"map_location": torch.device("nkipy", 1)}, ("nkipy:1", "nkipy:1")),
        ({"map_location": {"nkipy:1": "cpu"}}, ("nkipy:0", "cpu")),
        ({"map_location": lambda s, _: s.nkipy(1)}, ("nkipy:1", "nkipy:1")),
        ({"map_location": lambda s, _: None}, ("nkipy:0", "nkipy:1")),
    ):
        for more in ({}, {"mmap": True}, {"weights_only": False}):
            found = torch.load(path, **options, **more)
            assert tuple(str(x.device) for x in found.values()) == wanted
            assert all(x.tolist() == [0, 1, 2] for x in found.values())
    with pytest.raises(RuntimeError, match=r"on NKIPY device 9 but .*use torch.load"):
        torch.load(path, map_location="nkipy:9")
    torch.save(torch.arange(3.0), path)
    assert torch.load(path, map_location="nkipy:1", mmap=True).tolist() == [0, 1, 2]


def test_dlpack_both_ways(two_cores: None) -> None:
    for there in (torch.arange(6.0, device="nkipy:1").reshape(2, 3).t()[1:],):
        for capsule in (there.__dlpack__(), torch.utils.dlpack.to_dlpack(there)):
            back = torch.from_dlpack(capsule)
            assert (back.device, back.stride()) == (there.device, there.stride())
            assert back.data_ptr() == there.data_ptr()
            assert back.tolist() == there.tolist()


def test_torchs_profiler_times_the_device() -> None:
    there = torch.ones(3, device="nkipy")
    with torch.autograd.profiler.profile(use_device="nkipy") as found:
        there + there
    assert "aten::add" in {event.key for event in found.key_averages()}
    with torch.profiler.profile() as found:
        there + there
    assert "aten::add" in {event.key for event in found.key_averages()}


def test_streams_as_fsdp_uses_them() -> None:
    stream, there = torch.nkipy.Stream(priority=-1), torch.ones(3, device="nkipy")
    with stream:
        assert torch.accelerator.current_stream() == stream
    with torch.nkipy.stream(stream):
        event = stream.record_event()
    stream.wait_event(event)
    stream.wait_stream(torch.nkipy.current_stream())
    there.record_stream(stream)
    assert event.query() and not torch.nkipy.is_current_stream_capturing()


def test_signatures_have_torchs_names() -> None:
    for name in ("memory_stats", "synchronize", "get_device_name", "set_device"):
        ours = inspect.signature(getattr(torch.nkipy, name))
        theirs = inspect.signature(getattr(torch.cuda, name))
        assert list(ours.parameters) == list(theirs.parameters)
