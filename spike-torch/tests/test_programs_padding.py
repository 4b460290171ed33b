"""Functions of compiled programs: what is padded, and cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nkipy.hlo import HLOBuilder
from spike_torch import programs
from spike_torch.programs import (
    Exact,
    Function,
    Input,
    Linear,
    PowersOfTwo,
    Result,
    Returned,
    ReturnedNumber,
    Symbol,
    Variant,
)

from .program_functions import F32, M, N, doubled, program, random, static

pytestmark = pytest.mark.usefixtures("filled_padding")


def test_a_call_of_fixed_sizes_uses_tensors_where_they_lie(reach: None) -> None:
    function = static()
    x, y = random(4, 3)[1:3], random(2, 3)
    (z,) = function([x, y])
    assert z.device == x.device and z.dtype == F32 and z.is_contiguous()
    assert torch.equal(z.cpu(), x.cpu() + y.cpu())
    assert not z.requires_grad


def test_every_size_of_a_bucket_is_padded_with_nan_and_cut(reach: None) -> None:
    function = doubled(PowersOfTwo(4))
    for size in range(1, 21):
        x = random(size, 3)
        (y,) = function([x])
        assert torch.equal(y.cpu(), 2 * x.cpu()), size
    assert function.compiled() == [[4], [8], [16], [32]]


@pytest.mark.parametrize("pads_on_device", [True, False])
def test_padding_within_a_tensor_on_the_device_or_before_it(
    reach: None, pads_on_device: bool
) -> None:
    """Columns are padded, and exact sizes come as an input: what is beyond is 0."""

    def compile(buckets: tuple[int, ...]) -> Variant:
        n, m = buckets

        def compute(b: HLOBuilder, x: Any, sizes: Any) -> Any:
            valid = []
            for i in range(2):
                size = b.reshape(b.slice_dim(sizes, 0, i, i + 1), ())
                size = b.broadcast_to(size, (n, m))
                valid.append(b.compare(b.iota((n, m), i), size, "LT"))
            kept = b.select(b.and_(*valid), x, b.full((n, m), 0, x.dtype))
            return b.reduce(kept, "add", 0, (0,)), b.transpose(x, (1, 0))

        made = program(compute, ((n, m), np.float32), ((2,), np.int32))
        return Variant.of(made, [(n, m), (2,)], [(m,), (m, n)])

    function = Function(
        "sums",
        ["x"],
        [Symbol("n", 0, 0, PowersOfTwo(4)), Symbol("m", 0, 1, Linear(2, 3))],
        [Input(0, F32, (N, M)), Input(None)],
        [Result(F32, (M,)), Result(F32, (M, N))],
        [Returned(0), Returned(1), Returned(1, (1, 0)), ReturnedNumber(2 * N - M % 4)],
        compile,
        pads_on_device=pads_on_device,
    )
    for n, m in [(3, 2), (4, 5), (5, 7), (1, 8), (2, 1)]:
        for x in (random(n, m), random(m, n).t(), random(n, m, device="cpu")):
            sums, turned, same, number = function([x])
            expected = x.cpu()
            assert sums.device == x.device
            assert torch.allclose(sums.cpu(), expected.sum(0), atol=1e-5)
            assert torch.equal(turned.cpu(), expected.t()) and turned.shape == (m, n)
            assert torch.equal(same.cpu(), expected) and same.stride() == (1, n)
            assert number == 2 * n - m % 4


def test_factors_of_a_dimension_are_cut_each_for_itself(reach: None) -> None:
    def compile(buckets: tuple[int, ...]) -> Variant:
        n, m = buckets
        made = program(
            lambda b, x: b.negate(b.reshape(x, (n * m, 2))), ((n * m, 2), np.float32)
        )
        return Variant.of(made, [((n, m), 2)], [((n, m), 2)])

    function = Function(
        "negate",
        ["x", "n", "m"],
        [Symbol("n", 1, buckets=Exact()), Symbol("m", 2, buckets=Linear(4, 4))],
        [Input(0, F32, ((N, M), 2))],
        [Result(F32, ((N, M), 2))],
        [Returned(0)],
        compile,
    )
    for n, m in [(4, 3), (2, 6), (3, 8), (1, 5)]:
        x = random(n * m, 2)
        (y,) = function([x, n, m])
        assert torch.equal(y.cpu(), -x.cpu())
        assert y.is_contiguous()


def test_dimensions_of_an_input_may_be_permuted(reach: None) -> None:
    """total is given transposed, and used where it lies if it was so before."""

    def compile(buckets: tuple[int, ...]) -> Variant:
        shape = 3, buckets[0]
        made = program(
            lambda b, total, x: b.add(total, x),
            *[(shape, np.float32)] * 2,
            aliases={0: 0},
        )
        return Variant.of(made, [shape] * 2, [shape])

    function = Function(
        "accumulate",
        ["total", "x"],
        [Symbol("n", 0, 0, PowersOfTwo(4))],
        [
            Input(0, F32, (3, N), is_written=True, permutation=(1, 0)),
            Input(1, F32, (3, N)),
        ],
        [Result(F32, (3, N), input=0)],
        [],
        compile,
    )
    for n in (4, 3):
        for total in (random(3, n).t(), random(n, 3)):
            x, before, version = random(3, n), total.cpu(), total._version
            programs.reset_stats()
            function([total, x])
            assert torch.equal(total.cpu(), before + x.cpu().t())
            assert total._version > version
            is_copied = programs.get_stats()["total_h2d_time_ms"] > 0
            assert is_copied == (n == 3 or total.is_contiguous())
    with pytest.raises(ValueError, match="expected 2 dimensions"):
        function([random(4), random(3, 4)])


def test_what_is_permuted_may_be_copied_from_the_cpu(reach: None) -> None:
    """A small one is copied, even if it lies as the program wants it."""

    def compile(buckets: tuple[int, ...]) -> Variant:
        shape = buckets[0], 3
        made = program(lambda b, x: b.negate(x), (shape, np.float32))
        return Variant.of(made, [shape], [shape])

    function = Function(
        "negate",
        ["x"],
        [Symbol("n", 0, 1, PowersOfTwo(4))],
        [Input(0, F32, (N, 3), permutation=(1, 0))],
        [Result(F32, (N, 3))],
        [Returned(0)],
        compile,
    )
    for n in (4, 3):
        for x in (torch.rand(n, 3).t(), torch.rand(3, n)):
            (y,) = function([x])
            assert torch.equal(y, -x.t())
            padded = torch.cat([x.t(), torch.rand(4 - n, 3)]).t()
            (y,) = function([padded], sizes=[n])
            assert torch.equal(y, -x.t())


def test_what_is_cut_by_rows_is_a_view_unless_a_copy_is_asked_for() -> None:
    for is_copied, size in ((False, 8 * 12), (True, 5 * 12)):
        made = doubled(PowersOfTwo(8), returned=Returned(0, is_copied=is_copied))
        x = random(5, 3)
        (y,) = made([x])
        assert y.untyped_storage().nbytes() == size
        assert torch.equal(y.cpu(), 2 * x.cpu())


def test_padded_tensors_go_in_and_out_as_they_are(reach: None) -> None:
    inner = doubled(PowersOfTwo(8))
    function = doubled(PowersOfTwo(8), returned=Returned(0, is_padded=True))
    x = random(8, 3)
    (y,) = function([x], sizes=[5])
    assert torch.equal(y.cpu(), 2 * x.cpu())
    (z,) = inner([y], sizes=[5])
    assert torch.equal(z.cpu(), 4 * x.cpu()[:5])
    (z,) = inner([y.t().contiguous().t()], sizes=[5])
    assert torch.equal(z.cpu(), 4 * x.cpu()[:5])
    assert inner.sizes_of([x[:6]]) == [6] and inner.buckets_of([6]) == [8]
