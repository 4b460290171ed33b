"""What torch.compile promises of a backend: numbers, memory, autograd, warnings."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import spiky
from spiky.compiling import graphs
from spiky.errors import UnsupportedOperationError

pytestmark = pytest.mark.usefixtures("backend")


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return torch.compile(function, backend="nkipy", fullgraph=True, **options)


def check(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Values, dtypes, shapes and devices are eager's."""
    wanted = function(*arguments)
    made = compiled(function, **options)(*arguments)
    assert_close(made, wanted, equal_nan=True)


def warned(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = call()
    return result, [str(w.message) for w in found if "eagerly" in str(w.message)]


def line_of(function: Callable[..., Any], offset: int = 1) -> str:
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno + offset}"


# -- how often torch and we compile ----------------------------------------------------
@pytest.mark.smoke
def test_ten_batch_sizes_take_three_programs_and_one_graph() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    counter = CompileCounterWithBackend("nkipy")
    compiled_model = torch.compile(model, backend=counter, dynamic=True)
    spiky.reset_stats()
    for batch in (2, 3, 5, 8, 9, 12, 16, 17, 20, 32):
        x = torch.randn(batch, 5)
        with torch.no_grad():
            assert_close(compiled_model(x), model(x))
    stats = spiky.get_stats()
    assert counter.frame_count == 1
    assert stats.total_compile_count == 3
    assert dict(stats.bucket_hits) == {8: 4, 16: 3, 32: 3}


# -- how tensors lie in memory ---------------------------------------------------------
@pytest.mark.parametrize("dynamic", [False, True])
def test_tensors_may_lie_in_any_order_of_their_dimensions(dynamic: bool) -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z = x.transpose(1, 2) @ y
        return z, z.permute(2, 0, 1), z.relu().sum(1)

    compiled_function = compiled(function, dynamic=dynamic)
    for n in (5, 3):
        made, wanted = (
            [torch.rand(n, 2, 4).permute(1, 2, 0), torch.rand(7, 4, 2).permute(2, 1, 0)]
            for _ in range(2)
        )
        for one, other in zip(made, wanted):
            other.copy_(one)
        if dynamic or n == 5:
            given = [x.requires_grad_() for x in made]
            results = compiled_function(*given)
            truth = function(*(x.requires_grad_() for x in wanted))
            assert_close(results, truth)
            sum(r.square().sum() for r in results).backward()  # type: ignore[union-attr]
            sum(r.square().sum() for r in truth).backward()  # type: ignore[union-attr]
            assert_close([x.grad for x in given], [x.grad for x in wanted])


def test_what_forward_keeps_is_not_transposed_in_memory() -> None:
    def function(x: torch.Tensor, v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ v) @ w

    given = [torch.rand(3, 4), torch.rand(4, 5), torch.rand(5, 6)]
    given = [x.to("nkipy").requires_grad_() for x in given]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x) or x,  # type: ignore[func-returns-value]
        lambda x: x,
    ):
        compiled(function)(*given)
    turned = [x for x in kept if not x.is_contiguous()]
    assert turned and all(x.t().is_contiguous() for x in turned)


def test_a_last_compilation_is_told() -> None:
    def run(x: torch.Tensor, n: int) -> torch.Tensor:
        return x + n * 0.5

    function = torch.compile(run, backend="nkipy", dynamic=False)
    with (
        torch._dynamo.config.patch(recompile_limit=2),
        warnings.catch_warnings(record=True) as found,
    ):
        warnings.simplefilter("always")
        for n in range(4):
            assert_close(function(torch.ones(2), n), run(torch.ones(2), n))
    told = [str(w.message) for w in found if "runs it eagerly" in str(w.message)]
    assert len(told) == 1 and "2 times" in told[0]


# -- what is written to ----------------------------------------------------------------
def test_running_statistics_are_written_in_place() -> None:
    model, other = (nn.BatchNorm1d(3) for _ in range(2))
    function = compiled(model)
    places = {name: b.data_ptr() for name, b in model.named_buffers()}
    for _ in range(3):
        x = torch.randn(6, 3)
        assert_close(function(x), other(x))
    model.eval(), other.eval()
    x = torch.randn(4, 3)
    assert_close(function(x), other(x))
    for name, buffer in model.named_buffers():
        assert buffer.data_ptr() == places[name]
        assert_close(buffer, other.get_buffer(name))


def write_by_index(
    cache: torch.Tensor, at: torch.Tensor, x: torch.Tensor
) -> torch.Tensor:
    cache.index_copy_(1, at, x)
    return cache.sum(1)


def write_by_slice(
    cache: torch.Tensor, at: torch.Tensor, x: torch.Tensor
) -> torch.Tensor:
    cache[:, : x.shape[1]] = x
    cache[:, -1].mul_(2)
    return cache * 2


@pytest.mark.parametrize("write", [write_by_index, write_by_slice])
@pytest.mark.parametrize("device", ["cpu", "nkipy"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_caches_are_written_in_place(
    write: Callable[..., torch.Tensor], device: str, dynamic: bool
) -> None:
    cache = torch.randn(2, 8, 3)
    ours = cache.to(device)
    if ours is cache:
        ours = cache.clone()
    place, version = ours.data_ptr(), ours._version
    function = compiled(write, dynamic=dynamic)
    for length in (2, 3, 5):
        at, x = torch.arange(1, 1 + length), torch.randn(2, length, 3)
        made = function(ours, at.to(device), x.to(device))
        assert_close(made.cpu(), write(cache, at, x))
        assert_close(ours.cpu(), cache)
        assert made.device.type == device
    assert ours.data_ptr() == place and ours._version > version


def test_what_is_written_may_be_padded() -> None:
    """All of its sizes are dynamic: what is behind it in its storage stays."""
    storage = torch.full((40,), 7.0)

    def run(x: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return x.sum()

    function = compiled(run, dynamic=True)
    for size in (3, 5, 9):
        x = storage[:size]
        before = x.clone()
        assert_close(function(x), (before + 1).sum())
        assert_close(x, before + 1)
        assert (storage[size + 1 :] == storage[-1]).all()


def test_views_of_one_tensor_are_written() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        x[0].add_(1)
        x.t()[1].mul_(3)
        return x.view(-1) + 1

    x, y = torch.arange(6.0).reshape(2, 3), torch.arange(6.0).reshape(2, 3)
    assert_close(compiled(run)(x), run(y))
    assert_close(x, y)


def test_weights_of_the_cpu_are_read_at_each_call() -> None:
    model = nn.Linear(3, 2)
    function = compiled(model)
    x = torch.randn(4, 3)
    function(x)
    for change in (
        lambda: model.weight.data.add_(1),
        lambda: model.weight.detach().numpy().__setitem__(0, 5.0),
        lambda: model.bias.data.zero_(),
        lambda: setattr(model.weight, "data", torch.ones(2, 3)),
    ):
        change()
        with torch.no_grad():
            assert_close(function(x), model(x))


# -- what is returned ------------------------------------------------------------------
def _views(x: torch.Tensor) -> Any:
    y = x * 2
    return x, x.t(), x[1:], y, y


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("device", ["cpu", "nkipy"])
def test_what_is_returned_shares_memory_as_eagerly(device: str, dynamic: bool) -> None:
    function = compiled(_views, dynamic=dynamic)
    for rows in (3, 4):
        x = torch.randn(rows, 5).to(device)
        wanted, made = _views(x), function(x)
        assert made[0] is x and made[3] is made[4]
        for ours, theirs in zip(made, wanted, strict=True):
            assert_close(ours, theirs)
            assert ours.stride() == theirs.stride()
        assert made[1].data_ptr() == x.data_ptr()
        assert made[2].untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def test_nothing_and_numbers_are_returned() -> None:
    def run(x: torch.Tensor) -> Any:
        return None, 3, x.shape[0] * 2, {"a": x + 1, "b": [x.shape]}

    function = compiled(run, dynamic=True)
    for size in (2, 3, 9):
        x = torch.randn(size)
        assert_close(function(x), run(x))


def test_what_nothing_is_given_to_goes_where_torch_says() -> None:
    assert compiled(lambda: torch.arange(3.0))().device.type == "cpu"
    made = compiled(lambda x: (x + 1, torch.ones(3, device="nkipy")))(torch.ones(3))
    assert [x.device.type for x in made] == ["cpu", "nkipy"]
    assert compiled(lambda x: x.to("nkipy") * 2)(torch.ones(3)).device.type == "nkipy"
    x = torch.ones(3, device="nkipy")
    assert compiled(lambda x: (x * 2).cpu())(x).device.type == "cpu"


def test_outputs_that_stay_on_the_core_have_gradients() -> None:
    model = nn.Linear(3, 2)
    function = compiled(model, options={"keep_outputs_on_device": True})
    made = function(torch.ones(4, 3))
    assert made.device.type == "nkipy"
    made.sum().backward()
    assert model.weight.grad is not None
    assert_close(model.weight.grad, torch.full((2, 3), 4.0))


def test_constants_are_in_the_program() -> None:
    table = torch.arange(6.0)
    flags = torch.tensor([True, False, True])

    def run(x: torch.Tensor) -> torch.Tensor:
        return x * table[:3] + torch.tensor([1.0, 2.0, 3.0]) * flags

    check(run, torch.randn(3))


# -- operators that torch has other rules for ------------------------------------------
def test_higher_order_operations_run() -> None:
    def conditional(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))

    for x in (torch.ones(3), -torch.ones(3)):
        check(conditional, x)


def test_operators_that_write_run() -> None:
    @torch.library.custom_op("spiky_tests::add_into", mutates_args=("x",))
    def add_into(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.add_(y)
        return y * 2

    @add_into.register_fake
    def _(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(y)

    def run(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        z = add_into(x, y + 1)
        return z + x

    for dynamic in (False, True):
        x, y = torch.randn(4), torch.randn(4)
        ours = x.clone()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = compiled(run, dynamic=dynamic)(ours, y)
        assert_close(made, run(x, y))
        assert_close(ours, x)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return x.double() + 1


def _complex(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(torch.fft.fft(x * 2)) + 1


def _selected(x: torch.Tensor) -> torch.Tensor:
    return x[x > 0] * 2


def _places(x: torch.Tensor) -> torch.Tensor:
    return (x + 1).nonzero() + 1


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    ("run", "name"),
    [
        (_doubled, "_to_copy"),
        (_complex, "_fft"),
        (_selected, "aten.index"),
        (_places, "nonzero"),
    ],
)
def test_what_has_no_lowering_runs_eagerly(
    run: Callable[..., Any], name: str, dynamic: bool
) -> None:
    """With one warning for each operator, which has the user's line."""
    x = torch.randn(7)
    function = compiled(run, dynamic=dynamic)
    made, told = warned(lambda: function(x))
    assert_close(made, run(x))
    assert len([text for text in told if name in text]) == 1
    assert all(line_of(run) in text for text in told)
    for size in (3, 6) if dynamic else (7,):
        again, told = warned(lambda size=size: function(x[:size]))
        assert not told
        assert_close(again, run(x[:size]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "why"),
    [
        (_complex, "has complex numbers, which cores do not compute with"),
        (_places, "returns as many elements as its data says"),
        (lambda x: x * x.argmax().item(), "gives Python a number, for which it waits"),
        (
            lambda x: x[1:].as_strided((2,), (3,)) * 2,
            "takes elements by where they lie",
        ),
    ],
)
def test_the_warning_says_why_there_can_be_no_lowering(
    run: Callable[..., Any], why: str
) -> None:
    x = torch.arange(6.0)
    with torch._dynamo.config.patch(
        capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True
    ):
        made, told = warned(lambda: compiled(run)(x))
    assert_close(made, run(x))
    assert any(why in text for text in told)


def _strided(x: torch.Tensor) -> Any:
    y = x * 2
    return y.as_strided((3, 4), (2, 1), 1) + 1, y.as_strided((), (), 5) + 1


def test_elements_are_taken_by_strides_of_a_tensor_in_order() -> None:
    x = torch.arange(20.0).reshape(4, 5)
    made, told = warned(lambda: compiled(_strided)(x))
    assert not told
    assert_close(made, _strided(x))


@pytest.mark.slow
def test_gradients_of_elements_that_are_taken_by_strides() -> None:
    x = torch.randn(4, 5, requires_grad=True)
    wanted, made = (
        torch.autograd.grad(run(x)[0].sin().sum(), x)
        for run in (_strided, compiled(_strided))
    )
    assert_close(made, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[2:].as_strided((3,), (1,), 0),
        lambda x: x[:3].as_strided((5,), (1,)),
        lambda x: x[4:].as_strided((2,), (3,)),
        lambda x: x.view(2, 4)[:, 1:].as_strided((3,), (2,), storage_offset=0),
        lambda x: x.view(2, 4).split(2, 1)[1].as_strided((3,), (2,), 0),
        lambda x: (x.view(2, 4).t() * 2)[1:].as_strided((3,), (1,), 0),
    ],
)
def test_elements_around_a_view_are_taken(
    view: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """Of the tensor that the view is of, whether the graph makes that or is given."""

    def run(x: torch.Tensor) -> Any:
        return view(x * 2) + 1, view(x) - 1

    x = torch.arange(8.0)
    made, _ = warned(lambda: compiled(run)(x))
    assert_close(made, run(x))


@pytest.mark.slow
def test_elements_around_what_is_given_are_taken() -> None:
    whole = torch.arange(20.0)
    function = compiled(lambda x: x.as_strided((4,), (2,), 1) + 1)
    made, told = warned(lambda: function(whole[:2]))
    assert_close(made, torch.tensor([2.0, 4.0, 6.0, 8.0]))
    assert any("where they lie in memory" in text for text in told)


def test_what_has_no_lowering_may_be_an_error() -> None:
    function = compiled(_doubled, options={"unsupported": "error"})
    with pytest.raises(UnsupportedOperationError, match=line_of(_doubled)):
        function(torch.ones(2))


def test_numbers_that_depend_on_data_are_python_s() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        return x * x.sum().item()

    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        made, _ = warned(lambda: compiled(run)(torch.arange(4.0)))
    assert_close(made, torch.arange(4.0) * 6)


def test_whole_numbers_stay_as_wide() -> None:
    def run(x: torch.Tensor) -> Any:
        return x * x, x.sum(), x // 3, torch.arange(3) + x[0], x.argmax()

    check(run, torch.tensor([1 << 40, -(1 << 35), 12345678901]))


# -- random numbers --------------------------------------------------------------------
def test_a_seed_gives_the_same_numbers_again() -> None:
    function = compiled(lambda x: torch.rand_like(x) + torch.rand(400))
    x = torch.empty(400)
    torch.manual_seed(3)
    first, second = function(x), function(x)
    torch.manual_seed(3)
    assert_close(function(x), first)
    assert not torch.equal(first, second)


def test_numbers_are_distributed_as_they_should() -> None:
    def run(x: torch.Tensor) -> Any:
        return torch.rand_like(x), torch.randn_like(x), torch.bernoulli(x * 0 + 0.3)

    torch.manual_seed(0)
    even, normal, coin = compiled(run)(torch.zeros(20_000))
    assert 0 <= even.min() and even.max() < 1
    assert abs(float(even.mean()) - 0.5) < 0.01
    assert abs(float(even.var()) - 1 / 12) < 0.005
    assert abs(float(normal.mean())) < 0.03 and abs(float(normal.std()) - 1) < 0.03
    assert abs(float(coin.mean()) - 0.3) < 0.02 and coin.unique().tolist() == [0, 1]


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_gradient_has_the_mask_of_its_dropout(dynamic: bool) -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x * 2, 0.5).sin()

    function = compiled(run, dynamic=dynamic)
    masks = []
    for size in (200, 300):
        x = torch.rand(size).add_(0.1).requires_grad_()
        made = function(x)
        made.sum().backward()
        assert x.grad is not None
        kept = made != 0
        assert_close(made, torch.where(kept, (4 * x).sin(), 0))
        assert_close(x.grad, torch.where(kept, 4 * (4 * x).cos(), 0).detach())
        assert 0.3 < float(kept.float().mean()) < 0.7
        masks.append(kept[:200])
    assert not torch.equal(*masks)


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), "nkipy"]
)
def test_a_checkpoint_draws_once(device: str) -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x * x, 0.5)

    function = compiled(lambda x: checkpoint(run, x, use_reentrant=False))
    x = torch.full((200,), 3.0, device=device, requires_grad=True)
    made = function(x)
    made.sum().backward()
    assert x.grad is not None
    assert_close(x.grad.cpu(), torch.where(made.cpu() != 0, 12.0, 0.0))


# -- autograd --------------------------------------------------------------------------
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "AdamW foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=False),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_optimizers_are_compiled(name: str) -> None:
    torch.manual_seed(0)
    models = [nn.Linear(3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [OPTIMIZERS[name](model.parameters()) for model in models]
    steps = [
        torch.compile(optimizers[0].step, backend="nkipy"),
        optimizers[1].step,
    ]
    places = [p.data_ptr() for p in models[0].parameters()]
    for _ in range(4):
        x = torch.randn(5, 3)
        for model, step in zip(models, steps):
            model.zero_grad()
            model(x).square().sum().backward()
            step()
    for ours, theirs in zip(models[0].parameters(), models[1].parameters()):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert places == [p.data_ptr() for p in models[0].parameters()]


def test_gradients_are_added_up() -> None:
    function = compiled(lambda x: (x * x).exp())
    x = torch.rand(3, requires_grad=True)
    made = function(x)
    made.sum().backward(retain_graph=True)
    made.sum().backward()
    function(x).sum().backward()
    assert x.grad is not None
    assert_close(x.grad, (3 * 2 * x * (x * x).exp()).detach())


def test_grad_mode_is_heeded() -> None:
    model = nn.Linear(2, 2)
    function = compiled(model)
    x = torch.randn(3, 2)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            made, wanted = function(x), model(x)
        assert_close(made, wanted)
        assert made.requires_grad == wanted.requires_grad
        assert made.is_inference() == wanted.is_inference()


def test_dtypes_of_autocast_are_eager_s() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))

    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(x) @ x

    x = torch.randn(4, 4)
    made, wanted = compiled(run)(x), run(x)
    assert made.dtype == wanted.dtype == torch.bfloat16
    assert_close(made, wanted, rtol=2e-2, atol=2e-2)


def test_threads_share_a_function() -> None:
    function = compiled(lambda x, y: (x * y).sum(0), dynamic=True)
    y = torch.randn(3)
    function(torch.randn(2, 3), y)
    failures: list[BaseException] = []

    def run(first: int) -> None:
        try:
            for size in range(first, 20, 4):
                x = torch.full((size, 3), float(size))
                assert_close(function(x, y), size * size * y)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(2 + n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_forward_mode_gradients_are_not_lost() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        return x.sin() * 2

    function, x, tangent = compiled(run), torch.randn(3), torch.randn(3)
    assert_close(function(x), run(x))
    with forward_ad.dual_level(), pytest.warns(UserWarning, match="forward_ad"):
        made = forward_ad.unpack_dual(function(forward_ad.make_dual(x, tangent)))
    assert_close(made.primal, run(x))
    assert_close(made.tangent, 2 * x.cos() * tangent)


# -- mistakes --------------------------------------------------------------------------
def test_tensors_of_another_device_are_refused() -> None:
    with pytest.raises(Exception, match="meta"):
        compiled(lambda x: x + 1)(torch.ones(2, device="meta"))


def test_tensors_of_two_devices_are_refused_as_eagerly() -> None:
    with pytest.raises(Exception, match="(?i)device"):
        compiled(lambda x, y: x + y)(torch.ones(2), torch.ones(2, device="nkipy"))


def test_tensors_of_two_cores_are_refused() -> None:
    with FakeTensorMode():
        x, y, z = (torch.empty(1, device=d) for d in ("cpu", "nkipy:1", "nkipy:2"))
    assert graphs._core_of([x, 3, y]) == 1
    with pytest.raises(RuntimeError, match=r"one core: got cores \[1, 2\]"):
        graphs._core_of([x, y, z])


def test_a_size_above_all_buckets_is_refused() -> None:
    function = compiled(
        lambda x: x + 1, dynamic=True, options={"buckets": [4, 8], "jit": False}
    )
    assert_close(function(torch.ones(5)), torch.full((5,), 2.0))
    with pytest.raises(ValueError, match="9"):
        function(torch.ones(9))


# -- numbers that sizes make -----------------------------------------------------------
def test_numbers_of_sizes_are_not_those_of_the_first_call() -> None:
    """The gradient of a variance is a multiple of a float that depends on a size."""
    for strategy in ("power_of_2", "exact"):
        options = {"bucket_strategy": strategy}
        function = compiled(lambda x: x.var(1), dynamic=True, options=options)
        for size in (5, 3, 9):
            x = torch.randn(4, size, requires_grad=True)
            (ours,) = torch.autograd.grad(function(x).sum(), x)
            (theirs,) = torch.autograd.grad(x.var(1).sum(), x)
            assert_close(ours, theirs)


def test_floats_of_python_s_are_computed_on_the_host() -> None:
    """torch has them as tensors of float64, if everything is dynamic."""

    def run(x: torch.Tensor, scale: float) -> torch.Tensor:
        y = (x @ x.t()) * scale
        return torch.softmax(y / (y.size(-1) ** 0.5 * scale), -1)

    function = compiled(run, dynamic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size, scale in ((3, 0.5), (5, 0.25), (9, 1.5), (5, 3.0)):
            x = torch.randn(size, 4, requires_grad=True)
            made, truth = function(x, scale), run(x, scale)
            assert_close(made, truth)
            assert_close(*(torch.autograd.grad(y[0, 0], x) for y in (made, truth)))
    told = spiky.explain(function, torch.randn(7, 4, requires_grad=True), 0.75)
    assert [part.is_compiled for part in told.graphs[0].parts] == [True]
    assert any("the host computes numbers" in note for note in told.graphs[0].notes)


def test_a_size_that_depends_on_data_is_one_warning() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        return (x + 1)[x > 0] * 2

    x = torch.tensor([1.0, -1, 2])
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        made, told = warned(lambda: compiled(run)(x))
    assert_close(made, run(x))
    assert len(told) == 1 and line_of(run) in told[0]


def test_a_graph_is_on_one_core() -> None:
    """Also where it moves tensors itself."""
    if torch.nkipy.device_count() < 2:
        pytest.skip("there is one core")
    there = torch.ones(3, device="nkipy:1")
    assert compiled(lambda x: x.to("nkipy:1") + 1)(torch.ones(3)).device == there.device
    for run, x in (
        (lambda x: x.to("nkipy:0") + 1, there),
        (lambda x: (x.to("nkipy:0"), x.to("nkipy:1") + 1), torch.ones(3)),
    ):
        with pytest.raises(Exception, match=r"on one core: got cores \[0, 1\]"):
            compiled(run)(x)


@pytest.mark.parametrize("ends", [[0, 2, 2], [0, 2, 2, 6]])
def test_means_of_bags_on_the_device(ends: list[int]) -> None:
    # torch's shape rule has other sizes of what is counted there than on the CPU.
    bags = torch.nn.EmbeddingBag(
        10, 4, mode="mean", padding_idx=2, include_last_offset=len(ends) == 4
    )
    there = deepcopy(bags).to("nkipy")
    at, starts = torch.tensor([1, 9, 2, 4, 4, 0]), torch.tensor(ends)
    expected = bags(at, starts)
    expected.cos().sum().backward()
    out = torch.compile(there, backend="nkipy")(at.to("nkipy"), starts.to("nkipy"))
    out.cos().sum().backward()
    assert out.shape == (3, 4) and out.device.type == "nkipy"
    torch.testing.assert_close(out.cpu(), expected)
    torch.testing.assert_close(there.weight.grad.cpu(), bags.weight.grad)
