"""Operations that are called by themselves, and that programs compute."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch.testing._internal.opinfo.core import OpInfo

import spike_torch
import spike_torch._C as _C
from spike_torch import _registration, eager_programs
from spike_torch.programs import get_stats

from .known_gaps import is_gap
from .op_samples import NotOfTheCpu, compare, operations, samples


@pytest.fixture(autouse=True)
def _from_nothing() -> Iterator[None]:
    _C.forget_calls()
    spike_torch.reset_program_counts()
    spike_torch.reset_fallback_counts()
    yield
    _C.forget_calls()


@pytest.fixture
def device() -> None:
    spike_torch.set_execution("device")


def both(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Random numbers on the CPU and on the device."""
    x = (torch.rand(shape) * 8 + 1).to(dtype)
    return x, x.nkipy()


def programs() -> int:
    return sum(spike_torch.program_counts().values())


def fallbacks() -> int:
    return sum(spike_torch.fallback_counts().values())


def check(compute: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
    """The CPU's value, dtype, size and strides, by programs alone."""
    pairs = [both(*shape) for shape in shapes]
    wanted = compute(*[x for x, _ in pairs])
    before = fallbacks()
    found = compute(*[x for _, x in pairs])
    assert fallbacks() == before and programs() > 0
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.stride() == wanted.stride() and found.device.type == "nkipy"
    assert_close(found.cpu(), wanted)


# ---- Modes ---------------------------------------------------------------------------


def test_the_cpu_computes_all_if_it_is_chosen() -> None:
    x = both(4)[1]
    spike_torch.set_execution("fallback")
    assert spike_torch.get_execution() == "fallback"
    for _ in range(3):
        x + x
    assert (programs(), fallbacks(), _C.known_calls()) == (0, 3, 0)


def test_a_program_at_the_first_use(device: None) -> None:
    x, there = both(4)
    assert_close((there + there).cpu(), x + x)
    assert spike_torch.program_counts() == {"aten::add.out": 1}
    assert spike_torch.fallback_counts() == {}


def test_a_program_at_the_second_use_of_the_same_call() -> None:
    spike_torch.set_execution("auto")
    x, there = both(4, 6)
    for wanted in (0, 1, 2):
        assert_close((there * 2).cpu(), x * 2)
        assert (programs(), fallbacks()) == (wanted, 1)
    there * 3  # another number
    there.t() * 2  # other strides
    there.to(torch.bfloat16) * 2
    there[:2] * 2
    assert programs() == 2


def test_names_of_executions(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="fallback, device, auto: got 'often'"):
        spike_torch.set_execution("often")
    monkeypatch.delenv("NKIPY_TORCH_EXECUTION", raising=False)
    assert _registration.read_execution() == "auto"
    monkeypatch.setenv("NKIPY_TORCH_EXECUTION", "device")
    assert _registration.read_execution() == "device"
    monkeypatch.setenv("NKIPY_TORCH_EXECUTION", "often")
    with pytest.raises(ValueError, match="EXECUTION is one of fallback, device, auto"):
        _registration.read_execution()


# ---- Results -------------------------------------------------------------------------


def test_results_are_the_cpus(device: None) -> None:
    check(lambda x, y: x + y, (3, 4), (4,))
    check(lambda x: x.sum(1), (3, 4))
    check(lambda x: x > 2, (3, 4))
    check(lambda x, y: x @ y, (3, 4), (4, 5))
    check(lambda x: 1 / x, ())
    check(torch.nn.Softmax(dim=-1), (2, 3, 4))
    check(lambda x: torch.cat([x, x]), (2, 3))
    check(lambda x: torch.var_mean(x, 0)[0], (5, 3))


def test_views_are_taken_as_they_lie(device: None) -> None:
    check(lambda x, y: x @ y.t(), (3, 4), (5, 4))
    check(lambda x: x[1:3] * 2, (5, 4))
    check(lambda x: x.transpose(0, 2).sum(0), (2, 3, 4))


def test_results_with_other_strides_are_the_cpus(device: None) -> None:
    """A sum of transposed ones lies transposed."""
    x, there = both(3, 4)
    there, x = there.t() + 1, x.t() + 1
    assert there.stride() == x.stride() == (1, 4)
    assert_close(there.cpu(), x)
    assert (programs(), fallbacks()) == (1, 0)


def test_strides_of_all_kinds(device: None) -> None:
    check(lambda x: x.permute(2, 0, 1).exp(), (2, 3, 4))
    check(lambda x: x[:, 1:3] * 2, (5, 4))
    check(lambda x: x[::2].t().sum(0), (5, 4))
    check(lambda x: x[:1].expand(4, 3) + x, (4, 3))
    check(lambda x: x[:, :, None].contiguous().transpose(1, 2) + 1, (2, 3))
    check(
        lambda x: x.contiguous(memory_format=torch.channels_last).relu(), (2, 3, 4, 5)
    )


def test_what_is_written_lies_in_another_order(device: None) -> None:
    x, there = both(3, 4)
    for y in (x, there):
        y.t().mul_(y[:, :1].t().clone())
        torch.add(y, 1, out=y.t().clone().t())
    assert programs() == 2
    assert_close(there.cpu(), x)
    found = torch.empty(4, 3, device="nkipy").t()
    torch.add(there, there.t().clone().t(), out=found)
    assert found.stride() == (1, 3) and programs() == 3
    assert_close(found.cpu(), x * 2)
    for y in (x, there):
        y[:, ::2].add_(1)  # with gaps, which the CPU leaves as they are
    assert programs() == 3
    assert_close(there.cpu(), x)


def test_convolutions(device: None) -> None:
    def gradients(*given: torch.Tensor) -> list[torch.Tensor]:
        given = tuple(x.detach().requires_grad_() for x in given)
        result = torch.conv2d(*given, stride=2, padding=1)
        return [result, *torch.autograd.grad(result.square().sum(), given)]

    pairs = [both(*shape) for shape in ((2, 3, 6, 5), (4, 3, 3, 3), (4,))]
    for layout in (torch.contiguous_format, torch.channels_last):
        (x, there), *others = pairs
        wanted = gradients(x.contiguous(memory_format=layout), *[p[0] for p in others])
        found = gradients(
            there.contiguous(memory_format=layout), *[p[1] for p in others]
        )
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours.stride() == theirs.stride()
            assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-4)
    counts = spike_torch.program_counts()
    assert counts["aten::convolution_overrideable"] == 2
    assert counts["aten::convolution_backward_overrideable"] == 2
    weight = pairs[1][1].requires_grad_()  # there is no gradient of the others
    torch.conv2d(pairs[0][1], weight).sum().backward()
    assert weight.grad is not None and spike_torch.fallback_counts() == {}


def test_in_place(device: None) -> None:
    x, there = both(3, 4)
    view, version = there[1:], there._version
    for y in (x, there):
        y.add_(y, alpha=2).mul_(y[0].clone()).relu_()
        y[1:].sub_(1)
    assert programs() >= 3
    assert there._version - version == x._version
    assert_close(there.cpu(), x)
    assert_close(view.cpu(), x[1:])


def test_the_same_tensor_twice_and_two(device: None) -> None:
    (x, there), (y, other) = both(5), both(5)
    for left, right, wanted in (
        (there, there, x + x),
        (there, other, x + y),
        (other, other, y + y),
    ):
        assert_close((left + right).cpu(), wanted)
        out = torch.empty(5, device="nkipy")
        assert_close(torch.add(left, right, out=out).cpu(), wanted)
    for right, wanted in ((there, x * 2), (other, x * 2 + y)):
        assert_close(there.add_(right).cpu(), wanted)
    assert fallbacks() == 0


def test_out(device: None) -> None:
    (x, there), out = both(3, 4), torch.empty(3, 4, device="nkipy")
    where = out.data_ptr()
    assert torch.add(there, 1, out=out) is out
    assert programs() == 1 and out.data_ptr() == where
    assert_close(out.cpu(), x + 1)
    narrow = torch.empty(3, 4, dtype=torch.float16, device="nkipy")
    torch.mul(there, there, out=narrow)
    assert_close(narrow.cpu(), (x * x).half())


def test_what_shares_memory_with_what_is_written(device: None) -> None:
    there = torch.arange(8.0, device="nkipy")
    there[:4].add_(there[4:])
    assert there.tolist() == [4, 6, 8, 10, 4, 5, 6, 7]
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        there[:6].add_(there[2:])
    assert programs() == 0


def test_gradients(device: None) -> None:
    results = []
    for x in both(4, 5):
        torch.manual_seed(0)
        x.requires_grad_()
        (torch.nn.functional.gelu(x @ x.t()) / 100).softmax(0)[0].sum().backward()
        results.append(x.grad)
    assert programs() > 4
    assert_close(results[1].cpu(), results[0], rtol=1e-4, atol=1e-5)


def test_inference_tensors(device: None) -> None:
    x, there = both(3)
    with torch.inference_mode():
        found = there + 1
    assert found.is_inference() and programs() == 1
    assert_close(found.cpu(), x + 1)


# ---- What the CPU computes -----------------------------------------------------------


def test_what_has_no_lowering(device: None) -> None:
    there = both(3, 3)[1]
    for _ in range(2):
        torch.linalg.inv(there + torch.eye(3).nkipy())
    assert "aten::linalg_inv_ex.inverse" in spike_torch.fallback_counts()
    assert "aten::linalg_inv_ex.inverse" not in spike_torch.program_counts()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_what_cores_do_not_compute_in(dtype: torch.dtype, device: None) -> None:
    x, there = both(3, dtype=dtype)
    assert_close((there + there).cpu(), x + x)
    assert (programs(), fallbacks()) == (0, 1)


def test_empty_and_mixed(device: None) -> None:
    empty = torch.empty(0, 3, device="nkipy")
    assert (empty + 1).shape == (0, 3)
    there = both(3)[1]
    assert_close((there + torch.tensor(2.0)).cpu(), there.cpu() + 2)
    assert programs() == 0
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same"):
        there + torch.ones(3)


def test_a_storage_that_was_made_smaller(device: None) -> None:
    there = both(8)[1]
    there.untyped_storage().resize_(4)
    with pytest.raises(RuntimeError, match="storage was resized to"):
        there + 1


def test_they_are_not_in_the_statistics_of_functions(device: None) -> None:
    before = get_stats()
    both(8)[1] + 1
    assert programs() == 1 and get_stats() == before


def test_errors_of_values(device: None) -> None:
    there = torch.arange(4, device="nkipy")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            there // (there - there)
        with pytest.raises(IndexError, match="out of range"):
            there.index_select(0, there + 1)
    with pytest.raises(RuntimeError, match="all elements of input should be between"):
        torch.nn.functional.binary_cross_entropy(there + 1.5, there * 1.0)
    assert_close((there // 2).cpu(), torch.arange(4) // 2)


def test_errors_of_sizes_and_dtypes(device: None) -> None:
    x, there = both(2, 3)
    for wrong in (
        lambda y: y + y.t(),
        lambda y: y @ y,
        lambda y: y.sum(2),
        lambda y: y.int().add_(1.5),
    ):
        with pytest.raises(Exception) as wanted:
            wrong(x)
        with pytest.raises(type(wanted.value)) as found:
            wrong(there)
        assert str(found.value) == str(wanted.value)


def test_random_numbers_are_torchs(device: None) -> None:
    torch.manual_seed(0)
    wanted = torch.rand(5), torch.randperm(5)
    torch.manual_seed(0)
    found = torch.rand(5, device="nkipy"), torch.randperm(5, device="nkipy")
    assert all(torch.equal(f.cpu(), w) for f, w in zip(found, wanted, strict=True))


# ---- Failures, other threads, resets -------------------------------------------------


def test_what_cannot_be_compiled_is_asked_for_once(
    device: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(eager_programs, "build", fail)
    x, there = both(7)
    for _ in range(3):
        assert_close((there - 1).cpu(), x - 1)
    assert (programs(), fallbacks()) == (0, 3)
    assert caplog.text.count("no program could be made") == 1


def test_an_interrupt_leaves_nothing(
    device: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    x, there = both(7)
    with monkeypatch.context() as patch:
        patch.setattr(eager_programs, "build", interrupt)
        with pytest.raises(KeyboardInterrupt):
            there - 1
    assert_close((there - 1).cpu(), x - 1)
    assert (programs(), fallbacks()) == (1, 0)


def test_threads(device: None) -> None:
    wrong: list[Any] = []

    def work() -> None:
        for i in range(20):
            x = torch.full((3,), float(i))
            if not torch.equal((x.nkipy() + i % 4).cpu(), x + i % 4):
                wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert programs() + fallbacks() == 80 and programs() >= 40


def test_calls_are_forgotten_that_are_not_used() -> None:
    spike_torch.set_execution("auto")
    there = both(2)[1]
    for i in range(5000):
        there + i
    assert _C.known_calls() == 4096
    there + 4999
    there + 0  # was forgotten
    assert programs() == 1


@pytest.mark.filterwarnings("ignore:spike.reset")
def test_programs_are_loaded_again_after_a_reset(device: None) -> None:
    for _ in range(2):
        x, there = both(3, 2)
        assert_close((there + there).cpu(), x + x)
        del there
        spike_torch.reset()
    assert (programs(), fallbacks()) == (2, 0)


# ---- torch's database ----------------------------------------------------------------

_CHOICE = {"add", "mul", "div", "sum", "mm", "nn.functional.gelu", "where", "cumsum"}
_CHOICE |= {"maximum", "softmax", "nn.functional.layer_norm", "clamp", "pow", "stack"}
_FLOAT = operations(torch.float32)
#: Add so many numbers in another order that they differ by more than torch's tolerance;
#: tests of lowerings count their steps of float32.
_ROUNDED = {"addbmm"}


def compare_all(op: OpInfo, most: int) -> None:
    if is_gap(op.formatted_name, torch.float32):
        pytest.skip("known gap")
    if op.name in _ROUNDED:
        pytest.skip("is rounded in another way")
    for sample in samples(op, torch.float32, most):
        try:
            compare(op, torch.float32, sample)
        except NotOfTheCpu:
            pass


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "op", [o for o in _FLOAT if o.name in _CHOICE], ids=lambda o: o.formatted_name
)
def test_a_choice_of_operations(op: OpInfo, device: None) -> None:
    compare_all(op, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", _FLOAT, ids=lambda o: o.formatted_name)
def test_all_operations(op: OpInfo, device: None) -> None:
    compare_all(op, 2)
