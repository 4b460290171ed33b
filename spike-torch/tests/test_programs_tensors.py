"""Functions of compiled programs: where tensors are, and what is written into."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spike_torch
from spike_torch import programs
from spike_torch.programs import (
    Function,
    Input,
    PowersOfTwo,
    Result,
    Returned,
    Variant,
)

from .program_functions import F32, N, accumulated, doubled, program, random, static

pytestmark = pytest.mark.usefixtures("filled_padding")


@pytest.mark.parametrize("form", ["plain", "view", "strided", "padded", "host"])
def test_what_is_written_into_is_the_arguments(reach: None, form: str) -> None:
    function = accumulated(2 if form != "padded" else N)
    if form == "plain":
        base = random(2, 3)
        total = base
    elif form == "view":
        base = random(4, 3)
        total = base[1:3]
    elif form == "strided":
        base = random(3, 4)
        total = base.t()[::2]
    elif form == "padded":
        base = random(7, 3)
        total = base[1:6]
    else:
        base = torch.randn(5, 3)
        total = base[2:4]
    expected = base.cpu().clone()
    place = {
        "plain": expected,
        "view": expected[1:3],
        "strided": expected.t()[::2],
        "padded": expected[1:6],
        "host": expected[2:4],
    }[form]
    x = random(*total.shape)
    version = total._version
    same, twice = function([total, x])
    place += x.cpu()
    assert same is total and total._version > version
    assert torch.equal(base.cpu(), expected)
    assert torch.equal(twice.cpu(), 2 * x.cpu())


def test_who_shares_memory_with_what_is_written_has_what_was_there(reach: None) -> None:
    function = accumulated(2)
    base = random(3, 3)
    before = base.cpu().clone()
    _, twice = function([base[:2], base[1:]])
    assert torch.equal(base.cpu()[:2], before[:2] + before[1:])
    assert torch.equal(base.cpu()[2], before[2])
    assert torch.equal(twice.cpu(), 2 * before[1:])
    total = random(2, 3)
    before = total.cpu().clone()
    _, twice = function([total, total])
    assert torch.equal(total.cpu(), 2 * before)
    assert torch.equal(twice.cpu(), 2 * before)


def test_results_are_where_the_first_tensor_is_unless_told(reach: None) -> None:
    x, y = torch.randn(2, 3), random(2, 3)
    expected = x + y.cpu()
    for function, options, kind in (
        (static(), {}, "cpu"),
        (static(), {"to_cpu": False}, "nkipy"),
        (static(keeps_outputs_on_device=True), {}, "nkipy"),
        (static(keeps_outputs_on_device=True), {"to_cpu": True}, "cpu"),
    ):
        (z,) = function([x, y], **options)
        assert z.device.type == kind
        assert torch.equal(z.cpu(), expected)
    (z,) = static()([y, x])
    assert z.device.type == "nkipy"


def test_tensors_of_the_cpu_are_read_at_every_call(reach: None) -> None:
    function = static()
    x, y = torch.zeros(2, 3), random(2, 3)
    for number in (1.0, 2.0):
        x.numpy()[:] = number
        assert torch.equal(function([x, y])[0], y.cpu() + number)


def test_tensors_of_the_cpu_are_used_where_they_lie() -> None:
    for rows, copied in ((2, True), (30000, False)):
        programs.reset_stats()
        function = static((rows, 3))
        x, y = torch.randn(rows + 3, 3), torch.randn(rows, 3)
        function([x[:rows], y])
        is_copied = programs.get_stats()["total_h2d_time_ms"] > 0
        assert is_copied == copied
        programs.reset_stats()
        function([x[:rows], y])  # what is small is copied where it comes and goes
        assert programs.get_stats()["total_h2d_time_ms"] == 0
        for offset in range(4):  # also where they are not aligned
            part = x.view(-1)[offset : offset + rows * 3].view(rows, 3)
            for _ in range(2):
                assert torch.equal(function([part, y])[0], part + y)


@pytest.mark.parametrize("device", ["cpu", "nkipy"])
@pytest.mark.parametrize("size", [8, 300])
def test_weights_may_change_between_calls(device: str, size: int) -> None:
    shape = size, size
    made = program(
        lambda b, x, w: b.dot(x, w, ((1,), (0,))), *[(shape, np.float32)] * 2
    )
    function = Function(
        "product",
        ["x", "w"],
        [],
        [Input(0, F32, shape), Input(1, F32, shape)],
        [Result(F32, shape)],
        [Returned(0)],
        lambda _: Variant.of(made, [shape] * 2, [shape]),
    )
    x, weight = torch.randn(shape), torch.randn(shape).to(device)
    for change in (1.0, 2.0, -0.5, 0.25):
        weight[3:] *= change
        (y,) = function([x, weight])
        torch.testing.assert_close(y, x @ weight.cpu(), atol=1e-4, rtol=1e-4)


def test_large_results_for_the_cpu_are_its_own(reach: None) -> None:
    shape = 300, 300
    function = static(shape)
    x, y = torch.randn(shape), torch.randn(shape)
    kept = [function([x, y])[0] for _ in range(3)]
    spike_torch.reset()
    assert all(torch.equal(z, x + y) and z.is_contiguous() for z in kept)


def test_a_lazy_copy_of_what_is_written_into_stays(reach: None) -> None:
    total = torch.randn(2, 3)
    copy = torch._lazy_clone(total)
    before, x = copy.clone(), torch.randn(2, 3)
    accumulated(2)([total, x])
    assert torch.equal(copy, before) and torch.equal(total, before + x)


def test_tensors_that_want_gradients_and_those_of_an_inference(reach: None) -> None:
    function = accumulated()
    x = random(3, 3).requires_grad_()
    with torch.no_grad():
        total = random(3, 3)
    before = total.cpu()
    (_, twice) = function([total, x])
    assert not twice.requires_grad and x.grad is None
    assert torch.equal(twice.cpu(), 2 * x.detach().cpu())
    assert torch.equal(total.cpu(), before + x.detach().cpu())
    with torch.inference_mode():
        total = random(3, 3)
        before = total.cpu()
        assert function([total, x])[1].is_inference()
        assert torch.equal(total.cpu(), before + x.cpu())


def test_a_size_of_0(reach: None) -> None:
    function = doubled(PowersOfTwo(2))
    for device in ("nkipy", "cpu"):
        (y,) = function([torch.empty(0, 3, device=device)])
        assert y.shape == (0, 3) and y.device.type == device


def test_what_has_no_elements_is_no_part_of_a_program() -> None:
    made = program(lambda b, x: b.add(x, x), ((2,), np.float32))
    function = Function(
        "f",
        ["x", "nothing"],
        [],
        [Input(0, F32, (2,)), Input(1, F32, (0, 3))],
        [Result(F32, (4, 0)), Result(F32, (2,))],
        [Returned(0), None, Returned(1)],
        lambda _: Variant.of(made, [(2,), (0, 3)], [(4, 0), (2,)]),
    )
    empty, nothing, y = function([torch.ones(2), torch.empty(0, 3)])
    assert empty.shape == (4, 0) and nothing is None and y.tolist() == [2, 2]


def test_a_scalar_of_the_cpu_beside_tensors_of_a_core(reach: None) -> None:
    shape = (2, 3)
    made = program(
        lambda b, x, y: b.multiply(x, b.broadcast_to(y, shape)),
        (shape, np.float32),
        ((), np.float32),
    )
    function = Function(
        "scale",
        ["x", "y"],
        [],
        [Input(0, F32, shape), Input(1, F32, ())],
        [Result(F32, shape)],
        [Returned(0)],
        lambda _: Variant.of(made, [shape, ()], [shape]),
    )
    x = random(*shape)
    assert torch.equal(function([x, torch.tensor(3.0)])[0].cpu(), 3 * x.cpu())
