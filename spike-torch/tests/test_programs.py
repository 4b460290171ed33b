"""Functions of tensors that compiled programs compute."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spike
import spike_torch
import spike_torch._C as _C
from nkipy.execution import LOADED, build, load
from nkipy.hlo import HLOBuilder, HLOModule
from spike_torch import programs
from spike_torch.programs import (
    Exact,
    Function,
    Input,
    Linear,
    Listed,
    OneBucket,
    PowersOfTwo,
    Result,
    Returned,
    ReturnedArgument,
    ReturnedNumber,
    Size,
    Symbol,
    Variant,
)

F32 = torch.float32
N, M = Size(0), Size(1)
POWERS, WHOLE = PowersOfTwo(), Returned(0)


def program(
    compute: Callable[..., Any],
    *parameters: tuple[tuple[int, ...], Any],
    aliases: dict[int, int] | None = None,
    core: int = 0,
) -> Any:
    """A program on a core, of what `compute` builds of its parameters."""
    module = HLOModule("test")
    given = [
        module.add_parameter(shape, np.dtype(dtype), f"p{i}")
        for i, (shape, dtype) in enumerate(parameters)
    ]
    made = compute(HLOBuilder(module.entry), *given)
    module.set_results(list(made) if isinstance(made, (tuple, list)) else [made])
    for output, parameter in (aliases or {}).items():
        module.alias(output, parameter)
    return load(build(module), core)


@pytest.fixture(autouse=True)
def _filled() -> Iterator[None]:
    """Padding holds NaN, so that whoever reads it is found out."""
    programs.fill_padding(True)
    programs.reset_stats()
    yield
    programs.fill_padding(False)


@pytest.fixture(params=["host", "transfers"])
def reach(request: pytest.FixtureRequest) -> Iterator[None]:
    _C.reach_by_transfers(request.param == "transfers")
    yield
    _C.reach_by_transfers(False)


def random(*shape: int, device: str = "nkipy") -> torch.Tensor:
    return torch.randn(*shape).to(device)


def compile_doubled(buckets: tuple[int, ...]) -> Variant:
    shape = buckets[0], 3
    made = program(lambda b, x: b.add(x, x), (shape, np.float32))
    return Variant.of(made, [shape], [shape])


def doubled(
    buckets: Any = POWERS,
    compile: Any = compile_doubled,
    returned: Returned = WHOLE,
    **options: Any,
) -> Function:
    """x + x of n rows."""
    return Function(
        "double",
        ["x"],
        [Symbol("n", 0, 0, buckets)],
        [Input(0, F32, (N, 3))],
        [Result(F32, (N, 3))],
        [returned],
        compile,
        **options,
    )


def static(shape: tuple[int, ...] = (2, 3), **options: Any) -> Function:
    """x + y, of fixed sizes."""

    def compile(sizes: tuple[int, ...]) -> Variant:
        two = (shape, np.float32), (shape, np.float32)
        core = options.get("core", 0)
        made = program(lambda b, x, y: b.add(x, y), *two, core=core)
        return Variant.of(made, [shape, shape], [shape])

    return Function(
        "sum",
        ["x", "y"],
        [],
        [Input(0, F32, shape), Input(1, F32, shape)],
        [Result(F32, shape)],
        [Returned(0)],
        compile,
        **options,
    )


def accumulated(rows: Any = N) -> Function:
    """total += x, which returns total and what x was times 2."""

    def compile(sizes: tuple[int, ...]) -> Variant:
        shape = (*sizes, 3) if sizes else (2, 3)
        made = program(
            lambda b, total, x: (b.add(total, x), b.add(x, x)),
            *[(shape, np.float32)] * 2,
            aliases={0: 0},
        )
        return Variant.of(made, [shape] * 2, [shape] * 2)

    return Function(
        "accumulate",
        ["total", "x"],
        [] if rows == 2 else [Symbol("n", 0, 0)],
        [Input(0, F32, (rows, 3), is_written=True), Input(1, F32, (rows, 3))],
        [Result(F32, (rows, 3), input=0), Result(F32, (rows, 3))],
        [ReturnedArgument(0), Returned(1)],
        compile,
    )


# ---- Padding and cutting -------------------------------------------------------------


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


# ---- Buckets -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (PowersOfTwo(), {1: 1, 2: 2, 3: 4, 8: 8, 9: 16}),
        (PowersOfTwo(6), {1: 8, 9: 16}),
        (Linear(32, 64), {1: 32, 32: 32, 33: 96, 96: 96, 97: 160}),
        (PowersOfTwo(8, 32), {7: 8, 17: 32, 32: 32, 33: 64, 65: 96, 96: 96}),
        (PowersOfTwo(8, 20), {9: 16, 17: 20, 21: 40}),
        (PowersOfTwo(8, limit=21), {9: 16, 17: 21, 21: 21, 22: 32}),
        (PowersOfTwo(8, limit=5), {2: 5}),
        (PowersOfTwo(8, 16, 40), {33: 40, 31: 32}),
        (Linear(32, 64, 100, 290), {33: 96, 97: 100, 101: 200, 201: 290}),
        (PowersOfTwo(1, 1 << 62), {(1 << 62): 1 << 62}),
        (Listed((10, 4)), {1: 4, 4: 4, 5: 10, 11: 16}),
        (Exact(), {1: 1, 7: 7}),
        (OneBucket(), {-3: 0, 7: 0}),
    ],
)
def test_rules_of_buckets(rule: Any, expected: dict[int, int]) -> None:
    function = doubled(rule)
    assert {n: function.buckets_of([n])[0] for n in expected} == expected


def test_buckets_that_cannot_be() -> None:
    for rule in (
        Listed(()),
        Linear(0, 1),
        PowersOfTwo(0),
        PowersOfTwo(1, -1),
        Listed((4, -1)),
    ):
        with pytest.raises(ValueError, match="buckets are numbers from 1 up"):
            doubled(rule)
    with pytest.raises(ValueError, match="a size is -1"):
        doubled().buckets_of([-1])


def test_expressions() -> None:
    expressions = [
        (N + M * 2 - 1, lambda n, m: n + m * 2 - 1),
        ((N - 9) // M, lambda n, m: (n - 9) // m),
        ((N - 9) % M, lambda n, m: (n - 9) % m),
        (7 - N, lambda n, m: 7 - n),
        (7 // N + 7 % N, lambda n, m: 7 // n + 7 % n),
        (N.minimum(M).maximum(3), lambda n, m: max(min(n, m), 3)),
    ]
    function = Function(
        "numbers",
        ["x"],
        [Symbol("n", 0, 0, OneBucket()), Symbol("m", 0, 1, OneBucket())],
        [Input(None)],
        [Result(torch.int32, (2,))],
        [ReturnedNumber(made) for made, _ in expressions],
        lambda _: Variant.of(
            program(lambda b, x: b.add(x, x), ((2,), np.int32)), [(2,)], [(2,)]
        ),
    )
    for n in range(1, 6):
        for m in range(1, 6):
            expected = [compute(n, m) for _, compute in expressions]
            assert function([torch.empty(n, m)]) == expected


def test_one_program_is_compiled_for_each_bucket_and_counted() -> None:
    function = doubled(PowersOfTwo(4))
    for size in (2, 3, 5, 8, 3):
        function([random(size, 3)])
    stats = programs.get_stats()
    assert stats["total_compile_count"] == 2 and stats["total_executions"] == 5
    assert stats["bucket_hits"] == {(4,): 3, (8,): 2}
    assert stats["total_pad_ratio_sum"] == pytest.approx(2 + 4 / 3 * 2 + 8 / 5 + 1)
    least, most = stats["min_execution_time_ms"], stats["max_execution_time_ms"]
    assert 0 < least <= most <= stats["total_execution_time_ms"]
    assert 0 < stats["total_nrt_exec_time_ms"] < stats["total_execution_time_ms"]
    assert stats["total_h2d_time_ms"] > 0 and stats["total_d2h_time_ms"] == 0
    function([random(3, 3, device="cpu")])
    assert programs.get_stats()["total_d2h_time_ms"] > 0
    programs.reset_stats()
    stats = programs.get_stats()
    assert stats.pop("bucket_hits") == {} and set(stats.values()) == {0}


def test_nothing_is_compiled_where_nothing_may_be() -> None:
    function = doubled(Listed((4, 8)), may_compile=False)
    allowed = doubled(Listed((4, 8)))
    with pytest.raises(ValueError, match=r"no program for sizes \(3\).*buckets \(4\)"):
        function([random(3, 3)])
    assert len(allowed([random(3, 3)])) == 1
    function.variant([4])
    assert len(function([random(3, 3)])) == 1


def test_a_failed_compilation_is_tried_again() -> None:
    attempts = []

    def compile(buckets: tuple[int, ...]) -> Variant:
        attempts.append(buckets)
        if len(attempts) == 1:
            raise ZeroDivisionError("no")
        return compile_doubled(buckets)

    function = doubled(compile=compile)
    x = random(4, 3)
    with pytest.raises(ZeroDivisionError, match="no"):
        function([x])
    assert torch.equal(function([x])[0].cpu(), 2 * x.cpu())
    assert attempts == [(4,), (4,)]


def test_programs_of_a_function_are_bounded() -> None:
    one = compile_doubled((2,))
    function = doubled(Exact(), lambda _: one)
    for n in range(100):
        function.variant([n])
    assert [99] in function.compiled() and len(function.compiled()) == 64


# ---- What is written into ------------------------------------------------------------


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


def test_two_that_are_written_into_share_no_memory() -> None:
    shape = (2, 3)
    made = program(
        lambda b, x, y: (b.add(x, y), b.add(y, y)),
        *[(shape, np.float32)] * 2,
        aliases={0: 0, 1: 1},
    )
    function = Function(
        "both",
        ["x", "y"],
        [],
        [Input(0, F32, shape, is_written=True), Input(1, F32, shape, is_written=True)],
        [Result(F32, shape, input=0), Result(F32, shape, input=1)],
        [],
        lambda _: Variant.of(made, [shape] * 2, [shape] * 2),
    )
    base = random(3, 3)
    before = base.cpu().clone()
    with pytest.raises(ValueError, match="'x'.*share memory, and both are written"):
        function([base[:2], base[1:]])
    assert torch.equal(base.cpu(), before)
    x, y = random(2, 3), random(2, 3)
    before = x.cpu() + y.cpu()
    assert function([x, y]) == []
    assert torch.equal(x.cpu(), before)


# ---- Devices and results -------------------------------------------------------------


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


def test_bad_arguments() -> None:
    function = static()
    x = random(2, 3)
    with pytest.raises(
        RuntimeError, match=r"'y'\) is on meta: .*nkipy:0 or on the CPU"
    ):
        function([x, torch.empty(2, 3, device="meta")])
    with pytest.raises(RuntimeError, match=r"'x'\) is of Double: expected Float"):
        function([x.double(), x])
    with pytest.raises(ValueError, match=r"\[2, 4\]: expected \[2, 3\]"):
        function([x, random(2, 4)])
    with pytest.raises(ValueError, match=r"\[2\]: expected 2 dimensions"):
        function([x, random(2)])
    with pytest.raises(TypeError, match="takes 2 arguments, but received 1"):
        function([x])
    with pytest.raises(TypeError, match=r"'y'\) is expected to be a tensor.*int"):
        function([x, 3])
    with pytest.raises(TypeError, match="takes a list of its arguments"):
        function(x)
    with pytest.raises(RuntimeError, match="no elements in memory: it is sparse"):
        function([x, torch.eye(2, 3).to_sparse()])
    with pytest.raises(ValueError, match="has 1 sizes that vary, but received 2"):
        doubled()([x], sizes=[1, 2])
    with pytest.raises(ValueError, match="expected .5, 3., or padded .8, 3."):
        doubled()([x], sizes=[5])
    with pytest.raises(ValueError, match=r"dimension 0 is expected to be n"):
        doubled()([torch.ones(())])
    y = random(4, 3)
    y.untyped_storage().resize_(8)
    with pytest.raises(RuntimeError, match="needs a storage of 48 bytes"):
        doubled()([y])


def test_bad_descriptions() -> None:
    shape = (2, 3)
    given = [Input(0, F32, shape)]
    for change, text in (
        ({"inputs": [Input(1, F32, shape)]}, "no argument 1, but 1"),
        ({"returns": [Returned(1)]}, "no result 1"),
        ({"results": [Result(F32, shape, input=0)]}, "is to say so"),
        ({"returns": [Returned(0, (1, 1))]}, "permutes no 2"),
        ({"inputs": [Input(0, F32, (N, 3))]}, "no symbol 0"),
        ({"inputs": [Input(0, F32, shape, permutation=(0,))]}, "permutes no 2"),
    ):
        made: dict[str, Any] = {
            "symbols": [],
            "inputs": given,
            "results": [Result(F32, shape)],
            "returns": [],
        }
        with pytest.raises(ValueError, match=text):
            Function("f", ["x"], **(made | change), compile=lambda _: None)
    made = program(lambda b, x: b.add(x, x), (shape, np.float32))
    with pytest.raises(ValueError, match="shapes .* is described as"):
        Variant.of(made, [(3, 2)], [shape])
    function = Function(
        "f", ["x"], [], given, [], [], lambda _: Variant.of(made, [shape], [shape])
    )
    with pytest.raises(ValueError, match="'f' has 0 results, and a program of it 1"):
        function([random(*shape)])


def test_tensors_of_another_core_are_refused(two_cores: None) -> None:
    x = random(2, 3)
    with pytest.raises(RuntimeError, match="nkipy:0 and nkipy:1!"):
        static()([x, x.to("nkipy:1")])
    function = static(core=1)
    assert function([x.to("nkipy:1")] * 2)[0].device == torch.device("nkipy:1")


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


# ---- Threads, resets, what is loaded -------------------------------------------------


def test_threads_call_at_once_and_compile_once() -> None:
    attempts = []

    def compile(buckets: tuple[int, ...]) -> Variant:
        attempts.append(buckets)
        return compile_doubled(buckets)

    function = doubled(compile=compile)
    wrong = []

    def run(seed: int) -> None:
        for i in range(60):
            x = torch.full((1 + (seed + i) % 8, 3), float(seed * 100 + i)).to("nkipy")
            if not torch.equal(function([x])[0].cpu(), 2 * x.cpu()):
                wrong.append((seed, i))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(attempts) == [(1,), (2,), (4,), (8,)]


def test_threads_while_programs_are_unloaded_and_memory_is_given_back() -> None:
    functions = [static(), doubled(), accumulated(2)]
    limit, wrong, done = LOADED.limit, [], threading.Event()

    def disturb() -> None:
        while not done.is_set():
            LOADED.evict()
            spike_torch.empty_cache()

    def run(seed: int) -> None:
        x = torch.full((2, 3), float(seed)).to("nkipy")
        for i in range(100):
            total = x.clone()
            functions[2]([total, x])
            (y,) = functions[0]([functions[1]([x])[0], total])
            if not torch.equal(y.cpu(), torch.full((2, 3), 4.0 * seed)):
                wrong.append((seed, i, y))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(1, 4)]
    other = threading.Thread(target=disturb)
    try:
        LOADED.limit = 2
        for thread in (other, *threads):
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        done.set()
        other.join()
        LOADED.limit = limit
    assert not wrong


def test_after_a_reset_programs_are_loaded_again() -> None:
    function = static()
    x, y = torch.randn(2, 3), torch.randn(2, 3)
    old = x.to("nkipy")
    assert torch.equal(function([x, y])[0], x + y)
    assert torch.equal(function([old, y])[0].cpu(), x + y)
    spike_torch.reset()
    assert torch.equal(function([x, y])[0], x + y)
    new = y.to("nkipy")
    assert torch.equal(function([new, y])[0].cpu(), y + y)
    with pytest.raises(RuntimeError, match="closed|freed"):
        function([old, y])


def test_a_program_that_was_unloaded_is_loaded_again() -> None:
    one, other = static(), doubled()
    x = random(2, 3)
    limit = LOADED.limit
    try:
        LOADED.limit = 1
        for _ in range(3):
            assert torch.equal(one([x, x])[0].cpu(), 2 * x.cpu())
            assert torch.equal(other([x])[0].cpu(), 2 * x.cpu())
            assert len(LOADED) == 1
            assert not one.variant([]).resident.is_loaded
            assert other.variant([2]).resident.is_loaded
    finally:
        LOADED.limit = limit
    assert one.variant([]).prepared_calls == 0


def test_prepared_calls_are_used_again_and_keep_no_memory() -> None:
    function = static()
    x, y = random(2, 3), random(2, 3)
    for _ in range(5):
        function([x, y])
    assert function.variant([]).prepared_calls == 1
    kept = [function([x, y]) for _ in range(100)]
    assert 1 < function.variant([]).prepared_calls < 100
    big = torch.empty(30 << 18, device="nkipy")
    large = static((30 << 18,))
    large([big, big])
    reserved = torch.nkipy.mem_get_info()[0]
    del big, kept
    gc.collect()
    spike_torch.empty_cache()
    assert large.variant([]).prepared_calls == 0
    assert torch.nkipy.mem_get_info()[0] >= reserved + (60 << 20)


def test_attached_memory_is_not_kept() -> None:
    function = static()
    y = random(2, 3)
    x = spike_torch.from_spike(spike.SpikeTensor.from_numpy(np.ones((2, 3), "f4")))
    assert torch.equal(function([x, y])[0].cpu(), 1 + y.cpu())
    assert function.variant([]).prepared_calls == 1
    del x
    assert function.variant([]).prepared_calls == 0


def test_functions_and_programs_go_with_who_has_them() -> None:
    import weakref

    function = doubled()
    function([random(2, 3)])
    variant = weakref.ref(function.variant([2]))
    holder: list[Any] = []
    loop = Function("f", [], [], [], [], [], lambda _, holder=holder: holder[0])
    holder.append(loop)
    del function, loop, holder
    gc.collect()
    assert variant() is None


def test_a_call_that_waits_for_a_program_can_be_interrupted() -> None:
    is_compiling, may_end = threading.Event(), threading.Event()

    def compile(buckets: tuple[int, ...]) -> Variant:
        is_compiling.set()
        may_end.wait(20)
        return compile_doubled(buckets)

    function, x = doubled(compile=compile), random(2, 3)
    other = threading.Thread(target=lambda: function([x]))
    other.start()
    is_compiling.wait(20)
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        function([x])
    may_end.set()
    other.join()
    assert torch.equal(function([x])[0].cpu(), 2 * x.cpu())


def test_compiling_that_calls_itself_is_refused() -> None:
    function = doubled(compile=lambda _: function([random(2, 3)]))
    with pytest.raises(RuntimeError, match="calls it with the same sizes"):
        function([random(2, 3)])


def test_out_of_memory_is_torchs() -> None:
    function = doubled(Exact())
    spike_torch.empty_cache()
    x = torch.ones(3 << 20, 3, device="nkipy")
    spike_torch.set_memory_limit(torch.nkipy.memory_reserved() + (8 << 20))
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 36.00 MiB"):
        function([x])
    spike_torch.set_memory_limit(None)
    assert function([x])[0][-1].tolist() == [2, 2, 2]


def test_a_failed_execution_says_what_the_device_says() -> None:
    with pytest.raises(spike.NrtError, match="it failed") as failed:
        programs._raise_failure(int(spike.NrtStatus.EXEC_BAD_INPUT), "it failed")
    assert failed.value.status == spike.NrtStatus.EXEC_BAD_INPUT
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        programs._raise_failure(int(spike.NrtStatus.RESOURCE), "no room")
    with pytest.raises(RuntimeError, match="closed"):
        programs._raise_failure(-1, "closed")


def test_a_forked_child_is_refused() -> None:
    function, x = static(), random(2, 3)
    function([x, x])
    child = os.fork()
    if child == 0:
        try:
            function([x, x])
        except RuntimeError as error:
            os._exit(0 if "forked subprocess" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert torch.equal(function([x, x])[0].cpu(), 2 * x.cpu())


def test_a_profile_is_written(tmp_path: Path) -> None:
    function = static()
    x = random(2, 3)
    file = tmp_path / "one.ntff"
    (y,) = function([x, x], profile=str(file))
    assert torch.equal(y.cpu(), 2 * x.cpu())
    assert file.stat().st_size > 0


def test_memory_statistics() -> None:
    before = programs.get_memory_stats()
    held = torch.empty(1000, device="nkipy")
    after = programs.get_memory_stats()
    assert after["used_bytes"] - before["used_bytes"] == 4096
    assert after["total_bytes"] == after["used_bytes"] + after["cached_bytes"]
    assert after["allocation_count"] == before["allocation_count"] + 1
    assert (
        after["cache_miss_count"] + after["cache_hit_count"]
        == (after["allocation_count"])
    )
    del held
    assert programs.get_memory_stats()["used_bytes"] == before["used_bytes"]
