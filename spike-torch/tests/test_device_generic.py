"""Tests in torch's own template of tests that are for any device, made for "nkipy".

torch's own tests of this kind (of its source tree: they are not in its wheel) run in
the same way, with ``PYTORCH_TESTING_DEVICE_ONLY_FOR=nkipy`` or
``instantiate_device_type_tests(..., only_for="nkipy")``.
"""

from __future__ import annotations

import unittest
from itertools import islice
from typing import Any

import pytest
import torch
from torch.testing import make_tensor
from torch.testing._internal.common_device_type import (
    deviceCountAtLeast,
    dtypes,
    instantiate_device_type_tests,
    onlyCPU,
    onlyNativeDeviceTypes,
    onlyPRIVATEUSE1,
    ops,
    precisionOverride,
    skipCPUIf,
    skipPRIVATEUSE1,
)
from torch.testing._internal.common_dtype import (
    all_types_and_complex_and,
    floating_types_and,
)
from torch.testing._internal.common_methods_invocations import (
    binary_ufuncs,
    reduction_ops,
    unary_ufuncs,
)
from torch.testing._internal.common_modules import module_db, modules
from torch.testing._internal.common_optimizers import optim_db, optims
from torch.testing._internal.common_utils import TestCase, parametrize

pytestmark = pytest.mark.filterwarnings("ignore")
#: Without torch's references in Python, which are not the device's.
_BINARY, _UNARY, _REDUCTIONS = (
    [op for op in found if not op.name.startswith("_refs")]
    for found in (binary_ufuncs, unary_ufuncs, reduction_ops)
)
#: What NumPy's function takes others than, or by other defaults.
_OTHER_ARGUMENTS = ("hash_tensor", "std", "var", "std.unbiased", "var.unbiased")
ALL_DTYPES = all_types_and_complex_and(torch.bool, torch.half, torch.bfloat16)


def placed_on(index: Any, device: str) -> Any:
    """Indices, their tensors on a device."""
    if isinstance(index, tuple):
        return tuple(placed_on(part, device) for part in index)
    return index.to(device) if isinstance(index, torch.Tensor) else index


def drawn(op: Any, device: str, dtype: torch.dtype, most: int) -> list[Any]:
    """Samples of torch's database."""
    torch.manual_seed(0)
    # Not op.sample_inputs: for messages it reads the source of each frame on the stack.
    return list(islice(op.sample_inputs_func(op, device, dtype, False), most))


class TestTensors(TestCase):
    """Constructors, views, indexing, writing, promotion, gradients."""

    @dtypes(*ALL_DTYPES)
    def test_constructors(self, device: str, dtype: torch.dtype) -> None:
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        for made in (
            torch.zeros(2, 3, **options),
            torch.ones(2, 3, **options).logical_not_(),
            torch.full((2, 3), 0, **options),
            torch.tensor([[0] * 3] * 2, **options),
            torch.empty(2, 3, **options).zero_(),
            torch.empty_strided((2, 3), (1, 2), **options).fill_(0),
            torch.zeros(1, **options).new_zeros(2, 3),
            torch.zeros_like(torch.ones(2, 3, **options)),
        ):
            self.assertEqual(made.device, torch.device(device))
            self.assertEqual(made, torch.zeros(2, 3, dtype=dtype), exact_device=False)
        self.assertEqual(torch.eye(3, **options).sum().item(), 3)

    @dtypes(torch.int64, torch.float32)
    def test_ranges(self, device: str, dtype: torch.dtype) -> None:
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.assertEqual(torch.arange(1, 9, 3, **options).tolist(), [1, 4, 7])
        self.assertEqual(torch.linspace(0, 4, 3, **options).tolist(), [0, 2, 4])
        self.assertEqual(torch.tril_indices(2, 2, device=device).shape, (2, 3))

    @dtypes(*ALL_DTYPES)
    @parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
    def test_views(self, device: str, dtype: torch.dtype, order: tuple) -> None:
        host = make_tensor((3, 4, 5), device="cpu", dtype=dtype)
        there = host.to(device)
        base = there.data_ptr()
        for view in (
            lambda t: t.permute(order),
            lambda t: t.permute(order)[1:, ::2],
            lambda t: t.permute(order).unsqueeze(1).expand(-1, 2, -1, -1),
            lambda t: t.unfold(2, 2, 2),
            lambda t: t.diagonal(0, 0, 1),
            lambda t: t.view(12, 5).t(),
            lambda t: t.movedim(0, 2).select(0, 1),
            lambda t: t.unflatten(1, (2, 2)).chunk(2, 1)[1],
        ):
            ours, theirs = view(there), view(host)
            self.assertEqual(ours.stride(), theirs.stride())
            self.assertEqual(ours.storage_offset(), theirs.storage_offset())
            self.assertEqual(ours.untyped_storage().data_ptr(), base)
            self.assertEqual(ours, theirs, exact_device=False)
            self.assertEqual(
                ours.contiguous(memory_format=torch.contiguous_format),
                theirs,
                exact_device=False,
            )

    @dtypes(*ALL_DTYPES)
    def test_indexing(self, device: str, dtype: torch.dtype) -> None:
        host = make_tensor((5, 6), device="cpu", dtype=dtype)
        there = host.to(device)
        rows, mask = torch.tensor([4, 0, 2]), torch.arange(5) % 2 == 0
        for index in (
            2,
            (slice(1, 4), -1),
            (..., slice(None, None, 2)),
            (None, rows),
            (rows, rows),
            mask,
            (mask, 1),
            (rows[:, None], rows),
        ):
            placed = placed_on(index, device)
            for given in (index, placed):  # indices may lie on the CPU as well
                self.assertEqual(there[given], host[index], exact_device=False)
            written, expected = there.clone(), host.clone()
            written[placed] = 1
            expected[index] = 1
            self.assertEqual(written, expected, exact_device=False)
            written[placed] = there[placed]
            expected[index] = host[index]
            self.assertEqual(written, expected, exact_device=False)
        self.assertEqual(
            there.take_along_dim(rows.to(device)[:, None], 0),
            host.take_along_dim(rows[:, None], 0),
            exact_device=False,
        )

    @dtypes(torch.float32, torch.int32)
    def test_accumulating(self, device: str, dtype: torch.dtype) -> None:
        index = torch.tensor([1, 1, 0], device=device)
        ones = torch.ones(3, device=device, dtype=dtype)
        made = torch.zeros(3, device=device, dtype=dtype)
        made.index_put_((index,), ones, accumulate=True)
        self.assertEqual(made.tolist(), [1, 2, 0])
        made.index_add_(0, index, ones, alpha=2).scatter_add_(0, index, ones)
        self.assertEqual(made.tolist(), [4, 8, 0])

    @dtypes(*floating_types_and(torch.half, torch.bfloat16))
    def test_writing_in_place_to_strided_views(
        self, device: str, dtype: torch.dtype
    ) -> None:
        host = make_tensor((4, 6), device="cpu", dtype=dtype, low=1, high=2)
        there = host.to(device)
        for tensor in (host, there):
            other = torch.ones(4, 3, device=tensor.device, dtype=dtype)
            tensor[:, 1:4].add_(other).mul_(2).clamp_(max=5)
            tensor.t()[::2].neg_().sqrt_().nan_to_num_(3)
            tensor[:, ::2].cumsum_(0)
            tensor[1:3].zero_()
            tensor.t()[1].copy_(torch.arange(4, device=tensor.device))
        self.assertEqual(there, host, exact_device=False)

    @dtypes(torch.float32, torch.complex64, torch.int64)
    def test_out(self, device: str, dtype: torch.dtype) -> None:
        host = make_tensor((3, 4), device="cpu", dtype=dtype)
        there = host.to(device)
        for shape in ((3, 3), (0,)):
            out = torch.empty(shape, device=device, dtype=dtype)
            found = torch.mm(there, there.t(), out=out)
            self.assertTrue(found is out)
            self.assertEqual(out, host @ host.t(), exact_device=False)
        buffer = torch.zeros(6, 8, device=device, dtype=dtype)
        torch.add(there, there, alpha=3, out=buffer[::2, ::2])
        self.assertEqual(buffer[::2, ::2], host + 3 * host, exact_device=False)
        self.assertEqual(buffer[1::2].abs().sum().item(), 0)
        self.assertEqual(buffer[:, 1::2].abs().sum().item(), 0)

    @dtypes(*ALL_DTYPES)
    def test_type_promotion(self, device: str, dtype: torch.dtype) -> None:
        host = make_tensor((3,), device="cpu", dtype=dtype, low=0, high=2)
        for other in ALL_DTYPES:
            theirs = torch.ones(3, dtype=other)
            for scalar in (theirs, theirs[0], 2, 2.0):
                wanted = torch.mul(host, scalar)
                placed = placed_on(scalar, device)
                found = torch.mul(host.to(device), placed)
                self.assertEqual(found.dtype, wanted.dtype)
                self.assertEqual(found, wanted, exact_device=False)
        self.assertEqual(
            torch.result_type(host.to(device), 1.0).is_complex, (dtype.is_complex)
        )

    @dtypes(torch.float64)
    def test_gradients(self, device: str, dtype: torch.dtype) -> None:
        given = make_tensor((3, 4), device=device, dtype=dtype, requires_grad=True)

        def function(x: torch.Tensor) -> torch.Tensor:
            return (x[:, ::2].t() @ x[:, 1::2]).tanh().cumsum(0)

        self.assertTrue(torch.autograd.gradcheck(function, (given,)))
        self.assertTrue(torch.autograd.gradgradcheck(function, (given,)))
        leaf = torch.ones(3, device=device, dtype=dtype, requires_grad=True)
        with self.assertRaisesRegex(RuntimeError, "a leaf Variable that requires grad"):
            leaf.add_(1)

    @deviceCountAtLeast(2)
    def test_two_devices(self, devices: list[str]) -> None:
        first, second = (torch.ones(2, device=device) for device in devices[:2])
        with self.assertRaisesRegex(RuntimeError, "two devices"):
            first + second
        self.assertEqual((first + second.to(devices[0])).tolist(), [2, 2])

    @onlyPRIVATEUSE1
    def test_this_is_the_device(self, device: str) -> None:
        self.assertEqual(torch.device(device).type, "nkipy")

    @skipPRIVATEUSE1
    def test_never_here(self, device: str) -> None:
        self.fail(f"called for {device}")

    @onlyCPU
    def test_nor_here(self, device: str) -> None:
        self.fail(f"called for {device}")

    @skipCPUIf(True, "is of the CPU")
    @onlyNativeDeviceTypes
    def test_native(self, device: str) -> None:
        self.assertEqual(torch.ones((), device=device).item(), 1)

    @precisionOverride({torch.half: 1e-1})
    @dtypes(torch.half)
    def test_precision(self, device: str, dtype: torch.dtype) -> None:
        self.assertEqual(torch.ones((), device=device, dtype=dtype).item(), 1.05)


class TestDatabases(TestCase):
    """The template's ways to have a test for each entry of torch's databases."""

    @ops(_UNARY, allowed_dtypes=[torch.float32])
    def test_of_noncontiguous(self, device: str, dtype: torch.dtype, op: Any) -> None:
        for sample in drawn(op, device, dtype, 2):
            plain = op(sample.input, *sample.args, **sample.kwargs)
            spread = sample.noncontiguous()
            found = op(spread.input, *spread.args, **spread.kwargs)
            self.assertEqual(found, plain)

    @ops(_BINARY, allowed_dtypes=[torch.float32, torch.int64])
    def test_of_numbers(self, device: str, dtype: torch.dtype, op: Any) -> None:
        """A tensor of one number may lie on the CPU."""
        for sample in drawn(op, device, dtype, 1):
            other = sample.args[0]
            if not isinstance(other, torch.Tensor) or not other.numel():
                continue
            number = other.flatten()[0]
            there = op(sample.input, number, *sample.args[1:], **sample.kwargs)
            host = op(sample.input, number.cpu(), *sample.args[1:], **sample.kwargs)
            self.assertEqual(host, there)

    @ops(_REDUCTIONS, allowed_dtypes=[torch.float32])
    def test_of_references(self, device: str, dtype: torch.dtype, op: Any) -> None:
        if op.ref is None or op.name in _OTHER_ARGUMENTS or "masked" in op.name:
            self.skipTest("NumPy has none that takes the same arguments")
        for sample in drawn(op, device, dtype, 2):
            found = op(sample.input, *sample.args, **sample.kwargs)
            self.assertEqual(found.device.type, torch.device(device).type)
            array = sample.input.cpu().numpy()
            expected = torch.as_tensor(op.ref(array, *sample.args, **sample.kwargs))
            self.assertEqual(found.cpu(), expected.to(found.dtype))

    @unittest.skipUnless(optim_db, "torch has none")
    @optims(optim_db, dtypes=[torch.float32])
    def test_optimizers(self, device: str, dtype: torch.dtype, optim_info: Any) -> None:
        if optim_info.only_supports_sparse_grads:
            self.skipTest("its gradients are of a sparse layout")
        for given in optim_info.optim_inputs_func(device=device)[:2]:
            weight = torch.ones(3, 2, device=device, dtype=dtype, requires_grad=True)
            optimizer = optim_info.optim_cls([weight], **given.kwargs)

            def closure(weight: torch.Tensor = weight) -> torch.Tensor:
                weight.grad = torch.ones_like(weight)
                return weight.sum()

            optimizer.step(closure)
            self.assertFalse(bool(weight.isnan().any()))

    @modules(module_db[::9], allowed_dtypes=[torch.float32])
    def test_modules(
        self, device: str, dtype: torch.dtype, module_info: Any, training: bool
    ) -> None:
        given = module_info.module_inputs_func(
            module_info,
            device=device,
            dtype=dtype,
            requires_grad=False,
            training=training,
        )[0]
        made = given.constructor_input
        module = module_info.module_cls(*made.args, **made.kwargs)
        module.to(device=device, dtype=dtype).train(training)
        given = given.forward_input
        out = module(*given.args, **given.kwargs)
        first = out[0] if isinstance(out, tuple) else out
        self.assertEqual(first.device.type, torch.device(device).type)


instantiate_device_type_tests(TestTensors, globals(), only_for="nkipy")
instantiate_device_type_tests(TestDatabases, globals(), only_for="nkipy")


def test_the_template_makes_tests_of_the_device_alone() -> None:
    for name, cases in globals().items():
        if name.startswith(("TestTensors", "TestDatabases")):
            tests = [test for test in dir(cases) if test.startswith("test_")]
            assert len(tests) > 50
            assert [test for test in tests if "_cpu" in test] == []
