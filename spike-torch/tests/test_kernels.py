"""Kernels that are given torch's tensors on the device."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import spike_torch
from nkipy.core import dtypes as dt
from nkipy.core.errors import NKIPyValueError
from nkipy.execution import load
from nkipy.runtime import DeviceKernel, DeviceTensor, baremetal_jit, simulate_jit
from spike import SpikeTensor
from spike_torch.tensors import _BY_NUMPY

F32 = np.float32
#: Compilers refuse float8_e4m3fn for the chip that there is.
SHARED = [t for t in dt.SUPPORTED if t in _BY_NUMPY and t != dt.float8_e4m3fn]


def on_device(array: np.ndarray, device: str = "nkipy") -> torch.Tensor:
    """A tensor with the bytes of an array, whatever its dtype."""
    made = torch.empty(array.shape, dtype=_BY_NUMPY[array.dtype], device=device)
    SpikeTensor.copy_from(spike_torch.to_spike(made), array)
    return made


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return spike_torch.to_spike(tensor).numpy()


def add(x: Any, y: Any) -> Any:
    return x + y


def higher(x: Any) -> Any:
    return np.maximum(x, x[::-1]), x[1:]


def accumulate(total: Any, x: Any) -> Any:
    total += x
    return np.sum(x)


def loaded(func: Callable[..., Any], *shapes: tuple[int, ...]) -> DeviceKernel:
    return DeviceKernel.compile_and_load(func, *(np.zeros(s, F32) for s in shapes))


@pytest.fixture
def adder() -> DeviceKernel:
    return loaded(add, (3, 4), (3, 4))


def ones(*shape: int, **options: Any) -> torch.Tensor:
    return torch.ones(*shape, device="nkipy", **options)


# -- numbers ---------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", SHARED, ids=lambda dtype: dtype.name)
def test_the_same_numbers_in_every_way(dtype: np.dtype) -> None:
    x = np.random.default_rng(0).uniform(0, 50, (4, 3)).astype(dtype)
    expected = np.maximum(x, x[::-1]), x[1:]
    tensor = on_device(x)
    kernel = DeviceKernel.compile_and_load(higher, tensor)
    made = kernel({"x": tensor})
    ways = {
        "simulated": simulate_jit(higher)(x),
        "uploaded": baremetal_jit(higher)(x),
        "called": baremetal_jit(higher)(tensor),
        "loaded": (made["output0"], made["output1"]),
    }
    for way, results in ways.items():
        for result, right in zip(results, expected, strict=True):
            if way in ("called", "loaded"):
                assert type(result) is torch.Tensor and result.device == tensor.device
                assert result.dtype == _BY_NUMPY[dtype], way
                result = numbers(result)
            assert (result.dtype, result.shape) == (right.dtype, right.shape), way
            assert result.tobytes() == right.tobytes(), way


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 0), (1, 3, 1)])
def test_shapes(shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape), dtype=F32).reshape(shape)
    there = on_device(x) if x.size else torch.empty(shape, device="nkipy")
    made = baremetal_jit(lambda x: (x * 2, np.sum(x)))(there)
    assert [type(result) for result in made] == [torch.Tensor] * 2
    assert made[0].shape == shape and made[0].cpu().tolist() == (x * 2).tolist()
    assert made[1].item() == x.sum()


def test_what_calls_return(adder: DeviceKernel) -> None:
    there, array = ones(3, 4), np.full((3, 4), 2, F32)
    ours = DeviceTensor.from_numpy(array)
    for inputs in ({"x": there, "y": ours}, {"x": ours, "y": there}):
        (made,) = adder(inputs).values()
        assert type(made) is torch.Tensor and (made == 3).all()
    assert type(adder({"x": ours, "y": ours})["output0"]) is DeviceTensor
    jitted = baremetal_jit(add)
    assert type(jitted(there, array)) is torch.Tensor
    assert type(jitted(ours, array)) is np.ndarray
    (zeros,) = adder.allocate_output_tensors({"x": there, "y": there})
    assert type(zeros) is torch.Tensor and not zeros.any()
    assert type(adder.allocate_output_tensors()[0]) is DeviceTensor


def test_given_outputs_are_written() -> None:
    there, kernel = ones(3, 4), loaded(add, (3, 4), (3, 4))
    pool = torch.zeros(5, 3, 4, device="nkipy")
    for _ in range(3):  # the later ones are recognised
        pool.zero_()
        assert kernel({"x": there, "y": there}, {"output0": pool[2]}) is None
        kernel.execute_async({"x": there, "y": there}, {"output0": pool[4]}).wait()
        assert pool.sum(dim=(1, 2)).tolist() == [0, 0, 24, 0, 24]


def test_parts_of_a_tensor_are_used_where_they_are(adder: DeviceKernel) -> None:
    whole = torch.arange(48.0, device="nkipy").reshape(4, 3, 4)
    (made,) = adder({"x": whole[1], "y": whole[3]}).values()
    assert torch.equal(made.cpu(), (whole[1] + whole[3]).cpu())
    assert torch.equal(baremetal_jit(add)(whole[1], whole[3]).cpu(), made.cpu())


def test_an_argument_is_written_in_place() -> None:
    memory = torch.zeros(2, 3, 4, device="nkipy")
    jitted = baremetal_jit(accumulate)
    assert jitted(memory[1], ones(3, 4)).item() == 12
    assert memory.sum(dim=(1, 2)).tolist() == [0, 12]
    kernel = DeviceKernel.compile_and_load(accumulate, memory[1], memory[1])
    made = kernel({"total": (total := memory[1]), "x": ones(3, 4)})
    assert made["total"] is total and memory.sum(dim=(1, 2)).tolist() == [0, 24]
    with pytest.raises(NKIPyValueError, match="'total', which shares memory with"):
        jitted(memory[1], memory.view(-1)[6:18].view(3, 4))
    assert memory.sum(dim=(1, 2)).tolist() == [0, 24]


def test_on_memory_that_the_host_does_not_reach(by_transfers: None) -> None:
    memory = torch.zeros(2, 3, 4, device="nkipy")
    kernel = loaded(accumulate, (3, 4), (3, 4))
    made = kernel({"total": memory[1], "x": ones(3, 4)})
    assert made["output0"].item() == baremetal_jit(np.sum)(memory).item() == 12
    back = spike_torch.from_spike(DeviceTensor.from_torch(memory[1]).reshape(12))
    back.add_(1)
    assert memory.sum(dim=(1, 2)).tolist() == [0, 24]


def test_a_tensor_that_is_changed_is_not_taken_for_the_old_one(
    adder: DeviceKernel,
) -> None:
    x, y = ones(3, 4), ones(3, 4)
    expected = 2.0
    changes: list[Callable[[], Any]] = [
        lambda: None,
        lambda: x.set_(torch.full((3, 4), 5.0, device="nkipy")),
        lambda: setattr(x, "data", torch.full((3, 4), 7.0, device="nkipy")),
        lambda: (x.resize_(64, 64), x.fill_(3), x.resize_(3, 4)),
    ]
    jitted = baremetal_jit(add)
    for change, expected in zip(changes, (2.0, 6.0, 8.0, 4.0), strict=True):
        change()
        for made in (*adder({"x": x, "y": y}).values(), jitted(x, y)):
            assert (made == expected).all(), expected
        gc.collect()
    x.resize_(4, 3)
    with pytest.raises(ValueError, match=r"shape \[3, 4\], got \(4, 3\)"):
        adder({"x": x, "y": y})


def test_a_bound_call() -> None:
    from nkipy.compiler.build import BuildOptions, build
    from nkipy.core.trace import trace_function

    module = trace_function(add, (np.ones(4, F32), np.ones(4, F32)), {}).module
    program = load(build(module, BuildOptions(), "add"))
    x, made = ones(4), torch.zeros(4, device="nkipy")
    bound = program.bind({"x": x}, {"output0": made})
    for value in (1, 2):
        x.fill_(value)
        version = made._version
        assert bound({"y": np.ones(4, F32)})["output0"] is made
        assert made.tolist() == [value + 1] * 4 and made._version == version + 1
    x.requires_grad_()
    with pytest.raises(RuntimeError, match="that requires grad"):
        bound({"y": np.ones(4, F32)})


# -- autograd --------------------------------------------------------------------------
def test_a_tensor_that_requires_grad_is_refused(adder: DeviceKernel) -> None:
    x, y = ones(3, 4), ones(3, 4)
    adder({"x": x, "y": y})
    x.requires_grad_()  # the call is known already
    jitted = baremetal_jit(add)
    for call in (
        lambda: adder({"x": x, "y": y}),
        lambda: adder({"x": x * 2, "y": y}),
        lambda: jitted(x, y),
        lambda: DeviceTensor.from_torch(x),
        lambda: spike_torch.to_spike(x),
    ):
        with pytest.raises(RuntimeError, match="requires grad.*detach"):
            call()
    with torch.no_grad():
        assert (adder({"x": x, "y": y})["output0"] == 2).all()
    assert (adder({"x": x.detach(), "y": y})["output0"] == 2).all()


@pytest.mark.parametrize("way", ["called", "loaded", "started", "shared"])
def test_autograd_notices_what_a_kernel_writes(way: str) -> None:
    weights = ones(3, 4)
    factor = ones(3, 4, requires_grad=True)
    saved = (factor * weights).sum()
    kernel = loaded(accumulate, (3, 4), (3, 4))
    inputs = {"total": weights, "x": ones(3, 4)}
    if way == "called":
        baremetal_jit(accumulate)(weights, ones(3, 4))
    elif way == "loaded":
        kernel(inputs)
    elif way == "started":
        outputs = {"total": weights, "output0": torch.zeros((), device="nkipy")}
        kernel.execute_async(inputs, outputs).wait()
    else:
        baremetal_jit(accumulate)(DeviceTensor.from_torch(weights), ones(3, 4))
    assert (weights == 2).all()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.backward()


def test_a_leaf_is_written_without_grad_only() -> None:
    leaf = torch.nn.Parameter(ones(3, 4))
    jitted, version = baremetal_jit(accumulate), leaf._version
    with pytest.raises(RuntimeError, match="that requires grad"):
        jitted(leaf, ones(3, 4))
    assert (leaf == 1).all() and leaf._version == version
    with torch.no_grad():
        jitted(leaf, ones(3, 4))
    assert (leaf == 2).all() and leaf._version == version + 1
    with torch.inference_mode():
        inferred = ones(3, 4)
    jitted(inferred, ones(3, 4))
    assert (inferred == 2).all()


@pytest.fixture(scope="module")
def dense_kernels() -> tuple[DeviceKernel, DeviceKernel]:
    """``tanh(x @ w)``, and the gradients by ``x`` and ``w``."""
    forward = loaded(lambda x, w: np.tanh(x @ w), (3, 4), (4, 2))
    backward = loaded(
        lambda g, y, x, w: ((g * (1 - y * y)) @ w.T, x.T @ (g * (1 - y * y))),
        *((3, 2), (3, 2), (3, 4), (4, 2)),
    )
    return forward, backward


def check_gradients(dense: Callable[..., torch.Tensor]) -> None:
    x, w = torch.randn(3, 4), torch.randn(4, 2)
    there = [t.to("nkipy").requires_grad_() for t in (x, w)]
    here = [t.requires_grad_() for t in (x, w)]
    made, right = dense(*there), torch.tanh(here[0] @ here[1])
    torch.testing.assert_close(made.cpu(), right)
    made.square().sum().backward()
    right.square().sum().backward()
    for tensor, expected in zip(there, here):
        assert tensor.grad is not None and tensor.grad.device.type == "nkipy"
        torch.testing.assert_close(tensor.grad.cpu(), expected.grad)


def test_a_function_of_kernels_with_gradients(
    dense_kernels: tuple[DeviceKernel, DeviceKernel],
) -> None:
    forward, backward = dense_kernels

    class Dense(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> Any:
            made = forward({"x": x, "w": w})["output0"]
            ctx.save_for_backward(made, x, w)
            return made

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> Any:
            names = zip("yxw", ctx.saved_tensors)
            return tuple(backward({"g": g.contiguous(), **dict(names)}).values())

    check_gradients(Dense.apply)


@pytest.mark.slow  # of seconds that torch takes to import
def test_an_operator_of_kernels_with_gradients(
    dense_kernels: tuple[DeviceKernel, DeviceKernel],
) -> None:
    forward, backward = dense_kernels

    @torch.library.custom_op("test_kernels::dense", mutates_args=())
    def dense(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return forward({"x": x, "w": w})["output0"]

    @torch.library.custom_op("test_kernels::add_to", mutates_args=["total"])
    def add_to(total: torch.Tensor, x: torch.Tensor) -> None:
        baremetal_jit(accumulate)(total, x)

    @dense.register_fake
    def _(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return x.new_empty(x.shape[0], w.shape[1])

    def gradients(ctx: Any, g: torch.Tensor) -> Any:
        y, x, w = ctx.saved_tensors
        made = backward({"g": g.contiguous(), "y": y, "x": x, "w": w})
        return made["output0"], made["output1"]

    dense.register_autograd(
        gradients,
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(
            output, *inputs
        ),
    )
    check_gradients(dense)
    total = ones(3, 4)
    torch.ops.test_kernels.add_to(total, ones(3, 4))
    assert (total == 2).all() and total._version > 0
    there = [torch.randn(3, 4, device="nkipy"), torch.randn(4, 2, device="nkipy")]
    tests = "test_schema", "test_faketensor"
    torch.library.opcheck(
        dense, tuple(t.requires_grad_() for t in there), test_utils=tests
    )


@pytest.mark.slow  # as that one
def test_the_examples_of_the_guide() -> None:
    page = Path(__file__).parents[2] / "docs/user_guide/device.md"
    if not page.exists():
        pytest.skip("the package is not in its workspace")
    (section,) = re.findall(
        "^## Torch tensors\n(.*?)^## ", page.read_text(), re.M | re.S
    )
    blocks = re.findall("^```py\n(.*?)^```", section, re.M | re.S)
    assert len(blocks) == 2
    names: dict[str, Any] = {"np": np, "DeviceTensor": DeviceTensor}

    def step(weights: Any, gradient: Any, rate: float) -> Any:
        weights -= rate * gradient
        return np.sum(np.abs(weights))

    names |= {"DeviceKernel": DeviceKernel, "step": baremetal_jit(step)}
    for block in blocks:
        exec(block, names)
    assert names["weights"].tolist() == [[0.75] * 4] * 4


# -- what is refused -------------------------------------------------------------------
def test_tensors_of_transforms(adder: DeviceKernel) -> None:
    x = ones(3, 4)
    calls: list[Callable[[], Any]] = [
        lambda: torch.vmap(lambda x: adder({"x": x, "y": x}))(ones(2, 3, 4)),
        lambda: torch.func.grad(lambda x: adder({"x": x, "y": x}))(x),
        lambda: torch.func.functionalize(lambda x: adder({"x": x, "y": x}))(x),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="has no memory that a kernel could use"):
            call()
    assert (adder({"x": x, "y": x})["output0"] == 2).all()


@pytest.mark.slow  # of seconds that torch takes to import
def test_fake_tensors(adder: DeviceKernel) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.empty(3, 4, device="nkipy")
    calls: list[Callable[[], Any]] = [
        lambda: adder({"x": fake, "y": fake}),
        lambda: baremetal_jit(add)(fake, fake),
        lambda: DeviceTensor.from_torch(fake),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="FakeTensor .* no memory that a kernel"):
            call()


def test_tensors_that_are_elsewhere(adder: DeviceKernel, two_cores: None) -> None:
    x, jitted = ones(3, 4), baremetal_jit(add)
    far = x.to("nkipy:1")
    with pytest.raises(ValueError, match="got model core_id 0 and tensor core_id 1"):
        adder({"x": x, "y": far})
    with pytest.raises(ValueError, match="'y' is on core 1, but the kernel runs on co"):
        jitted(x, far)
    there = DeviceKernel.compile_and_load(add, far, far, core_id=1)
    inputs = {"x": far, "y": far}
    for made in (baremetal_jit(add, core_id=1)(far, far), there(inputs)["output0"]):
        assert made.device == far.device and (made == 2).all()
    shared = DeviceTensor.from_torch(far)
    assert shared.core_id == 1 and shared.torch().device == far.device
    with pytest.raises(ValueError, match="is on core 1, and cannot share .* core 0"):
        DeviceTensor.from_torch(far, core_id=0)
    load_for = DeviceKernel.compile_and_load
    for device in ("cpu", "meta"):
        other = torch.ones(3, 4, device=device)
        for call in (jitted, partial(load_for, add)):
            for arguments in ((x, other), (other, other)):
                with pytest.raises(TypeError, match=f"a Tensor on {device}, and kern"):
                    call(*arguments)
        with pytest.raises(TypeError, match=f"SpikeTensor, got Tensor on {device}"):
            adder({"x": x, "y": other})


def test_tensors_that_do_not_fit(adder: DeviceKernel) -> None:
    x, jitted = ones(3, 4), baremetal_jit(add)
    strided = [ones(4, 3).t(), ones(3, 8)[:, ::2], ones(1, 4).expand(3, 4)]
    for other in strided:
        with pytest.raises(ValueError, match="contiguous elements, got strides"):
            adder({"x": x, "y": other})
        with pytest.raises(ValueError, match="'y' has strides .* contiguous copy"):
            jitted(x, other)
        with pytest.raises(ValueError, match=r"no one piece of memory: call .contig"):
            DeviceTensor.from_torch(other)
    with pytest.raises(ValueError, match="dtype float32, got int32"):
        adder({"x": x, "y": x.to(torch.int32)})
    wide = x.to(torch.int64)
    with pytest.raises(ValueError, match=r"int64\[3, 4\] on the device, but .* int32"):
        jitted(wide, wide)
    with pytest.raises(TypeError, match="kernels have no int64"):
        DeviceTensor.from_torch(wide)
    turned = torch.ones(3, 4, dtype=torch.complex64, device="nkipy").conj()
    for other in (turned, turned.imag):
        with pytest.raises(RuntimeError, match="bit set in a kernel.*resolve_"):
            adder({"x": x, "y": other})
    with pytest.raises(TypeError, match="NumPy has no dtype torch.complex32"):
        adder({"x": x, "y": torch.empty(3, 4, dtype=torch.complex32, device="nkipy")})
    with pytest.raises(TypeError, match="unsupported dtype complex64"):
        baremetal_jit(add)(turned.resolve_conj(), turned.resolve_conj())
    small = ones(3, 4)
    small.untyped_storage().resize_(8)
    with pytest.raises(RuntimeError, match="has 48 bytes .*, and its storage 8"):
        adder({"x": x, "y": small})


def test_a_result_of_a_dtype_that_torch_lacks() -> None:
    kernel = DeviceKernel.compile_and_load(
        lambda x: x.astype(ml_dtypes.float8_e4m3), np.ones(4, F32)
    )
    with pytest.raises(TypeError, match="torch has no dtype float8_e4m3"):
        kernel({"x": ones(4)})
    made = DeviceTensor.empty(4, ml_dtypes.float8_e4m3)
    kernel({"x": ones(4)}, {"output0": made})
    assert made.numpy().astype(F32).tolist() == [1] * 4


# -- who keeps memory ------------------------------------------------------------------
def test_an_execution_keeps_its_tensors(adder: DeviceKernel) -> None:
    from nkipy.execution.device_arrays import _STARTED

    _STARTED.clear()
    made = torch.zeros(3, 4, device="nkipy")
    running = adder.execute_async({"x": ones(3, 4), "y": ones(3, 4)}, {"output0": made})
    (kept,) = (arrays for _, arrays in _STARTED.values())
    assert len(kept) == 3
    running.wait()
    ours = DeviceTensor.zeros((3, 4))
    adder.execute_async({"x": ours, "y": ours}, {"output0": ours.reshape(3, 4)}).wait()
    del kept
    adder.execute_async({"x": made, "y": made}, {"output0": ones(3, 4)}).wait()
    assert len(_STARTED) == 1 and (made == 2).all()


def test_memory_goes_with_its_tensor(adder: DeviceKernel) -> None:
    x, y = ones(3, 4), ones(3, 4)
    adder({"x": x, "y": y})
    gc.collect()  # of earlier tests
    before = torch.nkipy.memory_allocated()
    made = [torch.ones(3, 4, device="nkipy") for _ in range(8)]
    for tensor in made:
        adder({"x": tensor, "y": y})
    del made, tensor
    gc.collect()
    assert torch.nkipy.memory_allocated() == before


def test_a_runtime_that_was_closed(adder: DeviceKernel) -> None:
    x = ones(3, 4)
    adder({"x": x, "y": x})
    shared = DeviceTensor.from_torch(x)
    spike_torch.reset()
    with pytest.raises(RuntimeError, match="closed|unloaded|freed"):
        adder({"x": x, "y": x})
    jitted = baremetal_jit(add)
    with pytest.raises(RuntimeError, match="closed|freed"):
        jitted(x, x)
    with pytest.raises(RuntimeError, match="closed|freed"):
        shared.numpy()
    with pytest.raises(RuntimeError, match="was freed"):
        shared.torch()
    x.data = ones(3, 4)
    assert (jitted(x, x) == 2).all()


def test_shared_memory_stays_where_it_is() -> None:
    for way in (DeviceTensor.from_torch, spike_torch.to_spike):
        there = ones(3, 4)
        shared = way(there)
        for grow in (lambda t: t.resize_(64, 64), lambda t: t.set_(ones(5))):
            try:
                grow(there)
            except RuntimeError as error:
                assert "not resizable" in str(error)
        assert (shared.numpy() == 1).all()


# -- NKI kernels -----------------------------------------------------------------------
def nki_kernels() -> tuple[Any, Any]:
    nki = pytest.importorskip("nki")
    import nki.isa as nisa
    import nki.language as nl

    @nki.jit
    def double(x: Any) -> Any:
        made = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x)
        nisa.tensor_tensor(dst=tile, data1=tile, data2=tile, op=nl.add)
        nisa.dma_copy(dst=made, src=tile)
        return made

    @nki.jit
    def add_to(total: Any, x: Any) -> Any:
        tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
        other = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x)
        nisa.dma_copy(dst=other, src=total)
        nisa.tensor_tensor(dst=tile, data1=tile, data2=other, op=nl.add)
        nisa.dma_copy(dst=total, src=tile)
        return total

    return double, add_to


@pytest.mark.parametrize("dtype", [F32, ml_dtypes.bfloat16, np.int32])
def test_an_nki_kernel(dtype: Any) -> None:
    double, _ = nki_kernels()
    x = np.arange(32).reshape(4, 8).astype(dtype)
    there = on_device(x)
    for argument in (there, on_device(np.ascontiguousarray(x.T)).t()):
        made = double(argument)
        assert type(made) is torch.Tensor and made.device == there.device
        assert numbers(made).dtype == dtype
        assert numbers(made).tobytes() == (x + x).tobytes()
    inside = baremetal_jit(lambda x: double(x) + x)
    assert numbers(inside(there)).tobytes() == (x + x + x).tobytes()


@pytest.mark.parametrize("made_of", [torch.Tensor, DeviceTensor])
def test_an_nki_kernel_writes_its_argument(made_of: Any) -> None:
    _, add_to = nki_kernels()
    whole = torch.zeros(2, 4, 8, device="nkipy")
    total = whole[1] if made_of is torch.Tensor else DeviceTensor.from_torch(whole[1])
    version, x = whole._version, ones(4, 8)
    assert add_to(total, x) is total
    assert whole.sum(dim=(1, 2)).tolist() == [0, 32]
    assert whole._version == version + 1 and x._version == 0
    columns = torch.zeros(4, 16, device="nkipy")
    add_to(columns[:, ::2], x)
    assert columns.sum(dim=0).tolist() == [4, 0] * 8
    with pytest.raises(Exception, match="shares memory with the argument"):
        add_to(whole[1], whole.view(-1)[32:].view(4, 8))
    with pytest.raises(RuntimeError, match="that requires grad"):
        add_to(ones(4, 8, requires_grad=True), x)


@pytest.mark.parametrize("mode", ["auto", "baremetal", "simulation", "torchxla"])
def test_a_first_generation_kernel(mode: str) -> None:
    nki = pytest.importorskip("neuronxcc.nki")
    import neuronxcc.nki.language as nl

    @nki.jit(mode=mode)
    def double(x: Any, also: Any) -> Any:
        made = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nl.store(made, nl.load(x) * 2)
        return made

    x = torch.arange(32.0, device="nkipy").reshape(4, 8)
    for also in (x.clone(), np.ones((4, 8), F32), torch.ones(4, 8)):
        made = double(x, also)
        assert made.device == x.device and torch.equal(made.cpu(), x.cpu() * 2)
    with pytest.raises(Exception, match="is on the device meta"):
        double(x, torch.empty(4, 8, device="meta"))
    with pytest.raises(Exception, match="int64 is a type of scalars"):
        double(x, x.to(torch.int64))
