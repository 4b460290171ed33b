"""What devices of torch's are known to get wrong, where no other file has it."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import spike_torch

pytestmark = pytest.mark.filterwarnings("ignore")


# ---- Tensors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "strides", "count"), [((2, 2), (100, 1), 102), ((2, 3), (1, 2), 6)]
)
def test_empty_strided_has_memory_up_to_its_last_element(
    size: tuple, strides: tuple, count: int
) -> None:
    there = torch.empty_strided(size, strides, device="nkipy")
    assert there.untyped_storage().nbytes() == 4 * count
    there.fill_(3)
    assert (there.sum().item(), there.stride()) == (3 * math.prod(size), strides)


@pytest.mark.parametrize("format", ["contiguous_format", "channels_last"])
def test_memory_formats(format: str) -> None:
    wanted = torch.empty(2, 3, 4, 5, memory_format=getattr(torch, format))
    found = torch.empty(
        2, 3, 4, 5, device="nkipy", memory_format=getattr(torch, format)
    )
    assert found.stride() == wanted.stride()
    assert torch.empty_like(found).stride() == wanted.stride()
    assert found.clone().is_contiguous(memory_format=getattr(torch, format))


def test_empty_permuted_has_its_shape() -> None:
    there = torch.empty_permuted((2, 3, 4), (2, 0, 1), device="nkipy")
    assert (there.shape, there.stride()) == ((2, 3, 4), (3, 1, 6))


def test_one_wide_storage_is_shared_by_typed_views() -> None:
    there = torch.zeros(4, dtype=torch.float32, device="nkipy")
    there.view(torch.int32)[1] = 0x3F800000
    assert there.tolist() == [0, 1, 0, 0]
    assert torch.view_as_complex(there.view(2, 2))[0].item() == 1j


def test_views_are_of_the_mode_of_what_they_are_of() -> None:
    made = {False: torch.ones(2, dtype=torch.complex64, device="nkipy")}
    with torch.inference_mode():
        made[True] = torch.ones(2, dtype=torch.complex64, device="nkipy")
    for mode in (False, True):
        for is_inference, base in made.items():
            with torch.inference_mode(mode):
                real = base.real
                pairs = torch.view_as_complex(torch.view_as_real(base))
            assert real.is_inference() == pairs.is_inference() == is_inference
            assert real._is_view() != is_inference
            assert real.data_ptr() == pairs.data_ptr() == base.data_ptr()
    made[False].real.add_(1)
    assert made[False]._version == 1 and made[False].tolist() == [2, 2]


def test_a_copy_is_broadcast() -> None:
    there = torch.zeros(2, 3, device="nkipy")
    there.copy_(torch.arange(3, dtype=torch.int64))
    assert there.tolist() == [[0, 1, 2]] * 2
    there.copy_(torch.tensor([[5], [6]], device="nkipy", dtype=torch.uint8))
    assert there.tolist() == [[5] * 3, [6] * 3]
    with pytest.raises(RuntimeError, match="must match the"):
        there.copy_(torch.ones(4))


def test_a_copy_that_need_not_be_waited_for_has_its_values_when_it_returns() -> None:
    host = torch.full((1 << 18,), 7.0)
    there = host.to("nkipy", non_blocking=True)
    host.zero_()
    del host
    assert bool((there == 7).all())
    back = there.to("cpu", non_blocking=True)
    assert bool((back == 7).all())


def test_copies_within_one_tensor_are_as_the_cpus() -> None:
    for tensor in (torch.arange(10.0), torch.arange(10.0, device="nkipy")):
        tensor[2:5].copy_(tensor[5:8])
        assert tensor.tolist() == [0, 1, 5, 6, 7, 5, 6, 7, 8, 9]
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            tensor[2:6].copy_(tensor[5:9])


def test_sizes_that_are_wrong_leave_a_tensor_as_it_is() -> None:
    there = torch.arange(3.0, device="nkipy")
    with pytest.raises(RuntimeError, match="negative"):
        there.resize_(-1)
    with pytest.raises(RuntimeError, match="out of bounds|as_strided|storage"):
        there.as_strided((3,), (1,), -1)
    with pytest.raises(RuntimeError, match="not resizable|resize|out of bounds"):
        torch.as_strided(there, (100,), (1,)).sum()
    assert there.tolist() == [0, 1, 2]


def test_set_shares_a_storage_and_refuses_the_cpus() -> None:
    there = torch.arange(6.0, device="nkipy")
    other = torch.empty(0, device="nkipy").set_(there.untyped_storage(), 2, (2, 2))
    other[0, 0] = 9
    assert there.tolist() == [0, 1, 9, 3, 4, 5]
    with pytest.raises(RuntimeError, match="different device|devices must match"):
        other.set_(torch.ones(3).untyped_storage())


def test_the_device_without_a_number_is_the_current_one(two_cores: None) -> None:
    torch.nkipy.set_device(1)
    for made in (
        torch.empty(1, device="nkipy"),
        torch.ones(1).to("nkipy"),
        torch.ones(1).nkipy(),
        torch.tensor([1.0], device=torch.device("nkipy")),
    ):
        assert made.device == torch.device("nkipy", 1)
    assert nn.Linear(1, 1).nkipy().weight.device.index == 1


def test_allocating_elsewhere_leaves_the_current_device(two_cores: None) -> None:
    for made in (
        torch.empty(1, device="nkipy:1"),
        torch.ones(3, device="nkipy:1") + 1,
        torch.ones(3).to("nkipy:1"),
        torch.randn(2, 2, device="nkipy:1").svd()[0],
    ):
        assert made.device.index == 1
        assert torch.nkipy.current_device() == 0


def test_many_sizes_leave_few_blocks_in_the_cache() -> None:
    before = spike_torch.get_cached_blocks()
    for size in range(1, 1001):
        torch.empty(size, dtype=torch.uint8, device="nkipy")
    assert spike_torch.get_cached_blocks() <= before + 8


# ---- Saved and loaded ----------------------------------------------------------------


@pytest.mark.parametrize("place", ["nkipy:1", "nkipy:0", "nkipy", "cpu"])
def test_loading_onto_a_device(two_cores: None, place: str) -> None:
    file = io.BytesIO()
    torch.save({"a": torch.arange(3.0, device="nkipy:1"), "b": torch.ones(2)}, file)
    file.seek(0)
    found = torch.load(file, map_location=place)
    wanted = torch.device(place if ":" in place or place == "cpu" else "nkipy:0")
    assert {x.device for x in found.values()} == {wanted}
    assert found["a"].tolist() == [0, 1, 2]
    assert torch.nkipy.current_device() == 0


def test_parameters_and_what_autograd_knows_are_saved() -> None:
    file = io.BytesIO()
    parameter = nn.Parameter(torch.ones(2, device="nkipy", dtype=torch.bfloat16))
    torch.save(parameter, file)
    file.seek(0)
    found = torch.load(file, weights_only=True)
    assert type(found) is nn.Parameter and found.requires_grad
    assert (found.device.type, found.dtype) == ("nkipy", torch.bfloat16)


# ---- Modules -------------------------------------------------------------------------


def test_a_parameters_data_can_be_put_on_the_device() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.data = torch.zeros(3, device="nkipy")
    assert (parameter.device.type, parameter.tolist()) == ("nkipy", [0, 0, 0])
    (parameter * 2).sum().backward()
    assert parameter.grad.tolist() == [2, 2, 2]


def test_modules_move_beside_live_views_of_their_parameters() -> None:
    """torch's swapping of tensors refuses such parameters."""
    layer = nn.Linear(2, 2)
    view = layer.weight.detach()[0]
    graph = layer(torch.ones(1, 2)).sum()
    kept = layer.weight
    layer.to("nkipy")
    assert layer.weight is kept and kept.device.type == "nkipy"
    assert view.device.type == "cpu" and torch.equal(view, kept[0].detach().cpu())
    del graph
    layer(torch.ones(1, 2, device="nkipy")).sum().backward()
    assert kept.grad.device.type == "nkipy"


def test_gradients_move_with_their_parameters() -> None:
    layer = nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    layer.to("nkipy")
    assert layer.weight.grad.device.type == "nkipy"
    layer(torch.ones(1, 2, device="nkipy")).sum().backward()
    assert layer.weight.grad.tolist() == [[2, 2]]
    assert layer.cpu().weight.grad.device.type == "cpu"


def test_moves_between_other_devices_are_torchs_own() -> None:
    layer = nn.Linear(2, 2)
    kept = layer.weight
    layer.to(torch.float64)
    assert layer.weight is kept and kept.dtype == torch.float64
    layer.to("meta")
    assert layer.weight is not kept and layer.weight.is_meta
    assert layer.to_empty(device="nkipy").weight.device.type == "nkipy"


@pytest.mark.parametrize("assign", [False, True])
def test_states_of_the_cpu_are_loaded(assign: bool) -> None:
    there, host = nn.BatchNorm1d(3).to("nkipy"), nn.BatchNorm1d(3)
    host.running_mean.fill_(4)
    kept = there.weight
    there.load_state_dict(host.state_dict(), assign=assign)
    assert there.running_mean.tolist() == [4, 4, 4]
    assert there.running_mean.device.type == ("cpu" if assign else "nkipy")
    assert (there.weight is kept) is not assign


def test_lazy_modules_are_made_on_the_device() -> None:
    layer = nn.LazyLinear(2).to("nkipy")
    assert layer(torch.ones(1, 3, device="nkipy")).shape == (1, 2)
    assert layer.weight.device.type == "nkipy"


def test_packed_sequences_move() -> None:
    parts = [torch.ones(3, 2), torch.ones(1, 2)]
    packed = nn.utils.rnn.pack_sequence(parts)
    there = packed.nkipy()
    assert there.is_nkipy and there.data.device.type == "nkipy"
    layer = nn.LSTM(2, 3).to("nkipy")
    out, _ = nn.utils.rnn.pad_packed_sequence(layer(there)[0])
    assert (out.device.type, out.shape) == ("nkipy", (3, 2, 3))


# ---- Numbers -------------------------------------------------------------------------

_X = torch.linspace(-3, 3, 12).reshape(3, 4)
_NUMBERS: dict[str, Any] = {
    "add's alpha": lambda t: torch.add(t, t, alpha=-3),
    "index_put's accumulate": lambda t: torch.zeros_like(t).index_put(
        (torch.tensor([0, 0, 2], device=t.device),), t, accumulate=True
    ),
    "gelu, exact": F.gelu,
    "gelu by tanh": lambda t: F.gelu(t, approximate="tanh"),
    "log of what is tiny": lambda t: torch.log(t.abs() * 1e-30),
    "log of zero": lambda t: torch.log(t * 0),
    "layer_norm over two dimensions": lambda t: F.layer_norm(t, (3, 4)),
    "ne of bytes and a number": lambda t: t.to(torch.uint8).ne(2),
    "mean in another dtype": lambda t: t.mean(0, dtype=torch.float64),
    "sum in another dtype": lambda t: t.sum(dtype=torch.float16),
    "sum of truths": lambda t: (t > 0).sum(0),
    "full_like in another dtype": lambda t: torch.full_like(t, 3, dtype=torch.int8),
    "literals that are not finite": lambda t: t.clamp(max=float("inf")) * float("nan"),
    "softmax from half to float": lambda t: t.half().softmax(-1, dtype=torch.float32),
    "indices of 64 bits": lambda t: t.argsort(1, descending=True),
    "a scatter that reduces": lambda t: torch.zeros_like(t).scatter_reduce(
        0, torch.zeros(3, 4, dtype=torch.int64, device=t.device), t, "amax"
    ),
    "conjugate views": lambda t: torch.fft.hfft(torch.fft.fft(t).conj()),
    "division that rounds": lambda t: torch.div(t, -0.7, rounding_mode="floor"),
    "remainders of negative numbers": lambda t: torch.remainder(t, -0.7),
    "float8": lambda t: t.to(torch.float8_e4m3fn).to(torch.float32),
    "unsigned integers": lambda t: t.abs().to(torch.uint16).to(torch.int64),
}


@pytest.mark.parametrize("name", _NUMBERS)
def test_numbers_are_the_cpus(name: str) -> None:
    wanted, found = _NUMBERS[name](_X), _NUMBERS[name](_X.to("nkipy"))
    assert (found.dtype, found.stride()) == (wanted.dtype, wanted.stride())
    assert_close(found.cpu(), wanted, equal_nan=True)


def test_sgd_with_a_step_as_alpha() -> None:
    weight = nn.Parameter(torch.ones(3, device="nkipy"))
    weight.grad = torch.ones_like(weight)
    torch.optim.SGD([weight], lr=0.25).step()
    assert weight.tolist() == [0.75] * 3


# ---- Refusals ------------------------------------------------------------------------


def test_numpy_and_buffers_are_of_the_cpu() -> None:
    there = torch.ones(2, device="nkipy")
    with pytest.raises(TypeError, match="can't convert nkipy:0 device type tensor"):
        there.numpy()
    assert there.numpy(force=True).tolist() == [1, 1]


def test_a_number_on_the_cpu_may_stand_beside_a_tensor_but_not_be_written_to() -> None:
    there, number = torch.ones(2, device="nkipy"), torch.tensor(3.0)
    assert (there * number).tolist() == [3, 3]
    with pytest.raises(RuntimeError, match="device"):
        number.add_(there.sum())
    assert number.item() == 3


def test_errors_leave_the_device_usable() -> None:
    there = torch.ones(2, 3, device="nkipy")
    for wrong, kind in (
        (lambda: there @ there, RuntimeError),
        (lambda: there[5], IndexError),
        (lambda: there.sum(7), IndexError),
        (lambda: torch.linalg.cholesky(-torch.eye(2, device="nkipy")), RuntimeError),
        (lambda: there.view(4), RuntimeError),
        (lambda: there[torch.tensor([9], device="nkipy")], IndexError),
    ):
        with pytest.raises(kind):
            wrong()
    assert there.sum().item() == 6


def test_conjugating_in_place() -> None:
    """A composite operator of torch's whose kernel is chosen by device."""
    there = torch.tensor([1 + 2j, -3j], device="nkipy")
    there.conj_physical_()
    assert there.tolist() == [1 - 2j, 3j]


def test_the_most_frequent_value_into_what_is_given() -> None:
    """The same: it has a list of devices."""
    outs = torch.empty(2, device="nkipy"), torch.empty(2, device="nkipy").long()
    torch.mode(torch.tensor([[1.0, 2, 2], [3, 3, 0]], device="nkipy"), out=outs)
    assert (outs[0].tolist(), outs[1].tolist()) == ([2, 3], [2, 1])
